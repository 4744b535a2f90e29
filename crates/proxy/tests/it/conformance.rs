//! What each key of a streamtype does: a policy, what the client does with it, and what reaches the
//! server and the client. A key that takes a server of its own kind names the tests that hold it.

use std::collections::BTreeSet;

use sspc::Address;
use sspc::tokio::Client;
use sspc_policy::{Section, Status, key_reference};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::Serving;
use crate::user::{PATIENCE, User};

/// A key, or several that mean something together.
struct Row {
    keys: &'static str,
    /// Of a streamtype of h1, beside where it leads.
    policy: &'static str,
    metadata: &'static [(&'static str, &'static str)],
    /// A message; without one the client connects.
    sends: Option<&'static str>,
    /// Of each request that comes in this order, what is a line of it, and after `!` what is none.
    requests: &'static [&'static [&'static str]],
    /// The servers' answers to them; `\n` ends a line.
    answers: &'static [&'static str],
    hears: &'static str,
    receives: &'static str,
}

const OK: &str = "HTTP/1.1 200 OK\ncontent-length: 2\n\nhi";
const GOOD: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";
const GOOD_POST: &str = "CREATING POLL CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";

/// A GET that goes well.
const GET: Row = Row {
    keys: "",
    policy: "",
    metadata: &[],
    sends: None,
    requests: &[&["GET / HTTP/1.1"]],
    answers: &[OK],
    hears: GOOD,
    receives: "hi",
};
const POST: Row = Row { sends: Some("body"), hears: GOOD_POST, ..GET };

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { keys: "endpoint port protocol opportunistic", ..GET },
    Row {
        keys: "http_url metadata", policy: r#""http_url": "a/${m}?x=1", "metadata": [{"m": ""}, {"n": "x-n:"}]"#,
        metadata: &[("m", "b c/d"), ("n", "value")],
        requests: &[&["GET /a/b%20c/d?x=1 HTTP/1.1", "x-n: value"]],
        ..GET
    },
    Row {
        keys: "metadata", policy: r#""metadata": [{"type": "content-type:"}, {"other": "x-other:"}]"#,
        answers: &["HTTP/1.1 200 OK\nContent-Type: text/plain\ncontent-length: 2\n\nhi"],
        hears: "CREATING CONNECTING type=text/plain CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED",
        ..GET
    },
    Row {
        keys: "http_method", policy: r#""http_method": "PUT""#,
        requests: &[&["PUT / HTTP/1.1", "content-length: 4", "body"]],
        ..POST
    },
    Row {
        keys: "http_no_content_length", policy: r#""http_method": "POST", "http_no_content_length": true"#,
        requests: &[&["POST / HTTP/1.1", "transfer-encoding: chunked", "!content-length: 4", "body"]],
        ..POST
    },
    Row {
        keys: "http_www_form_urlencoded", policy: r#""http_method": "POST", "http_www_form_urlencoded": true"#,
        requests: &[&["POST / HTTP/1.1", "content-type: application/x-www-form-urlencoded", "body"]],
        ..POST
    },
    Row {
        keys: "http_multipart_name http_multipart_filename http_mime_content_type",
        policy: r#""http_method": "POST", "http_multipart_name": "file", "http_multipart_filename": "f.txt",
                  "http_mime_content_type": "text/plain""#,
        requests: &[&[
            r#"Content-Disposition: form-data; name="file"; filename="f.txt""#, "Content-Type: text/plain", "body",
        ]],
        ..POST
    },
    Row {
        keys: "http_expect", policy: r#""http_expect": 404"#,
        answers: &["HTTP/1.1 404 Not Found\ncontent-length: 2\n\nhi"],
        ..GET
    },
    Row {
        keys: "http_expect", policy: r#""http_expect": 404"#,
        hears: "CREATING CONNECTING CONNECTED SOM EOM QOS_NACK_REMOTE DISCONNECTED",
        ..GET
    },
    Row {
        keys: "http_resp_map", policy: r#""http_resp_map": [{"530": 1530}, {"403": 1403}]"#,
        answers: &["HTTP/1.1 403 Forbidden\ncontent-length: 2\n\nhi"],
        hears: "CREATING CONNECTING USER(1403) CONNECTED SOM EOM QOS_NACK_REMOTE DISCONNECTED",
        ..GET
    },
    Row {
        keys: "allow_redirects", policy: r#""allow_redirects": true"#,
        requests: &[&["GET / HTTP/1.1"], &["GET /elsewhere HTTP/1.1"]],
        answers: &["HTTP/1.1 302 Found\nlocation: /elsewhere\ncontent-length: 0\n\n", OK],
        ..GET
    },
    Row {
        keys: "allow_redirects retry", policy: r#""retry": "none""#,
        answers: &["HTTP/1.1 302 Found\nlocation: /elsewhere\ncontent-length: 0\n\n"],
        hears: "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED", receives: "",
        ..GET
    },
    Row {
        keys: "http_fail_redirect", policy: r#""allow_redirects": true, "http_fail_redirect": true, "retry": "none""#,
        answers: &["HTTP/1.1 302 Found\nlocation: /elsewhere\ncontent-length: 0\n\n"],
        hears: "CREATING CONNECTING UNREACHABLE ALL_RETRIES_FAILED", receives: "",
        ..GET
    },
    Row {
        keys: "http_auth_header http_auth_preamble",
        policy: r#""http_auth_header": "authorization:", "http_auth_preamble": "bearer ""#,
        requests: &[&["GET / HTTP/1.1", "authorization: bearer the token"]],
        ..GET
    },
    Row {
        keys: "http_dsn_header http_fwv_header http_devtype_header",
        policy: r#""http_dsn_header": "x-dsn:", "http_fwv_header": "x-fwv:", "http_devtype_header": "x-type:""#,
        requests: &[&["x-dsn: serial", "x-fwv: 1.2", "x-type: rig"]],
        ..GET
    },
    Row {
        keys: "http_cookies allow_redirects", policy: r#""http_cookies": true, "allow_redirects": true"#,
        requests: &[&["GET / HTTP/1.1"], &["GET /2 HTTP/1.1", "cookie: a=b"]],
        answers: &["HTTP/1.1 302 Found\nset-cookie: a=b\nlocation: /2\ncontent-length: 0\n\n", OK],
        ..GET
    },
    Row {
        keys: "http_traceparent", policy: r#""http_traceparent": true, "metadata": [{"trace": "traceparent:"}]"#,
        metadata: &[("trace", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
        requests: &[&["traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]],
        ..GET
    },
    Row {
        keys: "perf", policy: r#""perf": true"#,
        hears: "CREATING CONNECTING PERF CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED",
        ..GET
    },
];

/// Keys whose effect takes more than one request of h1, each with the tests that hold it.
#[rustfmt::skip]
const HELD: &[(&str, &str)] = &[
    ("tls tls_trust_store", "the_policys_trust_store_vouches_for_servers"),
    ("allow_clear", "allow_clear_is_for_whole_endpoints"),
    ("allow_private", "metadata_does_not_lead_into_private_networks"),
    ("client_cert", "servers_get_the_certificate_of_the_policys_number"),
    ("opportunistic", "a_lost_connection_comes_back_unless_opportunistic"),
    ("nailed_up", "nailed_up_connects_at_creation"),
    ("retry", "a_refused_stream_retries_after_the_policys_delays"),
    ("timeout_ms", "the_policys_timeout_is_what_zero_means_and_none_if_it_has_none"),
    ("attr_priority", "a_stream_of_high_priority_waits_for_two_frames_at_most"),
    ("proxy_buflen", "a_streams_buffer_is_the_policys_or_the_proxys"),
    ("client_buflen rideshare", "creation_tells_the_advised_buffer_and_the_rideshare_chain"),
    ("rideshare", "messages_of_a_rideshare_chain_become_one_form"),
    ("use_auth aws_region aws_service", "requests_are_signed_over_h1_and_h2_for_the_host_that_they_ask"),
    ("long_poll", "a_long_poll_never_runs_out_of_time"),
    ("alt_svc", "h2_goes_over_to_h3_where_the_server_offers_it_and_the_policy_allows"),
    ("ws_subprotocol", "only_a_subprotocol_that_was_asked_for_is_taken"),
    ("ws_binary", "the_policy_chooses_between_text_and_binary"),
    ("mqtt_topic mqtt_subscribe mqtt_qos mqtt_v5", "a_message_goes_to_its_topic_and_comes_from_there"),
    ("mqtt_will_topic mqtt_will_message mqtt_will_qos mqtt_will_retain", "birth_is_published_once_a_connection_and_the_will_when_it_is_lost"),
    ("mqtt_birth_topic mqtt_birth_message mqtt_birth_qos mqtt_birth_retain", "birth_is_published_once_a_connection_and_the_will_when_it_is_lost"),
    ("attr_low_latency attr_high_throughput attr_high_reliability attr_priority", "the_policys_options_are_on_the_socket"),
    ("proxy_buflen_rxflow_on_above proxy_buflen_rxflow_off_below", "a_streams_buffer_is_the_policys_or_the_proxys"),
    ("ws_headers", "headers_go_along_and_come_back_if_the_policy_says_so"),
    ("ws_over_h2", "websockets_share_the_connection_of_requests"),
    ("ws_prioritize_reads", "all_that_has_come_is_read_before_anything_is_written_if_the_policy_says_so"),
    ("nghttp2_quirk_end_stream", "responses_without_a_body_complete_at_their_headers"),
    ("h2q_oflow_txcr", "a_server_that_gives_more_than_the_largest_window_is_borne_with"),
    ("mqtt_retain", "a_new_stream_gets_what_the_broker_kept_and_the_others_do_not_get_it_again"),
    ("mqtt_keep_alive", "the_keep_alive_is_kept_and_its_answer_waited_for"),
    ("http_multipart_ss_in", "incoming_forms_become_messages"),
    ("mqtt_clean_start", "a_session_that_the_broker_kept_is_taken_up_again"),
    ("mqtt_ws_path", "mqtt_runs_over_a_websocket"),
    ("aws_iot", "what_is_published_to_a_shadow_is_answered"),
];

/// Answers the requests of a row, one after another on as many connections as they come on, and gives
/// them back as they were.
async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) -> Vec<String> {
    let mut requests = Vec::new();
    let mut connection = None;
    for answer in answers {
        let mut socket = match connection.take() {
            Some(socket) => socket,
            None => listener.accept().await.unwrap().0,
        };
        let mut request = read_request(&mut socket).await;
        if request.is_empty() {
            socket = listener.accept().await.unwrap().0;
            request = read_request(&mut socket).await;
        }
        requests.push(request);
        socket.write_all(&answer).await.unwrap();
        connection = Some(socket);
    }
    requests
}

/// A request with its body, whose end is known by the text that all of them hold.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let has_body = lower.contains("content-length: ") || lower.contains("chunked");
            let is_whole = match lower.contains("chunked") {
                true => body.ends_with("0\r\n\r\n"),
                false => body.contains("body"),
            };
            if !has_body || is_whole {
                return text.into_owned();
            }
        }
        if socket.read_buf(&mut request).await.unwrap() == 0 {
            return String::from_utf8_lossy(&request).into_owned();
        }
    }
}

