//! The life of one stream: what the user sees and what goes over the link.

use sspc::{
    Config, Event, Fault, Flags, LinkAction, MetadataError, Name, NameError, State, Stream,
    Timeout, Tx,
};
use sspc_wire::{PayloadHead, Piece, ToClient};

use crate::harness::{Bench, create_result, created, frame, frames, payload, state};

/// Waits without a random part.
const STEADY: Config = Config { jitter_percent: 0, ..Config::DEFAULT };

#[test]
fn a_stream_with_128_bytes_of_storage_fits_400_bytes() {
    let size = size_of::<Stream<[u8; 128]>>();
    assert!(size <= 400, "{size}");
}

#[test]
fn a_stream_fits_a_static_and_any_storage() {
    const _: Stream<[u8; 128]> = Stream::new(Name::literal("mintest"), Config::DEFAULT, [0; 128]);
    let mut buf = [0; 32];
    let mut stream = Stream::new(Name::literal("mintest"), Config::DEFAULT, &mut buf[..]);
    stream.set_tag("sensor");
    assert_eq!((stream.streamtype().as_str(), stream.tag()), ("mintest", "sensor"));
}

#[test]
fn names_are_checked() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new(&"x".repeat(32)), Err(NameError::TooLong { length: 32, max: 31 }));
    assert_eq!(Name::new("a\0"), Err(NameError::Nul));
    assert_eq!(Name::new(&"x".repeat(31)).unwrap().as_str(), "x".repeat(31));
}

#[test]
fn streamtype_is_the_first_frame_and_announces_credit() {
    let config = Config { pid: 0x1234, window: 5000, ..STEADY };
    let mut bench = Bench::new("mintest", config);
    bench.open();
    assert_eq!(bench.sent, b"\xaa\x00\x10\x01\x80\x00\x12\x34\x00\x00\x13\x88mintest");
    let plain = Config { honour_credit: false, ..STEADY };
    let mut bench = Bench::new("mintest", plain);
    bench.open();
    assert_eq!(bench.sent, b"\xaa\x00\x10\x01\x00\x00\x00\x00\x1d\xcd\x65\x00mintest");
}

#[test]
fn what_is_asked_before_creating_waits_for_it() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.stream.set_metadata("a", b"1").unwrap();
    bench.stream.set_timeout(Timeout::Policy);
    bench.stream.request_tx_len(bench.now, 3);
    bench.messages.push(b"abc".into());
    bench.open();
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000"]);
    bench.hear(&created());
    let expected = ["TIMEOUT Policy", "METADATA a=1", "LENGTH 3", "ONWARD_CONNECT"];
    assert_eq!(bench.frames(), expected);
    bench.hear(&[state(State::Creating), state(State::Poll), state(State::Connecting)].concat());
    assert_eq!(bench.frames(), [""; 0]);
    bench.hear(&state(State::Connected));
    assert_eq!(bench.frames(), ["TX 3 SOM|EOM"]);
    assert_eq!(bench.events(), ["CREATING", "POLL", "CONNECTING", "CONNECTED"]);
}

#[test]
fn connect_is_sent_again_only_after_the_connection_ended() {
    let mut bench = Bench::connected(STEADY);
    bench.stream.connect();
    bench.settle();
    assert_eq!(bench.frames(), [""; 0], "it is connected");
    bench.hear(&[state(State::QosAckRemote), state(State::Disconnected)].concat());
    assert_eq!(bench.frames(), [""; 0], "nobody asked");
    bench.stream.connect();
    bench.stream.connect();
    bench.settle();
    assert_eq!(bench.frames(), ["ONWARD_CONNECT"]);
    bench.hear(&[state(State::Connecting), state(State::Unreachable)].concat());
    bench.stream.connect();
    bench.settle();
    assert_eq!(bench.frames(), ["ONWARD_CONNECT"], "the proxy waits to try again; it need not");
}

#[test]
fn a_second_connected_is_not_seen() {
    let mut bench = Bench::connected(STEADY);
    bench.hear(&[state(State::Connected), state(State::QosAckRemote)].concat());
    assert_eq!(bench.events(), ["QOS_ACK_REMOTE"]);
}

