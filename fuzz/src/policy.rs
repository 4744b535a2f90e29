//! Any text as a policy.

use sspc_policy::{Policy, Source, Target};

/// Parses the text. What is good can be shown, read again, and resolved; what is not can be told.
pub fn policy_parse(text: &str) {
    let parsed = match Policy::parse(&Source::new("fuzz.json", text)) {
        Ok(parsed) => parsed,
        Err(report) => {
            assert!(report.has_errors());
            assert!(!report.render(false).is_empty());
            return;
        }
    };
    assert!(!parsed.warnings.has_errors());
    let _told = parsed.warnings.render(true);
    let shown = parsed.policy.show();
    let again = match Policy::parse(&Source::new("shown.json", shown.as_str())) {
        Ok(again) => again.policy,
        Err(report) => panic!("what was shown cannot be read:\n{}", report.render(false)),
    };
    assert_eq!(again, parsed.policy, "{shown}");
    for streamtype in parsed.policy.streamtypes.values() {
        let part = parsed.policy.show_streamtype(&streamtype.name);
        assert!(part.is_some_and(|part| Policy::parse(&Source::new("part.json", part)).is_ok()));
        let _may_fail = Target::resolve(streamtype, |_| Some(b"value"));
    }
}
