//! Any text as a policy, alone and laid over another.

use sspc_policy::{Parsed, Policy, Report, Source, Target};

/// What divides the documents of an input.
const DIVIDER: &str = "\n---\n";

/// Parses the text. What is good can be shown, read again, and resolved; what is not can be told.
pub fn policy_parse(text: &str) {
    let Some(policy) = good(Policy::parse(&Source::new("fuzz.json", text))) else { return };
    reads_back(&policy);
    for streamtype in policy.streamtypes.values() {
        let part = policy.show_streamtype(&streamtype.name);
        assert!(part.is_some_and(|part| Policy::parse(&Source::new("part.json", part)).is_ok()));
        let _may_fail = Target::resolve(streamtype, |_| Some(b"value"));
    }
}

/// Lays policies over each other. What comes out can be shown and read again, and is the same
/// whether it is made at once or one after the other.
pub fn policy_overlay(text: &str) {
    let mut sources = text.split(DIVIDER).map(|text| Source::new("fuzz.json", text));
    let Some(base) = sources.next() else { return };
    let overlays: Vec<Source> = sources.take(4).collect();
    let layers = good(Policy::parse_layers(&base, &overlays));
    if let Some(policy) = &layers {
        reads_back(policy);
        // Nothing changes nothing, and what is there already neither.
        for same in ["{}", &policy.show()] {
            let over = good(policy.with_overlay(&Source::new("same.json", same)));
            assert_eq!(over.as_ref(), Some(policy), "{same}");
        }
    }
    let alone = good(Policy::parse(&base));
    let stacked = overlays
        .iter()
        .try_fold(alone, |policy, overlay| policy.map(|policy| good(policy.with_overlay(overlay))));
    if let (Some(layers), Some(Some(stacked))) = (layers, stacked) {
        assert_eq!(layers, stacked);
    }
}

/// The policy, if there is one; if not, the report says why.
fn good(parsed: Result<Parsed, Report>) -> Option<Policy> {
    match parsed {
        Ok(parsed) => {
            assert!(!parsed.warnings.has_errors());
            let _told = parsed.warnings.render(true);
            Some(parsed.policy)
        }
        Err(report) => {
            assert!(report.has_errors());
            assert!(!report.render(false).is_empty());
            None
        }
    }
}

fn reads_back(policy: &Policy) {
    let shown = policy.show();
    match Policy::parse(&Source::new("shown.json", shown.as_str())) {
        Ok(again) => assert_eq!(again.policy, *policy, "{shown}"),
        Err(report) => panic!("what was shown cannot be read:\n{}", report.render(false)),
    }
}
