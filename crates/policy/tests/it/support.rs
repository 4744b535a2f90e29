//! What parsing says about a text, as lines.

use sspc_policy::{Code, Diagnostic, Policy, Report, Source};

/// All that parsing says about a policy.
pub(crate) fn report(text: &str) -> Report {
    match Policy::parse(&Source::new("p", text)) {
        Ok(parsed) => parsed.warnings,
        Err(report) => report,
    }
}

/// Whether it says something about the policy itself, and not what has no meaning behind a proxy or what
/// an example defines and has no use for.
pub(crate) fn is_fault(diagnostic: &Diagnostic) -> bool {
    match diagnostic.code {
        Code::NotDone | Code::Unused => false,
        Code::Refused => !diagnostic.message.ends_with(" has no meaning behind a proxy"),
        _ => true,
    }
}

/// Every line that parsing says about the faults of a policy, errors or not.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let report = report(text);
    let faults = report.diagnostics().iter().filter(|diagnostic| is_fault(diagnostic));
    faults.map(ToString::to_string).collect()
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
