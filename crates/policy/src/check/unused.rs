//! What a policy defines and nothing uses.

use std::collections::BTreeSet;

use crate::diagnostics::{Code, Diagnostic, Report};
use crate::parse::Places;
use crate::quote::quote;
use crate::source::Location;
use crate::types::Policy;

pub(crate) fn all(policy: &Policy, root: Option<&Location>, places: &Places, report: &mut Report) {
    if let (true, Some(root)) = (policy.streamtypes.is_empty(), root) {
        report.push(
            Diagnostic::warning(Code::Unused, root, "the policy has no streamtypes")
                .help("the proxy refuses every client"),
        );
    }
    let streamtypes = || policy.streamtypes.values();
    let certs: BTreeSet<&str> = policy
        .trust_stores
        .values()
        .flat_map(|store| &store.stack)
        .chain(streamtypes().flat_map(|s| s.server_cert.iter().chain(&s.server_key)))
        .map(String::as_str)
        .collect();
    let stores = streamtypes().filter_map(|s| s.trust_store.as_ref()).map(|s| s.name.as_str());
    let retries = streamtypes().filter_map(|s| s.retry.as_ref()).map(|r| r.name.as_str());
    let auths = streamtypes().filter_map(|s| s.use_auth.as_ref()).map(|a| a.name.as_str());
    let (stores, retries, auths): (BTreeSet<_>, BTreeSet<_>, BTreeSet<_>) =
        (stores.collect(), retries.collect(), auths.collect());
    for ((section, name), location) in places {
        let (used, what, by) = match *section {
            "retry" => (&retries, "retry policy", "no streamtype has it"),
            "certs" => (&certs, "certificate", "no trust store has it"),
            "trust_stores" => (&stores, "trust store", "no streamtype has it"),
            "auth" => (&auths, "`auth` entry", "no streamtype has it"),
            _ => continue,
        };
        if !used.contains(name.as_str()) {
            let message = format!("{what} {} is not used", quote(name));
            report.push(Diagnostic::warning(Code::Unused, location, message).help(by));
        }
    }
}