#[test]
fn a_loss_that_the_proxy_does_not_tell_is_seen() {
    // Deployed proxies go from CONNECTED to the next attempt without DISCONNECTED.
    let mut bench = Bench::connected(STEADY);
    bench.hear(&[state(State::Poll), state(State::Connecting), state(State::Connected)].concat());
    assert_eq!(bench.events(), ["DISCONNECTED", "POLL", "CONNECTING", "CONNECTED"]);
    bench.hear(&[state(State::QosAckRemote), state(State::Connecting)].concat());
    assert_eq!(bench.events(), ["QOS_ACK_REMOTE", "DISCONNECTED", "CONNECTING"]);
}

#[test]
fn payload_may_come_before_connected() {
    let mut bench = Bench::created(STEADY);
    bench.hear(&payload(b"early", Flags::WHOLE));
    assert_eq!(bench.events(), ["rx 5 SOM|EOM early"]);
}

#[test]
fn rideshare_payload_and_perf_tell_what_they_are() {
    let mut bench = Bench::connected(STEADY);
    let head = PayloadHead::new(Flags::WHOLE);
    let piece = Piece::whole(b"part").unwrap();
    let ride = frame(ToClient::Payload { head, rideshare: Some(b"ride"), piece });
    let perf = frame(ToClient::Perf(Piece::whole(b"{}").unwrap()));
    let late = payload(b"{1}", Flags::WHOLE | Flags::PERF_JSON);
    bench.hear(&[ride, perf, late].concat());
    assert_eq!(bench.events(), ["rx 4 SOM|EOM part of ride", "perf {}", "perf {1}"]);
}

#[test]
fn the_proxys_destroying_ends_the_stream() {
    let mut bench = Bench::connected(STEADY);
    bench.hear(&[state(State::Destroying), payload(b"late", Flags::WHOLE)].concat());
    assert_eq!(bench.events(), ["DESTROYING"]);
    assert!(bench.stream.is_closed() && !bench.up);
    assert_eq!((bench.stream.poll_link(bench.now), bench.stream.deadline()), (None, None));
}

#[test]
fn what_the_proxy_destroyed_goes_on_if_it_is_revived() {
    let mut bench = Bench::connected(STEADY);
    bench.stream.set_metadata("who", b"me").unwrap();
    bench.react = |bench, event| {
        if event == "DESTROYING" {
            bench.stream.revive(bench.now);
        }
    };
    bench.hear(&[state(State::Destroying), payload(b"late", Flags::WHOLE)].concat());
    assert_eq!(bench.events(), ["DESTROYING", "DISCONNECTED"]);
    assert!(!bench.up && !bench.stream.is_closed());
    bench.pass(250);
    bench.open();
    bench.hear(&[created(), state(State::Creating), state(State::Connecting)].concat());
    assert_eq!(bench.events(), ["CONNECTING"]);
    let frames = ["STREAMTYPE mintest 500000000", "METADATA who=me", "ONWARD_CONNECT"];
    assert_eq!(bench.frames(), frames);

    // Also when its link is gone already.
    let mut bench = Bench::created(STEADY);
    bench.hear(&state(State::Destroying));
    assert!(bench.stream.is_closed());
    bench.stream.revive(bench.now);
    bench.pass(250);
    bench.open();
    bench.hear(&created());
    assert_eq!(bench.events(), ["DESTROYING", "DISCONNECTED"]);
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000"]);
}

#[test]
fn close_tells_the_proxy_and_the_user() {
    let mut bench = Bench::connected(STEADY);
    bench.stream.close();
    bench.hear(&[]);
    assert_eq!(bench.frames(), ["DESTROYING"]);
    assert_eq!(bench.events(), ["DESTROYING"]);
    assert!(bench.stream.is_closed() && !bench.up);
    bench.stream.close();
    bench.stream.connect();
    bench.pass(100_000);
    assert_eq!(bench.events(), [""; 0]);
}

#[test]
fn close_without_a_link_is_at_once() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.stream.close();
    assert!(bench.stream.is_closed());
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    bench.stream.close();
    bench.settle();
    assert!(bench.stream.is_closed(), "before CREATE_RESULT the link is only dropped");
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000"]);
}

