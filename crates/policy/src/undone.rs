//! What a policy asks for that has no meaning behind a proxy.

use std::fmt;

use crate::keys::{Instead, STREAM_KEYS, Status, TOP_KEYS, protocol_status};
use crate::types::{Policy, Protocol, StreamType};

/// Something that a policy asks for and that has no meaning behind a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undone {
    /// The key that asks for it.
    pub key: &'static str,
    /// The protocol, if that is what it is.
    pub protocol: Option<Protocol>,
    /// What becomes of the stream.
    pub instead: Instead,
    /// Why, as a sentence.
    pub why: &'static str,
}

/// The key, and what it is set to if that matters.
impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(protocol) => write!(f, "`{}` `{protocol}`", self.key),
            None => write!(f, "`{}`", self.key),
        }
    }
}

impl Undone {
    fn of(
        key: &'static str,
        protocol: Option<Protocol>,
        status: Status,
        is_set: bool,
    ) -> Option<Self> {
        match status {
            Status::NotBehindProxy(instead, why) if is_set => {
                Some(Self { key, protocol, instead, why })
            }
            _ => None,
        }
    }
}

impl StreamType {
    /// What it asks for that has no meaning behind a proxy, in the order of the documentation.
    pub fn undone(&self) -> impl Iterator<Item = Undone> {
        let protocol = self.protocol;
        STREAM_KEYS.iter().filter_map(move |key| match key.status {
            Status::ByValue => {
                Undone::of(key.name, Some(protocol), protocol_status(protocol), true)
            }
            status => Undone::of(key.name, None, status, key.is_set(self)),
        })
    }
}

impl Policy {
    /// What the document itself asks for, for all streamtypes, that has no meaning behind a proxy.
    pub fn undone(&self) -> impl Iterator<Item = Undone> {
        TOP_KEYS.iter().filter_map(|key| {
            let is_set = match key.name {
                "metrics" => !self.metrics.is_empty(),
                _ => false,
            };
            Undone::of(key.name, None, key.status, is_set)
        })
    }

    /// Why clients cannot open this streamtype, if they cannot.
    pub fn refusal(&self, streamtype: &StreamType) -> Option<Undone> {
        let refused = |undone: &Undone| undone.instead == Instead::Refused;
        streamtype.undone().find(refused).or_else(|| self.undone().find(refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status of such a key would be ignored.
    #[test]
    fn of_the_documents_keys_only_some_can_be_undone() {
        let mut policy = Policy::default();
        policy.metrics.push(crate::Metric::default());
        let undone: Vec<&str> = policy.undone().map(|undone| undone.key).collect();
        let known = TOP_KEYS.iter().filter(|key| matches!(key.status, Status::NotBehindProxy(..)));
        assert_eq!(undone, known.map(|key| key.name).collect::<Vec<_>>());
        assert_eq!(Policy::default().undone().next(), None);
    }

    #[test]
    fn defaults_ask_for_nothing() {
        assert_eq!(StreamType::new("s").undone().next(), None);
    }
}
