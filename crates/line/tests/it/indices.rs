//! A peer that answers no CHANNEL_CLOSE, as deployed proxies do, in the runtime's virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use sspc_line::{Channel, Line, LineConfig, Priority, Role};
use sspc_wire::{MuxDecoder, MuxFrame};
use tokio::io::{AsyncReadExt, DuplexStream, duplex, split};
use tokio::time::{sleep, timeout};

use crate::support::say;

/// Answers everything but CHANNEL_CLOSE, and takes no request for a channel that it holds open. With
/// `frees` CHANNEL_NACK is a channel's end to it.
async fn peer(mut wire: DuplexStream, frees: bool) {
    let (mut decoder, mut input) = (MuxDecoder::new(), [0; 512]);
    let mut open = BTreeSet::new();
    while let Ok(length @ 1..) = wire.read(&mut input).await {
        let mut rest = &input[..length];
        while let Some(frame) = decoder.next(&mut rest).unwrap() {
            match frame {
                MuxFrame::Reset => open.clear(),
                MuxFrame::Ping { sent_us: echo_us } => {
                    say(&mut wire, MuxFrame::Pong { echo_us, sent_us: 1 }).await;
                }
                MuxFrame::Pong { .. } => say(&mut wire, MuxFrame::PongAck { unix_us: 1 }).await,
                MuxFrame::ChannelReq(index) if open.insert(index) => {
                    say(&mut wire, MuxFrame::ChannelAck(index)).await;
                }
                MuxFrame::ChannelNack(index) if frees => _ = open.remove(&index),
                _ => {}
            }
        }
    }
}

fn line(frees: bool) -> Line {
    let (here, there) = duplex(4096);
    let (reader, writer) = split(here);
    let (line, running) = Line::over(reader, writer, Role::Client, LineConfig::default(), |_| {});
    tokio::spawn(running);
    tokio::spawn(peer(there, frees));
    line
}

async fn open(line: &Line, number: u32) -> Channel {
    let opening = line.open_channel(Priority::default());
    let opened = timeout(Duration::from_secs(10), opening).await.expect("it waits in vain");
    opened.unwrap_or_else(|error| panic!("stream {number}: {error}"))
}

/// After 253 streams one was refused, and with it its program: the link was reset, for more to come, but
/// the one for which it was did not wait for it.
#[tokio::test(start_paused = true)]
async fn streams_come_one_after_the_other_for_ever_beside_a_peer_that_frees_no_channel() {
    for pause in [0, 4] {
        let line = line(false);
        for number in 0..600 {
            drop(open(&line, number).await);
            sleep(Duration::from_secs(pause)).await;
        }
        assert_eq!(line.status().losses, 2, "{pause}");
    }
}

/// The reset ended streams that went on.
#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_on_is_not_lost_for_those_that_come_and_go() {
    for pause in [0, 4] {
        let line = line(true);
        let stays = open(&line, 0).await;
        for number in 1..600 {
            drop(open(&line, number).await);
            sleep(Duration::from_secs(pause)).await;
        }
        assert_eq!(line.status().losses, 0, "{pause}");
        drop(stays);
    }
}
