//! Recorded serial lines of libwebsockets, with our client in place of the recorded one.

use sspc::{Client, ClientEvent, Config, Event, Instant, MuxConfig, Name, Priority, Slot, State};
use sspc_sim::vectors::{self, Direction};
use sspc_wire::{MuxDecoder, MuxFrame};

use crate::recordings::{channel, received, said};

type One = Client<[Slot<[u8; 128]>; 1]>;

/// What the application saw and what the client wrote.
#[derive(Debug, Default, PartialEq)]
struct Told {
    seen: Vec<String>,
    received: Vec<u8>,
    sent: Vec<u8>,
}

impl Told {
    fn hear(&mut self, client: &mut One, now: Instant, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            let mut event = client.receive(now, &mut input);
            if event.is_none() {
                event = client.handle_timeout(now);
            }
            match event {
                None => break,
                Some(ClientEvent::LinkUp { .. }) => self.seen.push("up".into()),
                Some(ClientEvent::LinkDown { .. }) => self.seen.push("down".into()),
                Some(ClientEvent::Stream { id, event }) => match event {
                    Event::Payload { data, .. } => self.received.extend_from_slice(data),
                    Event::State { state, .. } => {
                        self.seen.push(state.to_string());
                        if state == State::Creating {
                            client.connect(id);
                        }
                    }
                    Event::Refused { .. } => self.seen.push("refused".into()),
                    other => panic!("unexpected {other:?}"),
                },
                Some(_) => {}
            }
        }
        self.transmit(client, now);
    }

    fn transmit(&mut self, client: &mut One, now: Instant) {
        let mut out = [0; 1500];
        while let n @ 1.. = client.transmit(now, &mut out, &mut |_, _| None).unwrap() {
            self.sent.extend_from_slice(&out[..n]);
        }
    }
}

/// Plays the recorded proxy, in chunks of this size. Our PINGs go out when the recorded ones did and
/// with their times, so that the recorded answers fit.
fn play(name: &str, size: usize) -> Told {
    // No PING of its own in between, and one attempt at each life of the link.
    let mux = MuxConfig { ping_ms: 10_000_000, retry_first_ms: 10_000_000, ..MuxConfig::DEFAULT };
    let slot = Slot::new(Name::literal("binance"), Config::DEFAULT, Priority::LOWEST, [0; 128]);
    let mut client = Client::new(MuxConfig { retry_max_ms: 10_000_000, ..mux }, 1, [slot]);
    let (mut told, mut now_us) = (Told::default(), 0);
    for chunk in vectors::load(name) {
        if chunk.direction == Direction::ToClient {
            for part in chunk.bytes.chunks(size) {
                told.hear(&mut client, Instant::from_micros(now_us), part);
            }
            continue;
        }
        let (mut input, mut decoder) = (&chunk.bytes[..], MuxDecoder::new());
        let mut resets = false;
        while let Ok(Some(frame)) = decoder.next(&mut input) {
            match frame {
                MuxFrame::Reset => resets = true,
                MuxFrame::Ping { sent_us } => {
                    now_us = sent_us;
                    let now = Instant::from_micros(now_us);
                    match resets {
                        true => client.reset(),
                        false => client.ping(now),
                    }
                    told.hear(&mut client, now, &[]);
                }
                _ => {}
            }
        }
    }
    told
}

#[test]
fn the_ticker_is_heard_whole_at_every_chunk_size() {
    let payload = received(&channel("mux_ws_ticker", Direction::ToClient, 255));
    let recorded = said(&channel("mux_ws_ticker", Direction::ToProxy, 255));
    for size in (1..=32).chain([100, 1303, 1304, 1305, usize::MAX]) {
        let told = play("mux_ws_ticker", size);
        assert_eq!(told.seen, ["up", "CREATING", "CONNECTING", "CONNECTED"], "chunks of {size}");
        assert!(told.received == payload, "chunks of {size}");
        let (mut ours, mut decoder, mut input) = (Vec::new(), MuxDecoder::new(), &told.sent[..]);
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            if let MuxFrame::Data { channel: 255, piece } = frame {
                ours.extend_from_slice(piece.data);
            }
        }
        let ours = said(&ours);
        // In larger chunks CONNECTED comes with CREATE_RESULT, and there is nothing to ask for.
        assert!(
            ours == recorded || size > 17 && ours == recorded[..1],
            "chunks of {size}: {ours:?}"
        );
    }
}

#[test]
fn an_unknown_streamtype_is_told_at_every_chunk_size() {
    let whole = play("mux_unknown", usize::MAX);
    assert_eq!(whole.seen[..2], ["up", "refused"]);
    for size in (1..=32).chain([100]) {
        assert_eq!(play("mux_unknown", size), whole, "chunks of {size}");
    }
}
