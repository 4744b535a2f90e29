use proptest::prelude::*;
use sspc_sim::{DeployedReader, Rng, Rx};
use sspc_wire::{State, ToClientDecoder};
use tokio::io::{AsyncReadExt, AsyncWrite, duplex};
use tokio::net::UnixStream;

use super::*;
use crate::session::link::{AnyPipe, LinkKind};

/// What a client decodes: payload frames as flags and length, others by their debug text.
async fn decoded(frame_writer: &mut FrameWriter) -> Vec<String> {
    let (ours, mut theirs) = duplex(1 << 20);
    let mut ours = AnyPipe(ours);
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

fn writer(mode: FramingMode, credit: ClientCredit) -> FrameWriter {
    FrameWriter::new(mode, credit, Instant::now())
}

fn one_read() -> FrameWriter {
    writer(FramingMode::OneRead, ClientCredit::Unlimited)
}

fn one_byte_ends() -> FrameWriter {
    writer(FramingMode::OneByteEnds, ClientCredit::Unlimited)
}

fn bytes(length: usize) -> Bytes {
    Bytes::from(vec![0x5a; length])
}

fn state(state: State) -> ToClient<'static> {
    ToClient::State { state, ordinal: 0 }
}

#[tokio::test]
async fn payload_for_plain_clients_is_cut_small_with_each_flag_once() {
    let mut frame_writer = one_read();
    frame_writer.push_payload(bytes(3000), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1005", "0 1005", "EOM 990"]);
    frame_writer.push_payload(bytes(1380), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM|EOM 1380"]);
}

#[tokio::test]
async fn payload_for_large_clients_goes_as_it_comes() {
    let mut frame_writer = writer(FramingMode::Large, ClientCredit::Unlimited);
    frame_writer.push_payload(bytes(16 * 1024), Flags::SOM, Instant::now());
    frame_writer.push_payload(bytes(10), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 16384", "EOM 10"]);
}

/// A long frame would hold up all others of its line.
#[tokio::test]
async fn on_a_narrow_link_all_frames_are_short() {
    let link = LinkKind { is_narrow: true, tells_when_read: false };
    let mut small = writer(FramingMode::of(true, link), ClientCredit::Unlimited);
    small.push_payload(bytes(3000), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut small).await, ["SOM 1380", "0 1380", "EOM 240"]);
    let mut plain = writer(FramingMode::of(false, link), ClientCredit::Unlimited);
    plain.push_payload(bytes(3000), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut plain).await, ["SOM 1", "0 1380", "0 1380", "0 238", "EOM 1"]);
}

/// Deployed clients lose payload behind a frame of 0 bytes.
#[tokio::test]
async fn an_end_that_comes_alone_rides_on_the_payload_that_still_waits() {
    let mut frame_writer = one_read();
    frame_writer.push_payload(bytes(1400), Flags::SOM, Instant::now());
    frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1005", "EOM 395"]);
    frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["EOM 0"], "there was nothing left to ride on");
}

#[tokio::test]
async fn an_end_does_not_pass_a_state_and_other_flags_do_not_ride() {
    let mut frame_writer = writer(FramingMode::Large, ClientCredit::Unlimited);
    frame_writer.push_payload(bytes(1), Flags::SOM, Instant::now());
    frame_writer.push(&state(State::Timeout)).unwrap();
    frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "TIMEOUT", "EOM 0"]);
    frame_writer.push_payload(bytes(1), Flags::SOM, Instant::now());
    frame_writer.push_payload(Bytes::new(), Flags::EOM | Flags::RELATED_END, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "EOM|RELATED_END 0"]);
}

