//! Every knob of [`Limits`] and [`Timeouts`] acts: what a client or a server sees follows from its
//! value.
//!
//! `retry_after_max` above an hour was cut to an hour, and a buffer of less than 64 KiB was made
//! 64 KiB, each by a second limit elsewhere. So a knob has two values, one below and one above its
//! default where that is not too many connections, and what is seen must be the value itself.

mod cookies;
mod heads;
mod memory;
mod mqtt;
mod network;
mod observations;
mod smd;
mod support;
mod tls;

use super::*;
use support::{Observation, Setting};

/// A knob, and what shows that it acts.
struct Row {
    knob: &'static str,
    values: [u64; 2],
    set: fn(&mut Config, u64),
    set_largest: fn(&mut Config),
    observations: Vec<(&'static str, Observation)>,
}

/// Rows for all fields of a part of the configuration. A field without a row does not compile.
macro_rules! rows {
    ($part:ident: $knobs:ident { $(
        $knob:ident: [$low:literal, $high:literal] => $($observation:ident)&+,
    )+ }) => {{
        let $knobs { $($knob: _),+ } = $knobs::default();
        vec![$(Row {
            knob: stringify!($knob),
            values: [$low, $high],
            set: |config, value| config.$part.$knob = Setting::from_number(value),
            set_largest: |config| config.$part.$knob = Setting::LARGEST,
            observations: vec![$((
                stringify!($observation),
                (|config| Box::pin(observations::$observation(config))) as Observation,
            )),+],
        }),+]
    }};
}

/// In ms.
fn timeouts() -> Vec<Row> {
    rows!(timeouts: Timeouts {
        streamtype: [700, 60_000] => silence_before_streamtype,
        handshake: [900, 30_000] => silence_before_the_handshake,
        connect: [1_500, 90_000] => silent_tls_handshake,
        response: [2_000, 100_000] => silent_http_server & silent_websocket_server,
        body_idle: [2_500, 120_000] => silence_inside_a_body & silence_inside_an_answered_request,
        keep_warm: [300, 130_000] => idle_h1_connection & idle_h2_connection,
        mqtt_ack: [500, 20_000] => unacknowledged_message,
        smd_ttl: [500, 10_000] => age_of_messages,
        retry_after_max: [7_000, 10_800_000] => busy_before_connected & busy_after_connected,
        drain: [400, 140_000] => transaction_at_shutdown,
        flush: [200, 150_000] => refused_client_that_stays,
        link: [3_000, 45_000] => silence_before_the_link,
        client_gone: [20_000, 120_000] => keepalive_of_a_tcp_client,
    })
}

/// In bytes, or a number of something.
fn limits() -> Vec<Row> {
    rows!(limits: Limits {
        sessions: [1, 4] => served_links,
        sessions_per_client: [2, 5] => served_sockets & served_channels,
        lines: [2, 5] => lines_of_many_hosts,
        lines_per_client: [2, 5] => lines_of_one_host,
        handshakes: [4, 10] => handshakes_of_many_hosts,
        handshakes_per_client: [2, 5] => handshakes_of_one_host,
        stream_buffer: [50_000, 1_000_000] => first_credit & held_for_a_client_that_does_not_read,
        ahead_buffer: [200_000, 700_000] => sent_ahead,
        channel_buffer: [50_000, 400_000] => sent_on_a_channel,
        request_head: [1_000, 40_000] => largest_http_head & largest_websocket_head,
        cookies: [300, 6_000] => cookies_of_a_server,
        cookie_jars: [2, 1_030] => servers_with_cookies,
        h2_streams: [2, 300] => streams_of_the_first_h2_connection,
        h2_stream_window: [30_000, 2_000_000] => h2_window,
        mqtt_message: [900, 3_000_000] => largest_announced_message,
        mqtt_stream_window: [20_000, 1_000_000] => largest_message_among_strangers,
        smd_queue: [3, 100] => waiting_messages,
        smd_rate: [50, 1_000] => messages_of_a_second,
        lookups: [2, 9] => names_asked_for_many_clients,
        lookups_per_client: [3, 20] => names_asked_for_one_client,
        memory: [2_000_000, 20_000_000] => held_for_one_client & held_of_one_client,
    })
}

fn assert_all_act(rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for Row { knob, values, set, observations, .. } in rows {
        for (observation, observe) in observations {
            let seen = values.map(|value| {
                let mut config = Config::new(Policy::default());
                set(&mut config, value);
                support::in_virtual_time(observe(config))
            });
            if seen != values {
                wrong.push(format!("`{knob}` {values:?}, but {seen:?} is seen by `{observation}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_timeout_acts() {
    assert_all_act(timeouts());
}

#[test]
fn every_limit_acts() {
    assert_all_act(limits());
}

/// A `streamtype` of `Duration::MAX` made every session panic.
#[test]
fn the_largest_values_break_nothing() {
    let mut config = Config::new(Policy::default());
    for row in timeouts().into_iter().chain(limits()) {
        (row.set_largest)(&mut config);
    }
    let all = async {
        let all = observations::transactions(config);
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("nothing waits");
    };
    support::in_virtual_time(all);
}

/// A `proxy_buflen` of 32,768 gave 65,536, and one left out was 32,768 in one place and 65,536 in
/// another.
#[test]
fn a_streams_buffer_is_the_policys_or_the_proxys() {
    let limits = Limits { stream_buffer: 1_000, ..Limits::default() };
    let mut streamtype = StreamType::new("s");
    assert_eq!(limits.buffer_of(&streamtype), 1_000);
    streamtype.proxy_rxflow_on_above = Some(2_000);
    assert_eq!(limits.buffer_of(&streamtype), 2_000);
    for bytes in [1, 32_767, 32_768, 65_536, 1_000_000] {
        streamtype.proxy_buflen = Some(bytes);
        assert_eq!(limits.buffer_of(&streamtype), bytes as usize);
    }
}

#[test]
fn the_defaults_are_those_that_docs_policy_md_names() {
    assert_eq!(Limits::default().stream_buffer, 65_536);
    assert_eq!(Timeouts::default().retry_after_max, Duration::from_secs(3600));
}
