//! Whether a dialogue keeps to the specification: what either end may send when, and what a peer makes
//! of it if it does not.

use sspc_sim::frames::{Owned, decode_whole};
use sspc_sim::spec::{self, File, Vector};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, State, ToClientDecoder, ToProxyDecoder};

/// The number of a statement that is violated, and what the peer does about it.
type Violation = (&'static str, &'static str);

/// Where the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Unnamed,
    Asking,
    Created,
    Refused,
}

/// What both ends of a dialogue know.
struct Dialogue {
    link: Link,
    /// Each message has a verdict.
    repeats_verdicts: bool,
    /// The client has set bit 31; the proxy has confirmed it.
    bit_31: bool,
    managed: bool,
    /// The proxy's CREATING has come.
    creating_came: bool,
    /// The last state that came, as a client counts and as a proxy does.
    peer: Option<State>,
    said: Option<State>,
    after_timeout: bool,
    connected: bool,
    /// DISCONNECTEDs that came and that the client has not acknowledged.
    heard: u32,
    /// `None` for no limit.
    to_client: Option<i64>,
    to_remote: i64,
}

pub(crate) fn check_dialogue(file: &File, vector: &Vector) {
    let named = format!("{}: {}", file.name, vector.name());
    let protocol = spec::text(&vector.0, "protocol");
    let mut dialogue = Dialogue::new(protocol);
    let mut found = None;
    for (at, step) in spec::list(&vector.0, "steps").iter().enumerate() {
        let bytes = spec::bytes(spec::text(step, "bytes"));
        let frames = spec::frames(step, "frames");
        let by = spec::text(step, "from");
        let (decoded, error) = match by {
            "client" => {
                let decoded = decode_whole::<ToProxyDecoder>(&bytes);
                (decoded.frames, decoded.error)
            }
            "proxy" => {
                let decoded = decode_whole::<ToClientDecoder>(&bytes);
                (decoded.frames, decoded.error)
            }
            other => panic!("{named}: a step from {other:?}"),
        };
        assert_eq!((decoded, error), (frames.clone(), None), "{named}, step {at}");
        // What was sent before the step before it had come is not to be judged by that.
        let crosses = step["crosses"].as_bool().unwrap_or(false);
        for frame in &frames {
            let violation = match by {
                "client" => dialogue.client_sends(frame).filter(|_| !crosses),
                _ => dialogue.proxy_sends(frame),
            };
            found = found.or(violation.map(|(statement, peer)| (statement, by, at as i64, peer)));
        }
    }
    let expected = vector.0.get("violates").map(|violates| {
        let [statement, by, peer] =
            ["statement", "by", "peer"].map(|key| spec::text(violates, key));
        (statement, by, spec::number(violates, "step"), peer)
    });
    assert_eq!(found, expected, "{named}");
}

impl Dialogue {
    fn new(protocol: &str) -> Self {
        Self {
            link: Link::Unnamed,
            repeats_verdicts: protocol == "mqtt",
            bit_31: false,
            managed: false,
            creating_came: false,
            peer: None,
            said: None,
            after_timeout: false,
            connected: false,
            heard: 0,
            to_client: None,
            to_remote: 0,
        }
    }