#[tokio::test]
async fn payload_stops_where_the_credit_ends_and_goes_on_with_more() {
    let mut frame_writer = writer(FramingMode::Large, ClientCredit::Bytes(100));
    frame_writer.push_payload(bytes(150), Flags::WHOLE, Instant::now());
    assert!(frame_writer.is_blocked());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 100"]);
    frame_writer.add_credit(30, Instant::now());
    assert!(frame_writer.is_blocked());
    frame_writer.add_credit(30, Instant::now());
    assert!(!frame_writer.is_blocked());
    assert_eq!(decoded(&mut frame_writer).await, ["EOM 50"]);
    frame_writer.push_payload(bytes(10), Flags::SOM, Instant::now());
    frame_writer.push_payload(bytes(1), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 10"]);
    assert!(frame_writer.is_blocked());
}

#[tokio::test]
async fn without_credit_nothing_goes_but_empty_frames_and_states() {
    let mut frame_writer = writer(FramingMode::Large, ClientCredit::Bytes(0));
    frame_writer.push_payload(Bytes::new(), Flags::RELATED_START, Instant::now());
    frame_writer.push(&state(State::Connected)).unwrap();
    assert!(!frame_writer.is_blocked());
    frame_writer.push_payload(bytes(1), Flags::SOM, Instant::now());
    assert!(frame_writer.is_blocked());
    frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["RELATED_START 0", "CONNECTED"]);
    frame_writer.add_credit(1, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM|EOM 1"]);
}

/// A frame was made for each piece, 19 bytes of head for one of payload.
#[tokio::test]
async fn small_pieces_that_wait_share_a_frame() {
    let pieces = |frame_writer: &mut FrameWriter| {
        for i in 0..3000 {
            let som = if i == 0 { Flags::SOM } else { Flags::NONE };
            let eom = if i == 2999 { Flags::EOM } else { Flags::NONE };
            frame_writer.push_payload(bytes(1), som | eom, Instant::now());
        }
        frame_writer.push_payload(bytes(1), Flags::WHOLE, Instant::now());
    };
    let mut large = writer(FramingMode::Large, ClientCredit::Unlimited);
    pieces(&mut large);
    assert_eq!(decoded(&mut large).await, ["SOM|EOM 3000", "SOM|EOM 1"]);
    let mut small = writer(FramingMode::Small, ClientCredit::Bytes(3001));
    pieces(&mut small);
    assert_eq!(decoded(&mut small).await, ["SOM 1380", "0 1380", "EOM 240", "SOM|EOM 1"]);
    let mut plain = one_byte_ends();
    pieces(&mut plain);
    let frames = ["SOM 1", "0 1380", "0 1380", "0 238", "EOM 1", "SOM|EOM 1"];
    assert_eq!(decoded(&mut plain).await, frames);
}

/// What is not whole waits for its rest, but not for long.
#[tokio::test(start_paused = true)]
async fn the_last_byte_waits_a_moment_for_its_end() {
    let mut frame_writer = one_byte_ends();
    frame_writer.push_payload(bytes(10), Flags::SOM, Instant::now());
    assert!(frame_writer.is_empty());
    frame_writer.push_payload(bytes(10), Flags::EOM, Instant::now());
    assert_eq!(frame_writer.deadline(), None);
    assert_eq!(decoded(&mut frame_writer).await, ["SOM|EOM 20"], "it fits into one frame");

    frame_writer.push_payload(bytes(2000), Flags::SOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "0 1380", "0 618"]);
    frame_writer.handle_deadline(Instant::now());
    assert!(frame_writer.is_empty(), "that was early");
    tokio::time::sleep_until(frame_writer.deadline().unwrap()).await;
    frame_writer.handle_deadline(Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["0 1"]);
    assert_eq!(frame_writer.deadline(), None);

    frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["EOM 0"], "there was nothing left to ride on");
    frame_writer.push_payload(bytes(4), Flags::WHOLE, Instant::now());
    let parts = ["SOM 1", "0 1", "0 1", "EOM 1"];
    assert_eq!(decoded(&mut frame_writer).await, parts, "such a client loses parts from now on");
}

