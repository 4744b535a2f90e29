//! No driver sleeps while there is something to do: whatever comes, in whatever pieces, for readers
//! of any speed, all of it arrives, and then the end.
//!
//! What was wrong: a line stopped reading as soon as its peer hung up in the middle of an answer, and
//! waited for its own output to be flushed without reading on; a closed line whose port took nothing
//! kept the port for ever.

use std::time::Duration;

use sspc_line::{Channel, Line, LineConfig, Priority, Role};
use sspc_sim::Rng;
use sspc_wire::MuxFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, duplex, split};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::support::Peer;

/// In virtual time: only what never happens takes so long.
const NEVER: Duration = Duration::from_secs(3600);

const FRAMES: [usize; 9] = [1, 2, 15, 16, 17, 18, 100, 1000, 5000];

#[derive(Clone, Copy, Debug)]
enum Cut {
    OnePiece,
    Bytes,
    Random,
}

#[derive(Clone, Copy, Debug)]
enum Reader {
    Fast,
    Slow,
    Stopped,
}

/// How the peer ends, right behind its last frame.
#[derive(Clone, Copy, Debug)]
enum Ending {
    ClosesChannel,
    HangsUp,
}

async fn read_to_end(channel: &mut Channel, reader: Reader) -> Vec<u8> {
    let mut heard = Vec::new();
    match reader {
        Reader::Fast => {}
        Reader::Stopped => sleep(Duration::from_secs(5)).await,
        Reader::Slow => {
            let mut few = [0; 70];
            while let n @ 1.. = channel.read(&mut few).await.unwrap() {
                heard.extend_from_slice(&few[..n]);
                sleep(Duration::from_millis(1)).await;
            }
            return heard;
        }
    }
    channel.read_to_end(&mut heard).await.unwrap();
    heard
}

async fn everything_arrives(frames: usize, cut: Cut, reader: Reader, ending: Ending) {
    let Peer { mut wire, line, mut channel, index } = Peer::with_capacity(1 << 20).await;
    let (mut bytes, mut sent) = (Vec::new(), Vec::new());
    let mut encoded = [0; 128];
    for number in 0..frames {
        let payload = vec![number as u8; 1 + number % 40];
        let piece = sspc_wire::Piece { data: &payload, offset: 0, total: payload.len() as u16 };
        let mut frame = |frame: MuxFrame<'_>| {
            let length = frame.encode(&mut encoded).unwrap();
            bytes.extend_from_slice(&encoded[..length]);
        };
        frame(MuxFrame::Data { channel: index, piece });
        // So that there is always something to answer as well.
        if number % 7 == 0 {
            frame(MuxFrame::Ping { sent_us: number as u64 });
        }
        sent.extend_from_slice(&payload);
    }
    if let Ending::ClosesChannel = ending {
        let length = MuxFrame::ChannelClose(index).encode(&mut encoded).unwrap();
        bytes.extend_from_slice(&encoded[..length]);
    }
    let peer = tokio::spawn(async move {
        let mut rng = Rng::new(frames as u64);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = match cut {
                Cut::OnePiece => rest.len(),
                Cut::Bytes => 1,
                Cut::Random => 1 + rng.below(5000) as usize,
            };
            let (now, later) = rest.split_at(length.min(rest.len()));
            wire.write_all(now).await.unwrap();
            rest = later;
            if !rest.is_empty() {
                yield_now().await;
            }
        }
        match ending {
            Ending::HangsUp => None,
            Ending::ClosesChannel => Some(wire),
        }
    });
    let what = format!("{frames} frames, {cut:?}, {reader:?}, {ending:?}");
    let heard = timeout(NEVER, read_to_end(&mut channel, reader)).await.expect(&what);
    assert!(heard == sent, "{what}: {} bytes of {}", heard.len(), sent.len());
    drop(line);
    drop(peer.await.unwrap());
}

async fn everything_arrives_for(reader: Reader) {
    for frames in FRAMES {
        for cut in [Cut::OnePiece, Cut::Bytes, Cut::Random] {
            for ending in [Ending::ClosesChannel, Ending::HangsUp] {
                everything_arrives(frames, cut, reader, ending).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_for_a_fast_reader() {
    everything_arrives_for(Reader::Fast).await;
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_for_a_slow_reader() {
    everything_arrives_for(Reader::Slow).await;
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_for_a_reader_that_stopped() {
    everything_arrives_for(Reader::Stopped).await;
}

/// Output that is only sent when it is flushed, and a pipe that holds less than a frame: an end that
/// waits until its own is flushed cannot read, and the peer waits for just that.
#[tokio::test(start_paused = true)]
async fn two_ends_that_send_at_once_wait_for_no_flush() {
    const LENGTH: usize = 200_000;
    for capacity in [16, 64, 1000] {
        let (a, b) = duplex(capacity);
        let lines = [(a, Role::Client), (b, Role::Proxy)].map(|(pipe, role)| {
            let (reader, writer) = split(pipe);
            let writer = BufWriter::with_capacity(1 << 16, writer);
            let (line, running) = Line::over(reader, writer, role, LineConfig::default(), |_| {});
            tokio::spawn(running);
            line
        });
        let [client, proxy] = &lines;
        let (ours, theirs) = tokio::join!(client.open_channel(Priority::default()), proxy.accept());
        let exchanges = [ours.unwrap(), theirs.unwrap()].map(|mut channel| {
            tokio::spawn(async move {
                let (mut reader, mut writer) = split(&mut channel);
                let mut heard = vec![0; LENGTH];
                let (sent, read) =
                    tokio::join!(writer.write_all(&[7; LENGTH]), reader.read_exact(&mut heard));
                sent.unwrap();
                read.unwrap();
                assert!(heard == [7; LENGTH]);
            })
        });
        for exchange in exchanges {
            timeout(NEVER, exchange).await.expect("all of it in time").unwrap();
        }
    }
}

/// What was written before the last user of the line went away.
#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_a_closed_line_arrive() {
    for capacity in [16, 1000] {
        let (a, b) = duplex(capacity);
        let (reader, writer) = split(a);
        let config = LineConfig::default();
        let (client, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
        let running = tokio::spawn(running);
        let (reader, writer) = split(b);
        let (proxy, other) = Line::over(reader, writer, Role::Proxy, config, |_| {});
        tokio::spawn(other);
        let (ours, theirs) = tokio::join!(client.open_channel(Priority::default()), proxy.accept());
        let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
        ours.write_all(&[1; 8000]).await.unwrap();
        theirs.write_all(&[2; 8000]).await.unwrap();
        drop((ours, client));
        let mut heard = Vec::new();
        timeout(NEVER, theirs.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert!(heard == [1; 8000]);
        timeout(NEVER, running).await.unwrap().unwrap().unwrap();
    }
}
