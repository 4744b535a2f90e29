//! The one place where states are queued for the client.

use sspc_wire::State;

/// Lets only such sequences of states pass as every deployed client takes, and puts in what is
/// missing: DISCONNECTED before a connected stream connects again, UNREACHABLE before it gives up.
///
/// TIMEOUT may come at any time and leaves the state before it in force, with one exception: after
/// TIMEOUT deployed clients take no ALL_RETRIES_FAILED, so UNREACHABLE is said once more.
#[derive(Debug, Default)]
pub(crate) struct StateFilter {
    /// The last state said, TIMEOUT and user states left out.
    current: Option<State>,
    after_timeout: bool,
    /// One connection takes many messages, each with a verdict of its own.
    repeats_verdicts: bool,
}

/// How to say a state.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Direct,
    /// Another one comes first.
    After(State),
    /// It cannot or need not be said.
    Unsaid,
}

impl StateFilter {
    /// For a stream whose messages are acknowledged one by one. A verdict may follow on a verdict then,
    /// which deployed clients take if they were built with MQTT: there is no other way to say it.
    pub(crate) fn repeating_verdicts() -> Self {
        Self { repeats_verdicts: true, ..Self::default() }
    }

    /// The states to send so that the client learns of `next`, in order; none if it already knows.
    pub(crate) fn emit(&mut self, next: State) -> impl Iterator<Item = State> + use<> {
        let (first, second) = match self.way(next) {
            Way::Direct => (Some(next), None),
            Way::After(missing) => (Some(missing), Some(next)),
            Way::Unsaid => (None, None),
        };
        if first.is_some() && !next.is_transparent() {
            self.after_timeout = next == State::Timeout;
            if !self.after_timeout {
                self.current = Some(next);
            }
        }
        first.into_iter().chain(second)
    }

    /// The last state said, TIMEOUT and user states left out.
    pub(crate) fn current(&self) -> Option<State> {
        self.current
    }

