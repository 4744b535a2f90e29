//! A stream's life held against a small model of it: what any protocol may say and any client may
//! send, in any order, and what must be so all the same. A failure shrinks to the shortest sequence.

use proptest::prelude::*;
use sspc_policy::Retry;

use super::*;
use crate::onward::FailureKind;

/// What happens to a stream.
#[derive(Clone, Debug)]
enum Input {
    // The client:
    Connect,
    Payload,
    LengthHint,
    TimeoutUpdate(u32),
    // The attempt:
    Metadata,
    UserState,
    Connected(Takes),
    Rx,
    Acked { ends_transaction: bool },
    Nacked { ends_transaction: bool },
    Complete,
    Failed(FailureKind),
    // The clock and the proxy:
    Deadline,
    Drain,
    ShutDown,
}

fn input() -> impl Strategy<Value = Input> {
    use Input::*;
    let takes = prop_oneof![
        Just(Takes::Nothing),
        Just(Takes::Message),
        Just(Takes::Messages),
        Just(Takes::Bytes)
    ];
    let kind = prop_oneof![
        Just(FailureKind::Closed),
        Just(FailureKind::NoDns),
        Just(FailureKind::Connect),
        Just(FailureKind::Busy),
        Just(FailureKind::Message)
    ];
    prop_oneof![
        4 => Just(Connect),
        3 => Just(Payload),
        1 => Just(LengthHint),
        1 => prop_oneof![Just(0), Just(u32::MAX), 1..500_u32].prop_map(TimeoutUpdate),
        1 => Just(Metadata),
        1 => Just(UserState),
        6 => takes.prop_map(Connected),
        2 => Just(Rx),
        3 => any::<bool>().prop_map(|ends_transaction| Acked { ends_transaction }),
        2 => any::<bool>().prop_map(|ends_transaction| Nacked { ends_transaction }),
        4 => Just(Complete),
        4 => kind.prop_map(Failed),
        5 => Just(Deadline),
        1 => Just(Drain),
        1 => Just(ShutDown),
    ]
}

/// The states that a client may be in, and to which others each may lead, as docs/spec/streams.md has
/// them for what a proxy sends. TIMEOUT and user states change nothing.
fn may_follow(before: Option<State>, next: State) -> bool {
    use State::*;
    let Some(before) = before else { return next == Creating };
    let after: &[State] = match before {
        Creating | Disconnected => &[Poll, Connecting],
        Poll | AllRetriesFailed => &[Connecting],
        Connecting => &[Connected, Unreachable, Disconnected],
        Connected => &[QosAckRemote, QosNackRemote, Disconnected],
        QosAckRemote | QosNackRemote => &[Disconnected],
        Unreachable => &[Unreachable, Poll, Connecting, AllRetriesFailed],
        _ => &[],
    };
    after.contains(&next)
}

/// What the model knows of a stream.
#[derive(Debug)]
struct Model {
    conceal: u16,
    opportunistic: bool,
    /// The last state, TIMEOUT and user states left out.
    state: Option<State>,
    runs: bool,
    /// What the running attempt takes, once it is connected.
    takes: Option<Takes>,
    /// A verdict finished the message: nothing starts before the client asks.
    is_finished: bool,
    /// The proxy shuts down: nothing starts any more.
    drains: bool,
    /// It has closed the link.
    is_over: bool,
    /// Attempts that failed since the client asked to connect or one of them got somewhere.
    failures: u32,
}

impl Model {
    /// Before the lifecycle hears of it.
    fn expect(&mut self, input: &Input) {
        match input {
            Input::Connect if !self.runs => {
                self.is_finished = false;
                self.failures = 0;
            }
            Input::Payload | Input::LengthHint if !self.runs => self.is_finished = false,
            Input::Metadata | Input::UserState | Input::Rx if self.runs => self.failures = 0,
            Input::Connected(takes) if self.runs && self.takes.is_none() => {
                self.takes = Some(*takes);
                if *takes != Takes::Message {
                    self.failures = 0;
                }
            }
            Input::Acked { ends_transaction } | Input::Nacked { ends_transaction } if self.runs => {
                self.failures = 0;
                self.is_finished |= *ends_transaction && self.takes.is_some();
            }
            Input::Complete if self.runs => self.is_finished = true,
            Input::Drain | Input::ShutDown => self.drains = true,
            // An opportunistic stream that was connected just rests.
            Input::Failed(_) if self.runs && !self.is_finished => {
                self.failures += u32::from(self.takes.is_none() || !self.opportunistic);
            }
            _ => {}
        }
    }

