//! What authors of wrong policies see: the line, the column, and what was expected.

use sspc_policy::{Code, DIAGNOSTICS_MAX, ENTRIES_MAX, Policy, Severity, Source};

use crate::support::{AT, check, lines, stream};

#[test]
fn unknown_keys_are_kept_as_warnings() {
    check(
        &stream(r#""endpiont":"x","aux":{"a":[1]}"#),
        &[
            "p:1:38: warning: unknown key `endpiont` in streamtype `t` (it is ignored; did you \
             mean `endpoint`?)",
            "p:1:53: warning: unknown key `aux` in streamtype `t` (it is ignored)",
        ],
    );
    check(
        &stream(r#""http_multipart_content_type":"x""#),
        &["p:1:38: warning: unknown key `http_multipart_content_type` in streamtype `t` (it is \
           ignored; the key is called `http_mime_content_type`)"],
    );
    check(
        r#"{"stream":[]}"#,
        &["p:1:2: warning: unknown key `stream` in the policy (it is ignored)"],
    );
}

#[test]
fn keys_of_another_protocol_are_kept_apart() {
    let text = stream(r#""protocol":"mqtt","http_method":"PUT","mqtt_topic":"x","ws_binary":true"#);
    check(
        &text,
        &[
            "p:1:56: warning: `http_method` means nothing to streamtype `t`, which is mqtt (it \
             is ignored; it is for h1 h2 h3)",
            "p:1:93: warning: `ws_binary` means nothing to streamtype `t`, which is mqtt (it is \
             ignored; it is for ws)",
        ],
    );
    let parsed = Policy::parse(&Source::new("p", text)).unwrap();
    let t = parsed.policy.streamtype("t").unwrap();
    assert_eq!(t.http.method, "GET");
    assert!(!t.ws.binary);
    assert_eq!(t.mqtt.topic.as_ref().unwrap().as_str(), "x");
}

/// A listener of h1 takes websockets, too: its key was said to mean nothing there.
#[test]
fn keys_of_websockets_are_for_listeners_too() {
    let keys = r#""server":true,"ws_subprotocol":"x","mqtt_topic":"x""#;
    let parsed = Policy::parse(&Source::new("p", stream(keys))).unwrap();
    let said: Vec<_> = parsed.warnings.diagnostics().iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "clients cannot open streamtype `t`: `server` has no meaning behind a proxy",
            "`mqtt_topic` means nothing to streamtype `t`, which is h1",
        ]
    );
    let t = parsed.policy.streamtype("t").unwrap();
    assert_eq!(t.ws.subprotocol.as_deref(), Some("x"));
}

#[test]
fn headers_of_metadata_are_for_http() {
    check(
        &stream(r#""protocol":"ws","metadata":[{"a":"x-a"},{"b":""}]"#),
        &[
            "p:1:65: warning: the header of metadata `a` means nothing to streamtype `t`, which is ws \
           (it is ignored; add `\"ws_headers\": true` to send it)",
        ],
    );
    check(
        &stream(r#""protocol":"ws","http_auth_header":"authorization""#),
        &[
            "p:1:73: warning: `http_auth_header` of streamtype `t` has no effect without `ws_headers` \
           (it is ignored; add `\"ws_headers\": true` to send it)",
        ],
    );
    let with = r#""protocol":"ws","ws_headers":true,"http_auth_header":"authorization","#;
    check(&stream(&format!(r#"{with}"metadata":[{{"a":"x-a"}}]"#)), &[]);
    check(
        &stream(r#""protocol":"mqtt","mqtt_topic":"t","metadata":[{"a":"x-a"}]"#),
        &["p:1:84: warning: the header of metadata `a` means nothing to streamtype `t`, which is \
           mqtt (it is ignored; it is for h1 h2 h3)"],
    );
}

#[test]
fn numbers() {
    for (value, said) in [
        ("4294967296", "error: `timeout_ms` of streamtype `t` is out of range"),
        ("99999999999999999999", "error: `timeout_ms` of streamtype `t` is out of range"),
        ("-1", "error: `timeout_ms` of streamtype `t` is negative: `-1`; expected a number from 0"),
        ("\"abc\"", "error: `timeout_ms` of streamtype `t` is `abc`; expected a number"),
        ("1e3", "error: `timeout_ms` of streamtype `t` is `1e3`; expected a number"),
        ("{}", "error: `timeout_ms` of streamtype `t` is an object; expected a number"),
        ("443.7", "warning: `timeout_ms` of streamtype `t` is `443.7`, which is taken as 443"),
        ("\"44x\"", "warning: `timeout_ms` of streamtype `t` is `44x`, which is taken as 44"),
        ("true", "warning: `timeout_ms` of streamtype `t` is `true`, which is taken as 1"),
    ] {
        let lines = lines(&stream(&format!("\"timeout_ms\":{value}")));
        let column = AT + "\"timeout_ms\":".len();
        assert_eq!(lines.len(), 1, "{value}: {lines:?}");
        let place = format!("p:1:{column}: ");
        assert!(lines[0].starts_with(&format!("{place}{said}")), "{value}: {lines:?}");
    }
    check(
        r#"{"s":[{"t":{"endpoint":"e","port":65536}}]}"#,
        &["p:1:35: error: `port` of streamtype `t` is out of range: 65536; expected a number \
           from 0 to 65535"],
    );
    check(&stream(r#""timeout_ms":"443""#), &[]);
}

#[test]
fn flags_know_only_true_and_false() {
    for value in ["1", "\"true\"", "[]"] {
        let lines = lines(&stream(&format!("\"nailed_up\":{value}")));
        assert_eq!(lines.len(), 1, "{value}");
        assert!(lines[0].contains("expected a bare `true` or `false`"), "{lines:?}");
    }
}

#[test]
fn references() {
    check(
        &stream(r#""retry":"dflt""#),
        &["p:1:46: error: `retry` of streamtype `t` refers to retry policy `dflt`, which is not \
           defined (the policy defines no retry policy at all)"],
    );
    let text = |name: &str| {
        format!(
            r#"{{"retry":[{{"default":{{}}}},{{"deep":{{}}}}],"s":[{{"t":{{"endpoint":"e","port":80,"retry":"{name}"}}}}]}}"#
        )
    };
    check(&text("deep"), &[]);
    check(
        &text("def"),
        &["p:1:83: warning: `retry` of streamtype `t` is `def`, which is only the start of a \
           name (taken for retry policy `default`; write the whole name)"],
    );
    check(
        &text("de"),
        &["p:1:83: error: `retry` of streamtype `t` refers to retry policy `de`, which is not \
           defined (it is the start of `deep`, `default`)"],
    );
    check(
        &text("defualt"),
        &["p:1:83: error: `retry` of streamtype `t` refers to retry policy `defualt`, which is \
           not defined (did you mean `default`?)"],
    );
    check(
        r#"{"trust_stores":[{"name":"x","stack":["nope"]}]}"#,
        &["p:1:39: error: trust store `x` refers to certificate `nope`, which is not defined \
           (the policy defines no certificate at all)"],
    );
}

#[test]
fn sections() {
    check(
        r#"{"certs":[{"a":"AgEB"},{"b":"?"}],"trust_stores":[{"x":["a","b"]}]}"#,
        &[
            "p:1:16: error: certificate `a` is not DER: it does not start with a SEQUENCE; \
             expected one X.509 certificate: base64 of its DER, or PEM",
            "p:1:29: error: certificate `b` is not base64: invalid symbol 63, offset 0.; \
             expected one X.509 certificate: base64 of its DER, or PEM",
        ],
    );
    check(
        r#"{"trust_stores":[{"x":[]},{"stack":[]},{"name":"y"}]}"#,
        &[
            "p:1:23: error: trust store `x` is empty; expected at least one certificate",
            "p:1:27: error: a trust store without a `name`",
            "p:1:40: error: trust store `y` has no `stack`",
        ],
    );
    check(
        r#"{"retry":[{"r":{"conceal":65536,"svalidping":30,"svalidhup":20}}]}"#,
        &[
            "p:1:27: error: `conceal` of retry policy `r` is out of range: 65536; expected a \
             number from 0 to 65535",
            "p:1:61: warning: retry policy `r` hangs up after 20 s, before its ping at 30 s; \
             expected an `svalidhup` of more than `svalidping`",
        ],
    );
    check(
        r#"{"retry":[{"r":{"jitterpc":0,"svalidping":30}}]}"#,
        &[
            "p:1:28: warning: `jitterpc` of retry policy `r` is 0, which is taken as 30 (the \
             smallest that has an effect is 1)",
            "p:1:43: warning: retry policy `r` never pings: without `svalidhup` silence is not \
             watched; expected an `svalidhup` of more than `svalidping`",
        ],
    );
    check(
        r#"{"auth":[{"name":"a","type":"oauth"},{}]}"#,
        &[
            "p:1:29: warning: unknown `type` `oauth` of auth; expected `sigv4` or \
             `oauth2_client_credentials` or `oauth2_refresh_token` (streams that use it have \
             `http_auth_header` alone)",
            "p:1:38: error: an entry of `auth` without a `name`",
        ],
    );
    for (endpoint, why) in [
        ("", "is missing"),
        (r#","token_endpoint":"idp.example/t""#, "cannot be used: it is not an `https:` URL"),
        (
            r#","token_endpoint":"http://idp.example/t""#,
            "cannot be used: it sends a secret in clear, and not to this machine",
        ),
        (
            r#","token_endpoint":"http://localhost.example/t""#,
            "cannot be used: it sends a secret in clear, and not to this machine",
        ),
        (
            r#","token_endpoint":"https://${x}/t""#,
            "cannot be used: `${x}` is not declared in the stream's metadata",
        ),
    ] {
        let text =
            format!(r#"{{"auth":[{{"name":"a","type":"oauth2_client_credentials"{endpoint}}}]}}"#);
        check(&text, &[&format!("p:1:10: error: `token_endpoint` of `auth` entry `a` {why}")]);
    }
    for endpoint in
        ["https://idp.example/t", "http://127.0.0.1:1/t", "http://[::1]:1/", "http://localhost:1/"]
    {
        let text = format!(
            r#"{{"auth":[{{"name":"a","type":"oauth2_refresh_token","token_endpoint":"{endpoint}"}}],
            "s":[{{"t":{{"endpoint":"e","port":443,"tls":true,"use_auth":"a"}}}}]}}"#
        );
        check(&text, &[]);
    }
    check(
        r#"{"via-socks5":"host"}"#,
        &[
            "p:1:15: error: `via-socks5` is `host`; expected `host:port` or `user:password@host:port`",
        ],
    );
    check(
        r#"{"s":{"t":{}}}"#,
        &["p:1:6: error: `s` is an object; expected a list of streamtypes, in `[` and `]`"],
    );
}

#[test]
fn names() {
    let long = "n".repeat(32);
    check(
        &format!(r#"{{"s":[{{"{long}":{{}}}},{{"":{{}}}}]}}"#),
        &[
            &format!(
                "p:1:8: error: the streamtype name `{long}` has 32 bytes; expected 1 to 31 bytes"
            ),
            "p:1:48: warning: a streamtype without a name (it is left out: no client can ask for \
             it)",
        ],
    );
    check(
        &stream(&format!(r#""metadata":[{{"{}":""}},{{"{long}":""}}]"#, "m".repeat(30))),
        &[&format!(
            "p:1:89: error: the name `{long}` in `metadata` of streamtype `t` has 32 bytes; \
             expected 1 to 30 bytes"
        )],
    );
    check(
        r#"{"s":[{"_lws_smd":{"endpoint":"e","port":1}}]}"#,
        &["p:1:8: warning: streamtype `_lws_smd` can never be reached (the name is the system \
           message bus's)"],
    );
}

#[test]
fn duplicates_say_where_the_first_one_is() {
    check(
        "{\"s\":[{\"t\":{\"endpoint\":\"e\",\"port\":80,\n\"port\":81}},\n\
         {\"t\":{\"endpoint\":\"f\",\"port\":82}}]}",
        &[
            "p:2:1: warning: `port` is given a second time; first at 1:28 (the last one wins)",
            "p:3:2: warning: `t` is given a second time; first at 1:8 (the last one wins \
             outright; nothing of the first is kept)",
        ],
    );
}

#[test]
fn lists_have_a_limit() {
    let items: Vec<String> = (0..257).map(|n| format!("{{\"m{n}\":\"\"}}")).collect();
    let said = lines(&stream(&format!("\"metadata\":[{}]", items.join(","))));
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("has more than 256 entries; expected at most 256"), "{said:?}");
    assert!(lines(&stream(&format!("\"metadata\":[{}]", items[..256].join(",")))).is_empty());
}

/// A policy of 16 MiB took gigabytes when it was all streamtypes.
#[test]
fn the_documents_lists_have_a_limit() {
    for (section, entry) in [
        ("s", r#"{"server":true}"#),
        ("retry", "{}"),
        ("certs", r#""MAA=""#),
        ("trust_stores", r#"["c"]"#),
    ] {
        let list = |count: usize| {
            let entries: Vec<String> =
                (0..count).map(|n| format!("{{\"n{n}\":{entry}}}")).collect();
            let certs = if section == "trust_stores" { r#","certs":[{"c":"MAA="}]"# } else { "" };
            format!("{{\"{section}\":[\n{}]{certs}}}", entries.join(",\n"))
        };
        let errors = |text: String| -> Vec<String> {
            let report = Policy::parse(&Source::new("p", text)).err();
            let errors = report.iter().flat_map(|report| report.errors());
            errors.map(ToString::to_string).collect()
        };
        assert!(errors(list(ENTRIES_MAX)).is_empty(), "{section}");
        let said = errors(list(ENTRIES_MAX + 1));
        assert_eq!(said.len(), 1, "{section}: {said:?}");
        assert!(said[0].starts_with("p:10002:"), "{said:?}");
        let most = format!("`{section}` has more than 10000 entries; expected at most 10000");
        assert!(said[0].ends_with(&most), "{said:?}");
    }
}

/// Each unknown name was compared to up to a thousand others: 3,000 took 19 s.
#[test]
fn only_the_first_of_many_mistaken_names_are_guessed_at() {
    let names = |prefix: &str| -> Vec<String> {
        (0..300).map(|n| format!("{prefix}_{n:03}_policy")).collect()
    };
    let retry: Vec<String> =
        names("retry").iter().map(|name| format!("{{\"{name}\":{{}}}}")).collect();
    let streams: Vec<String> = names("rtery")
        .iter()
        .map(|name| format!(r#"{{"{name}":{{"endpoint":"e","port":1,"retry":"{name}"}}}}"#))
        .collect();
    let text = format!(r#"{{"retry":[{}],"s":[{}]}}"#, retry.join(","), streams.join(","));
    let report = Policy::parse(&Source::new("p", text)).unwrap_err();
    assert_eq!(report.errors().count(), 300);
    let guesses: Vec<&String> = report.errors().filter_map(|error| error.help.as_ref()).collect();
    assert_eq!(guesses.len(), 100);
    assert!(guesses.iter().all(|help| help.starts_with("did you mean `retry_")), "{guesses:?}");
}

#[test]
fn substitution_must_be_possible() {
    check(
        r#"{"s":[{"t":{"endpoint":"${host}.e","port":80,"http_url":"a/${qurey}","metadata":[{"query":""}]}}]}"#,
        &[
            "p:1:25: error: `endpoint` of streamtype `t` uses `host`, which the streamtype's \
             `metadata` does not declare (add `{\"host\": \"\"}` to `metadata`)",
            "p:1:60: error: `http_url` of streamtype `t` uses `qurey`, which the streamtype's \
             `metadata` does not declare (did you mean `query`?)",
        ],
    );
    check(
        &stream(r#""http_url":"a${b""#),
        &["p:1:49: error: in `http_url` of streamtype `t`: `${` without a `}`"],
    );
}

#[test]
fn fragments_are_warned_of() {
    let help = "(write `%23` where `#` belongs to the path or the query)";
    check(
        r#"{"s":[{"t":{"endpoint":"http://e/a#b"}},
{"u":{"endpoint":"+/run/a#b","http_url":"/c${x}#d","metadata":[{"x":""}]}}]}"#,
        &[
            &format!(
                "p:1:35: warning: `endpoint` of streamtype `t` has a fragment, which is never sent \
                 {help}"
            ),
            &format!(
                "p:2:48: warning: `http_url` of streamtype `u` has a fragment, which is never sent \
                 {help}"
            ),
        ],
    );
}

#[test]
fn a_path_that_the_endpoint_replaces_is_warned_of() {
    let check_one = |endpoint: &str, port: &str, discarded: bool| {
        let text = format!(
            r#"{{"s":[{{"t":{{"http_url":"x","endpoint":"{endpoint}"{port},"metadata":[{{"h":""}}]}}}}]}}"#
        );
        let warning = "p:1:24: warning: `http_url` of streamtype `t` has no effect (the endpoint is a \
                       URL or has a port, and what is behind that is the path)";
        let all = [warning];
        check(&text, if discarded { &all } else { &[] });
    };
    for endpoint in
        ["http://e/a?b", "http://e", "e:8080", "http://${h}.example.org/", "${h}.e.org:1"]
    {
        check_one(endpoint, "", true);
    }
    for endpoint in ["e", "${h}.example.org", "+/run/a"] {
        check_one(endpoint, r#","port":80"#, false);
    }
    // What it is, the client says.
    check_one("${h}", r#","port":80"#, false);
}

#[test]
fn buffers() {
    const ON: &str = "proxy_buflen_rxflow_on_above";
    const OFF: &str = "proxy_buflen_rxflow_off_below";
    check(&stream(&format!(r#""proxy_buflen":9,"{ON}":8,"{OFF}":7"#)), &[]);
    check(&stream(&format!(r#""proxy_buflen":9,"{OFF}":7"#)), &[]);
    check(
        &stream(&format!(r#""proxy_buflen":9,"{ON}":10,"{OFF}":7"#)),
        &["p:1:86: warning: `proxy_buflen_rxflow_on_above` of streamtype `t` is 10, more than \
           `proxy_buflen` (reading stops at 9 all the same)"],
    );
    check(
        &stream(&format!(r#""proxy_buflen":9,"{ON}":5,"{OFF}":7"#)),
        &["p:1:120: warning: `proxy_buflen_rxflow_off_below` of streamtype `t` is 7, more than \
           `proxy_buflen_rxflow_on_above` (reading goes on below 5, where it stopped)"],
    );
    check(
        &stream(&format!(r#""{ON}":5"#)),
        &[
            "p:1:8: warning: `proxy_buflen_rxflow_off_below` of streamtype `t` is not given (reading \
           goes on below `proxy_buflen_rxflow_on_above`; in libwebsockets it never does)",
        ],
    );
}

#[test]
fn streams_that_can_never_connect() {
    check(
        r#"{"s":[{"t":{}},{"u":{"endpoint":"e","tls":true}},{"v":{"endpoint":"file:///x"}}]}"#,
        &[
            "p:1:8: error: streamtype `t` has no `endpoint`: it can never connect (add \
             `\"endpoint\": \"host\"`)",
            "p:1:17: error: streamtype `u` has no `port`: it can never connect (add `\"port\": \
             443`)",
            "p:1:67: error: streamtype `v` can never connect: file: endpoints are refused",
        ],
    );
    check(r#"{"s":[{"t":{"endpoint":"+@sock"}},{"u":{"endpoint":"http://e"}}]}"#, &[]);
    check(
        r#"{"s":[{"t":{"endpoint":"e","port":80,"tls":true}},{"u":{"endpoint":"https://e"}}]}"#,
        &[
            "p:1:35: warning: streamtype `t` uses TLS on port 80, where servers speak clear HTTP \
             (TLS usually is on port 443)",
            "p:1:68: warning: streamtype `u` connects without TLS, whatever its endpoint says \
             (add `\"tls\": true`)",
        ],
    );
}

#[test]
fn a_trust_store_without_tls_is_for_redirects() {
    let trusting = |more: &str| {
        format!(
            r#"{{"certs":[{{"c":"MAA="}}],"trust_stores":[{{"name":"x","stack":["c"]}}],
"s":[{{"t":{{"endpoint":"e","port":80,"tls_trust_store":"x"{more}}}}}]}}"#
        )
    };
    let useless = "p:2:55: warning: `tls_trust_store` of streamtype `t` has no effect without \
                   `tls` (add `\"tls\": true`)";
    check(&trusting(""), &[useless]);
    check(&trusting(r#","allow_redirects":true"#), &[]);
}

#[test]
fn http() {
    check(
        &stream(r#""http_method":"G ET","http_url":"a\nb","http_auth_header":"a b""#),
        &[
            "p:1:52: error: `http_method` of streamtype `t` is `G ET`; expected a method such as \
             `GET` or `POST`",
            "p:1:70: error: `http_url` of streamtype `t` contains a line break; expected text of \
             one line",
            "p:1:96: error: `http_auth_header` of streamtype `t` is `a b`, which is not a header \
             name; expected letters, digits and any of !#$%&'*+-.^_`|~",
        ],
    );
    check(
        &stream(r#""http_method":"post","protocol":"http/2","http_expect":20"#),
        &[
            "p:1:52: warning: `http_method` of streamtype `t` is `post`; methods are \
             case-sensitive (did you mean `POST`?)",
            "p:1:70: error: `protocol` of streamtype `t` is `http/2`; expected `h1`, `h2`, `h3`, \
             `ws`, `mqtt` or `raw` (did you mean `h2`?)",
            "p:1:93: error: `http_expect` of streamtype `t` is 20, which is not a status (statuses \
             go from 100 to 999)",
        ],
    );
    let entries: Vec<String> = (0..17).map(|n| format!("{{\"{}\":1000}}", 400 + n)).collect();
    let lines = lines(&stream(&format!("\"http_resp_map\":[{}]", entries.join(","))));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("more than 16 entries"), "{lines:?}");
    check(&stream(&format!("\"http_resp_map\":[{}]", entries[..16].join(","))), &[]);
    check(
        &stream(r#""http_resp_map":[{"99":1000},{"404":3},{"405":0},{"404":1000}]"#),
        &[
            "p:1:56: error: `http_resp_map` of streamtype `t` maps `99`, which is not a status; \
             expected an HTTP status from 100 to 999",
            "p:1:74: warning: the state for status 404 is 3; expected a state of the \
             application, from 1000 to 65535 (it is not reported: smaller ones belong to the \
             protocol)",
            "p:1:84: error: the state for status 405 is 0; expected a state of the application, \
             from 1000 to 65535",
            "p:1:88: warning: status 404 is mapped a second time (the last one wins)",
        ],
    );
}

#[test]
fn mqtt() {
    check(
        &stream(r#""protocol":"mqtt","mqtt_qos":3,"mqtt_subscribe":"a#","mqtt_topic":"a/+""#),
        &[
            "p:1:67: error: `mqtt_qos` of streamtype `t` is out of range: 3; expected a number \
             from 0 to 2",
            "p:1:86: error: `mqtt_subscribe` of streamtype `t` has `a#` as a level (`+` must be \
             a level of its own, and `#` the last one)",
            "p:1:104: error: `mqtt_topic` of streamtype `t` contains the wildcard `+` (only \
             subscriptions may have wildcards)",
        ],
    );
    check(
        &stream(r#""protocol":"mqtt""#),
        &["p:1:8: warning: streamtype `t` neither publishes nor subscribes (add `mqtt_topic`, \
           `mqtt_subscribe` or both)"],
    );
}

#[test]
fn rideshares() {
    check(
        &stream(r#""rideshare":"u""#),
        &[
            "p:1:50: warning: `rideshare` of streamtype `t` is `u`, which is not defined (the chain \
           ends here)",
        ],
    );
    check(
        &stream(r#""rideshare":"t""#),
        &["p:1:50: warning: `rideshare` of streamtype `t` leads back to `t` (the chain ends \
           before it)"],
    );
}

#[test]
fn every_error_has_its_place_its_text_and_its_forms() {
    let text = "{\"s\":[\n {\"é\":{\"endpoint\":\"e\", \"port\":\"99999\"}}]}";
    let report = Policy::parse(&Source::new("dir/p.json", text)).unwrap_err();
    let [error] = report.diagnostics() else { panic!("{report}") };
    assert_eq!((error.severity, error.code), (Severity::Error, Code::Range));
    assert_eq!((error.line, error.column), (2, 31));
    assert_eq!(&text[error.span.clone()], "\"99999\"");
    assert_eq!(error.text, "\"99999\"");
    assert_eq!(error.expected.as_deref(), Some("a number from 0 to 65535"));
    assert_eq!(
        report.render(false),
        "error[range]: `port` of streamtype `é` is out of range: 99999
 --> dir/p.json:2:31
  |
2 |  {\"é\":{\"endpoint\":\"e\", \"port\":\"99999\"}}]}
  |                               ^^^^^^^ expected a number from 0 to 65535
"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json[0]["severity"], "error");
    assert_eq!(json[0]["code"], "range");
    assert_eq!(json[0]["line"], 2);
    assert!(report.render(true).contains("\u{1b}["));
}

#[test]
fn long_lines_are_shown_around_the_fault() {
    let padding = "é".repeat(5_000);
    let text = format!("{{\"release\":\"{padding}\",\"s\":1,\"product\":\"{padding}\"}}");
    let report = Policy::parse(&Source::new("p", text)).unwrap_err();
    let rendered = report.render(false);
    assert!(rendered.contains("--> p:1:5019\n"), "{rendered}");
    assert!(rendered.contains("expected a list of streamtypes"), "{rendered}");
    assert!(rendered.len() < 1_000, "{rendered}");
}

#[test]
fn terminals_are_not_sent_what_they_would_obey() {
    let report = Policy::parse(&Source::new("p", "{\"\\u001b[2J\":1,\"s\":1}")).unwrap_err();
    assert!(!report.to_string().contains('\u{1b}'), "{report}");
    assert!(!report.render(false).contains('\u{1b}'));
}

#[test]
fn a_flood_of_warnings_does_not_hide_the_error() {
    let keys: Vec<String> = (0..2 * DIAGNOSTICS_MAX).map(|n| format!("\"k{n}\":1")).collect();
    let text = format!("{{{},\"s\":1}}", keys.join(","));
    let report = Policy::parse(&Source::new("p", text)).unwrap_err();
    assert_eq!(report.diagnostics().len(), DIAGNOSTICS_MAX + 1);
    assert_eq!(report.errors().count(), 1);
}
