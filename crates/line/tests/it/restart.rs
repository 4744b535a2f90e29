//! A peer that restarts in the middle of a frame, and one that only seems to. The peer is this file,
//! byte by byte, in the runtime's virtual time.

use std::io;
use std::time::Duration;

use sspc_wire::MuxFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::support::{Peer, hear, say};

const SILENCE: Duration = Duration::from_millis(10);
/// Of the time while the link is down.
const MARK: u64 = 1 << 55;

/// The first bytes of a peer that restarted.
fn start() -> Vec<u8> {
    [&[0xf9, 0xf6], &(MARK | 0x0102_0304).to_be_bytes()[..]].concat()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_restarts_within_a_frame_puts_no_byte_into_a_channel() {
    // So many bytes of the frame come, maybe not even its head; then the new peer's, in two parts.
    for (frame, cut) in
        [1, 2, 3, 4, 5, 404, 990].into_iter().flat_map(|f| (0..=10).map(move |c| (f, c)))
    {
        let mut peer = Peer::start().await;
        let bytes = [&peer.frame(1000, &[b'x'; 1000])[..frame], &start()].concat();
        let (now, later) = bytes.split_at(frame + cut);
        peer.wire.write_all(now).await.unwrap();
        sleep(SILENCE).await;
        peer.wire.write_all(later).await.unwrap();

        let mut heard = Vec::new();
        let error = peer.channel.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        let expected = frame.saturating_sub(4);
        assert!(heard == vec![b'x'; expected], "{frame}, {cut}: {heard:x?}");
        // The line's own search for its peer, and the answer to the PING that was held.
        let mut answered = Vec::new();
        while !answered.windows(9).any(|w| w[0] == 0xf7 && w[1..] == start()[2..]) {
            answered.extend(hear::<1>(&mut peer.wire).await);
            assert!(answered.len() < 200, "{frame}, {cut}: {answered:x?}");
        }
        say(&mut peer.wire, MuxFrame::PongAck { unix_us: 0 }).await;
        sleep(SILENCE).await;
        assert!(peer.line.status().up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_looks_like_a_restart_is_a_payload() {
    let payload = [&[b'x'; 400], &start()[..], &start(), &[b'y'; 200], &start()[..3]].concat();
    for cut in 400..payload.len() {
        let mut peer = Peer::start().await;
        let bytes = peer.frame(payload.len().try_into().unwrap(), &payload);
        let (now, later) = bytes.split_at(bytes.len() - payload.len() + cut);
        peer.wire.write_all(now).await.unwrap();
        sleep(SILENCE).await;
        peer.wire.write_all(later).await.unwrap();
        let mut heard = vec![0; payload.len()];
        let began = Instant::now();
        peer.channel.read_exact(&mut heard).await.unwrap();
        assert!(heard == payload, "with a cut at {cut}");
        // The frame has come to its end, so that nothing waits for more.
        assert!(began.elapsed() <= SILENCE);
        assert_eq!(peer.line.status().losses, 0);
    }
}

/// Half of a restart is none, however long the rest of the frame takes.
#[tokio::test(start_paused = true)]
async fn a_slow_frame_is_passed_on() {
    let mut peer = Peer::start().await;
    let bytes = peer.frame(8, &[1, 2, 3, 4, 5, 0xf9, 0xf6, 0]);
    let (now, later) = bytes.split_at(bytes.len() - 1);
    peer.wire.write_all(now).await.unwrap();
    let mut heard = [0; 7];
    peer.channel.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [1, 2, 3, 4, 5, 0xf9, 0xf6]);
    sleep(Duration::from_secs(1)).await;
    peer.wire.write_all(later).await.unwrap();
    assert_eq!(peer.channel.read_u8().await.unwrap(), 0);
    assert_eq!(peer.line.status().losses, 0);
}
