//! What a stream's states and payload mean for the end of the program.

use std::time::Duration;

use sspc::{Flags, State};

use crate::console::printable;
use crate::exit::{Exit, Failure};

/// How long the first retry may take to begin after UNREACHABLE. A policy without retries says
/// nothing more, and one without a table of delays takes 3.9 s at most.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// How long DISCONNECTED is waited for after the transaction is over, where states are shown.
const LAST_STATE_WAIT: Duration = Duration::from_millis(250);

/// What to do after an event.
#[derive(Debug)]
pub(super) enum Next {
    /// Take the next one; a wait that was begun goes on.
    Continue,
    /// Take the next one, but end after this time if nothing says otherwise; `None` ends the
    /// waiting.
    Wait(Option<Duration>),
    /// That is the end.
    End(Result<Exit, Failure>),
}

/// Follows a stream until it is clear how it went.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whole messages that are still wanted; `None` for as many as there are.
    wanted: Option<u64>,
    /// Whether the last states are worth waiting for: they are to be shown, or say whether all
    /// was sent.
    wants_last_state: bool,
    /// The names of what `--meta` sets, as text for the user.
    metadata: String,
    /// What the remote peer said: ACK or NACK.
    acknowledged: Option<Exit>,
    /// A message began and did not end.
    in_message: bool,
    /// Something came.
    received: bool,
    /// All that was to be sent is on its way.
    sent: bool,
    /// The proxy did not take all of it.
    unsent: bool,
    /// The proxy has begun to connect.
    begun: bool,
    /// The onward connection was there.
    connected: bool,
    /// UNREACHABLE was the last word.
    unreachable: bool,
    /// The policy has retries.
    retries: bool,
}

impl Verdict {
    pub(super) fn new(
        count: Option<u64>,
        wants_last_state: bool,
        metadata: &[(String, String)],
    ) -> Self {
        let names: Vec<String> =
            metadata.iter().map(|(name, _)| format!("\"{}\"", printable(name))).collect();
        Self {
            wanted: count,
            wants_last_state,
            metadata: names.join(", "),
            acknowledged: None,
            in_message: false,
            received: false,
            sent: false,
            unsent: false,
            begun: false,
            connected: false,
            unreachable: false,
            retries: false,
        }
    }

    /// All that was to be sent is on its way.
    pub(super) fn sent(&mut self) {
        self.sent = true;
    }

    /// The proxy did not take all that was to be sent.
    pub(super) fn unsent(&mut self) {
        self.unsent = true;
    }

    /// Payload came.
    pub(super) fn payload(&mut self, any: bool, flags: Flags) -> Next {
        self.received |= any;
        self.begun = true;
        self.in_message |= flags.contains(Flags::SOM);
        if !flags.contains(Flags::EOM) {
            return Next::Continue;
        }
        self.received = true;
        self.in_message = false;
        match &mut self.wanted {
            Some(1) => Next::End(Ok(Exit::Ok)),
            Some(wanted) => {
                *wanted -= 1;
                Next::Continue
            }
            None => Next::Continue,
        }
    }

    /// The state changed.
    pub(super) fn state(&mut self, state: State) -> Next {
        match state {
            State::QosAckRemote | State::QosAckLocal => {
                self.acknowledged = Some(Exit::Ok);
                // More messages may follow the acknowledgement of ours.
                if self.wanted.is_some() { Next::Continue } else { self.finished() }
            }
            State::QosNackRemote | State::QosNackLocal => {
                self.acknowledged = Some(Exit::Nack);
                self.finished()
            }
            State::Connected => {
                self.begun = true;
                self.connected = true;
                Next::Wait(None)
            }
            State::Disconnected => Next::End(self.closed()),
            State::Unreachable => {
                self.unreachable = true;
                // With retries there will be an ALL_RETRIES_FAILED.
                if self.retries { Next::Continue } else { Next::Wait(Some(RETRY_WAIT)) }
            }
            State::Poll | State::Connecting => {
                self.begun = true;
                self.retries |= self.unreachable;
                self.unreachable = false;
                Next::Wait(None)
            }
            State::AllRetriesFailed => {
                Next::End(fail(Exit::Unreachable, "unreachable: all retries failed"))
            }
            State::Timeout => Next::End(fail(Exit::Timeout, "the proxy reports a timeout")),
            State::AuthFailed => {
                Next::End(fail(Exit::Failure, "the remote peer refused the credentials"))
            }
            State::UpstreamLinkRetry => Next::End(match self.acknowledged {
                Some(_) => self.closed(),
                None if self.begun => fail(
                    Exit::NoProxy,
                    "the link to the proxy was lost in the middle of the stream",
                ),
                None => self.hung_up(),
            }),
            State::Destroying => Next::End(match self.acknowledged {
                Some(_) => self.closed(),
                None => fail(Exit::Failure, "the proxy ended the stream; its log says why"),
            }),
            _ => Next::Continue,
        }
    }

