//! What a policy asks for that has no meaning behind a proxy.

use crate::check::Check;
use crate::diagnostics::{Code, Diagnostic, Report};
use crate::keys::Instead;
use crate::parse::Places;
use crate::types::Policy;
use crate::undone::Undone;

impl Check<'_> {
    pub(super) fn undone(&mut self) {
        let streamtype = self.streamtype;
        for undone in streamtype.undone() {
            let what = self.what();
            let (code, message) = match undone.instead {
                Instead::Refused => (
                    Code::Refused,
                    format!("clients cannot open {what}: {undone} has no meaning behind a proxy"),
                ),
                Instead::Fails => (
                    Code::NotDone,
                    format!("{what} never connects: {undone} has no meaning behind a proxy"),
                ),
                Instead::Ignored => (
                    Code::NotDone,
                    format!("{} has no meaning behind a proxy", self.key(undone.key)),
                ),
            };
            self.warning(code, undone.key, message, undone.why);
        }
    }
}

/// What the documents ask for, for all streamtypes.
pub(crate) fn everywhere(policy: &Policy, places: &Places, report: &mut Report) {
    for undone in policy.undone() {
        let Undone { key, why, .. } = undone;
        let Some(location) = places.get(&("", key.to_owned())) else { continue };
        let (code, message) = match undone.instead {
            Instead::Refused => (
                Code::Refused,
                format!(
                    "clients cannot open any streamtype: {undone} has no meaning behind a proxy"
                ),
            ),
            _ => (Code::NotDone, format!("{undone} has no meaning behind a proxy")),
        };
        report.push(Diagnostic::warning(code, location, message).help(why));
    }
}
