//! An engine whose I/O is a pair of byte vectors, and a clock that the test turns.

use std::fmt::Write;

use sspc::{Config, Event, Flags, Instant, LinkAction, Name, State, Stream, Tx};
use sspc_wire::{Piece, ToClient, ToProxy, ToProxyDecoder};

/// What the application saw, as text, one event each; payload joined while its message goes on.
pub(crate) type Seen = Vec<String>;

pub(crate) struct Bench {
    pub(crate) stream: Stream<Vec<u8>>,
    pub(crate) now: Instant,
    pub(crate) seen: Seen,
    /// The link's state as its owner knows it.
    pub(crate) up: bool,
    /// All that was transmitted on this link.
    pub(crate) sent: Vec<u8>,
    /// Messages to send: the engine's source takes them in turn.
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) at: usize,
    /// What the application does at an event.
    pub(crate) react: fn(&mut Bench, &str),
    /// All payload that came.
    pub(crate) received: Vec<u8>,
    payload: Vec<u8>,
    flags: Flags,
    values: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(streamtype: &str, config: Config) -> Self {
        let stream = Stream::new(Name::new(streamtype).unwrap(), config, vec![0; 512]);
        Self {
            stream,
            now: Instant::from_millis(1_000),
            seen: Vec::new(),
            up: false,
            sent: Vec::new(),
            messages: Vec::new(),
            at: 0,
            react: |_, _| {},
            received: Vec::new(),
            payload: Vec::new(),
            flags: Flags::NONE,
            values: Vec::new(),
        }
    }

    /// A stream that the proxy has created.
    pub(crate) fn created(config: Config) -> Self {
        let mut bench = Self::new("mintest", config);
        bench.open();
        bench.hear(&[created(), state(State::Creating)].concat());
        bench.sent.clear();
        bench.seen.clear();
        bench
    }

    /// A stream that is connected onward, because the application asked.
    pub(crate) fn connected(config: Config) -> Self {
        let mut bench = Self::created(config);
        bench.stream.connect();
        bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
        bench.sent.clear();
        bench.seen.clear();
        bench
    }

    /// Opens the link, which the engine must want now.
    pub(crate) fn open(&mut self) {
        assert_eq!(self.stream.poll_link(self.now), Some(LinkAction::Open), "{:?}", self.stream);
        self.sent.clear();
        self.up = true;
        self.stream.link_up(self.now);
        self.settle();
    }

    /// Bytes come from the proxy.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            let now = self.now;
            let Some(event) = self.stream.receive(now, &mut input) else { break };
            if let Event::Payload { data, .. } = event {
                self.received.extend_from_slice(data);
            }
            let Some(text) = see(event, &mut self.payload, &mut self.flags, &mut self.values)
            else {
                continue;
            };
            self.seen.push(text.clone());
            (self.react)(self, &text);
        }
        self.settle();
    }

    /// The link breaks.
    pub(crate) fn cut(&mut self) {
        self.up = false;
        self.stream.link_down(self.now);
        self.hear(&[]);
    }

    pub(crate) fn pass(&mut self, ms: u32) {
        self.now = self.now.plus_millis(ms);
        self.stream.handle_timeout(self.now);
        self.hear(&[]);
    }

    /// Takes what is to be transmitted, and drops the link if that is wanted.
    pub(crate) fn settle(&mut self) {
        let mut buf = [0; 700];
        loop {
            let (messages, at) = (&mut self.messages, &mut self.at);
            let mut source = |buf: &mut [u8]| {
                let message = messages.first()?;
                let length = buf.len().min(message.len() - *at);
                buf[..length].copy_from_slice(&message[*at..*at + length]);
                let mut flags = if *at == 0 { Flags::SOM } else { Flags::NONE };
                *at += length;
                let last = *at == message.len();
                if last {
                    flags |= Flags::EOM;
                    messages.remove(0);
                    *at = 0;
                }
                Some(Tx { len: length, flags, more: !last })
            };
            match self.stream.transmit(self.now, &mut buf, &mut source).unwrap() {
                0 => break,
                length => self.sent.extend_from_slice(&buf[..length]),
            }
        }
        if self.up && self.stream.poll_link(self.now) == Some(LinkAction::Drop) {
            self.up = false;
            self.stream.link_down(self.now);
        }
    }

    /// The frames that were transmitted, as text; forgets them.
    pub(crate) fn frames(&mut self) -> Vec<String> {
        let frames = frames(&self.sent);
        self.sent.clear();
        frames
    }

    /// What was seen since; forgets it.
    pub(crate) fn events(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }
}

