//! Clients that do anything, by chance: what is allowed, too much of it, and what is not.

use std::time::Duration;

use sspc_sim::Rng;
use sspc_wire::{Flags, Timeout, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{sleep, timeout};

use super::client::{encode, metadata, payload, streamtype};
use super::world::{STREAMTYPES, World};
use crate::session::Peer;

/// All hostile clients are processes of this user.
const USER: u32 = 666;
/// Things that one does.
const ACTIONS: usize = 400;
/// How long it waits for a proxy that does not read.
const PATIENCE: Duration = Duration::from_millis(20);

/// Does its worst, then leaves.
pub(super) async fn live(world: World, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut links: Vec<DuplexStream> = Vec::new();
    for _ in 0..ACTIONS {
        if links.is_empty() || rng.chance(150_000) {
            let pid = Some(rng.below(1000) as i32);
            links.push(world.link(Peer::Process { pid, uid: USER, gid: USER, is_abstract: false }));
        }
        let nth = rng.below(links.len() as u64) as usize;
        match rng.below(16) {
            0 => drop(links.swap_remove(nth)),
            1 | 2 => read_some(&mut links[nth], &mut rng).await,
            3 => sleep(Duration::from_millis(rng.below(500))).await,
            _ => {
                let bytes = frames(&mut rng);
                let _ = timeout(PATIENCE, links[nth].write_all(&bytes)).await;
            }
        }
    }
}

async fn read_some(link: &mut DuplexStream, rng: &mut Rng) {
    let mut room = vec![0; 1 + rng.below(100_000) as usize];
    let _ = timeout(PATIENCE, link.read(&mut room)).await;
}

/// What goes out at a time.
fn frames(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match rng.below(12) {
        0..3 => begin(rng),
        3 => encode(ToProxy::OnwardConnect),
        4 => encode(ToProxy::Destroying),
        5 => encode(ToProxy::TxCredit(rng.bits() as i32)),
        6 => encode(ToProxy::Timeout(Timeout::Millis(rng.below(2000) as u32))),
        7 => encode(ToProxy::LengthHint(rng.bits() as u32)),
        8 => long_metadata(rng),
        9 => (0..rng.below(3000)).map(|_| rng.bits() as u8).collect(),
        _ => {
            let flags = [Flags::WHOLE, Flags::SOM, Flags::NONE, Flags::EOM];
            let length = [1, 100, 4000, 60_000][rng.below(4) as usize];
            payload(&vec![b'x'; length], flags[rng.below(4) as usize])
                .repeat(1 + rng.below(10) as usize)
        }
    };
    if rng.chance(50_000) {
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
    }
    bytes
}

/// A stream from its name to its connection.
fn begin(rng: &mut Rng) -> Vec<u8> {
    let (name, ..) = STREAMTYPES[rng.below(STREAMTYPES.len() as u64) as usize];
    let name = if rng.chance(50_000) { "unknown" } else { name };
    let mut bytes = streamtype(rng.bits() as u32, name);
    if rng.chance(300_000) {
        bytes.extend(long_metadata(rng));
    }
    bytes.extend(encode(ToProxy::OnwardConnect));
    bytes
}

/// What goes into a request's path or its headers, where it may be too long for the server.
fn long_metadata(rng: &mut Rng) -> Vec<u8> {
    let name = ["query", "note", "server"][rng.below(3) as usize];
    let length = [1, 1000, 17_000, 40_000][rng.below(4) as usize];
    metadata(name, &vec![b'a'; length])
}