    fn client_sends(&mut self, frame: &Owned) -> Option<Violation> {
        match (self.link, frame) {
            (Link::Unnamed, Owned::Streamtype { pid, tx_credit, name, .. }) => {
                self.link = Link::Asking;
                self.bit_31 = pid >> 31 != 0;
                let is_limited = *tx_credit < CREDIT_UNLIMITED && (*tx_credit > 0 || self.bit_31);
                self.to_client = is_limited.then(|| i64::from(*tx_credit).max(0));
                if name == b"_lws_smd" {
                    self.to_client = self.bit_31.then_some(0);
                }
                return None;
            }
            (_, Owned::Streamtype { .. }) => return Some(("F-45", "closes without an answer")),
            (Link::Unnamed, Owned::TxCredit(_) | Owned::Timeout(_) | Owned::LengthHint(_)) => {
                return Some(("S-11", "ignores it"));
            }
            (Link::Unnamed, _) => return Some(("S-11", "closes without an answer")),
            (Link::Asking, _) => return Some(("S-11", "takes it")),
            (Link::Created | Link::Refused, _) => {}
        }
        let is_stale = self.heard > 0;
        match frame {
            Owned::TxCredit(0) if self.managed && !is_stale => Some(("C-22", "ignores it")),
            Owned::TxCredit(0) if self.managed => {
                self.heard -= 1;
                None
            }
            Owned::TxCredit(update) => {
                if let Some(credit) = &mut self.to_client {
                    *credit = (*credit + i64::from(*update)).max(0);
                }
                None
            }
            Owned::LengthHint(_) | Owned::OnwardConnect if is_stale => Some(("C-22", "ignores it")),
            Owned::Payload { .. } if is_stale => Some(("C-22", "ignores it")),
            Owned::Payload { head, .. } if head.flags.contains(Flags::RIDESHARE) => {
                Some(("F-35", "takes it"))
            }
            Owned::Payload { .. } if !self.connected => Some(("S-21", "takes it")),
            Owned::Payload { data, .. } if self.managed => {
                self.to_remote -= data.len() as i64;
                (self.to_remote < 0).then_some(("C-21", "takes it"))
            }
            Owned::Perf(_) => Some(("F-31", "ignores it")),
            _ => None,
        }
    }

    fn proxy_sends(&mut self, frame: &Owned) -> Option<Violation> {
        match (self.link, frame) {
            (Link::Asking, Owned::CreateResult { result: 0, .. }) => {
                self.link = Link::Created;
                return None;
            }
            (Link::Asking, Owned::CreateResult { .. }) => {
                self.link = Link::Refused;
                return None;
            }
            (Link::Refused, _) => return Some(("S-30", "drops the link")),
            (_, Owned::CreateResult { .. }) | (Link::Unnamed | Link::Asking, _) => {
                return Some(("F-45", "drops the link"));
            }
            (Link::Created, _) => {}
        }
        match frame {
            Owned::TxCredit(credit) => {
                self.managed |= self.bit_31 && !self.creating_came;
                self.to_remote += i64::from(*credit);
                None
            }
            Owned::State(state, _) => self.proxy_says(*state),
            Owned::Payload { data, .. } => {
                if let Some(credit) = &mut self.to_client {
                    *credit -= data.len() as i64;
                    if *credit < 0 {
                        return Some(("C-6", "takes it"));
                    }
                }
                (!self.connected).then_some(("F-15", "takes it"))
            }
            _ => None,
        }
    }

    fn proxy_says(&mut self, state: State) -> Option<Violation> {
        let peer = match state {
            State::UpstreamLinkRetry | State::EventWaitCancelled => "ignores it",
            // What CREATE_RESULT has said already is the first state of all.
            _ if State::may_follow(state, self.peer) => "takes it",
            _ => "drops the link",
        };
        let is_verdict = |state| matches!(state, State::QosAckRemote | State::QosNackRemote);
        let repeats = self.repeats_verdicts && self.said.is_some_and(is_verdict);
        let again = self.after_timeout && state == State::Unreachable && self.said == Some(state);
        let allowed =
            State::is_safe_after(state, self.said) || repeats && is_verdict(state) || again;
        let violates = match state {
            State::AllRetriesFailed if self.after_timeout => Some("S-6"),
            _ if !allowed => Some("S-5"),
            _ => None,
        };
        if !state.is_transparent() {
            self.peer = Some(state);
            self.after_timeout = state == State::Timeout;
            if state != State::Timeout {
                self.said = Some(state);
            }
        }
        self.creating_came |= state == State::Creating;
        match state {
            State::Connected => self.connected = true,
            State::Disconnected | State::Unreachable => self.connected = false,
            _ => {}
        }
        if state == State::Disconnected && self.managed {
            self.heard += 1;
        }
        violates.map(|statement| (statement, peer))
    }
}