#[test]
fn an_illegal_transition_drops_the_link_and_the_stream_is_made_again() {
    let mut bench = Bench::connected(STEADY);
    bench.hear(&[state(State::AllRetriesFailed), state(State::Connecting)].concat());
    let from = State::Connected;
    let fault = Fault::Transition { from, to: State::AllRetriesFailed };
    let told = [&format!("fault: {fault}"), "DISCONNECTED", "UPSTREAM_LINK_RETRY"];
    assert_eq!(bench.events(), told);
    assert!(!bench.up);
    bench.pass(250);
    bench.open();
    bench.hear(&[created(), state(State::Creating), state(State::Connecting)].concat());
    assert_eq!(bench.events(), ["CONNECTING"]);
}

#[test]
fn frames_in_the_wrong_place_and_no_frames_are_faults() {
    let result = create_result(0, b",mintest");
    for (bytes, fault) in [
        (&result[..], "the proxy sent CREATE_RESULT where it has no place"),
        (b"\xaa\0\0", "frame type 0xaa belongs to the other direction"),
        (b"\x57\0\x05\x01\0\0\0\0", "the state CREATING, which cannot follow CREATING"),
        (b"\x57\0\x05\x00\0\0\0\0", "the state UNKNOWN(0), which cannot follow CREATING"),
        (b"\x58\0\x05\0", "frame type 0x58 cannot have a body of 5 bytes"),
    ] {
        let mut bench = Bench::created(STEADY);
        bench.hear(bytes);
        let seen = bench.events();
        assert!(seen[0].starts_with("fault: ") && seen[0].contains(fault), "{seen:?}");
        assert!(!bench.up);
    }
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    bench.hear(&state(State::Creating));
    assert_eq!(bench.events(), ["fault: the proxy sent CONNSTATE where it has no place"]);
}

#[test]
fn a_lost_link_is_seen_as_lost_connection_and_the_stream_made_again() {
    let mut bench = Bench::created(STEADY);
    bench.stream.set_metadata("a", b"1").unwrap();
    bench.stream.set_metadata("b", b"2").unwrap();
    bench.stream.set_metadata("a", b"3").unwrap();
    bench.stream.set_timeout(Timeout::Millis(9));
    bench.stream.connect();
    bench.settle();
    let expected = ["TIMEOUT Millis(9)", "METADATA b=2", "METADATA a=3", "ONWARD_CONNECT"];
    assert_eq!(bench.frames(), expected);
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    bench.cut();
    let lost = ["CONNECTING", "CONNECTED", "DISCONNECTED", "UPSTREAM_LINK_RETRY"];
    assert_eq!(bench.events(), lost);
    bench.pass(250);
    assert_eq!(bench.stream.poll_link(bench.now), Some(LinkAction::Open));
    bench.cut();
    assert_eq!(bench.events(), ["UPSTREAM_LINK_RETRY 250"]);
    bench.pass(500);
    bench.open();
    bench.sent.clear();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.frames(), expected);
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    assert_eq!(bench.events(), ["CONNECTING", "CONNECTED"], "CREATING comes once in a life");
}

#[test]
fn what_is_over_is_not_connected_again_after_a_loss() {
    for last in [State::QosAckRemote, State::Disconnected] {
        let mut bench = Bench::connected(STEADY);
        bench.hear(&state(last));
        bench.cut();
        bench.pass(250);
        bench.open();
        bench.sent.clear();
        bench.hear(&[created(), state(State::Creating)].concat());
        assert_eq!(bench.frames(), [""; 0], "after {last}");
    }
    let mut bench = Bench::connected(Config { reconnect: false, ..STEADY });
    bench.cut();
    bench.pass(250);
    bench.open();
    bench.sent.clear();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.frames(), [""; 0], "it was configured so");
}

/// What a proxy says that shuts down.
fn shut_down() -> Vec<u8> {
    frame(ToClient::State { state: State::Disconnected, ordinal: State::LINK_CLOSES })
}

