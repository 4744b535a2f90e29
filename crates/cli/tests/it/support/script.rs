//! A proxy that does what a test says, frame by frame.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use sspc_wire::{Flags, PayloadHead, Piece, State, ToClient, ToProxy, ToProxyDecoder, frame_name};
use tempfile::TempDir;

pub(crate) struct ScriptedProxy {
    listener: UnixListener,
    pub(crate) address: String,
    pub(crate) dir: TempDir,
}

impl ScriptedProxy {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy");
        let listener = UnixListener::bind(&path).unwrap();
        Self { listener, address: format!("uds:{}", path.display()), dir }
    }

    /// The next client.
    pub(crate) fn accept(&self) -> Client {
        let (socket, _) = self.listener.accept().unwrap();
        Client {
            socket,
            decoder: ToProxyDecoder::new(),
            seen: VecDeque::new(),
            payload: Vec::new(),
        }
    }
}

/// A client's link, as its proxy sees it.
pub(crate) struct Client {
    socket: UnixStream,
    decoder: ToProxyDecoder,
    /// The names of frames that came and were not waited for.
    seen: VecDeque<&'static str>,
    /// All payload that came.
    pub(crate) payload: Vec<u8>,
}

impl Client {
    /// Takes frames until one of this name came; gives the names of those before it.
    pub(crate) fn wait_for(&mut self, name: &str) -> Vec<&'static str> {
        let mut before = Vec::new();
        loop {
            match self.seen.pop_front() {
                Some(seen) if seen == name => return before,
                Some(seen) => before.push(seen),
                None => assert!(self.read(), "the client closed, without {name}: {before:?}"),
            }
        }
    }

    /// The names of all frames that come until the client closes.
    pub(crate) fn rest(mut self) -> Vec<&'static str> {
        while self.read() {}
        self.seen.into()
    }

    /// Reads what there is; false at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).unwrap();
        let mut input = &bytes[..count];
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            let (name, is_last) = match frame {
                ToProxy::Streamtype(_) => ("STREAMTYPE", true),
                ToProxy::OnwardConnect => ("ONWARD_CONNECT", true),
                ToProxy::Destroying => ("DESTROYING", true),
                ToProxy::Payload { piece, .. } => {
                    self.payload.extend_from_slice(piece.data);
                    ("TX_PAYLOAD", piece.is_last())
                }
                ToProxy::LengthHint(_) => ("PAYLOAD_LENGTH_HINT", true),
                ToProxy::TxCredit(_) => ("TXCR_UPDATE", true),
                other => panic!("{other:?}"),
            };
            assert!((0..=u8::MAX).any(|frame| frame_name(frame) == Some(name)));
            if is_last {
                self.seen.push_back(name);
            }
        }
        count > 0
    }

    /// Writes frames, all at once.
    pub(crate) fn write(&mut self, frames: &[ToClient<'_>]) {
        let mut bytes = Vec::new();
        for frame in frames {
            let mut room = [0; 4096];
            let length = frame.encode(&mut room).unwrap();
            bytes.extend_from_slice(&room[..length]);
        }
        self.socket.write_all(&bytes).unwrap();
    }

    /// Writes this frame again and again, until the client has read nothing for half a second.
    pub(crate) fn write_until_it_stalls(&mut self, frame: &ToClient<'_>) {
        let mut room = [0; 4096];
        let length = frame.encode(&mut room).unwrap();
        let (mut rest, mut quiet) = (&room[..length], 0);
        self.socket.set_nonblocking(true).unwrap();
        while quiet < 100 {
            match self.socket.write(rest) {
                Ok(count) => (rest, quiet) = (&rest[count..], 0),
                Err(_) => {
                    quiet += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            if rest.is_empty() {
                rest = &room[..length];
            }
        }
    }

    /// Creates the stream, and gives this much credit.
    pub(crate) fn create(&mut self, credit: i32) {
        self.wait_for("STREAMTYPE");
        let list = Piece::whole(b"").unwrap();
        let created = ToClient::CreateResult { result: 0, client_buflen: 0, list };
        self.write(&[created, ToClient::TxCredit(credit), state(State::Creating)]);
    }
}

pub(crate) fn state(state: State) -> ToClient<'static> {
    ToClient::State { state, ordinal: 0 }
}

/// A whole message.
pub(crate) fn message(payload: &[u8]) -> ToClient<'_> {
    let head = PayloadHead::new(Flags::WHOLE);
    ToClient::Payload { head, rideshare: None, piece: Piece::whole(payload).unwrap() }
}