#[tokio::test]
async fn each_key_does_what_its_row_says() {
    for row in ROWS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let more = if row.policy.is_empty() { "" } else { ", " };
        let retry = if row.policy.contains("retry") { "" } else { r#", "retry": "quick""# };
        let policy = format!(
            r#"{{"retry": [{{"none": {{"backoff": [1], "conceal": 0}}}}, {{"quick": {{"backoff": [1], "conceal": 3}}}}],
                "s": [{{"t": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "h1",
                    "opportunistic": true{retry}{more}{}}}}}]}}"#,
            row.policy
        );
        let serving = Serving::with(&policy, |config| {
            config.credentials.auth = "the token".into();
            config.credentials.serial_number = "serial".into();
            config.credentials.firmware_version = "1.2".into();
            config.credentials.device_type = "rig".into();
        });
        let answers = row.answers.iter().map(|answer| {
            let (head, body) = answer.split_once("\n\n").unwrap();
            format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
        });
        let server = tokio::spawn(serve(listener, answers.collect()));
        let path = serving.folder.path().join("ss");
        let address: Address = format!("uds:{}", path.display()).parse().unwrap();
        let mut user = User::open(&Client::new(address), "t").await;
        for (name, value) in row.metadata {
            user.set_metadata(name, value).unwrap();
        }
        let heard = match row.sends {
            Some(message) => user.post(message.as_bytes()).await,
            None => user.get().await,
        };
        let what = format!("{}: {}", row.keys, row.policy);
        assert_eq!(heard, row.hears, "{what}");
        let received = user.messages.iter().flat_map(|message| message.data.clone());
        let received = String::from_utf8(received.collect()).unwrap();
        assert_eq!(received, row.receives, "{what}");
        let requests = timeout(PATIENCE, server).await.expect(&what).unwrap();
        assert_eq!(requests.len(), row.requests.len(), "{what}: {requests:?}");
        for (request, expected) in requests.iter().zip(row.requests) {
            let has =
                |wanted: &str| request.split("\r\n").any(|line| line.eq_ignore_ascii_case(wanted));
            for line in *expected {
                match line.strip_prefix('!') {
                    Some(absent) => assert!(!has(absent), "{what}: {request}"),
                    None => assert!(has(line), "{what}: no {line:?} in {request}"),
                }
            }
        }
    }
}

#[test]
fn no_key_is_without_a_row() {
    let rows = ROWS.iter().map(|row| row.keys).chain(HELD.iter().map(|(keys, _)| *keys));
    let held: BTreeSet<&str> = rows.flat_map(str::split_whitespace).collect();
    let all = key_reference();
    let acts = |status: Status| match status {
        Status::Inert(_) | Status::NotBehindProxy(..) => false,
        Status::With(other) => all.iter().any(|key| {
            key.name == other
                && !matches!(key.status, Status::Inert(_) | Status::NotBehindProxy(..))
        }),
        _ => true,
    };
    let keys = all.iter().filter(|key| key.section == Section::StreamType && acts(key.status));
    let keys: BTreeSet<&str> = keys.map(|key| key.name).collect();
    let missing: Vec<_> = keys.difference(&held).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let unknown: Vec<_> = held.difference(&keys).collect();
    assert!(unknown.is_empty(), "no such keys, or they do nothing: {unknown:?}");
}

#[test]
fn the_tests_that_hold_keys_are_there() {
    for (keys, test) in HELD {
        assert!(crate::security_page::is_test(test), "{keys}: there is no test {test}");
    }
}
