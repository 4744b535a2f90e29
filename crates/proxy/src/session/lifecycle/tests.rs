//! A stream's life as its client sees it: what comes in on the left, states on the right.

use proptest::prelude::*;
use sspc_policy::{Protocol, Retry};

use super::*;
use crate::onward::FailureKind;

/// A stream of the policy, the time, and all that was said and done since it was last asked.
struct Life {
    lifecycle: Lifecycle,
    now: Instant,
    /// True while an attempt runs.
    runs: bool,
}

impl Life {
    fn new(change: impl FnOnce(&mut StreamType)) -> Self {
        let mut streamtype = StreamType::new("test");
        change(&mut streamtype);
        let max = Duration::from_secs(3600);
        let lifecycle = Lifecycle::new(Arc::new(streamtype), max, 7);
        let mut life = Self { lifecycle, now: Instant::now(), runs: false };
        life.lifecycle.create();
        life
    }

    /// With delays of 100, 200 and 300 ms.
    fn with_retry(conceal: u16, change: impl FnOnce(&mut StreamType)) -> Self {
        let mut retry = Retry::NONE.clone();
        retry.backoff_ms = vec![100, 200, 300];
        retry.conceal = conceal;
        retry.jitter_percent = 20;
        Self::new(|streamtype| {
            streamtype.retry = Some(Arc::new(retry));
            change(streamtype);
        })
    }

    /// What was done since the last call: states by name, the rest by what it is.
    fn seen(&mut self) -> String {
        let mut seen = Vec::new();
        while let Some(output) = self.lifecycle.poll_action() {
            match output {
                Action::State { state, ordinal: 0 } => seen.push(state.to_string()),
                Action::State { state, ordinal } => seen.push(format!("{state}/{ordinal}")),
                Action::Metadata(items) => {
                    seen.extend(items.into_iter().map(|(name, _)| format!("MD:{name}")));
                }
                Action::Perf(_) => seen.push("PERF".to_owned()),
                Action::TxCredit(credit) => seen.push(format!("TXCR:{credit}")),
                Action::Payload { flags, .. } => seen.push(format!("RX:{flags}")),
                Action::Start => {
                    assert!(!self.runs, "one attempt at a time");
                    self.runs = true;
                    seen.push("start".to_owned());
                }
                Action::Stop => self.runs = false,
                Action::Discard => seen.push("discard".to_owned()),
            }
        }
        seen.join(" ")
    }

    fn event(&mut self, event: Event) -> &mut Self {
        self.lifecycle.handle_event(self.now, event);
        self
    }

    /// The attempt says Connected, as one of this streamtype does.
    fn connected(&mut self) -> &mut Self {
        let event = Event::connected(&self.lifecycle.stream);
        self.event(event)
    }

    fn fail(&mut self) -> &mut Self {
        self.event(Event::failed(FailureKind::Connect))
    }

    fn lose(&mut self) -> &mut Self {
        self.event(Event::failed(FailureKind::Closed))
    }

    fn complete(&mut self) -> &mut Self {
        self.event(Event::Ended(End::Complete))
    }

    fn connect(&mut self) -> &mut Self {
        self.lifecycle.handle_connect();
        self
    }

    fn demand(&mut self) -> &mut Self {
        self.lifecycle.handle_demand();
        self
    }

    fn timeout(&mut self, timeout: Timeout) -> &mut Self {
        self.lifecycle.handle_timeout_update(self.now, timeout);
        self
    }

    /// Goes to the next deadline, which lies in a range of ms from now.
    fn wait(&mut self, millis: std::ops::RangeInclusive<u128>) -> &mut Self {
        let deadline = self.lifecycle.deadline().expect("something is due");
        let waited = (deadline - self.now).as_millis();
        assert!(millis.contains(&waited), "{waited} ms, not {millis:?}");
        self.now = deadline;
        self.lifecycle.handle_deadline(self.now);
        self
    }
}

fn payload(flags: Flags) -> Event {
    Event::Payload { bytes: Bytes::from_static(b"x"), flags }
}

fn post(streamtype: &mut StreamType) {
    streamtype.http.method = "POST".to_owned();
}

fn ws(streamtype: &mut StreamType) {
    streamtype.protocol = Protocol::Ws;
}

