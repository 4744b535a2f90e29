//! What an application asks for between a verdict and the end of its connection.

use sspc::{Config, State};

use crate::harness::{Bench, state};

/// Waits without a random part.
const STEADY: Config = Config { jitter_percent: 0, ..Config::DEFAULT };

#[test]
fn what_is_asked_for_behind_a_verdict_is_sent_once_the_connection_ended() {
    for verdict in [State::QosAckRemote, State::QosNackRemote] {
        let mut bench = Bench::connected(STEADY);
        bench.hear(&state(verdict));
        bench.stream.connect();
        bench.settle();
        assert_eq!(bench.frames(), [""; 0], "the connection is still there");
        bench.hear(&state(State::Disconnected));
        assert_eq!(bench.frames(), ["ONWARD_CONNECT"]);
        bench.hear(&[state(State::Connecting), state(State::Connected)].concat());
        bench.hear(&[state(State::QosAckRemote), state(State::Disconnected)].concat());
        assert_eq!(bench.frames(), [""; 0], "it was asked for once");
    }
    // Where a connection takes many messages, the next one asks for no other connection.
    let mut bench = Bench::connected(STEADY);
    bench.hear(&state(State::QosAckRemote));
    bench.stream.request_tx(bench.now);
    bench.messages.push(b"next".into());
    bench.settle();
    bench.hear(&[state(State::QosAckRemote), state(State::Disconnected)].concat());
    assert_eq!(bench.frames(), ["TX 4 SOM|EOM"]);
}