    /// The wait is over, and nothing else came.
    pub(super) fn waited(&self) -> Result<Exit, Failure> {
        if self.unreachable {
            return fail(
                Exit::Unreachable,
                "unreachable, and the policy does not retry; the proxy's log (-v) says why",
            );
        }
        self.closed()
    }

    /// The connection is gone, or the stream.
    pub(super) fn closed(&self) -> Result<Exit, Failure> {
        match self.acknowledged {
            Some(Exit::Nack) => {
                return fail(Exit::Nack, "the remote peer refused (QOS_NACK_REMOTE)");
            }
            Some(_) if !self.is_all_sent() => {
                return fail(
                    Exit::Unsent,
                    "the remote peer acknowledged (QOS_ACK_REMOTE) before everything was sent; the \
                     rest was not",
                );
            }
            Some(exit) => return Ok(exit),
            None => {}
        }
        if !self.connected {
            return fail(Exit::Failure, "the stream ended before it was connected");
        }
        if self.in_message {
            return fail(Exit::Failure, "incomplete: the connection ended inside a message");
        }
        if !self.is_all_sent() {
            return fail(Exit::Failure, "the connection ended before everything was sent");
        }
        if let Some(wanted) = self.wanted {
            let messages = if wanted == 1 { "message" } else { "messages" };
            let message =
                format!("the connection ended with {wanted} {messages} still to come (--count)");
            return fail(Exit::Failure, &message);
        }
        if !self.received {
            return fail(Exit::Failure, "the connection ended without an answer");
        }
        Ok(Exit::Ok)
    }

    fn is_all_sent(&self) -> bool {
        self.sent && !self.unsent
    }

    /// The proxy closed the link before anything came of the stream.
    fn hung_up(&self) -> Result<Exit, Failure> {
        match self.metadata.as_str() {
            "" => fail(
                Exit::NoProxy,
                "the link to the proxy was closed before the stream began to connect; the log of \
                 the proxy, or of the bridge in between, says why",
            ),
            names => fail(
                Exit::Failure,
                &format!(
                    "the proxy closed the stream before it began to connect; does its policy \
                     declare the metadata {names} (--meta), and may this client set it to that? \
                     The proxy's log says more"
                ),
            ),
        }
    }

    fn finished(&self) -> Next {
        if self.wants_last_state {
            Next::Wait(Some(LAST_STATE_WAIT))
        } else {
            Next::End(self.closed())
        }
    }
}