/// As a proxy shuts down: the application had to ask again, as it has not to when a proxy dies.
#[test]
fn what_a_shutdown_cut_is_asked_for_again() {
    let mut bench = Bench::connected(Config::DEFAULT);
    bench.hear(&shut_down());
    assert_eq!(bench.events(), ["DISCONNECTED 1"]);
    bench.cut();
    assert_eq!(bench.events(), ["UPSTREAM_LINK_RETRY"]);
    bench.pass(1000);
    bench.open();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.frames().last().unwrap(), "ONWARD_CONNECT");

    // Not what had its verdict, nor what the remote peer ended.
    let verdict = [state(State::QosAckRemote), shut_down()];
    for end in [verdict.concat(), state(State::Disconnected)] {
        let mut bench = Bench::connected(Config::DEFAULT);
        bench.hear(&end);
        bench.cut();
        bench.pass(1000);
        bench.open();
        bench.sent.clear();
        bench.hear(&[created(), state(State::Creating)].concat());
        assert_eq!(bench.frames(), [""; 0]);
    }

    // The application need not wait for the link to ask.
    let mut bench = Bench::connected(Config::DEFAULT);
    bench.hear(&shut_down());
    bench.stream.connect();
    bench.cut();
    bench.pass(1000);
    bench.open();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.frames().last().unwrap(), "ONWARD_CONNECT");
}

#[test]
fn a_timeout_that_ran_out_is_not_started_again() {
    let mut bench = Bench::connected(STEADY);
    bench.stream.set_timeout(Timeout::Millis(5));
    bench.settle();
    assert_eq!(bench.frames(), ["TIMEOUT Millis(5)"]);
    bench.hear(&state(State::Timeout));
    bench.cut();
    bench.pass(250);
    bench.open();
    bench.hear(&created());
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000", "ONWARD_CONNECT"]);
}

#[test]
fn a_message_that_had_not_begun_is_sent_on_the_next_link() {
    let mut bench = Bench::created(STEADY);
    bench.messages.push(b"abc".into());
    bench.stream.request_tx_len(bench.now, 3);
    bench.settle();
    assert_eq!(bench.frames(), ["LENGTH 3", "ONWARD_CONNECT"]);
    bench.cut();
    bench.pass(250);
    bench.open();
    bench.hear(&[created(), state(State::Creating)].concat());
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000", "LENGTH 3", "ONWARD_CONNECT"]);
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    assert_eq!(bench.frames(), ["TX 3 SOM|EOM"]);
}

#[test]
fn the_hint_of_a_message_follows_the_message_before() {
    let mut bench = Bench::connected(STEADY);
    bench.messages.push(vec![0; 3000]);
    bench.stream.request_tx_len(bench.now, 3000);
    bench.settle();
    assert_eq!(
        bench.frames(),
        ["LENGTH 3000", "TX 674 SOM", "TX 681 0", "TX 681 0", "TX 681 0", "TX 283 EOM"],
        "in rooms of 700 bytes"
    );
}

#[test]
fn credit_is_kept_when_the_proxy_manages_it() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    let grant = frame(ToClient::TxCredit(1000));
    bench.hear(&[created(), grant.clone(), state(State::Creating)].concat());
    assert_eq!(bench.stream.credit(), Some(1000));
    bench.messages.push(vec![0; 1500]);
    bench.stream.request_tx(bench.now);
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    let sent = bench.frames();
    assert_eq!(sent[1..], ["TX 681 SOM", "TX 319 0"], "{sent:?}");
    bench.hear(&grant);
    assert_eq!(bench.frames(), ["TX 500 EOM"]);
    assert_eq!(bench.stream.credit(), Some(500));
}

#[test]
fn frames_are_as_long_as_configured() {
    let sizes = |config, managed: bool| {
        let mut bench = Bench::new("mintest", config);
        bench.open();
        let grant = if managed { frame(ToClient::TxCredit(100_000)) } else { Vec::new() };
        bench.hear(&[created(), grant, state(State::Creating)].concat());
        bench.stream.connect();
        bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
        let mut left = 70_000;
        let mut source = |buf: &mut [u8]| {
            let len = buf.len().min(left);
            left -= len;
            Some(Tx { len, flags: Flags::NONE, more: left > 0 })
        };
        let mut buf = vec![0; 200_000];
        bench.stream.request_tx(bench.now);
        let length = bench.stream.transmit(bench.now, &mut buf, &mut source).unwrap();
        frames(&buf[..length])[0].clone()
    };
    assert_eq!(sizes(Config::DEFAULT, false), "TX 1380 0");
    assert_eq!(sizes(Config::HOST, false), "TX 4061 0");
    assert_eq!(sizes(Config::HOST, true), "TX 16384 0");
    let most = Config { frame_payload: u16::MAX, ..STEADY };
    assert_eq!(sizes(most, false), "TX 65519 0");
}

