//! Names into what they refer to, once every document is in.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::check;
use crate::diagnostics::{Code, Diagnostic, Report};
use crate::draft::{Draft, key_of};
use crate::keys::STREAM_KEYS;
use crate::parse::Places;
use crate::parse::tables::Tables;
use crate::quote::quote;
use crate::source::Location;
use crate::types::{Policy, TrustStore};

/// The policy that the tables make, as good as it can be made of them.
pub(super) fn finish(
    tables: Tables,
    places: &Places,
    elsewhere: Option<&Location>,
    report: &mut Report,
) -> Policy {
    let mut policy = Policy {
        via_socks5: tables.via_socks5,
        retry: tables.retry.into_iter().map(|(name, retry)| (name, Arc::new(retry))).collect(),
        certs: tables.certs,
        auth: tables.auth.into_iter().map(|(name, auth)| (name, Arc::new(auth))).collect(),
        metrics: tables.metrics,
        ..Policy::default()
    };
    for (name, draft) in tables.stores {
        let mut store = TrustStore { name: name.clone(), ..TrustStore::default() };
        for (cert, location) in draft.stack {
            let what = format!("trust store {}", quote(&name));
            if let Some((cert, der)) =
                look_up(&cert, &policy.certs, location.as_ref(), &what, "certificate", report)
            {
                store.stack.push(cert.clone());
                store.certs.push(Arc::clone(der));
            }
        }
        policy.trust_stores.insert(name, Arc::new(store));
    }
    let mut drafts = tables.streams;
    for draft in drafts.values_mut() {
        references(draft, &policy, report);
        leave_out_other_protocols(draft, report);
    }
    check::all(&drafts, &policy, elsewhere, report);
    policy.streamtypes =
        drafts.into_iter().map(|(name, draft)| (name, Arc::new(draft.streamtype))).collect();
    check::undone::everywhere(&policy, places, report);
    // A reference that is wrong leaves unused what it was meant for.
    if !report.has_errors() {
        check::unused::all(&policy, elsewhere, places, report);
    }
    policy
}

fn references(draft: &mut Draft, policy: &Policy, report: &mut Report) {
    let retry = reference(draft, "retry", &policy.retry, "retry policy", report);
    let store = reference(draft, "tls_trust_store", &policy.trust_stores, "trust store", report);
    let auth = reference(draft, "use_auth", &policy.auth, "`auth` entry", report);
    draft.streamtype.retry = retry;
    draft.streamtype.trust_store = store;
    draft.streamtype.use_auth = auth;
}

fn reference<T>(
    draft: &Draft,
    key: &str,
    map: &BTreeMap<String, Arc<T>>,
    kind: &str,
    report: &mut Report,
) -> Option<Arc<T>> {
    let name = draft.references.get(key)?;
    let what = key_of(key, &draft.streamtype);
    let found = look_up(name, map, draft.value_location(key), &what, kind, report);
    found.map(|(_, value)| Arc::clone(value))
}

/// What a name refers to: exactly, or else as the beginning of one name alone.
fn look_up<'m, T>(
    name: &str,
    map: &'m BTreeMap<String, T>,
    location: Option<&Location>,
    what: &str,
    kind: &str,
    report: &mut Report,
) -> Option<(&'m String, &'m T)> {
    if let Some(found) = map.get_key_value(name) {
        return Some(found);
    }
    let from = (Bound::Included(name), Bound::Unbounded);
    let candidates: Vec<_> = map
        .range::<str, _>(from)
        .take_while(|(known, _)| known.starts_with(name))
        .take(5)
        .collect();
    let Some(location) = location else {
        // Only what a document says can refer to nothing; a finished policy is whole.
        return None;
    };
    if let [(known, value)] = candidates[..] {
        let message = format!("{what} is {}, which is only the start of a name", quote(name));
        report.push(
            Diagnostic::warning(Code::PrefixReference, location, message)
                .help(format!("taken for {kind} {}; write the whole name", quote(known))),
        );
        return Some((known, value));
    }
    let message = format!("{what} refers to {kind} {}, which is not defined", quote(name));
    let mut diagnostic = Diagnostic::error(Code::UnknownReference, location, message);
    if candidates.is_empty() {
        if let Some(suggestion) = report.suggest(name, map.keys().map(String::as_str)) {
            diagnostic = diagnostic.help(suggestion);
        } else if map.is_empty() {
            diagnostic = diagnostic.help(format!("the policy defines no {kind} at all"));
        }
    } else {
        let names: Vec<String> = candidates.iter().map(|(known, _)| quote(known)).collect();
        diagnostic = diagnostic.help(format!("it is the start of {}", names.join(", ")));
    }
    report.push(diagnostic);
    None
}

/// Drops the values of keys that the stream's protocol does not use, and says so where a document
/// gave them.
fn leave_out_other_protocols(draft: &mut Draft, report: &mut Report) {
    let protocol = draft.streamtype.protocol;
    for key in STREAM_KEYS.iter().filter(|key| !key.applies_to.includes(protocol)) {
        key.reset(&mut draft.streamtype);
        if let Some(setting) = draft.settings.get(key.name) {
            let message = format!(
                "`{}` means nothing to streamtype {}, which is {protocol}",
                key.name,
                quote(&draft.streamtype.name)
            );
            report.push(
                Diagnostic::warning(Code::WrongProtocol, &setting.key, message)
                    .help(format!("it is ignored; it is for {}", key.applies_to.words())),
            );
        }
    }
}