    fn way(&self, next: State) -> Way {
        use State::{
            AllRetriesFailed, Connected, Connecting, Creating, Disconnected, Poll, QosAckRemote,
            QosNackRemote, Unreachable,
        };
        let Some(current) = self.current else {
            return if next == Creating { Way::Direct } else { Way::Unsaid };
        };
        if current == State::Destroying {
            return Way::Unsaid;
        }
        if next == AllRetriesFailed && current == Unreachable && self.after_timeout {
            return Way::After(Unreachable);
        }
        if State::is_safe_after(next, Some(current)) {
            return Way::Direct;
        }
        match (current, next) {
            (QosAckRemote | QosNackRemote, QosAckRemote | QosNackRemote)
                if self.repeats_verdicts =>
            {
                Way::Direct
            }
            (Connecting, Poll | Connecting | AllRetriesFailed) => Way::After(Unreachable),
            (Connecting, QosAckRemote | QosNackRemote) => Way::After(Connected),
            (Connected | QosAckRemote | QosNackRemote, Poll | Connecting) => {
                Way::After(Disconnected)
            }
            (
                Creating | Poll | Disconnected | Unreachable | AllRetriesFailed,
                Connected | Unreachable,
            ) if current != next => Way::After(Connecting),
            _ => Way::Unsaid,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use State::*;

    /// What a client sees when a proxy wants to say `wanted`.
    fn said(wanted: &[State]) -> Vec<State> {
        let mut state_filter = StateFilter::default();
        wanted.iter().flat_map(|state| state_filter.emit(*state)).collect()
    }

    #[test]
    fn a_whole_transaction_passes_as_it_is() {
        let whole = [
            Creating,
            Poll,
            Connecting,
            User(1404),
            Connected,
            QosAckRemote,
            Disconnected,
            Connecting,
            Unreachable,
            AllRetriesFailed,
            Connecting,
            Connected,
            Disconnected,
            Destroying,
        ];
        assert_eq!(said(&whole), whole);
    }

    #[test]
    fn each_message_has_its_verdict_where_there_may_be_many() {
        let wanted = [
            Creating,
            Connecting,
            Connected,
            QosAckRemote,
            QosAckRemote,
            QosNackRemote,
            QosNackRemote,
            QosAckRemote,
            Disconnected,
        ];
        let mut many = StateFilter::repeating_verdicts();
        let said_of_many: Vec<_> = wanted.iter().flat_map(|state| many.emit(*state)).collect();
        assert_eq!(said_of_many, wanted);
        assert_eq!(
            said(&wanted),
            [Creating, Connecting, Connected, QosAckRemote, Disconnected],
            "deployed clients without MQTT end the stream at the second"
        );
    }

    #[test]
    fn disconnected_is_put_in_before_a_connected_stream_connects_again() {
        assert_eq!(
            said(&[Creating, Connecting, Connected, Poll, Connecting]),
            [Creating, Connecting, Connected, Disconnected, Poll, Connecting]
        );
        assert_eq!(
            said(&[Creating, Connecting, Connected, QosNackRemote, Connecting]),
            [Creating, Connecting, Connected, QosNackRemote, Disconnected, Connecting]
        );
    }

    #[test]
    fn unreachable_is_put_in_before_giving_up() {
        assert_eq!(
            said(&[Creating, Connecting, AllRetriesFailed]),
            [Creating, Connecting, Unreachable, AllRetriesFailed]
        );
    }

    #[test]
    fn poll_is_left_out_after_all_retries_failed() {
        assert_eq!(
            said(&[Creating, Connecting, Unreachable, AllRetriesFailed, Poll, Connecting]),
            [Creating, Connecting, Unreachable, AllRetriesFailed, Connecting]
        );
    }

    #[test]
    fn what_the_client_knows_is_not_said_again() {
        assert_eq!(
            said(&[Creating, Creating, Disconnected, Connecting, Connected, Connected]),
            [Creating, Connecting, Connected]
        );
        assert_eq!(
            said(&[Creating, Connecting, Connected, QosAckRemote, QosAckRemote, Disconnected]),
            [Creating, Connecting, Connected, QosAckRemote, Disconnected]
        );
    }

    #[test]
    fn timeout_leaves_the_state_before_it_in_force() {
        assert_eq!(
            said(&[Creating, Connecting, Connected, Timeout, Timeout, QosAckRemote, Disconnected]),
            [Creating, Connecting, Connected, Timeout, Timeout, QosAckRemote, Disconnected]
        );
        assert_eq!(
            said(&[Creating, Connecting, Unreachable, Timeout, AllRetriesFailed]),
            [Creating, Connecting, Unreachable, Timeout, Unreachable, AllRetriesFailed]
        );
        assert_eq!(
            said(&[Creating, Connecting, Unreachable, AllRetriesFailed, Timeout, Poll, Connecting]),
            [Creating, Connecting, Unreachable, AllRetriesFailed, Timeout, Connecting]
        );
    }

    #[test]
    fn nothing_follows_destroying_and_nothing_comes_before_creating() {
        assert_eq!(
            said(&[Connecting, Creating, Destroying, User(1000), Connecting]),
            [Creating, Destroying]
        );
    }

    /// What a deployed client (v4.4.4) takes, TIMEOUT as it judges it.
    fn deployed_takes(said: &[State]) -> bool {
        let mut current = None;
        for state in said.iter().copied().filter(|state| !state.is_transparent()) {
            let taken = match current {
                Some(Timeout) => !matches!(state, AllRetriesFailed | Creating),
                current => State::is_safe_after(state, current),
            };
            if !taken {
                return false;
            }
            current = Some(state);
        }
        true
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_a_deployed_client_takes_what_is_said(
            codes in proptest::collection::vec(prop_oneof![1..21u32, 1000..1002u32], 0..60)
        ) {
            let mut wanted = vec![Creating];
            wanted.extend(codes.into_iter().filter(|code| *code != 7).map(State::from_code));
            let said = said(&wanted);
            prop_assert!(deployed_takes(&said), "{said:?}");
        }
    }
}