fn fail(exit: Exit, message: &str) -> Result<Exit, Failure> {
    Err(Failure::new(message).with_exit(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code after these states, or `None` if there is no end yet.
    fn ends(verdict: &mut Verdict, states: &[State]) -> Option<u8> {
        for (index, state) in states.iter().enumerate() {
            if let Next::End(end) = verdict.state(*state) {
                assert_eq!(index, states.len() - 1, "ended early, at {state}");
                return Some(code(end));
            }
        }
        None
    }

    fn code(end: Result<Exit, Failure>) -> u8 {
        end.unwrap_or_else(|failure| failure.exit).code()
    }

    fn verdict() -> Verdict {
        let mut verdict = Verdict::new(None, false, &[]);
        verdict.sent();
        verdict
    }

    use State::*;

    #[test]
    fn an_http_transaction_ends_with_its_acknowledgement() {
        assert_eq!(ends(&mut verdict(), &[Creating, Connecting, Connected, QosAckRemote]), Some(0));
        assert_eq!(
            ends(&mut verdict(), &[Creating, Connecting, Connected, QosNackRemote]),
            Some(4)
        );
    }

    #[test]
    fn an_acknowledgement_before_everything_was_sent_is_no_success() {
        // It was exit code 0.
        let transaction = [Creating, Connecting, Connected, QosAckRemote];
        let mut unsent = verdict();
        unsent.unsent();
        assert_eq!(ends(&mut unsent, &transaction), Some(3));
        let mut sending = Verdict::new(None, false, &[]);
        assert_eq!(ends(&mut sending, &transaction), Some(3));
        let mut refused = Verdict::new(None, false, &[]);
        assert_eq!(ends(&mut refused, &[Creating, Connecting, Connected, QosNackRemote]), Some(4));
    }

    #[test]
    fn with_states_shown_the_last_one_is_waited_for() {
        let mut verdict = Verdict::new(None, true, &[]);
        verdict.sent();
        assert_eq!(ends(&mut verdict, &[Creating, Connecting, Connected, QosAckRemote]), None);
        assert_eq!(code(verdict.waited()), 0);
        assert_eq!(ends(&mut verdict, &[Disconnected]), Some(0));
    }

    #[test]
    fn a_link_that_closes_is_lost_unless_undeclared_metadata_is_the_likely_cause() {
        assert_eq!(ends(&mut verdict(), &[Creating, UpstreamLinkRetry]), Some(8));
        let mut undeclared = Verdict::new(None, false, &[("name".into(), "value".into())]);
        assert_eq!(ends(&mut undeclared, &[Creating, UpstreamLinkRetry]), Some(1));
        assert_eq!(ends(&mut verdict(), &[Creating, Connecting, UpstreamLinkRetry]), Some(8));
        let all = [Creating, Connecting, Connected, UpstreamLinkRetry];
        assert_eq!(ends(&mut verdict(), &all), Some(8));

        let mut between_messages = verdict();
        assert_eq!(ends(&mut between_messages, &[Creating, Connecting, Connected]), None);
        assert!(matches!(between_messages.payload(true, Flags::WHOLE), Next::Continue));
        assert_eq!(ends(&mut between_messages, &[UpstreamLinkRetry]), Some(8));

        let mut acknowledged = Verdict::new(None, true, &[]);
        acknowledged.sent();
        let all = [Creating, Connecting, Connected, QosAckRemote, UpstreamLinkRetry];
        assert_eq!(ends(&mut acknowledged, &all), Some(0));
    }

    #[test]
    fn unreachable_without_retries_ends_after_a_wait() {
        let mut verdict = verdict();
        assert_eq!(ends(&mut verdict, &[Creating, Connecting]), None);
        assert!(matches!(verdict.state(Unreachable), Next::Wait(Some(_))));
        assert_eq!(code(verdict.waited()), 5);
    }

    #[test]
    fn with_retries_the_last_of_them_decides() {
        let mut verdict = verdict();
        assert_eq!(ends(&mut verdict, &[Creating, Connecting, Unreachable]), None);
        assert!(matches!(verdict.state(Poll), Next::Wait(None)));
        assert_eq!(ends(&mut verdict, &[Connecting]), None);
        assert!(matches!(verdict.state(Unreachable), Next::Continue));
        assert_eq!(ends(&mut verdict, &[AllRetriesFailed]), Some(5));
    }

    #[test]
    fn a_stream_of_messages_is_complete_between_messages_only() {
        let mut whole = verdict();
        assert_eq!(ends(&mut whole, &[Creating, Connecting, Connected]), None);
        assert!(matches!(whole.payload(true, Flags::WHOLE), Next::Continue));
        assert_eq!(ends(&mut whole, &[Disconnected]), Some(0));

        let mut cut = verdict();
        assert_eq!(ends(&mut cut, &[Creating, Connecting, Connected]), None);
        assert!(matches!(cut.payload(true, Flags::SOM), Next::Continue));
        assert_eq!(ends(&mut cut, &[Disconnected]), Some(1));
    }

    #[test]
    fn raw_bytes_without_message_flags_are_complete_at_the_end() {
        let mut verdict = verdict();
        assert_eq!(ends(&mut verdict, &[Creating, Connecting, Connected]), None);
        assert!(matches!(verdict.payload(true, Flags::NONE), Next::Continue));
        assert_eq!(ends(&mut verdict, &[Disconnected]), Some(0));
    }

    #[test]
    fn counted_messages_end_it_and_too_few_are_a_failure() {
        let mut enough = Verdict::new(Some(2), false, &[]);
        assert!(matches!(enough.payload(true, Flags::SOM), Next::Continue));
        assert!(matches!(enough.payload(true, Flags::EOM), Next::Continue));
        assert!(matches!(enough.payload(false, Flags::WHOLE), Next::End(Ok(Exit::Ok))));

        let mut few = Verdict::new(Some(2), false, &[]);
        few.sent();
        assert_eq!(ends(&mut few, &[Creating, Connecting, Connected]), None);
        assert!(matches!(few.payload(true, Flags::WHOLE), Next::Continue));
        assert_eq!(ends(&mut few, &[Disconnected]), Some(1));
    }

    #[test]
    fn a_lost_connection_without_an_answer_is_a_failure() {
        assert_eq!(ends(&mut verdict(), &[Creating, Connecting, Connected, Disconnected]), Some(1));
    }

    #[test]
    fn the_other_ends() {
        assert_eq!(ends(&mut verdict(), &[Creating, Timeout]), Some(7));
        assert_eq!(ends(&mut verdict(), &[Creating, Connecting, AuthFailed]), Some(1));
        assert_eq!(ends(&mut verdict(), &[Creating, Destroying]), Some(1));
        assert_eq!(ends(&mut verdict(), &[Creating, User(1530), Connecting]), None);
    }
}