    /// What the lifecycle wants done.
    fn check(&mut self, action: &Action, by_itself: bool) -> Result<(), String> {
        match action {
            Action::State { state, .. } if self.is_over => {
                return Err(format!("{state} when the link is closed"));
            }
            Action::State { state: State::Disconnected, ordinal }
                if *ordinal != u32::from(self.drains) =>
            {
                return Err(format!("DISCONNECTED with {ordinal}"));
            }
            Action::State { state, .. } if state.is_transparent() || *state == State::Timeout => {}
            Action::State { state, .. } => {
                if !may_follow(self.state, *state) {
                    return Err(format!("{state} after {:?}", self.state));
                }
                self.state = Some(*state);
            }
            Action::Start => {
                if std::mem::replace(&mut self.runs, true) {
                    return Err("a second attempt".to_owned());
                }
                if self.drains {
                    return Err("an attempt as the proxy shuts down".to_owned());
                }
                if self.is_finished {
                    return Err("an answered request is made again".to_owned());
                }
                if by_itself && self.failures > u32::from(self.conceal) {
                    return Err(format!("an attempt after {} failures", self.failures));
                }
            }
            Action::Stop => {
                self.runs = false;
                self.takes = None;
            }
            _ => {}
        }
        Ok(())
    }
}

fn apply(lifecycle: &mut Lifecycle, now: &mut Instant, input: Input) {
    let event = match input {
        Input::Connect => return lifecycle.handle_connect(),
        Input::Payload => return lifecycle.handle_demand(),
        Input::LengthHint => return lifecycle.handle_length_hint(9),
        Input::TimeoutUpdate(wire) => {
            return lifecycle.handle_timeout_update(*now, Timeout::from_wire(wire));
        }
        Input::Deadline => {
            *now = lifecycle.deadline().unwrap_or(*now);
            return lifecycle.handle_deadline(*now);
        }
        Input::Drain => return lifecycle.drain(),
        Input::ShutDown => return lifecycle.shut_down(),
        Input::Metadata => Event::Metadata(vec![("a".to_owned(), Bytes::from_static(b"b"))]),
        Input::UserState => Event::UserState(1001),
        Input::Connected(takes) => Event::Connected { takes },
        Input::Rx => Event::Payload { bytes: Bytes::from_static(b"x"), flags: Flags::SOM },
        Input::Acked { ends_transaction } => Event::Acked { ends_transaction },
        Input::Nacked { ends_transaction } => Event::Nacked { ends_transaction },
        Input::Complete => Event::Ended(End::Complete),
        Input::Failed(kind) => Event::failed(kind),
    };
    lifecycle.handle_event(*now, event);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_life_leaves_the_model(
        conceal in prop_oneof![Just(0), Just(1), Just(3)],
        opportunistic: bool,
        inputs in proptest::collection::vec(input(), 0..60),
    ) {
        let mut retry = Retry::NONE.clone();
        retry.backoff_ms = vec![100, 200];
        retry.conceal = conceal;
        let mut streamtype = StreamType::new("test");
        streamtype.retry = Some(Arc::new(retry));
        streamtype.opportunistic = opportunistic;
        streamtype.timeout_ms = 100;
        let max = Duration::from_secs(3600);
        let mut lifecycle = Lifecycle::new(Arc::new(streamtype), max, 7);
        let mut model = Model {
            conceal,
            opportunistic,
            state: None,
            runs: false,
            takes: None,
            is_finished: false,
            drains: false,
            is_over: false,
            failures: 0,
        };
        let mut now = Instant::now();
        lifecycle.create();
        for input in inputs {
            model.expect(&input);
            let by_itself = matches!(input, Input::Deadline);
            let ends = matches!(input, Input::ShutDown);
            apply(&mut lifecycle, &mut now, input);
            while let Some(action) = lifecycle.poll_action() {
                if let Err(why) = model.check(&action, by_itself) {
                    return Err(TestCaseError::fail(why));
                }
            }
            model.is_over |= ends;
            prop_assert_eq!(model.runs, !lifecycle.is_at_rest(), "an attempt runs");
            // Payload goes to an attempt that takes it, until its message has a verdict.
            let wanted = model.runs
                && model.takes.is_some_and(|takes| takes != Takes::Nothing)
                && !model.is_finished;
            prop_assert_eq!(lifecycle.takes_payload(), wanted, "payload flows");
        }
    }
}
