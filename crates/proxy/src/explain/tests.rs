//! What is said is what is done.

use std::collections::BTreeMap;

use sspc_policy::Source;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::DeviceCredentials;

fn config(policy: &str) -> Config {
    let parsed =
        Policy::parse(&Source::new("p", policy)).unwrap_or_else(|report| panic!("{report}"));
    Config::new(parsed.policy)
}

fn metadata(items: &[(&str, &str)]) -> Vec<(String, Bytes)> {
    let item = |(name, value): &(&str, &str)| {
        ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))
    };
    items.iter().map(item).collect()
}

fn explained(config: &Config, name: &str, items: &[(&str, &str)]) -> Destination {
    explain(config, name, &metadata(items), None).unwrap().destination.unwrap()
}

/// The head of the request that an attempt sends to a server: its first line, and its headers.
async fn sent(
    config: &Config,
    name: &str,
    items: &[(&str, &str)],
    listener: &TcpListener,
) -> (String, BTreeMap<String, String>) {
    let onward = Onward::new(OnwardConfig {
        credentials: config.credentials.clone().into(),
        ..OnwardConfig::default()
    });
    let stream = config.policy.streamtype(name).unwrap();
    let _running = onward.start(attempt(&config.policy, stream, &metadata(items), None));
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().lines();
    let first = lines.next().unwrap().to_owned();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    (first, headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect())
}

#[tokio::test]
async fn what_is_sent_is_what_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = config(&format!(
        r#"{{"s":[
          {{"get":{{"endpoint":"127.0.0.1","port":{port},"http_url":"/a b/${{x}}?q=1",
                    "http_auth_header":"x-secret","http_auth_preamble":"bearer ",
                    "metadata":[{{"x":"x-of-client"}},{{"auth":"authorization"}}]}}}},
          {{"post":{{"endpoint":"http://localhost:{port}/up","http_method":"POST",
                     "http_www_form_urlencoded":true}}}},
          {{"ws":{{"endpoint":"127.0.0.1","port":{port},"protocol":"ws","http_url":"w",
                   "ws_subprotocol":"chat"}}}}]}}"#
    ));
    config.credentials = DeviceCredentials { auth: "token".into(), ..config.credentials };
    let items = [("x", "é"), ("auth", "basic me")];
    for (name, items) in [("get", &items[..]), ("post", &[]), ("ws", &[])] {
        let request = explained(&config, name, items).request.unwrap();
        let (first, mut headers) = sent(&config, name, items, &listener).await;
        let path = request.url.splitn(4, '/').nth(3).unwrap();
        assert_eq!(first, format!("{} /{path} HTTP/1.1", request.method), "{name}");
        for (header, value) in &request.headers {
            let sent = headers.remove(header).unwrap_or_else(|| panic!("{name}: {header}"));
            match value {
                Secret::Shown(_) if header == "sec-websocket-key" => {}
                Secret::Shown(value) => assert_eq!(&sent, value, "{name}: {header}"),
                Secret::Hidden(length) => assert_eq!(sent.len(), *length, "{name}: {header}"),
            }
        }
        // How the body ends is decided with its first bytes.
        headers.remove("transfer-encoding");
        assert_eq!(headers, BTreeMap::new(), "{name}: sent and not explained");
    }
}

#[test]
fn secrets_are_hidden() {
    let mut config = config(
        r#"{"s":[{"t":{"endpoint":"e","port":1,"http_auth_header":"x-secret","http_dsn_header":"x-dsn",
            "metadata":[{"auth":"Authorization"},{"dsn":"x-dsn"},{"open":"x-open"}]}}]}"#,
    );
    config.credentials = DeviceCredentials { auth: "token".into(), ..config.credentials };
    let items = [("auth", "me"), ("dsn", "42"), ("open", "seen")];
    let request = explained(&config, "t", &items).request.unwrap();
    let value = |name: &str| {
        let found = request.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.clone()).unwrap()
    };
    assert_eq!(value("x-secret"), Secret::Hidden(5));
    assert_eq!(value("authorization"), Secret::Hidden(2));
    assert_eq!(value("x-dsn"), Secret::Hidden(2));
    assert_eq!(value("x-open"), Secret::Shown("seen".to_owned()));
}

