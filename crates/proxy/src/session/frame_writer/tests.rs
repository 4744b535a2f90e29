use sspc_wire::{State, ToClientDecoder};
use tokio::io::{AsyncReadExt, duplex};
use tokio::net::UnixStream;

use super::*;

/// What a client decodes: payload frames as flags and length, others by their debug text.
async fn decoded(frame_writer: &mut FrameWriter) -> Vec<String> {
    let (mut ours, mut theirs) = duplex(1 << 20);
    let mut bytes = Vec::new();
    while !frame_writer.is_empty() {
        frame_writer.write(&mut ours).await.unwrap();
    }
    drop(ours);
    theirs.read_to_end(&mut bytes).await.unwrap();
    let mut decoder = ToClientDecoder::new();
    let mut input = &bytes[..];
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        frames.push(match frame {
            ToClient::Payload { head, piece, .. } => format!("{} {}", head.flags, piece.total),
            ToClient::State { state, .. } => state.to_string(),
            other => format!("{other:?}"),
        });
    }
    assert!(decoder.is_between_frames());
    frames
}

fn plain() -> FrameWriter {
    FrameWriter::new(FramingMode::Plain, ClientCredit::Unlimited)
}

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![0x5a; length])
}

fn state(state: State) -> ToClient<'static> {
    ToClient::State { state, ordinal: 0 }
}

#[tokio::test]
async fn payload_for_plain_clients_is_cut_small_with_each_flag_once() {
    let mut frame_writer = plain();
    frame_writer.push_payload(bytes(3000), Flags::WHOLE, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1380", "0 1380", "EOM 240"]);
}

#[tokio::test]
async fn payload_for_large_clients_goes_as_it_comes() {
    let mut frame_writer = FrameWriter::new(FramingMode::Large, ClientCredit::Unlimited);
    frame_writer.push_payload(bytes(16 * 1024), Flags::SOM, 1);
    frame_writer.push_payload(bytes(10), Flags::EOM, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 16384", "EOM 10"]);
}

/// A long frame would hold up all others of its line.
#[tokio::test]
async fn on_a_narrow_link_all_frames_are_short() {
    for honours_credit in [false, true] {
        let mode = FramingMode::of(honours_credit, true);
        let mut frame_writer = FrameWriter::new(mode, ClientCredit::Unlimited);
        frame_writer.push_payload(bytes(3000), Flags::WHOLE, 1);
        assert_eq!(decoded(&mut frame_writer).await, ["SOM 1380", "0 1380", "EOM 240"]);
    }
}

/// Deployed clients lose payload behind a frame of 0 bytes.
#[tokio::test]
async fn an_end_that_comes_alone_rides_on_the_payload_that_still_waits() {
    let mut frame_writer = plain();
    frame_writer.push_payload(bytes(1400), Flags::SOM, 1);
    frame_writer.push_payload(Bytes::new(), Flags::EOM, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1380", "EOM 20"]);
    frame_writer.push_payload(Bytes::new(), Flags::EOM, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["EOM 0"], "there was nothing left to ride on");
}

#[tokio::test]
async fn an_end_does_not_pass_a_state_and_other_flags_do_not_ride() {
    let mut frame_writer = plain();
    frame_writer.push_payload(bytes(1), Flags::SOM, 1);
    frame_writer.push(&state(State::Timeout)).unwrap();
    frame_writer.push_payload(Bytes::new(), Flags::EOM, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "TIMEOUT", "EOM 0"]);
    frame_writer.push_payload(bytes(1), Flags::SOM, 1);
    frame_writer.push_payload(Bytes::new(), Flags::EOM | Flags::RELATED_END, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "EOM|RELATED_END 0"]);
}

#[tokio::test]
async fn payload_stops_where_the_credit_ends_and_goes_on_with_more() {
    let mut frame_writer = FrameWriter::new(FramingMode::Large, ClientCredit::Bytes(100));
    frame_writer.push_payload(bytes(150), Flags::WHOLE, 1);
    assert!(frame_writer.is_blocked());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 100"]);
    frame_writer.add_credit(30, 1);
    assert!(frame_writer.is_blocked());
    frame_writer.add_credit(30, 1);
    assert!(!frame_writer.is_blocked());
    assert_eq!(decoded(&mut frame_writer).await, ["0 30", "EOM 20"]);
    frame_writer.push_payload(bytes(11), Flags::WHOLE, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 10"]);
}

#[tokio::test]
async fn without_credit_nothing_goes_but_empty_frames_and_states() {
    let mut frame_writer = FrameWriter::new(FramingMode::Large, ClientCredit::Bytes(0));
    frame_writer.push_payload(Bytes::new(), Flags::RELATED_START, 1);
    frame_writer.push(&state(State::Connected)).unwrap();
    assert!(!frame_writer.is_blocked());
    frame_writer.push_payload(bytes(1), Flags::SOM, 1);
    assert!(frame_writer.is_blocked());
    frame_writer.push_payload(Bytes::new(), Flags::EOM, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["RELATED_START 0", "CONNECTED"]);
    frame_writer.add_credit(1, 1);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM|EOM 1"]);
}

#[tokio::test]
async fn long_metadata_is_written_whole() {
    let mut frame_writer = plain();
    let value = vec![b'v'; 4000];
    let piece = Piece::whole(&value).unwrap();
    frame_writer.push(&ToClient::Metadata { name: b"n", value: piece }).unwrap();
    assert_eq!(frame_writer.bytes(), 4005);
    let (mut ours, mut theirs) = duplex(1 << 16);
    frame_writer.write(&mut ours).await.unwrap();
    let mut head = [0; 5];
    theirs.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0x59, 0x0f, 0xa2, 1, b'n']);
    assert_eq!(frame_writer.bytes(), 0);
}

