//! How much memory a peer's h2 frames take, and whose connection pays for it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::support::*;
use crate::counters::Counts;
use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::{Attempt, Event, Onward, OnwardConfig};
use http::Response;
use sspc_policy::{Protocol, StreamType};
use std::sync::Arc;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A proxy's onward side with this much memory.
struct World {
    onward: Arc<Onward>,
    memory: Arc<Memory>,
    counts: Arc<Counts>,
}

impl World {
    fn new(bound: usize) -> Self {
        let counts = Arc::<Counts>::default();
        let memory = Memory::new(bound, Arc::clone(&counts));
        let config = OnwardConfig { memory: Arc::clone(&memory), ..OnwardConfig::default() };
        Self { onward: Onward::new(config), memory, counts }
    }

    fn attempt(&self, policy: &StreamType) -> Attempt {
        let account = self.memory.open_account(Identity::Unknown);
        Attempt { account, ..attempt(policy) }
    }

    fn held(&self) -> usize {
        self.counts.memory_held.read().try_into().unwrap()
    }
}

/// A frame's head (RFC 9113 §4.1).
fn head(length: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut head = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
    head.extend([kind, flags]);
    head.extend(stream.to_be_bytes());
    head
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` (RFC 7541 §A)
const STATUS_200: u8 = 0x88;

/// The next request's stream.
async fn request(link: &mut TcpStream) -> u32 {
    loop {
        let mut head = [0; 9];
        link.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        link.read_exact(&mut vec![0; length as usize]).await.unwrap();
        if head[3] == HEADERS {
            return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        }
    }
}

/// Frames of one byte took 256 bytes each. As a defence the h2 crate ended the connection, with all
/// that was on it, when 131,584 of them were unread.
#[tokio::test]
async fn a_body_in_frames_of_one_byte_takes_its_length_and_harms_nobody() {
    const LENGTH: usize = 200_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut link, _) = listener.accept().await.unwrap();
        link.read_exact(&mut [0; 24]).await.unwrap();
        link.write_all(&head(0, SETTINGS, 0, 0)).await.unwrap();
        link.write_all(&head(0, SETTINGS, ACK, 0)).await.unwrap();
        let crumbs = request(&mut link).await;
        let mut frames = head(1, HEADERS, END_HEADERS, crumbs);
        frames.push(STATUS_200);
        for _ in 0..LENGTH {
            frames.extend(head(1, DATA, 0, crumbs));
            frames.push(b'x');
        }
        link.write_all(&frames).await.unwrap();
        let other = request(&mut link).await;
        let mut frames = head(1, HEADERS, END_HEADERS, other);
        frames.push(STATUS_200);
        frames.extend(head(5, DATA, END_STREAM, other));
        frames.extend(b"hello");
        link.write_all(&frames).await.unwrap();
        link.write_all(&head(0, DATA, END_STREAM, crumbs)).await.unwrap();
        // Until it is closed.
        let _ = link.read_to_end(&mut Vec::new()).await;
    });
    let world = World::new(usize::MAX);
    let policy = stream(Protocol::H2, address);
    let mut unread = world.onward.start(world.attempt(&policy));
    assert!(matches!(unread.events.recv().await, Some(Event::Connected { .. })));
    let arrives = async {
        while world.held() < LENGTH {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrives).await.unwrap();
    assert!(world.held() < LENGTH * 5 / 4, "{} for {LENGTH}", world.held());

    let report = run(&world.onward, world.attempt(&policy)).await;
    assert_eq!(report.text(), "hello");
    let report = super::support::report(&mut unread.events).await;
    assert_eq!((report.body.len(), report.is_complete()), (LENGTH, true));
    drop((unread, world));
    serving.await.unwrap();
}

/// Windows are a promise to the peer; a connection whose streams use theirs when there is no memory
/// is not read.
#[tokio::test]
async fn what_the_streams_of_a_connection_gather_is_bounded() {
    const STREAMS: usize = 16;
    let big = pattern(MIB);
    let served = big.clone();
    let server = Server::http(true, move |_| {
        let body = served.clone();
        std::future::ready(Response::new(full(body)))
    })
    .await;
    let world = World::new(MIB);
    let policy = stream(Protocol::H2, server.address);
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        unread.push(world.onward.start(world.attempt(&policy)));
    }
    let mut most = 0;
    // All windows together are 4 MiB. A slow machine makes this weaker but never wrong.
    for _ in 0..200 {
        most = most.max(world.held());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!((MIB / 4..MIB + 256 * 1024).contains(&most), "{most}");
    let reports = unread.iter_mut().map(|running| report(&mut running.events));
    for report in futures_util::future::join_all(reports).await {
        assert!(report.body == big && report.is_complete());
    }
    drop(unread);
    assert_eq!((world.held(), server.accepted()), (0, 1));
}
