//! What the keys of a policy mean: the values they give, their defaults, and the dialect they are
//! written in.

use std::time::Duration;

use sspc_policy::{MetadataItem, Parsed, Policy, Protocol, Source, StreamType, Validity};

use crate::support::is_fault;

fn parse(text: &str) -> Parsed {
    Policy::parse(&Source::new("p", text)).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

/// A policy that is right in every way.
#[track_caller]
fn clean(text: &str) -> Policy {
    let parsed = parse(text);
    assert!(!parsed.warnings.diagnostics().iter().any(is_fault), "{}", parsed.warnings);
    parsed.policy
}

fn stream(keys: &str) -> StreamType {
    let policy = clean(&format!(r#"{{"s":[{{"t":{{"endpoint":"e","port":8080,{keys}}}}}]}}"#));
    policy.streamtype("t").map(|t| t.as_ref().clone()).unwrap_or_else(|| StreamType::new(""))
}

fn item(name: &str, header: Option<&str>) -> MetadataItem {
    MetadataItem { name: name.to_owned(), header: header.map(str::to_owned) }
}

#[test]
fn a_streamtype_needs_only_an_endpoint_and_a_port() {
    let policy = clean(r#"{"s":[{"t":{"endpoint":"e","port":80}}]}"#);
    let t = policy.streamtype("t").unwrap();
    assert_eq!(t.protocol, Protocol::H1);
    assert_eq!(t.http.method, "GET");
    assert_eq!(t.http.url.as_str(), "");
    assert_eq!(t.proxy_buflen, None);
    assert!(!t.tls && !t.opportunistic && !t.nailed_up && !t.allow_redirects);
    assert!(t.retry.is_none() && t.trust_store.is_none() && t.client_cert.is_none());
    assert!(!t.retry_or_default().allows(1));
    assert_eq!(t.retry_or_default().delay_ms(0, 0), 3_000);
    assert!(policy.streamtype("T").is_none() && policy.streamtype("").is_none());
}

#[test]
fn the_builtin_policy_is_the_documented_one() {
    let written = clean(
        r#"{
          "retry": [{"default": {"backoff": [1000, 2000, 3000, 5000, 10000], "conceal": 5,
                                 "jitterpc": 20, "svalidping": 30, "svalidhup": 35}}],
          "s": [
            {"__default": {
              "endpoint": "${endpoint}", "port": 443, "protocol": "h2", "http_method": "GET",
              "http_url": "", "tls": true, "allow_clear": true, "allow_redirects": true,
              "nghttp2_quirk_end_stream": true, "h2q_oflow_txcr": true, "direct_proto_str": true,
              "opportunistic": true, "timeout_ms": 2000, "retry": "default",
              "metadata": [{"endpoint": "", "acc": "accept", "ua": "user-agent"}]}},
            {"captive_portal_detect": {
              "endpoint": "connectivitycheck.android.com", "port": 80, "protocol": "h1",
              "http_method": "GET", "http_url": "generate_204", "opportunistic": true,
              "http_expect": 204, "http_fail_redirect": true}}
          ]}"#,
    );
    assert_eq!(written, Policy::builtin());
}

#[test]
fn every_family_of_keys_reaches_its_fields() {
    let t = stream(
        r#""client_cert": 0, "attr_priority": 6, "attr_low_latency": true, "attr_low_cost": true,
           "proxy_buflen": 100000, "proxy_buflen_rxflow_on_above": 9, "client_buflen": 7,
           "proxy_buflen_rxflow_off_below": 8, "perf": true, "tls": true,
           "http_resp_map": [{"404": 1404, "530": 1530}, {"200": 65535}], "http_expect": "204",
           "http_auth_header": "authorization:", "http_auth_preamble": "bearer ",
           "http_no_content_length": true, "http_method": "REPORT", "http_url": "a?b",
           "http_cookies": true, "http_multipart_ss_in": true, "http_dsn_header": "x-dsn""#,
    );
    assert_eq!((t.client_cert, t.priority, t.tos.bits()), (Some(0), 6, 0x12));
    assert_eq!((t.proxy_buflen, t.client_buflen), (Some(100_000), 7));
    assert_eq!((t.proxy_rxflow_on_above, t.proxy_rxflow_off_below), (Some(9), Some(8)));
    assert_eq!(t.http.resp_map, [(404, 1404), (530, 1530), (200, 65535)]);
    assert_eq!((t.http.mapped_state(530), t.http.mapped_state(500)), (Some(1530), None));
    assert!(t.http.is_success(204) && !t.http.is_success(200));
    assert_eq!(t.http.auth_header.as_deref(), Some("authorization"));
    assert_eq!(t.http.auth_preamble.as_deref(), Some("bearer "));
    assert_eq!(t.http.method, "REPORT");
    let ws = stream(r#""protocol":"ws","ws_subprotocol":"chat","ws_binary":true,"http_url":"/x""#);
    assert_eq!((ws.ws.subprotocol.as_deref(), ws.ws.binary), (Some("chat"), true));
    assert_eq!(ws.http.url.as_str(), "/x");
    let mqtt = stream(
        r#""protocol":"mqtt","mqtt_topic":"a/${x}","mqtt_subscribe":"+/b/#","mqtt_qos":2,
           "mqtt_keep_alive":60,"mqtt_clean_start":true,"mqtt_will_topic":"w","mqtt_birth_topic":"b",
           "mqtt_will_message":"bye","mqtt_birth_qos":1,"mqtt_will_retain":true,
           "metadata":[{"x":""}]"#,
    );
    assert_eq!(mqtt.mqtt.topic.as_ref().unwrap().as_str(), "a/${x}");
    assert_eq!((mqtt.mqtt.qos, mqtt.mqtt.keep_alive_s, mqtt.mqtt.birth.qos), (2, 60, 1));
    assert!(mqtt.mqtt.will.retain && !mqtt.mqtt.birth.retain && mqtt.mqtt.clean_start);
    assert_eq!(stream(r#""protocol":"h3""#).protocol, Protocol::H3);
}

#[test]
fn metadata_keeps_its_order_and_drops_the_colon_of_headers() {
    let t = stream(r#""metadata":[{"b":"X-B:","a":""},{"c":"content-type"}]"#);
    assert_eq!(
        t.metadata,
        [item("b", Some("X-B")), item("a", None), item("c", Some("content-type"))]
    );
    assert!(t.metadata_item("c").is_some() && t.metadata_item("d").is_none());
}

#[test]
fn an_empty_string_is_the_same_as_no_key() {
    let t = stream(r#""retry":"","http_multipart_name":"","rideshare":"","use_auth":"""#);
    assert_eq!(t, stream(r#""tls":false"#));
    assert!(!t.is_multipart());
}

#[test]
fn what_is_referred_to_may_stand_anywhere() {
    let policy = clean(
        r#"{
          "s": [{"t": {"endpoint": "e", "port": 443, "tls": true, "tls_trust_store": "short",
                       "retry": "r", "use_auth": "a", "metadata": [{"reg": "", "svc": ""}],
                       "aws_region": "reg", "aws_service": "svc"}},
                {"u": {"endpoint": "e", "port": 443, "tls": true, "tls_trust_store": "long"}}],
          "auth": [{"name": "a", "type": "sigv4", "streamtype": "t", "blob": 2}],
          "trust_stores": [{"short": ["c2", "c1"]}, {"stack": ["c1"], "name": "long"}],
          "retry": [{"r": {"backoff": [1, "2"], "conceal": 65535}}],
          "certs": [{"c1": "MAMCAQE="}, {"c2": "MAMCAQI="}],
          "metrics": [{"name": "m", "us_schedule": 10000000000, "report": "n.cn.*"}],
          "release": "01", "product": "x", "schema-version": 1, "via-socks5": "127.0.0.1:1080"
        }"#,
    );
    let t = policy.streamtype("t").unwrap();
    let store = t.trust_store.as_ref().unwrap();
    assert_eq!(store.certs, [[0x30, 3, 2, 1, 2].into(), [0x30, 3, 2, 1, 1].into()]);
    assert_eq!(t.retry.as_ref().unwrap().backoff_ms, [1, 2]);
    assert_eq!(t.use_auth.as_ref().unwrap().blob, 2);
    assert_eq!(policy.streamtype("u").unwrap().trust_store.as_ref().unwrap().certs.len(), 1);
    assert_eq!(policy.via_socks5.as_deref(), Some("127.0.0.1:1080"));
    assert_eq!(policy.metrics[0].schedule_us, 10_000_000_000);
}

#[test]
fn comments_and_commas_of_the_dialect() {
    let policy = clean(
        "\u{feff}# one \"policy\" {\r\n{ \"s\": [ # the streams }\n  {\"t#1\": {\"endpoint\": \"e#\",\
         \"port\": 80, \"payload_fmt\": \"a\\\"#b\"}},\n ], } # end \u{e9}"
            .replace("], }", "] }")
            .replace("e#", "e")
            .as_str(),
    );
    assert_eq!(policy.streamtype("t#1").unwrap().payload_fmt.as_deref(), Some("a\"#b"));
}

#[test]
fn several_streamtypes_may_share_an_object() {
    let policy =
        clean(r#"{"s":[{"a":{"endpoint":"e","port":1},"b":{"endpoint":"f","port":2}}],"s":[]}"#);
    assert_eq!(policy.streamtypes.len(), 2);
}

#[test]
fn the_last_definition_wins_outright() {
    let parsed = parse(
        r#"{"retry":[{"r":{"conceal":5,"jitterpc":9}},{"r":{"conceal":6}}],
            "s":[{"t":{"endpoint":"e","port":1,"tls":true}},{"t":{"endpoint":"f","port":2}}]}"#,
    );
    assert_eq!(parsed.warnings.warnings().filter(|warning| is_fault(warning)).count(), 2);
    let t = parsed.policy.streamtype("t").unwrap();
    assert_eq!((t.port, t.tls), (2, false));
    assert_eq!(parsed.policy.retry["r"].jitter_percent, 30);
}

#[test]
fn strings_may_be_much_longer_than_253_bytes() {
    let url = "u".repeat(4_096);
    assert_eq!(stream(&format!("\"http_url\":\"{url}\"")).http.url.as_str(), url);
    let long = format!(r#"{{"s":[{{"t":{{"endpoint":"e","port":1,"http_url":"{url}u"}}}}]}}"#);
    let report = Policy::parse(&Source::new("p", long)).unwrap_err();
    assert!(report.to_string().contains("has 4097 bytes; expected at most 4096"), "{report}");
}

#[test]
fn a_flag_that_is_false_is_false() {
    let t = stream(r#""tls":true,"http_fail_redirect":false"#);
    assert!(t.tls && !t.http.fail_redirect);
}

#[test]
fn rideshares_chain_up_to_where_they_end_or_return() {
    let policy = parse(
        r#"{"s":[{"a":{"endpoint":"e","port":1,"rideshare":"b"}},
                 {"b":{"rideshare":"c"}},{"c":{"rideshare":"a"}},
                 {"d":{"endpoint":"e","port":1,"rideshare":"x"}}]}"#,
    )
    .policy;
    let chain = |name: &str| -> Vec<String> {
        policy.rideshare_chain(name).iter().map(|s| s.name.clone()).collect()
    };
    assert_eq!(chain("a"), ["a", "b", "c"]);
    assert_eq!(chain("c"), ["c", "a", "b"]);
    assert_eq!(chain("d"), ["d"]);
    assert!(chain("nope").is_empty());
}

#[test]
fn validity_follows_the_retry_policy() {
    let with = |retry: &str| {
        let text = format!(
            r#"{{"retry":[{{"r":{{{retry}}}}}],"s":[{{"t":{{"endpoint":"e","port":1,"retry":"r"}}}}]}}"#
        );
        parse(&text).policy.streamtype("t").unwrap().validity()
    };
    let seconds = |s| Duration::from_secs(s);
    let validity = |ping: Option<u64>, hangup| {
        Some(Validity { ping: ping.map(seconds), hangup: seconds(hangup) })
    };
    assert_eq!(stream(r#""tls":false"#).validity(), validity(Some(300), 310));
    assert_eq!(with(""), None);
    assert_eq!(with(r#""svalidping":30"#), None);
    assert_eq!(with(r#""svalidping":30,"svalidhup":35"#), validity(Some(30), 35));
    assert_eq!(with(r#""svalidping":30,"svalidhup":30"#), validity(None, 30));
    assert_eq!(with(r#""svalidhup":30"#), validity(None, 30));
}
