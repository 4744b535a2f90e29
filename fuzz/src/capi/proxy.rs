//! The proxy's end of the line in the fuzz target for the client for C.

use std::collections::BTreeMap;

use sspc_sim::frames::{Owned, encode};
use sspc_wire::{MuxDecoder, MuxFrame, State, ToClientDecoder, ToProxy, ToProxyDecoder};

/// The other end of the line: it answers, as far as it is let.
#[derive(Default)]
pub(super) struct Proxy {
    decoder: MuxDecoder,
    /// What each channel brought.
    channels: BTreeMap<u8, (ToProxyDecoder, usize)>,
    pub(super) is_silent: bool,
    pub(super) refuses: bool,
    /// What is on its way to the device.
    pub(super) answers: Vec<u8>,
}

impl Proxy {
    pub(super) fn say(&mut self, frame: &Owned) {
        let bytes = encode::<MuxDecoder>(frame).expect("frames that can be written");
        self.answers.extend(bytes);
    }

    pub(super) fn say_in(&mut self, channel: u8, frame: &Owned) {
        // Those that are open, so that it gets somewhere.
        let open = self.channels.keys().nth(usize::from(channel) % self.channels.len().max(1));
        let channel = open.copied().unwrap_or(channel);
        if let Ok(data) = encode::<ToClientDecoder>(frame) {
            self.say(&Owned::MuxData { channel, data });
        }
    }

    /// What the device says is always right.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        let mut decoder = std::mem::take(&mut self.decoder);
        while let Some(frame) = decoder.next(&mut input).expect("mux frames") {
            let answer = match frame {
                MuxFrame::ChannelReq(channel) if self.refuses => MuxFrame::ChannelNack(channel),
                MuxFrame::ChannelReq(channel) => {
                    self.channels.insert(channel, Default::default());
                    MuxFrame::ChannelAck(channel)
                }
                MuxFrame::ChannelClose(channel) => {
                    self.channels.remove(&channel);
                    MuxFrame::ChannelCloseAck(channel)
                }
                MuxFrame::Ping { sent_us } => MuxFrame::Pong { echo_us: sent_us, sent_us: 7 },
                MuxFrame::Pong { .. } => MuxFrame::PongAck { unix_us: 1 },
                MuxFrame::Reset => {
                    self.channels.clear();
                    continue;
                }
                MuxFrame::Data { channel, piece } => {
                    self.data(channel, piece.data);
                    continue;
                }
                _ => continue,
            };
            if !self.is_silent {
                self.say(&Owned::Mux(answer));
            }
        }
        self.decoder = decoder;
    }

    fn data(&mut self, channel: u8, bytes: &[u8]) {
        let mut input = bytes;
        // It may have been closed on the proxy's side by what chance sent.
        let Some((mut decoder, mut count)) = self.channels.remove(&channel) else { return };
        let mut answers = Vec::new();
        while let Some(frame) = decoder.next(&mut input).expect("frames") {
            let is_first = matches!(frame, ToProxy::Streamtype(_));
            assert_eq!(is_first, count == 0, "frame {count}: {frame:?}");
            count += 1;
            match frame {
                ToProxy::Streamtype(_) => {
                    let list = b",fuzz,ride".to_vec();
                    answers.push(Owned::CreateResult { result: 0, client_buflen: 0, list });
                    answers.push(Owned::State(State::Creating, 0));
                }
                ToProxy::OnwardConnect => {
                    answers.push(Owned::State(State::Connecting, 0));
                    answers.push(Owned::State(State::Connected, 0));
                }
                _ => {}
            }
        }
        self.channels.insert(channel, (decoder, count));
        if !self.is_silent {
            for answer in answers {
                let data = encode::<ToClientDecoder>(&answer).expect("frames that can be written");
                self.say(&Owned::MuxData { channel, data });
            }
        }
    }
}