/// A client that gives back what each frame took: 600,000 bytes were 2,207 frames, down to 14 bytes.
#[tokio::test(start_paused = true)]
async fn credit_given_back_frame_by_frame_makes_no_short_frames() {
    for window in [1380, 2000, 4000, 4133] {
        let mut frame_writer = writer(FramingMode::Small, ClientCredit::Bytes(window));
        let mut lengths = Vec::new();
        frame_writer.push_payload(bytes(600_000), Flags::WHOLE, Instant::now());
        while frame_writer.is_blocked() {
            for frame in decoded(&mut frame_writer).await {
                let (_, length) = frame.split_once(' ').unwrap();
                let length: u32 = length.parse().unwrap();
                lengths.push(length);
                // In two parts, as an application that takes payload in pieces does.
                for part in [length / 2, length.div_ceil(2)] {
                    frame_writer.add_credit(part.try_into().unwrap(), Instant::now());
                }
            }
        }
        let shortest = *lengths.iter().min().unwrap();
        assert!(u64::from(shortest) >= (window / 2).min(1380), "{window}: {shortest}");
        assert!(lengths.len() < 1000, "{window}: {} frames", lengths.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_little_credit_waits_for_more_and_not_for_ever() {
    let mut frame_writer = writer(FramingMode::Small, ClientCredit::Bytes(1000));
    frame_writer.push_payload(bytes(3000), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1000"]);
    assert_eq!(frame_writer.deadline(), None, "without credit there is nothing to wait for");
    frame_writer.add_credit(300, Instant::now());
    let due = frame_writer.deadline().unwrap();
    tokio::time::advance(CREDIT_HOLD_MAX / 2).await;
    frame_writer.add_credit(100, Instant::now());
    assert!(frame_writer.is_empty() && frame_writer.is_blocked());
    assert_eq!(frame_writer.deadline(), Some(due), "more credit does not prolong the wait");
    tokio::time::sleep_until(due).await;
    frame_writer.handle_deadline(Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["0 400"]);
    frame_writer.add_credit(499, Instant::now());
    assert!(frame_writer.is_empty());
    frame_writer.add_credit(1, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["0 500"], "half of the most is worth a frame");
}

/// More that comes meanwhile does not prolong the wait of what came first.
#[tokio::test(start_paused = true)]
async fn a_trickle_is_held_back_no_longer_than_one_piece() {
    for mode in [FramingMode::OneRead, FramingMode::OneByteEnds] {
        let mut frame_writer = writer(mode, ClientCredit::Unlimited);
        let begun = Instant::now();
        frame_writer.push_payload(bytes(1), Flags::SOM, begun);
        let first_due = frame_writer.deadline().unwrap();
        assert!(first_due <= begun + HOLD_MAX);
        for _ in 0..3 {
            tokio::time::advance(HOLD_MAX / 4).await;
            frame_writer.push_payload(bytes(1), Flags::NONE, Instant::now());
            assert_eq!(frame_writer.deadline(), Some(first_due), "{mode:?}");
        }
        tokio::time::sleep_until(first_due).await;
        frame_writer.handle_deadline(Instant::now());
        assert!(!frame_writer.is_empty(), "{mode:?}: the first byte is still held back");
        assert_eq!(frame_writer.deadline(), None, "{mode:?}");
    }
}

#[tokio::test]
async fn what_a_lost_connection_brought_goes_out_and_does_not_join_the_next() {
    let mut frame_writer = one_byte_ends();
    frame_writer.push_payload(bytes(10), Flags::SOM, Instant::now());
    frame_writer.end_of_attempt(Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM 1", "0 9"]);
    frame_writer.push_payload(bytes(5), Flags::WHOLE, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["SOM|EOM 5"]);
}

#[tokio::test]
async fn bytes_without_messages_are_never_held_back() {
    let mut frame_writer = one_byte_ends();
    frame_writer.push_payload(bytes(10), Flags::NONE, Instant::now());
    assert_eq!(decoded(&mut frame_writer).await, ["0 10"]);
    assert_eq!(frame_writer.deadline(), None);
}

#[tokio::test]
async fn long_metadata_is_written_whole() {
    let mut frame_writer = one_read();
    let value = vec![b'v'; 4000];
    let piece = Piece::whole(&value).unwrap();
    frame_writer.push(&ToClient::Metadata { name: b"n", value: piece }).unwrap();
    assert_eq!(frame_writer.bytes(), 4005);
    let (ours, mut theirs) = duplex(1 << 16);
    let mut ours = AnyPipe(ours);
    frame_writer.write(&mut ours).await.unwrap();
    let mut head = [0; 5];
    theirs.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0x59, 0x0f, 0xa2, 1, b'n']);
    assert_eq!(frame_writer.bytes(), 0);
}

#[test]
fn what_the_wire_cannot_carry_is_refused_and_nothing_is_queued() {
    let mut frame_writer = one_read();
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

impl LinkWriter for Trickle {
    const IS_NARROW: bool = false;
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
    let mut frame_writer = writer(mode, ClientCredit::Unlimited);
    frame_writer.push(&state(State::Connected)).unwrap();
    frame_writer.push_payload(bytes(3000), Flags::WHOLE, Instant::now());
    frame_writer.push(&state(State::Disconnected)).unwrap();
    let mut link = Trickle { taken: Vec::new(), attempts: 0, most, vectored };
    while !frame_writer.is_empty() {
        frame_writer.write(&mut link).await.unwrap();
    }
    assert_eq!(frame_writer.bytes(), 0);
    link
}

#[tokio::test(start_paused = true)]
async fn partial_writes_lose_and_repeat_nothing() {
    for mode in
        [FramingMode::OneRead, FramingMode::OneByteEnds, FramingMode::Small, FramingMode::Large]
    {
        let whole = trickled(mode, usize::MAX, true).await.taken;
        for most in [1, 2, 7, 8, 19, 20, 1398, 1399, 1400] {
            for vectored in [true, false] {
                assert_eq!(trickled(mode, most, vectored).await.taken, whole, "{most}");
            }
        }
    }
}

#[tokio::test]
async fn a_write_holds_what_its_client_takes_at_once() {
    for vectored in [true, false] {
        let attempts = async |mode| trickled(mode, usize::MAX, vectored).await.attempts;
        // CONNECTED, two frames, the last one with DISCONNECTED.
        assert_eq!(attempts(FramingMode::OneRead).await, 4);
        assert_eq!(attempts(FramingMode::OneByteEnds).await, 7);
        assert_eq!(attempts(FramingMode::Large).await, 1);
    }
}

#[tokio::test]
async fn a_full_socket_takes_the_rest_later() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (_, mut ours) = ours.into_split();
    let mut frame_writer = one_read();
    frame_writer.push_payload(bytes(1 << 20), Flags::WHOLE, Instant::now());
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

/// What an application made of the calls that it got: messages, each with its beginnings and ends.
fn messages(calls: &[Rx]) -> Vec<(Vec<u8>, u32, u32)> {
    let mut messages: Vec<(Vec<u8>, u32, u32)> = Vec::new();
    let mut in_message = false;
    for Rx { flags, data } in calls {
        if !in_message {
            messages.push(Default::default());
        }
        in_message = true;
        let (bytes, starts, ends) = messages.last_mut().unwrap();
        bytes.extend_from_slice(data);
        *starts += u32::from(flags.contains(Flags::SOM));
        *ends += u32::from(flags.contains(Flags::EOM));
        if flags.contains(Flags::EOM) {
            in_message = false;
        }
    }
    messages
}

/// Content that shows if a byte is missing or in another place.
fn content(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.below(256) as u8).collect()
}

/// Gives these messages to a frame writer in pieces, and what it writes to a deployed client that
/// reads as `cut` says.
fn handed_on(lengths: &[usize], seed: u64, cut: impl Fn(&mut Rng) -> usize) -> Vec<Rx> {
    let mut rng = Rng::new(seed);
    let mut frame_writer = one_byte_ends();
    let mut reader = DeployedReader::default();
    let (mut calls, mut wire) = (Vec::new(), Vec::new());
    for &length in lengths {
        let mut rest = Bytes::from(content(&mut Rng::new(length as u64), length));
        let mut som = Flags::SOM;
        while !rest.is_empty() {
            let piece = rest.split_to((1 + rng.below(4000) as usize).min(rest.len()));
            // At times the end comes alone.
            let alone = rest.is_empty() && rng.chance(300_000);
            let eom = if rest.is_empty() && !alone { Flags::EOM } else { Flags::NONE };
            frame_writer.push_payload(
                piece,
                std::mem::replace(&mut som, Flags::NONE) | eom,
                Instant::now(),
            );
            if alone {
                frame_writer.push_payload(Bytes::new(), Flags::EOM, Instant::now());
            }
            for frame in frame_writer.frames.drain(..) {
                frame.rest().iter().for_each(|part| wire.extend_from_slice(part));
            }
        }
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        let (read, rest) = wire.split_at(cut(&mut rng).min(wire.len()));
        calls.extend(reader.read(read));
        wire = rest;
    }
    assert!(reader.is_between_frames());
    calls
}

proptest! {
    /// EOM was on the last data frame: when that came in two reads, both parts carried it.
    #[test]
    fn a_deployed_client_sees_each_message_begin_and_end_once_wherever_its_reads_end(
        lengths in proptest::collection::vec(1381..100_000_usize, 1..4),
        seed in any::<u64>(),
        most in prop_oneof![Just(2048_usize), 1..2048_usize],
    ) {
        let calls = handed_on(&lengths, seed, |rng| 1 + rng.below(most as u64) as usize);
        let wanted: Vec<_> = lengths
            .iter()
            .map(|&length| (content(&mut Rng::new(length as u64), length), 1, 1))
            .collect();
        prop_assert!(messages(&calls) == wanted);
    }

    /// Many small applications take a call for a message.
    #[test]
    fn a_message_that_fits_a_frame_is_one_call_where_reads_end_with_frames(
        lengths in proptest::collection::vec(1..1381_usize, 1..20),
        seed in any::<u64>(),
    ) {
        let calls = handed_on(&lengths, seed, |_| usize::MAX);
        prop_assert_eq!(calls.len(), lengths.len());
        for (call, length) in calls.iter().zip(lengths) {
            prop_assert!(call.flags == Flags::WHOLE && call.data.len() == length);
        }
    }
}

/// On a Unix socket nothing ever comes in two reads, at any speed of the client.
#[tokio::test]
async fn over_a_unix_socket_each_frame_comes_in_one_read() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (_reader, mut ours) = ours.into_split();
    let lengths: Vec<usize> =
        (1..300).chain(1300..1450).chain(2000..2100).chain([100_000]).collect();
    let wanted = lengths.clone();
    let reading = tokio::spawn(async move {
        let (mut reader, mut calls, mut rng) = (DeployedReader::default(), Vec::new(), Rng::new(3));
        let mut buffer = [0; DeployedReader::READ_MAX];
        while let read @ 1.. = theirs.read(&mut buffer).await.unwrap() {
            calls.extend(reader.read(&buffer[..read]));
            assert!(reader.is_between_frames());
            for _ in 0..rng.below(4) {
                tokio::task::yield_now().await;
            }
        }
        calls
    });
    let mut frame_writer = one_read();
    for length in lengths {
        let bytes = Bytes::from(content(&mut Rng::new(length as u64), length));
        frame_writer.push_payload(bytes, Flags::WHOLE, Instant::now());
        if length % 3 == 0 {
            frame_writer.push(&state(State::Timeout)).unwrap();
            frame_writer.write(&mut ours).await.unwrap();
        }
    }
    while !frame_writer.is_empty() {
        frame_writer.write(&mut ours).await.unwrap();
    }
    drop((ours, _reader));
    let calls = reading.await.unwrap();
    let whole = calls.iter().filter(|call| call.flags == Flags::WHOLE).count();
    assert_eq!(whole, wanted.iter().filter(|length| **length <= 1380).count());
    let messages = messages(&calls);
    assert_eq!(messages.len(), wanted.len());
    for ((data, starts, ends), length) in messages.into_iter().zip(wanted) {
        assert!(data == content(&mut Rng::new(length as u64), length), "{length}");
        assert_eq!((starts, ends), (1, 1), "{length}");
    }
}
