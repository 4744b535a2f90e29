//! Names into what they refer to, once every document is in.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::check;
use crate::check::reference::Use;
use crate::diagnostics::{Code, Diagnostic, Report};
use crate::draft::{Draft, key_of};
use crate::keys::{Key, STREAM_KEYS};
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
    differences: &mut Report,
) -> Policy {
    let mut names = Names { report, uses: Vec::new() };
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
            let found =
                names.look_up(&cert, &policy.certs, location.as_ref(), &what, "certificate");
            if let Some((cert, der)) = found {
                store.stack.push(cert.clone());
                store.certs.push(Arc::clone(der));
            }
        }
        policy.trust_stores.insert(name, Arc::new(store));
    }
    let way_out = policy.via_socks5.as_ref().and_then(|text| text.parse().ok()).map(Arc::new);
    let mut drafts = tables.streams;
    for draft in drafts.values_mut() {
        draft.streamtype.way_out = way_out.clone();
        names.references(draft, &policy);
        leave_out_other_protocols(draft, names.report);
    }
    let Names { report, uses } = names;
    check::reference::all(&drafts, places, &uses, differences);
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

/// Looks names up, and keeps what refers to what.
struct Names<'r> {
    report: &'r mut Report,
    uses: Vec<Use>,
}

impl Names<'_> {
    fn references(&mut self, draft: &mut Draft, policy: &Policy) {
        let retry = self.reference(draft, "retry", &policy.retry, "retry policy");
        let store = self.reference(draft, "tls_trust_store", &policy.trust_stores, "trust store");
        let auth = self.reference(draft, "use_auth", &policy.auth, "`auth` entry");
        draft.streamtype.retry = retry;
        draft.streamtype.trust_store = store;
        draft.streamtype.use_auth = auth;
    }

    fn reference<T>(
        &mut self,
        draft: &Draft,
        key: &str,
        map: &BTreeMap<String, Arc<T>>,
        kind: &'static str,
    ) -> Option<Arc<T>> {
        let name = draft.references.get(key)?;
        let what = key_of(key, &draft.streamtype);
        let found = self.look_up(name, map, draft.value_location(key), &what, kind);
        found.map(|(_, value)| Arc::clone(value))
    }

    /// What a name refers to: exactly, or else as the beginning of one name alone.
    fn look_up<'m, T>(
        &mut self,
        name: &str,
        map: &'m BTreeMap<String, T>,
        location: Option<&Location>,
        what: &str,
        kind: &'static str,
    ) -> Option<(&'m String, &'m T)> {
        let found = self.find(name, map, location, what, kind);
        if let (Some((known, _)), Some(location)) = (found, location) {
            let (given, found) = (name.to_owned(), known.clone());
            self.uses.push(Use { kind, given, found, location: location.clone() });
        }
        found
    }

    fn find<'m, T>(
        &mut self,
        name: &str,
        map: &'m BTreeMap<String, T>,
        location: Option<&Location>,
        what: &str,
        kind: &str,
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
        // Only what a document says can refer to nothing; a finished policy is whole.
        let location = location?;
        if let [(known, value)] = candidates[..] {
            let message = format!("{what} is {}, which is only the start of a name", quote(name));
            self.report.push(
                Diagnostic::warning(Code::PrefixReference, location, message)
                    .help(format!("taken for {kind} {}; write the whole name", quote(known))),
            );
            return Some((known, value));
        }
        let message = format!("{what} refers to {kind} {}, which is not defined", quote(name));
        let mut diagnostic = Diagnostic::error(Code::UnknownReference, location, message);
        if candidates.is_empty() {
            let suggestion = self.report.suggest(name, map.keys().map(String::as_str));
            if let Some(suggestion) = suggestion {
                diagnostic = diagnostic.help(suggestion);
            } else if map.is_empty() {
                diagnostic = diagnostic.help(format!("the policy defines no {kind} at all"));
            }
        } else {
            let names: Vec<String> = candidates.iter().map(|(known, _)| quote(known)).collect();
            diagnostic = diagnostic.help(format!("it is the start of {}", names.join(", ")));
        }
        self.report.push(diagnostic);
        None
    }
}

/// Drops the values of keys that the stream's protocol does not use, and says so where a document
/// gave them.
fn leave_out_other_protocols(draft: &mut Draft, report: &mut Report) {
    let protocol = draft.streamtype.protocol;
    let foreign = STREAM_KEYS.iter().filter(|key| !key.is_for(&draft.streamtype));
    let foreign: Vec<&Key> = foreign.collect();
    for key in foreign {
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
