//! What a policy asks for that has no meaning behind a proxy is said where it stands.

use sspc_policy::{Code, Instead, Policy, Protocol, Section, Source, Status, key_reference};

use crate::support::report;

/// A value of this type that is not the default, and text that it needs elsewhere.
fn value(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "flag" => ("true", ""),
        "number" => ("2", ""),
        "name" => (
            "\"n\"",
            r#""retry":[{"n":{}}],"certs":[{"n":"MAMCAQE="}],"trust_stores":[{"n":["n"]}],
            "auth":[{"name":"n","type":"sigv4"}],"#,
        ),
        "list" => (r#"[{"404":"1404"}]"#, ""),
        _ => ("\"GET\"", ""),
    }
}

/// A policy with one streamtype `t` that has this key.
fn with(key: &str, value: &str, protocol: &str, elsewhere: &str) -> String {
    let protocol = format!("\"protocol\":\"{protocol}\",");
    let protocol = if key == "protocol" { "" } else { &protocol };
    format!(
        r#"{{{elsewhere}"s":[{{"t":{{"endpoint":"e","port":1,{protocol}"mqtt_topic":"t","{key}":{value}}}}}]}}"#
    )
}

/// What is said about things that have no meaning behind a proxy, as place and text.
fn said(text: &str) -> Vec<(usize, Code, String, String)> {
    let report = report(text);
    assert!(!report.has_errors(), "{text}\n{report}");
    let said =
        report.diagnostics().iter().filter(|d| matches!(d.code, Code::NotDone | Code::Refused));
    said.map(|d| (d.span.start, d.code, d.message.clone(), d.help.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn every_key_without_a_meaning_behind_a_proxy_is_warned_of_where_it_is_set() {
    let mut warned = 0;
    for key in key_reference().into_iter().filter(|key| key.section == Section::StreamType) {
        if key.status == Status::ByValue {
            continue;
        }
        let (given, elsewhere) = match key.name {
            "http_expect" => ("404", ""),
            _ => value(key.kind),
        };
        let protocol = key.protocols.split(' ').next().unwrap().replace("all", "h1");
        let text = with(key.name, given, &protocol, elsewhere);
        // What is said of a protocol is another matter.
        let said: Vec<_> =
            said(&text).into_iter().filter(|(_, _, m, _)| !m.contains("`protocol`")).collect();
        match key.status {
            Status::NotBehindProxy(instead, why) => {
                warned += 1;
                let [(at, code, message, help)] = said.as_slice() else {
                    panic!("{}: {said:?}", key.name)
                };
                assert_eq!(&text[*at..*at + given.len()], given, "{}", key.name);
                assert!(message.contains(&format!("`{}`", key.name)), "{message}");
                assert_eq!(help, why);
                let refused = instead == Instead::Refused;
                assert_eq!(*code, if refused { Code::Refused } else { Code::NotDone });
                let policy = Policy::parse(&Source::new("p", text.as_str())).unwrap().policy;
                let refusal = policy.refusal(policy.streamtype("t").unwrap());
                assert_eq!(refusal.is_some_and(|refusal| refusal.key == key.name), refused);
            }
            _ => assert_eq!(said, [], "{}", key.name),
        }
        if key.kind == "flag" {
            let off = with(key.name, "false", &protocol, "");
            assert!(said_nothing(&off, key.name), "{off}");
        }
    }
    assert!(warned > 0);
}

fn said_nothing(text: &str, key: &str) -> bool {
    said(text).iter().all(|(_, _, message, _)| !message.contains(&format!("`{key}`")))
}

#[test]
fn protocols_that_are_not_spoken_are_warned_of() {
    for protocol in Protocol::ALL {
        let text = with("protocol", &format!("\"{protocol}\""), "", "");
        let policy = Policy::parse(&Source::new("p", text.as_str())).unwrap().policy;
        let refusal = policy.refusal(policy.streamtype("t").unwrap());
        match sspc_policy::protocol_status(protocol) {
            Status::NotBehindProxy(Instead::Refused, why) => {
                let expected = format!(
                    "clients cannot open streamtype `t`: `protocol` `{protocol}` has no meaning behind a proxy"
                );
                let [(_, Code::Refused, message, help)] = &said(&text)[..] else {
                    panic!("{text}")
                };
                assert_eq!((message.as_str(), help.as_str()), (expected.as_str(), why));
                assert_eq!(refusal.unwrap().to_string(), format!("`protocol` `{protocol}`"));
            }
            status => {
                assert_eq!(status, Status::Acts);
                assert_eq!(said(&text), []);
                assert_eq!(refusal, None);
            }
        }
    }
}

#[test]
fn what_the_document_asks_for_is_warned_of_once() {
    for key in key_reference().into_iter().filter(|key| key.section == Section::Top) {
        let given = match key.name {
            "via-socks5" => "\"h:1\"",
            "metrics" => r#"[{"name":"m"}]"#,
            _ => continue,
        };
        let text =
            format!(r#"{{"{}":{given},"s":[{{"t":{{"endpoint":"e","port":1}}}}]}}"#, key.name);
        match key.status {
            Status::NotBehindProxy(..) => {
                let [(1, _, message, _)] = &said(&text)[..] else { panic!("{text}") };
                assert!(
                    message.contains(&format!("`{}` has no meaning behind a proxy", key.name)),
                    "{message}"
                );
            }
            _ => assert_eq!(said(&text), []),
        }
    }
}