// ---- what makes a stream connect

#[test]
fn onward_connect_connects_an_idle_stream_and_means_nothing_to_a_busy_one() {
    let mut life = Life::new(|_| {});
    assert_eq!(life.seen(), "CREATING");
    assert_eq!(life.connect().seen(), "CONNECTING start");
    assert_eq!(life.connect().seen(), "");
    assert_eq!(life.connected().connect().seen(), "CONNECTED");
}

#[test]
fn payload_on_an_idle_stream_polls_and_connects() {
    let mut life = Life::new(|_| {});
    life.seen();
    assert_eq!(life.demand().seen(), "POLL CONNECTING start");
    assert_eq!(life.demand().seen(), "");
}

#[test]
fn a_length_hint_connects_as_payload_does_and_lasts_until_a_transaction_is_complete() {
    let mut life = Life::new(post);
    life.seen();
    life.lifecycle.handle_length_hint(5);
    assert_eq!(life.seen(), "POLL CONNECTING start");
    life.fail();
    assert_eq!(life.lifecycle.length_hint(), Some(5));
    life.connect().connected().event(Event::acked()).complete();
    assert_eq!(life.lifecycle.length_hint(), None);
}

#[test]
fn nailed_up_connects_at_creation() {
    let mut life = Life::new(|streamtype| streamtype.nailed_up = true);
    assert_eq!(life.seen(), "CREATING CONNECTING start");
}

#[test]
fn payload_waits_while_a_retry_is_due_and_onward_connect_does_not() {
    let mut life = Life::with_retry(3, |_| {});
    life.connect().fail().seen();
    assert_eq!(life.demand().seen(), "");
    assert_eq!(life.connect().seen(), "CONNECTING start");
    assert_eq!(life.lifecycle.deadline(), None, "the retry is off");
}

// ---- transactions

#[test]
fn a_get_with_a_body() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    life.event(Event::Metadata(vec![("srv".to_owned(), Bytes::from_static(b"x"))]))
        .event(Event::UserState(1530))
        .connected()
        .event(payload(Flags::SOM))
        .event(payload(Flags::EOM))
        .event(Event::acked())
        .complete();
    assert_eq!(
        life.seen(),
        "MD:srv USER(1530) CONNECTED RX:SOM RX:EOM QOS_ACK_REMOTE DISCONNECTED discard"
    );
}

#[test]
fn a_bad_status_ends_in_nack() {
    let mut life = Life::new(|_| {});
    life.connect().connected().event(Event::nacked()).complete();
    assert_eq!(
        life.seen(),
        "CREATING CONNECTING start CONNECTED QOS_NACK_REMOTE DISCONNECTED discard"
    );
}

#[test]
fn a_mapped_status_below_1000_does_not_pretend_to_be_a_state() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    assert_eq!(life.event(Event::UserState(3)).connected().seen(), "CONNECTED");
}

#[test]
fn an_answer_without_connected_is_put_right() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    assert_eq!(
        life.event(Event::acked()).complete().seen(),
        "CONNECTED QOS_ACK_REMOTE DISCONNECTED discard"
    );
}