/// Else a message that crosses DISCONNECTED would go to the next connection.
#[test]
fn a_proxy_that_manages_credit_hears_of_each_disconnected_before_all_else() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.open();
    let grant = frame(ToClient::TxCredit(1000));
    bench.hear(&[created(), grant, state(State::Creating)].concat());
    bench.stream.connect();
    bench.settle();
    bench.sent.clear();
    bench.react = |bench, event| {
        if event == "DISCONNECTED" {
            bench.stream.request_tx_len(bench.now, 5);
        }
    };
    let connected = [state(State::Connecting), state(State::Connected)].concat();
    bench.hear(&[&connected[..], &state(State::Disconnected)].concat().repeat(2));
    assert_eq!(bench.frames(), ["CREDIT 0", "CREDIT 0", "LENGTH 5", "ONWARD_CONNECT"]);
    bench.cut();
    bench.pass(1000);
    bench.open();
    bench.hear(&[created(), state(State::Creating)].concat());
    bench.hear(&[&connected[..], &state(State::Disconnected)].concat());
    assert!(!bench.frames().contains(&"CREDIT 0".to_owned()), "this proxy manages none");
}

#[test]
fn credit_that_comes_later_is_not_managed() {
    let mut bench = Bench::created(STEADY);
    bench.hear(&frame(ToClient::TxCredit(10)));
    assert_eq!(bench.stream.credit(), None);
}

#[test]
fn the_window_is_topped_up_at_half() {
    let mut bench = Bench::connected(Config { window: 1000, ..STEADY });
    bench.hear(&payload(&[0; 900], Flags::WHOLE));
    assert!(!bench.stream.consumed(499));
    bench.settle();
    assert_eq!(bench.frames(), [""; 0]);
    assert!(bench.stream.consumed(1));
    bench.settle();
    assert_eq!(bench.frames(), ["CREDIT 500"]);
    assert!(!bench.stream.consumed(100_000), "only 400 are left that came");
    bench.stream.add_credit(7);
    bench.settle();
    assert_eq!(bench.frames(), ["CREDIT 7"]);
}

#[test]
fn metadata_is_checked_when_it_is_set() {
    let mut stream = Stream::new(Name::literal("mintest"), Config::DEFAULT, [0; 20]);
    assert_eq!(stream.set_metadata("a", b""), Err(MetadataError::EmptyValue));
    let long = "n".repeat(31);
    let error = MetadataError::Name(NameError::TooLong { length: 31, max: 30 });
    assert_eq!(stream.set_metadata(&long, b"1"), Err(error));
    stream.set_metadata("abc", b"0123456789").unwrap();
    let error = MetadataError::NoRoom { needed: 21, size: 20 };
    assert_eq!(stream.set_metadata("b", b"1"), Err(error));
    assert_eq!(
        error.to_string(),
        "metadata cannot be set: the stream's storage has 20 bytes, 21 are needed"
    );
    stream.set_metadata("abc", b"9876543210abcd").unwrap();
    let mut host = Stream::new(Name::literal("mintest"), Config::DEFAULT, vec![0; 200_000]);
    let error = host.set_metadata("a", &[1; 65_500]).unwrap_err();
    assert!(matches!(error, MetadataError::TooLong { length: 65_500, .. }), "{error}");
}

#[test]
fn rideshare_names_take_turns_at_each_message() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.stream.set_metadata("a", b"1").unwrap();
    bench.open();
    for byte in [create_result(0, b",mintest,r1,r2"), state(State::Creating)].concat() {
        bench.hear(&[byte]);
    }
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000", "METADATA a=1"]);
    bench.stream.connect();
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    for name in ["mintest", "r1", "r2", "mintest"] {
        assert_eq!(bench.stream.rideshare_name(), Some(name.as_bytes()));
        bench.messages.push(b"m".into());
        bench.stream.request_tx(bench.now);
        bench.settle();
    }
    bench.hear(&state(State::Disconnected));
    assert_eq!(
        bench.stream.rideshare_name(),
        Some(&b"mintest"[..]),
        "each connection begins with it"
    );
    bench.cut();
    bench.pass(250);
    bench.open();
    bench.hear(&created());
    assert_eq!(bench.frames().last().unwrap(), "METADATA a=1", "the list made room");
}

