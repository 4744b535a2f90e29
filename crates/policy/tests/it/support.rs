//! What parsing says about a text, as lines.

use sspc_policy::{Policy, Source};

/// Every line that parsing says about a policy, errors or not.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let report = match Policy::parse(&Source::new("p", text)) {
        Ok(parsed) => parsed.warnings,
        Err(report) => report,
    };
    report.to_string().lines().map(str::to_owned).collect()
}

/// A policy with one streamtype `t` that connects, and more keys in it.
pub(crate) fn stream(more: &str) -> String {
    format!(r#"{{"s":[{{"t":{{"endpoint":"e","port":80,{more}}}}}]}}"#)
}

/// Column at which the keys given to [`stream`] begin.
pub(crate) const AT: usize = 38;

#[track_caller]
pub(crate) fn check(text: &str, expected: &[&str]) {
    let lines = lines(text);
    assert_eq!(lines, expected, "\n{text}\n{lines:#?}");
}