/// The event as text; nothing for a payload or value that goes on.
fn see(
    event: Event<'_>,
    payload: &mut Vec<u8>,
    flags: &mut Flags,
    values: &mut Vec<u8>,
) -> Option<String> {
    match event {
        Event::State { state, ordinal: 0 } => Some(state.to_string()),
        Event::State { state, ordinal } => Some(format!("{state} {ordinal}")),
        Event::Payload { data, flags: more, rideshare } => {
            payload.extend_from_slice(data);
            *flags |= more;
            if !more.contains(Flags::EOM) {
                return None;
            }
            let mut text = format!("rx {} {}", payload.len(), std::mem::take(flags));
            if payload.len() <= 16 {
                write!(text, " {}", String::from_utf8_lossy(payload)).unwrap();
            }
            if let Some(name) = rideshare {
                write!(text, " of {}", String::from_utf8_lossy(name)).unwrap();
            }
            payload.clear();
            Some(text)
        }
        Event::Metadata { name, value } => {
            values.extend_from_slice(value.data);
            value.is_last().then(|| {
                let value = std::mem::take(values);
                format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(&value))
            })
        }
        Event::Perf(json) => {
            values.extend_from_slice(json.data);
            json.is_last()
                .then(|| format!("perf {}", String::from_utf8_lossy(&std::mem::take(values))))
        }
        Event::Refused { result } => Some(format!("refused {result}")),
        Event::Fault(fault) => Some(format!("fault: {fault}")),
        other => panic!("unknown event {other:?}"),
    }
}

/// The frames of a client as text, pids and times left out.
pub(crate) fn frames(bytes: &[u8]) -> Vec<String> {
    let mut decoder = ToProxyDecoder::new();
    let mut input = bytes;
    let mut texts = Vec::new();
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        texts.push(name_of(&frame));
    }
    assert!(decoder.is_between_frames(), "frames are transmitted whole");
    texts
}

/// A frame of a client as text, pid and times left out.
pub(crate) fn name_of(frame: &ToProxy<'_>) -> String {
    match frame {
        ToProxy::Streamtype(s) => {
            format!("STREAMTYPE {} {}", String::from_utf8_lossy(s.name), s.tx_credit)
        }
        ToProxy::OnwardConnect => "ONWARD_CONNECT".into(),
        ToProxy::Destroying => "DESTROYING".into(),
        ToProxy::Payload { head, piece, .. } => format!("TX {} {}", piece.total, head.flags),
        ToProxy::Metadata { name, value } => format!(
            "METADATA {}={}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value.data)
        ),
        ToProxy::TxCredit(credit) => format!("CREDIT {credit}"),
        ToProxy::Timeout(timeout) => format!("TIMEOUT {timeout:?}"),
        ToProxy::LengthHint(length) => format!("LENGTH {length}"),
        other => panic!("unknown frame {other:?}"),
    }
}

pub(crate) fn frame(frame: ToClient<'_>) -> Vec<u8> {
    let mut buf = [0; 70_000];
    let length = frame.encode(&mut buf).unwrap();
    buf[..length].to_vec()
}

pub(crate) fn state(state: State) -> Vec<u8> {
    frame(ToClient::State { state, ordinal: 0 })
}

/// CREATE_RESULT 0 as deployed proxies write it.
pub(crate) fn created() -> Vec<u8> {
    create_result(0, b",mintest")
}

/// The whole creation of a streamtype that takes no payload, by a proxy that says so.
pub(crate) fn created_without_payload() -> Vec<u8> {
    [created(), frame(ToClient::TxCredit(0)), state(State::Creating)].concat()
}

pub(crate) fn create_result(result: u8, list: &[u8]) -> Vec<u8> {
    let list = Piece::whole(list).unwrap();
    frame(ToClient::CreateResult { result, client_buflen: 0, list })
}

pub(crate) fn payload(data: &[u8], flags: Flags) -> Vec<u8> {
    let head = sspc_wire::PayloadHead::new(flags);
    let piece = Piece::whole(data).unwrap();
    frame(ToClient::Payload { head, rideshare: None, piece })
}