#[test]
fn a_complete_transaction_leaves_the_stream_idle_even_if_nailed_up() {
    let mut life = Life::with_retry(3, |streamtype| streamtype.nailed_up = true);
    life.connected().event(Event::acked()).lose();
    assert!(life.seen().ends_with("QOS_ACK_REMOTE DISCONNECTED discard"));
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn the_next_transaction_begins_as_the_first() {
    let mut life = Life::new(|_| {});
    life.connect().connected().event(Event::acked()).complete().seen();
    assert_eq!(life.demand().seen(), "POLL CONNECTING start");
    life.connected().event(Event::acked()).complete().seen();
    assert_eq!(life.connect().seen(), "CONNECTING start");
}

// ---- failure and retry

#[test]
fn a_refused_stream_retries_with_growing_delays_and_gives_up() {
    let mut life = Life::with_retry(3, |_| {});
    life.connect().seen();
    assert_eq!(life.fail().seen(), "UNREACHABLE");
    assert_eq!(life.wait(100..=120).seen(), "POLL CONNECTING start");
    assert_eq!(life.fail().seen(), "UNREACHABLE");
    assert_eq!(life.wait(200..=240).seen(), "POLL CONNECTING start");
    assert_eq!(life.fail().seen(), "UNREACHABLE");
    assert_eq!(life.wait(300..=360).seen(), "POLL CONNECTING start");
    assert_eq!(life.fail().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn after_all_retries_failed_there_is_no_poll_and_payload_gets_one_attempt() {
    let mut life = Life::with_retry(1, |_| {});
    life.connect().fail().wait(100..=120).fail().seen();
    assert_eq!(life.demand().seen(), "CONNECTING start");
    assert_eq!(life.fail().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
}

#[test]
fn onward_connect_counts_afresh() {
    let mut life = Life::with_retry(1, |_| {});
    life.connect().fail().wait(100..=120).fail().seen();
    assert_eq!(life.connect().seen(), "CONNECTING start");
    assert_eq!(life.fail().seen(), "UNREACHABLE");
    life.wait(100..=120);
}

#[test]
fn without_a_retry_policy_the_first_failure_is_the_last() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    assert_eq!(life.fail().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
}

#[test]
fn conceal_65535_never_gives_up() {
    let mut life = Life::with_retry(u16::MAX, |_| {});
    life.connect();
    for _ in 0..1000 {
        life.fail().wait(100..=360);
        assert_eq!(life.seen().split(' ').next_back(), Some("start"));
    }
}

#[test]
fn a_success_counts_afresh() {
    let mut life = Life::with_retry(3, ws);
    life.connect().fail().wait(100..=120).fail().wait(200..=240).connected().lose();
    life.wait(100..=120);
}

#[test]
fn a_post_succeeds_with_the_response_and_not_with_the_request() {
    let mut life = Life::with_retry(1, post);
    life.connect().connected().lose().wait(100..=120).connected().seen();
    assert_eq!(life.lose().seen(), "DISCONNECTED discard", "gave up without a word, as always");
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn unreachable_tells_if_no_dns_server_answered() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    let failure = Failure::new(FailureKind::NoDns, "no server");
    let seen = life.event(Event::Ended(End::Failed(failure))).seen();
    assert_eq!(seen, "UNREACHABLE/1 ALL_RETRIES_FAILED discard");
}

#[test]
fn retry_after_lengthens_the_delay_and_never_shortens_it() {
    let failure = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        Event::Ended(End::Failed(Failure::new(FailureKind::Busy, "503").retry_after(retry_after)))
    };
    let mut life = Life::with_retry(9, |_| {});
    life.connect().event(failure(2)).wait(2000..=2000);
    life.event(failure(0)).wait(200..=240);
    life.event(failure(1_000_000)).wait(3_600_000..=3_600_000);
}

// ---- loss

#[test]
fn a_lost_connection_comes_back_unless_opportunistic() {
    let mut life = Life::with_retry(3, ws);
    life.connect().connected().seen();
    assert_eq!(life.lose().seen(), "DISCONNECTED discard");
    assert_eq!(life.wait(100..=120).seen(), "POLL CONNECTING start");

    let mut life = Life::with_retry(3, |streamtype| {
        ws(streamtype);
        streamtype.opportunistic = true;
    });
    life.connect().connected().seen();
    assert_eq!(life.lose().seen(), "DISCONNECTED discard");
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn a_body_cut_short_ends_without_eom_and_without_ack() {
    let mut life = Life::new(|streamtype| streamtype.opportunistic = true);
    life.connect().connected().event(payload(Flags::SOM)).lose();
    assert_eq!(life.seen(), "CREATING CONNECTING start CONNECTED RX:SOM DISCONNECTED discard");
}

#[test]
fn failure_before_connected_is_retried_by_opportunistic_streams_too() {
    let mut life = Life::with_retry(3, |streamtype| streamtype.opportunistic = true);
    life.connect().fail().seen();
    assert_eq!(life.wait(100..=120).seen(), "POLL CONNECTING start");
}

#[test]
fn ends_are_judged_by_what_the_client_was_told() {
    let mut life = Life::new(|_| {});
    life.connect().seen();
    assert_eq!(life.lose().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
    life.connect().connected().seen();
    assert_eq!(life.fail().seen(), "DISCONNECTED discard");
}

// ---- TIMEOUT

#[test]
fn a_timeout_is_said_once_and_changes_nothing() {
    let mut life = Life::new(|_| {});
    life.connect().timeout(Timeout::Millis(50)).seen();
    assert_eq!(life.wait(50..=50).seen(), "TIMEOUT");
    assert_eq!(life.lifecycle.deadline(), None);
    assert_eq!(life.connected().seen(), "CONNECTED");
}

#[test]
fn a_timeout_runs_before_anything_connects() {
    let mut life = Life::new(|_| {});
    life.seen();
    assert_eq!(life.timeout(Timeout::Millis(50)).wait(50..=50).seen(), "TIMEOUT");
    assert_eq!(life.connect().seen(), "CONNECTING start");
}

#[test]
fn a_new_timeout_replaces_the_old_one_and_cancel_ends_it() {
    let mut life = Life::new(|_| {});
    life.timeout(Timeout::Millis(50)).timeout(Timeout::Millis(500)).wait(500..=500);
    life.timeout(Timeout::Millis(50)).timeout(Timeout::Cancel);
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn the_policys_timeout_is_what_zero_means_and_none_if_it_has_none() {
    let mut life = Life::new(|streamtype| streamtype.timeout_ms = 70);
    life.timeout(Timeout::Policy).wait(70..=70);
    let mut life = Life::new(|_| {});
    life.timeout(Timeout::Policy);
    assert_eq!(life.lifecycle.deadline(), None);
}

#[test]
fn a_complete_transaction_and_giving_up_cancel_the_timeout_and_a_retry_does_not() {
    let mut life = Life::new(|_| {});
    life.timeout(Timeout::Millis(50)).connect().connected();
    life.event(Event::acked()).complete();
    assert_eq!(life.lifecycle.deadline(), None);
    life.timeout(Timeout::Millis(50)).connect().fail();
    assert_eq!(life.lifecycle.deadline(), None);

    let mut life = Life::with_retry(3, |_| {});
    life.timeout(Timeout::Millis(50)).connect().fail().seen();
    assert_eq!(life.wait(50..=50).seen(), "TIMEOUT");
    assert_eq!(life.wait(50..=70).seen(), "POLL CONNECTING start");
}

#[test]
fn a_timeout_between_unreachable_and_poll_is_no_obstacle() {
    let mut life = Life::with_retry(1, |_| {});
    life.connect().fail().timeout(Timeout::Millis(10)).wait(10..=10).wait(80..=120).seen();
    assert_eq!(life.timeout(Timeout::Millis(10)).wait(10..=10).seen(), "TIMEOUT");
    assert_eq!(life.fail().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
}

// ---- the end

#[test]
fn a_shutdown_disconnects_what_is_connected_and_says_no_more() {
    let mut life = Life::with_retry(3, |_| {});
    life.connect().connected().timeout(Timeout::Millis(50)).seen();
    life.lifecycle.shut_down();
    assert_eq!(life.seen(), "DISCONNECTED/1");
    assert!(!life.runs);
    life.connect().demand().timeout(Timeout::Millis(50)).lifecycle.shut_down();
    life.lose().event(Event::UserState(1000));
    assert_eq!(life.seen(), "");

    let mut life = Life::new(|_| {});
    life.seen();
    life.lifecycle.shut_down();
    assert_eq!(life.seen(), "", "an idle stream");
    let mut life = Life::new(|_| {});
    life.connect().seen();
    life.lifecycle.shut_down();
    assert_eq!(life.seen(), "", "one that connects");
    assert!(!life.runs);
}

#[test]
fn while_the_proxy_drains_transactions_end_and_none_begins() {
    let mut life = Life::with_retry(3, post);
    life.connect().connected().seen();
    life.lifecycle.drain();
    life.event(Event::acked()).complete();
    assert_eq!(life.seen(), "QOS_ACK_REMOTE DISCONNECTED/1 discard");
    life.connect().demand();
    assert_eq!(life.seen(), "");
    assert_eq!(life.lifecycle.deadline(), None);

    // Nor does the proxy try again, or say that it gave up: the next one will be asked.
    let mut life = Life::with_retry(3, ws);
    life.connect().connected().seen();
    life.lifecycle.drain();
    assert_eq!(life.lose().seen(), "DISCONNECTED/1 discard");
    assert_eq!(life.lifecycle.deadline(), None);
    let mut life = Life::with_retry(3, |_| {});
    life.connect().seen();
    life.lifecycle.drain();
    assert_eq!(life.fail().seen(), "UNREACHABLE discard");
    assert_eq!(life.lifecycle.deadline(), None);
    let mut life = Life::with_retry(3, |_| {});
    life.connect().fail().seen();
    life.lifecycle.drain();
    assert_eq!(life.lifecycle.deadline(), None);
    assert!(life.lifecycle.is_at_rest());
    // What was the last attempt is.
    let mut life = Life::new(|_| {});
    life.connect().seen();
    life.lifecycle.drain();
    assert_eq!(life.fail().seen(), "UNREACHABLE ALL_RETRIES_FAILED discard");
}

// ---- whatever happens

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Demand,
    Hint,
    Timeout(u32),
    Event(u8),
    Deadline,
    Drain,
    ShutDown,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Connect),
        3 => Just(Step::Demand),
        1 => Just(Step::Hint),
        2 => prop_oneof![Just(0), Just(u32::MAX), 1..500u32].prop_map(Step::Timeout),
        12 => (0..12u8).prop_map(Step::Event),
        4 => Just(Step::Deadline),
        1 => Just(Step::Drain),
        1 => Just(Step::ShutDown),
    ]
}

fn any_event(number: u8) -> Event {
    match number {
        0 => Event::Metadata(vec![("a".to_owned(), Bytes::from_static(b"b"))]),
        1 => Event::Perf("{}".to_owned()),
        2 => Event::UserState(1001),
        3 => Event::UserState(5),
        4 => Event::TxCredit(100),
        5 => Event::Connected { takes: Takes::Message },
        6 => payload(Flags::SOM),
        7 => Event::acked(),
        8 => Event::nacked(),
        9 => Event::Ended(End::Complete),
        10 => Event::failed(FailureKind::Closed),
        _ => Event::failed(FailureKind::Connect),
    }
}

proptest! {
    /// Client, peer and clock do what they like in any order: the client sees only steps that are
    /// safe, at most one attempt runs, and none runs when the stream is at rest.
    #[test]
    fn any_life_is_legal(
        conceal in prop_oneof![Just(0), Just(1), Just(3), Just(u16::MAX)],
        opportunistic: bool,
        nailed_up: bool,
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut life = Life::with_retry(conceal, |streamtype| {
            streamtype.opportunistic = opportunistic;
            streamtype.nailed_up = nailed_up;
            streamtype.timeout_ms = 100;
        });
        let mut current = None;
        for step in std::iter::once(None).chain(steps.into_iter().map(Some)) {
            match step {
                None => {}
                Some(Step::Connect) => life.lifecycle.handle_connect(),
                Some(Step::Demand) => life.lifecycle.handle_demand(),
                Some(Step::Hint) => life.lifecycle.handle_length_hint(9),
                Some(Step::Timeout(ms)) => {
                    life.lifecycle.handle_timeout_update(life.now, Timeout::from_wire(ms));
                }
                Some(Step::Event(number)) => {
                    life.event(any_event(number));
                }
                Some(Step::Deadline) => {
                    life.now = life.lifecycle.deadline().unwrap_or(life.now);
                    life.lifecycle.handle_deadline(life.now);
                }
                Some(Step::Drain) => life.lifecycle.drain(),
                Some(Step::ShutDown) => life.lifecycle.shut_down(),
            }
            while let Some(output) = life.lifecycle.poll_action() {
                match output {
                    Action::State { state, .. } => {
                        prop_assert!(State::is_safe_after(state, current), "{current:?} {state:?}");
                        if state != State::Timeout && !state.is_transparent() {
                            current = Some(state);
                        }
                    }
                    Action::Start => {
                        prop_assert!(!life.runs);
                        life.runs = true;
                    }
                    Action::Stop => life.runs = false,
                    _ => {}
                }
            }
            prop_assert_eq!(life.runs, !life.lifecycle.is_at_rest());
        }
    }
}