#[test]
fn what_the_wire_cannot_carry_is_refused_and_nothing_is_queued() {
    let mut frame_writer = plain();
    let empty = Piece { data: &[], offset: 0, total: 0 };
    assert!(frame_writer.push(&ToClient::Metadata { name: b"n", value: empty }).is_err());
    assert!(frame_writer.is_empty());
}

/// A writer that takes a few bytes at a time, and counts calls.
struct Trickle {
    taken: Vec<u8>,
    attempts: usize,
    most: usize,
    vectored: bool,
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.len().min(self.most);
        self.taken.extend_from_slice(&bytes[..length]);
        self.attempts += 1;
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.poll_write(cx, &joined)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn trickled(mode: FramingMode, most: usize, vectored: bool) -> Trickle {
    let mut frame_writer = FrameWriter::new(mode, ClientCredit::Unlimited);
    frame_writer.push(&state(State::Connected)).unwrap();
    frame_writer.push_payload(bytes(3000), Flags::WHOLE, 1);
    frame_writer.push(&state(State::Disconnected)).unwrap();
    let mut link = Trickle { taken: Vec::new(), attempts: 0, most, vectored };
    while !frame_writer.is_empty() {
        frame_writer.write(&mut link).await.unwrap();
    }
    assert_eq!(frame_writer.bytes(), 0);
    link
}

#[tokio::test]
async fn partial_writes_lose_and_repeat_nothing() {
    for mode in [FramingMode::Plain, FramingMode::Small, FramingMode::Large] {
        let whole = trickled(mode, usize::MAX, true).await.taken;
        for most in [1, 2, 7, 8, 19, 20, 1398, 1399, 1400] {
            for vectored in [true, false] {
                assert_eq!(trickled(mode, most, vectored).await.taken, whole, "{most}");
            }
        }
    }
}

#[tokio::test]
async fn plain_clients_get_one_write_a_frame_and_large_ones_one_for_all() {
    for vectored in [true, false] {
        assert_eq!(trickled(FramingMode::Plain, usize::MAX, vectored).await.attempts, 5);
        assert_eq!(trickled(FramingMode::Large, usize::MAX, vectored).await.attempts, 1);
    }
}

#[tokio::test]
async fn a_full_socket_takes_the_rest_later() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let mut frame_writer = plain();
    frame_writer.push_payload(bytes(1 << 20), Flags::WHOLE, 1);
    let queued = frame_writer.bytes();
    let read = tokio::spawn(async move {
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).await.unwrap();
        bytes.len()
    });
    while !frame_writer.is_empty() {
        frame_writer.write(&mut ours).await.unwrap();
    }
    drop(ours);
    assert_eq!(read.await.unwrap(), queued);
}
