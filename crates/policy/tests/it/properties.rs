//! What must hold for any text and any policy.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sspc_policy::{Code, Policy, Section, Source, Template, key_reference};

fn source(text: impl Into<String>) -> Source {
    Source::new("p", text)
}

/// Values of all kinds, most of them of some use to some key.
fn value() -> impl Strategy<Value = String> {
    let words = [
        "true",
        "false",
        "null",
        "0",
        "1",
        "2",
        "80",
        "443",
        "65535",
        "65536",
        "-1",
        "1.5",
        "\"\"",
        "\"7\"",
        "\"h1\"",
        "\"h2\"",
        "\"ws\"",
        "\"mqtt\"",
        "\"raw\"",
        "\"GET\"",
        "\"POST\"",
        "\"r0\"",
        "\"r\"",
        "\"store\"",
        "\"sto\"",
        "\"au\"",
        "\"s0\"",
        "\"s1\"",
        "\"m0\"",
        "\"example.com\"",
        "\"http://h/${m0}\"",
        "\"${m0}\"",
        "\"a/${m1}\"",
        "\"+@x\"",
        "\"x-h:\"",
        "[]",
        "{}",
        "[{\"m0\":\"x-m\"},{\"m1\":\"\"}]",
        "[{\"404\":1404}]",
        "[{\"m0\":null}]",
        "[{\"404\":3},{\"500\":2000}]",
        "[{\"o\":1}]",
        "\"text with \\\"quotes\\\" \\u00e9\"",
    ];
    select(words.to_vec()).prop_map(str::to_owned)
}

fn streamtype() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = key_reference()
        .iter()
        .filter(|key| key.section == Section::StreamType)
        .map(|key| key.name)
        .collect();
    let sensible = select(vec![
        "\"endpoint\":\"example.com\",\"port\":443,\"tls\":true",
        "\"endpoint\":\"http://e:1/\",\"protocol\":\"ws\"",
        "\"endpoint\":\"e\",\"port\":1883,\"protocol\":\"mqtt\",\"mqtt_topic\":\"t\"",
        // It has keys of ws, too.
        "\"protocol\":\"mqtt\",\"mqtt_topic\":\"t\",\"port\":1,\"server\":true,\"http_auth_header\":\"x-a\"",
        "\"port\":1",
    ]);
    (sensible, vec((select(keys), value()), 0..6)).prop_map(|(sensible, pairs)| {
        let mut text = sensible.to_owned();
        for (key, value) in pairs {
            text.push_str(&format!(",\"{key}\":{value}"));
        }
        format!("{{{text}}}")
    })
}

/// A policy that is well-formed and often valid.
fn policy() -> impl Strategy<Value = String> {
    let retry = vec(0_u32..100_000, 0..5).prop_map(|delays| format!("{{\"backoff\":{delays:?}}}"));
    (vec((select(vec!["s0", "s1", "s2"]), streamtype()), 0..4), retry, any::<u16>()).prop_map(
        |(streams, retry, conceal)| {
            let streams: Vec<String> =
                streams.iter().map(|(name, body)| format!("{{\"{name}\":{body}}}")).collect();
            format!(
                "{{\"s\":[{}],\"retry\":[{{\"r0\":{retry}}},{{\"q\":{{\"conceal\":{conceal}}}}}],\
                 \"certs\":[{{\"c\":\"MAMCAQE=\"}}],\"trust_stores\":[{{\"store\":[\"c\"]}}],\
                 \"auth\":[{{\"name\":\"au\",\"type\":\"sigv4\"}}]}}",
                streams.join(",\n")
            )
        },
    )
}

fn parsed(text: &str) -> Option<Policy> {
    Policy::parse(&source(text)).ok().map(|parsed| parsed.policy)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_parsed_or_refused_with_a_reason(text in any::<String>()) {
        if let Err(report) = Policy::parse(&source(text)) {
            prop_assert!(report.has_errors());
            let _ = report.render(true);
        }
    }

    #[test]
    fn pieces_of_policies_in_any_order_do_no_harm(
        pieces in vec(select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"s\"", "\"t\"", "# x\n", "\\", "\n", "1", "true",
            "-", ".", "e", "/", "'", "\"a\":", "{\"s\":[{\"t\":{", "\u{e9}", "\u{2028}", "\0", "\r",
            "\\u", "\\ud800", "\"endpoint\":\"${\"",
        ]), 0..40),
    ) {
        if let Err(report) = Policy::parse(&source(pieces.concat())) {
            prop_assert!(report.has_errors());
            let _ = report.render(false);
        }
    }

    #[test]
    fn damaged_policies_are_parsed_or_refused_with_a_place(
        text in policy(), at in any::<prop::sample::Index>(), put in select(vec!["", "\"", "{", "]", ",", "\n", "#"]),
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..=at, put.chars());
        let text: String = chars.into_iter().collect();
        if let Err(report) = Policy::parse(&source(text.as_str())) {
            for diagnostic in report.diagnostics() {
                prop_assert!(diagnostic.line >= 1 && diagnostic.column >= 1);
                prop_assert!(text.get(diagnostic.span.clone()).is_some(), "{diagnostic}");
            }
            let _ = report.render(true);
        }
    }

    #[test]
    fn what_is_shown_parses_to_the_same(text in policy()) {
        if let Some(policy) = parsed(&text) {
            let shown = policy.show();
            let again = Policy::parse(&source(shown.as_str()));
            prop_assert!(again.is_ok(), "{shown}\n{}", again.unwrap_err());
            prop_assert_eq!(&again.unwrap().policy, &policy);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
            for name in policy.streamtypes.keys() {
                let part = parsed(&policy.show_streamtype(name).unwrap()).unwrap();
                prop_assert_eq!(part.streamtype(name), policy.streamtype(name));
            }
        }
    }

    #[test]
    fn an_overlay_of_nothing_or_of_oneself_changes_nothing(text in policy()) {
        if let Some(policy) = parsed(&text) {
            prop_assert_eq!(&policy.with_overlay(&source("{}")).unwrap().policy, &policy);
            let itself = policy.with_overlay(&source(policy.show())).unwrap().policy;
            prop_assert_eq!(&itself, &policy);
        }
    }

    #[test]
    fn overlays_act_alike_in_layers_and_one_by_one_and_only_once(base in policy(), over in policy()) {
        let Ok(first) = Policy::parse(&source(base.as_str())) else { return Ok(()) };
        // Layers may still find a use for what a policy of its own has none for.
        let lost = |code| matches!(code, Code::WrongProtocol | Code::PrefixReference);
        if first.warnings.diagnostics().iter().any(|warning| lost(warning.code)) {
            return Ok(());
        }
        let policy = first.policy;
        let layers = Policy::parse_layers(&source(base), &[source(over.as_str())]);
        let Ok(one) = policy.with_overlay(&source(over.as_str())) else { return Ok(()) };
        prop_assert_eq!(&layers.unwrap().policy, &one.policy);
        let twice = one.policy.with_overlay(&source(over)).unwrap();
        prop_assert_eq!(&twice.policy, &one.policy);
    }

    #[test]
    fn expansion_never_yields_what_breaks_a_request(text in "[a-z$\\{\\} \r\n]{0,40}", value in any::<Vec<u8>>()) {
        let template = Template::new(text);
        if let Ok(url) = template.expand_url(|_| Some(&value)) {
            prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{}", url);
        }
        for (name, range) in template.names() {
            prop_assert_eq!(&template.as_str()[range], format!("${{{name}}}"));
        }
    }
}