#[test]
fn streamtypes_that_share_a_connection_are_named() {
    let config = config(
        r#"{"certs":[{"c":"MAMCAQE="}],"trust_stores":[{"rig":["c"]}],"s":[
          {"a":{"endpoint":"e","port":443,"tls":true,"protocol":"h2","tls_trust_store":"rig"}},
          {"same":{"endpoint":"E:443","tls":true,"protocol":"h2","tls_trust_store":"rig"}},
          {"trust":{"endpoint":"e","port":443,"tls":true,"protocol":"h2"}},
          {"clear":{"endpoint":"e","port":443,"protocol":"h2"}},
          {"port":{"endpoint":"e","port":444,"tls":true,"protocol":"h2","tls_trust_store":"rig"}},
          {"h1":{"endpoint":"e","port":443,"tls":true,"tls_trust_store":"rig"}},
          {"sink":{"endpoint":"e","port":443,"tls":true,"protocol":"h2","tls_trust_store":"rig",
                   "local_sink":true}}]}"#,
    );
    let a = explained(&config, "a", &[]);
    assert_eq!(a.shared_with, ["same"]);
    assert_eq!(a.trust.as_deref(), Some("trust store `rig`"));
    assert_eq!(a.request.unwrap().url, "https://e:443/");
    assert_eq!(explained(&config, "trust", &[]).trust.as_deref(), Some("the system's trust store"));
    assert_eq!(explained(&config, "h1", &[]).shared_with, [""; 0]);
}

#[test]
fn topics_are_said() {
    let config = config(
        r#"{"s":[{"t":{"endpoint":"e","port":1883,"protocol":"mqtt","mqtt_topic":"a/${x}",
            "mqtt_subscribe":"b/+","mqtt_birth_topic":"up","metadata":[{"x":""}]}}]}"#,
    );
    let topics = explained(&config, "t", &[("x", "y")]).topics;
    let text = |key: &'static str, topic: &str| (key, topic.to_owned());
    let expected =
        [text("mqtt_topic", "a/y"), text("mqtt_subscribe", "b/+"), text("mqtt_birth_topic", "up")];
    assert_eq!(topics, expected);
}

#[test]
fn what_clients_choose_is_said() {
    let config = Config::new(Policy::builtin());
    let chosen = explained(&config, "__default", &[("endpoint", "https://h/x?y")]);
    assert!(chosen.is_clients);
    assert_eq!(chosen.request.unwrap().url, "https://h:443/x?y");
    assert!(!explained(&config, "captive_portal_detect", &[]).is_clients);
    let own = explain(&config, "__default", &metadata(&[("endpoint", "https://127.0.0.1/")]), None);
    let why = own.unwrap().destination.unwrap_err();
    assert!(why.contains("127.0.0.1 is an address of this machine"), "{why}");
}

#[test]
fn refusals_and_failures_are_those_of_sessions_and_attempts() {
    let config = config(
        r#"{"s":[{"t":{"endpoint":"${e}","port":1,"metadata":[{"e":""}]}},{"sink":{"local_sink":true}}]}"#,
    );
    let error = |name: &str, items: &[(&str, &str)]| {
        explain(&config, name, &metadata(items), None).unwrap_err()
    };
    assert_eq!(
        error("T", &[]),
        "clients are refused: the policy has no streamtype \"T\"; did you mean `t`?"
    );
    assert!(
        error("sink", &[]).starts_with("clients are refused: the policy has streamtype \"sink\"")
    );
    assert_eq!(
        error("t", &[("x", "y")]),
        "clients are cut off: streamtype \"t\" declares no metadata \"x\""
    );
    assert!(error("t", &[("e", "")]).ends_with("has an empty value"));
    let unset = explain(&config, "t", &[], None).unwrap().destination.unwrap_err();
    assert_eq!(unset, "endpoint: the endpoint has no host");
}
