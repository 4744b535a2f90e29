//! What a client may do.

use std::fmt;
use std::sync::Arc;

use sspc_wire::smd::{self, Classes};

use crate::glob::Glob;
use crate::rule::{Quotas, Rule};

/// The most of a client's text or of a pattern that a denial repeats, in bytes.
const TEXT_MAX: usize = 64;
/// Patterns that a denial lists.
const PATTERNS_MAX: usize = 8;

/// What a client may do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rights(Decided);

#[derive(Clone, Debug)]
enum Decided {
    ByRule(Arc<Rule>),
    Everything,
    /// By default, of the file of this name.
    Nothing(Arc<str>),
}

/// Why a client may not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    rule: Option<String>,
    text: String,
}

impl Rights {
    /// Everything, without quotas.
    pub const fn everything() -> Self {
        Self(Decided::Everything)
    }

    pub(crate) const fn of_rule(rule: Arc<Rule>) -> Self {
        Self(Decided::ByRule(rule))
    }

    pub(crate) fn nothing(file: &str) -> Self {
        Self(Decided::Nothing(file.into()))
    }

    /// The name of the rule that decides; `None` if it is the default.
    pub fn rule(&self) -> Option<&str> {
        match &self.0 {
            Decided::ByRule(rule) => Some(&rule.name),
            Decided::Everything | Decided::Nothing(_) => None,
        }
    }

    /// Whether it may open a stream of this type. Whether it may open the bus for system messages is a
    /// matter of [`Rights::smd`].
    ///
    /// # Errors
    /// It may not.
    pub fn may_open(&self, streamtype: &str) -> Result<(), Denial> {
        let rule = match &self.0 {
            Decided::Everything => return Ok(()),
            Decided::Nothing(file) => return Err(Denial::by_default(file)),
            Decided::ByRule(rule) => rule,
        };
        if streamtype == smd::STREAMTYPE {
            return match rule.smd {
                Classes::NONE => {
                    Err(Denial::by(rule, "lets it exchange no system messages; see `smd`"))
                }
                _ => Ok(()),
            };
        }
        if rule.streamtypes.iter().any(|glob| glob.matches(streamtype)) {
            return Ok(());
        }
        let name = quoted(streamtype);
        let text = match listed(&rule.streamtypes) {
            Some(list) => {
                format!("does not let it open streamtype {name}: its streamtypes are {list}")
            }
            None => format!("does not let it open streamtype {name}: it has no streamtypes"),
        };
        Err(Denial::by(rule, &text))
    }

    /// Whether it may set metadata of this name to this value.
    ///
    /// # Errors
    /// It may not.
    pub fn may_set(&self, name: &str, value: &[u8]) -> Result<(), Denial> {
        let rule = match &self.0 {
            Decided::Everything => return Ok(()),
            Decided::Nothing(file) => return Err(Denial::by_default(file)),
            Decided::ByRule(rule) => rule,
        };
        let Some(allowed) = &rule.metadata else { return Ok(()) };
        let name_text = quoted(name);
        let Some((_, values)) = allowed.iter().find(|(known, _)| known == name) else {
            return Err(Denial::by(rule, &format!("does not let it set metadata {name_text}")));
        };
        if values.iter().any(|glob| glob.matches_bytes(value)) {
            return Ok(());
        }
        // The value may be a secret.
        let list = listed(values).unwrap_or_else(|| "none".to_owned());
        let text = format!("does not let it set metadata {name_text} to that: it may be {list}");
        Err(Denial::by(rule, &text))
    }

    /// Which classes of system messages it may send and receive.
    pub fn smd(&self) -> Classes {
        match &self.0 {
            Decided::ByRule(rule) => rule.smd,
            Decided::Everything => Classes::ALL,
            Decided::Nothing(_) => Classes::NONE,
        }
    }

    /// How much it may have.
    pub fn quotas(&self) -> Quotas {
        match &self.0 {
            Decided::ByRule(rule) => rule.quotas,
            Decided::Everything | Decided::Nothing(_) => Quotas::default(),
        }
    }

    /// It has as many streams as it may.
    pub fn too_many_streams(&self, limit: usize) -> Denial {
        match &self.0 {
            Decided::ByRule(rule) => {
                let streams = if limit == 1 { "stream" } else { "streams" };
                Denial::by(rule, &format!("lets it have {limit} {streams} at a time"))
            }
            Decided::Everything => Denial::by_default(""),
            Decided::Nothing(file) => Denial::by_default(file),
        }
    }
}

fn quoted(text: &str) -> String {
    let part = &text[..text.floor_char_boundary(TEXT_MAX)];
    let more = if part.len() < text.len() { "…" } else { "" };
    format!("{part:?}{more}")
}

fn listed(globs: &[Glob]) -> Option<String> {
    let shown =
        globs.iter().take(PATTERNS_MAX).map(|glob| quoted(glob.as_str())).collect::<Vec<_>>();
    let more = if globs.len() > PATTERNS_MAX { " and others" } else { "" };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

impl Denial {
    fn by(rule: &Rule, text: &str) -> Self {
        let name = &rule.name;
        Self { rule: Some(name.clone()), text: format!("rule {name:?} ({}) {text}", rule.place) }
    }

    fn by_default(file: &str) -> Self {
        let text = format!("no rule of {file} is for this client, and its default is \"refuse\"");
        Self { rule: None, text }
    }

    /// The rule that denies it; `None` if it is the default.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Denial {}
