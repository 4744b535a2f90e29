//! Lines over ports whose cable is noisy: no byte is wrong, and no channel is lost.

use std::sync::mpsc::channel;
use std::time::Duration;

use sspc_line::{Channel, Line, LineEvent, Priority, Role, SerialAddress};
use sspc_sim::{Cable, Noise};

/// Longer than anything takes; only a failure waits so long.
const LONG: Duration = Duration::from_secs(30);

const CHANNELS: u8 = 4;
const BYTES: usize = 128 * 1024;

fn byte(channel: u8, at: usize) -> u8 {
    ((at as u64 / 3 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ u64::from(channel)) >> 56) as u8
}

fn open(
    cable: &Cable,
    side: usize,
    role: Role,
    options: &str,
) -> (Line, std::sync::mpsc::Receiver<LineEvent>) {
    let (tell, events) = channel();
    let path = cable.port(side);
    let address: SerialAddress =
        format!("serial:{}?baud=8000000&profile=fast{options}", path.display()).parse().unwrap();
    let line = Line::open(&address, role, move |event| {
        let _ = tell.send(event);
    });
    (line.unwrap(), events)
}

/// Writes what is to be written and reads what is to be read, at the same time.
fn exchange(channel: &Channel, mine: u8, theirs: u8) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bytes: Vec<u8> = (0..BYTES).map(|at| byte(mine, at)).collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let length = channel.write_within(rest, Some(LONG)).unwrap().unwrap();
                rest = &rest[length..];
            }
        });
        let (mut heard, mut room) = (0, [0; 4096]);
        while heard < BYTES {
            let length = channel.read_within(&mut room, Some(LONG)).unwrap().unwrap();
            assert!(length > 0, "ended after {heard}");
            for got in &room[..length] {
                assert_eq!(*got, byte(theirs, heard), "byte {heard} of {theirs}");
                heard += 1;
            }
        }
    });
}

#[test]
fn a_noisy_line_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    let noise =
        Noise { flips: 50, drops: 50, doubles: 50, bursts: 5, burst_max: 64, ..Noise::NONE };
    cable.set_noise(noise);
    let (device, events) = open(&cable, 0, Role::Client, "");
    let (gateway, _) = open(&cable, 1, Role::Proxy, "&framing=reliable");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..CHANNELS {
            let ours = runtime.block_on(device.open_channel(Priority::default())).unwrap();
            let theirs = runtime.block_on(gateway.accept()).unwrap();
            let index = ours.index().unwrap();
            scope.spawn(move || exchange(&ours, index, !index));
            scope.spawn(move || exchange(&theirs, !index, index));
        }
    });
    let status = device.status();
    assert!(status.up && status.in_packets && status.losses == 0, "{status:?}");
    // The noise was there.
    assert!(status.packets.damaged > 10 && status.packets.resent > 10, "{status:?}");
    let up = events.try_iter().find(|event| matches!(event, LineEvent::Up { .. }));
    assert!(matches!(up, Some(LineEvent::Up { in_packets: true, .. })), "{up:?}");
}

#[test]
fn a_peer_that_knows_no_packets_is_refused_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    let (gateway, events) = open(&cable, 1, Role::Proxy, "&framing=reliable");
    let nobody = gateway.not_opened().to_string();
    assert!(nobody.contains("nobody answers in packets"), "{nobody}");
    let (device, _) = open(&cable, 0, Role::Client, "&framing=plain");
    let refused = std::iter::from_fn(|| events.recv_timeout(LONG).ok())
        .find(|event| matches!(event, LineEvent::Refused { .. }));
    let text = refused.unwrap().to_string();
    assert!(text.contains("framing=reliable refuses it"), "{text}");
    assert!(!device.status().up && !gateway.status().up);
}