#[test]
fn what_is_kept_moves_to_another_storage() {
    let mut bench = Bench::new("mintest", STEADY);
    bench.stream.replace_storage(vec![0; 30]);
    bench.stream.set_metadata("a", b"1").unwrap();
    bench.open();
    bench.hear(&[create_result(0, b",mintest,second"), state(State::Creating)].concat());
    bench.stream.connect();
    bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
    assert!(bench.stream.set_metadata("b", b"a longer value").is_err());
    assert_eq!(bench.stream.replace_storage(vec![0; 60]).len(), 30);
    bench.stream.set_metadata("b", b"a longer value").unwrap();
    bench.messages = vec![b"x".to_vec()];
    bench.stream.request_tx(bench.now);
    bench.settle();
    let frames = bench.frames();
    assert!(frames.contains(&"METADATA a=1".into()), "{frames:?}");
    assert!(frames.contains(&"METADATA b=a longer value".into()), "{frames:?}");
    assert_eq!(bench.stream.rideshare_name(), Some(&b"second"[..]));
    assert_eq!((bench.stream.storage().len(), bench.stream.storage_left()), (60, 22));
}

#[test]
fn a_room_that_is_too_small_is_told() {
    let mut stream = Stream::new(Name::literal("mintest"), Config::DEFAULT, [0; 20]);
    stream.link_up(sspc::Instant::ZERO);
    let mut buf = [0; sspc::BUF_MIN];
    let small = &mut buf[..sspc::BUF_MIN - 1];
    let error = stream.transmit(sspc::Instant::ZERO, small, &mut |_| None).unwrap_err();
    assert_eq!(error.needed, sspc::BUF_MIN);
    assert_eq!(stream.transmit(sspc::Instant::ZERO, &mut buf, &mut |_| None), Ok(19));
}

#[test]
fn an_abandoned_message_takes_the_link_along() {
    let mut bench = Bench::connected(STEADY);
    bench.stream.abandon(bench.now);
    bench.hear(&[]);
    assert!(!bench.up);
    assert_eq!(bench.events(), ["DISCONNECTED"], "the application knows about the link");
    bench.pass(250);
    bench.open();
    bench.hear(&created());
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000"], "it does not connect by itself");
}

#[test]
fn a_link_that_comes_by_itself_is_taken() {
    let mut bench = Bench::created(STEADY);
    bench.up = true;
    bench.stream.link_up(bench.now);
    bench.hear(&[]);
    assert_eq!(bench.frames(), ["STREAMTYPE mintest 500000000"]);
    assert_eq!(bench.events(), ["UPSTREAM_LINK_RETRY"], "the former one is lost");
}

#[test]
fn an_answer_before_the_question_is_a_fault() {
    let mut stream = Stream::new(Name::literal("mintest"), Config::DEFAULT, [0; 20]);
    stream.link_up(sspc::Instant::ZERO);
    let fault = Event::Fault(Fault::Unexpected { frame: 0x56 });
    let answer = created();
    assert_eq!(stream.receive(sspc::Instant::ZERO, &mut &answer[..]), Some(fault));
    assert_eq!(stream.poll_link(sspc::Instant::ZERO), Some(LinkAction::Drop));
}

#[test]
fn a_first_credit_of_0_means_that_the_streamtype_takes_no_payload() {
    let takes_none = |config, credits: &[i32]| {
        let mut bench = Bench::new("mintest", config);
        bench.open();
        bench.hear(&created());
        for credit in credits {
            bench.hear(&frame(ToClient::TxCredit(*credit)));
        }
        bench.hear(&[state(State::Creating), frame(ToClient::TxCredit(0))].concat());
        let takes_none = bench.stream.takes_no_payload();
        bench.cut();
        assert!(!bench.stream.takes_no_payload(), "the next proxy has not spoken");
        takes_none
    };
    assert!(takes_none(STEADY, &[0]));
    assert!(!takes_none(STEADY, &[]), "nothing is known of a proxy that manages no credit");
    assert!(!takes_none(STEADY, &[65_536]));
    assert!(!takes_none(STEADY, &[65_536, 0]));
    assert!(!takes_none(Config { honour_credit: false, ..STEADY }, &[0]));
}
