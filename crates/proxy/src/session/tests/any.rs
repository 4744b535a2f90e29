//! Whatever client, peer and clock do: no panic, and the client hears nothing that it would not
//! take.

use futures_util::FutureExt;
use proptest::prelude::*;
use sspc_wire::limits::PID_CREDIT_BIT;
use sspc_wire::{Flags, State, Timeout, ToClientDecoder, ToProxy};
use tokio::sync::mpsc;

use super::super::*;
use super::support::*;
use crate::onward::{End, FailureKind, Takes};

#[derive(Clone, Debug)]
enum Step {
    /// The client sends this.
    Client(Vec<u8>),
    /// The peer reports this.
    Event(u8),
    /// The peer takes what there is.
    Take,
    /// The next deadline comes.
    Deadline,
}

fn legal_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(encoded(ToProxy::OnwardConnect)),
        any::<u32>().prop_map(|ms| encoded(ToProxy::Timeout(Timeout::from_wire(ms)))),
        any::<i32>().prop_map(|credit| encoded(ToProxy::TxCredit(credit))),
        any::<u32>().prop_map(|bytes| encoded(ToProxy::LengthHint(bytes))),
        (0..3000_usize, any::<u32>())
            .prop_map(|(length, flags)| payload(&vec![7; length], Flags::from_bits(flags))),
        (1..300_usize).prop_map(|length| {
            let value = vec![b'v'; length];
            encoded(ToProxy::Metadata { name: b"q", value: Piece::whole(&value).unwrap() })
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => legal_frame().prop_map(Step::Client),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Client),
        12 => (0..12_u8).prop_map(Step::Event),
        4 => Just(Step::Take),
        3 => Just(Step::Deadline),
    ]
}

fn event(number: u8) -> Event {
    let payload = |length, flags| Event::Payload { bytes: Bytes::from(vec![1; length]), flags };
    match number {
        0 => Event::Metadata(vec![("srv".to_owned(), Bytes::from_static(b"x"))]),
        1 => Event::Perf("{}".to_owned()),
        2 => Event::UserState(1001),
        3 => Event::TxCredit(-5),
        4 => Event::Connected { takes: Takes::Message },
        5 => payload(5000, Flags::SOM),
        6 => payload(0, Flags::EOM),
        7 => Event::acked(),
        8 => Event::nacked(),
        9 => Event::Ended(End::Complete),
        10 => Event::failed(FailureKind::Closed),
        _ => Event::failed(FailureKind::Connect),
    }
}

/// A session without a driver.
struct Bare {
    session: Session<Script>,
    attempts: mpsc::UnboundedReceiver<Started>,
    decoder: ToProxyDecoder,
    heard: ToClientDecoder,
    current: Option<State>,
    is_created: bool,
}

impl Bare {
    fn new() -> Self {
        let (starter, attempts) = Script::new();
        let timeouts = Timeouts::default();
        let session = Session {
            link: LinkKind { is_narrow: false, tells_when_read: false },
            state: SessionState::Unnamed { until: None },
            frames: None,
            context: SessionContext {
                id: 1,
                peer: Peer::Unknown,
                excess: None,
                policy: Arc::new(policy()),
                starter,
                observer: None,
                gate: crate::access::Gate::new(Default::default()),
                counts: Arc::default(),
                memory: Arc::default(),
                limits: Limits::default(),
                timeouts,
                draining: CancellationToken::new(),
                closing: CancellationToken::new(),
            },
        };
        Self {
            session,
            attempts,
            decoder: ToProxyDecoder::new(),
            heard: ToClientDecoder::new(),
            current: None,
            is_created: false,
        }
    }

    /// False once the session is over.
    fn client(&mut self, bytes: &[u8], size: usize) -> bool {
        let pieces = bytes.chunks(size);
        pieces.map(Bytes::copy_from_slice).all(|read| {
            let taken =
                self.session.take(&mut self.decoder, &Read { buffer: read.len(), bytes: read });
            taken.is_ok()
        })
    }

    /// Moves what moves, and judges what the client hears by what deployed clients take.
    fn hear(&mut self) {
        let SessionState::Created(stream) = &mut self.session.state else { return };
        stream.pump();
        let mut sink = AnyPipe(Vec::new());
        while !stream.frame_writer.is_empty() {
            let written = stream.frame_writer.write(&mut sink).now_or_never();
            written.expect("a vector takes all").expect("and does not fail");
        }
        let mut input = &sink.0[..];
        while let Some(frame) = self.heard.next(&mut input).expect("the proxy sends frames") {
            match frame {
                ToClient::CreateResult { .. } => {
                    assert!(!self.is_created, "created once");
                    self.is_created = true;
                }
                ToClient::State { state, .. } => {
                    assert!(self.is_created);
                    assert!(
                        State::is_safe_after(state, self.current),
                        "{:?} {state}",
                        self.current
                    );
                    if state != State::Timeout && !state.is_transparent() {
                        self.current = Some(state);
                    }
                }
                _ => assert!(self.is_created),
            }
        }
        assert!(self.heard.is_between_frames());
    }
}

proptest! {
    #[test]
    fn no_client_and_no_peer_can_make_the_proxy_say_what_clients_do_not_take(
        name in prop_oneof![Just("get"), Just("post"), Just("ws"), Just("small"), Just("retry")],
        honours_credit: bool,
        size in prop_oneof![Just(1_usize), 2..50_usize, Just(65_536)],
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut bare = Bare::new();
        let pid = if honours_credit { PID_CREDIT_BIT } else { 0 };
        let asked = Streamtype { version: 1, pid, tx_credit: 2000, name: name.as_bytes() };
        prop_assert!(bare.client(&encoded(ToProxy::Streamtype(asked)), size));
        let mut attempt = None;
        for step in steps {
            bare.hear();
            while let Ok(started) = bare.attempts.try_recv() {
                attempt = Some(started);
            }
            let SessionState::Created(stream) = &mut bare.session.state else { unreachable!() };
            match step {
                Step::Client(bytes) => {
                    if !bare.client(&bytes, size) {
                        return Ok(());
                    }
                }
                Step::Event(number) => stream.handle_event(Some(event(number))),
                Step::Take => {
                    if let Some(attempt) = &mut attempt {
                        while attempt.body.try_recv().is_ok() {}
                    }
                }
                Step::Deadline => stream.handle_deadline(),
            }
        }
        bare.hear();
    }

    #[test]
    fn any_bytes_of_a_client_end_in_a_session_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        is_named: bool,
    ) {
        let mut bare = Bare::new();
        if is_named {
            prop_assert!(bare.client(&streamtype("post"), 100));
        }
        bare.client(&bytes, 7);
        bare.hear();
    }
}
