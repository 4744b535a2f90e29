//! What a key of a streamtype is: its type, where its value goes, and the protocols that use it.

use super::status::Status;
use crate::template::Template;
use crate::types::{Protocol, StreamType};

/// A set of protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppliesTo {
    /// To every protocol.
    All,
    /// To h1, h2 and h3.
    Http,
    /// To h1, h2, h3 and ws.
    HttpWs,
    /// To h2 and h3.
    H2,
    /// To ws.
    Ws,
    /// To mqtt.
    Mqtt,
}

impl AppliesTo {
    pub(crate) fn includes(self, protocol: Protocol) -> bool {
        match self {
            AppliesTo::All => true,
            AppliesTo::Http => protocol.is_http(),
            AppliesTo::HttpWs => protocol.is_http() || protocol == Protocol::Ws,
            AppliesTo::H2 => matches!(protocol, Protocol::H2 | Protocol::H3),
            AppliesTo::Ws => protocol == Protocol::Ws,
            AppliesTo::Mqtt => protocol == Protocol::Mqtt,
        }
    }

    /// The words of the documentation.
    pub(crate) fn words(self) -> &'static str {
        match self {
            AppliesTo::All => "all",
            AppliesTo::Http => "h1 h2 h3",
            AppliesTo::HttpWs => "h1 h2 h3 ws",
            AppliesTo::H2 => "h2 h3",
            AppliesTo::Ws => "ws",
            AppliesTo::Mqtt => "mqtt",
        }
    }
}

/// What a streamtype's key refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Retry,
    TrustStore,
    Auth,
}

/// What text has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextRule {
    /// Anything.
    Free,
    /// The name of an HTTP header, with or without a colon after it.
    HeaderName,
    /// Something that goes into the value of an HTTP header.
    HeaderValue,
}

/// A field of a streamtype.
pub(crate) struct Field<T: 'static> {
    pub(crate) get: fn(&StreamType) -> &T,
    pub(crate) get_mut: fn(&mut StreamType) -> &mut T,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: PartialEq> Field<T> {
    fn differs(self, streamtype: &StreamType, fresh: &StreamType) -> bool {
        (self.get)(streamtype) != (self.get)(fresh)
    }
}

impl<T: Clone> Field<T> {
    fn reset(self, streamtype: &mut StreamType, fresh: &StreamType) {
        (self.get_mut)(streamtype).clone_from((self.get)(fresh));
    }
}

/// Where a key's value goes, and with that its type.
#[derive(Clone, Copy)]
pub(crate) enum FieldKind {
    Flag(Field<bool>),
    Text(TextRule, Field<Option<String>>),
    Template(Field<Option<Template>>),
    U8(u8, Field<u8>),
    U16(Field<u16>),
    U32(Field<u32>),
    /// A number of which 0 is one like any other.
    Index(Field<Option<u8>>),
    /// A number of which 0 means that there is none.
    MaybeU16(Field<Option<u16>>),
    MaybeU32(Field<Option<u32>>),
    Protocol(Field<Protocol>),
    Method(Field<String>),
    /// Path and query.
    Url(Field<Template>),
    Refer(Reference),
    Metadata,
    RespMap,
    Options,
    Ignored,
}

/// A key of a streamtype.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: FieldKind,
    pub(crate) applies_to: AppliesTo,
    pub(crate) status: Status,
    pub(crate) meaning: &'static str,
    /// Whether the reference does not know it.
    pub(crate) is_ours: bool,
}

impl Key {
    /// The type as the documentation has it.
    pub(super) fn type_word(&self) -> &'static str {
        match self.kind {
            FieldKind::Flag(_) => "flag",
            FieldKind::Text(..) | FieldKind::Protocol(_) | FieldKind::Method(_) => "text",
            FieldKind::Template(_) | FieldKind::Url(_) => "text `${}`",
            FieldKind::U8(..)
            | FieldKind::U16(_)
            | FieldKind::U32(_)
            | FieldKind::Index(_)
            | FieldKind::MaybeU16(_)
            | FieldKind::MaybeU32(_) => "number",
            FieldKind::Refer(_) => "name",
            FieldKind::Metadata | FieldKind::RespMap | FieldKind::Options => "list",
            FieldKind::Ignored => "anything",
        }
    }

    /// The default as the documentation has it.
    pub(super) fn default_word(&self) -> &'static str {
        match self.kind {
            FieldKind::Flag(_) => "`false`",
            FieldKind::U8(..) | FieldKind::U16(_) | FieldKind::U32(_) => "0",
            FieldKind::Protocol(_) => "`h1`",
            FieldKind::Method(_) => "`GET`",
            FieldKind::Url(_) => "`\"\"`",
            FieldKind::Metadata | FieldKind::RespMap | FieldKind::Options => "empty",
            FieldKind::Text(..)
            | FieldKind::Template(_)
            | FieldKind::Index(_)
            | FieldKind::MaybeU16(_)
            | FieldKind::MaybeU32(_)
            | FieldKind::Refer(_)
            | FieldKind::Ignored => "none",
        }
    }

    /// The text with `${name}` that it holds, if it is of that type and not left out.
    pub(crate) fn template<'s>(&self, streamtype: &'s StreamType) -> Option<&'s Template> {
        match self.kind {
            FieldKind::Template(field) => (field.get)(streamtype).as_ref(),
            FieldKind::Url(field) => Some((field.get)(streamtype)),
            _ => None,
        }
    }

    /// Whether it means something to this streamtype.
    pub(crate) fn is_for(&self, streamtype: &StreamType) -> bool {
        // A listener speaks ws to those that ask for it, whatever else it speaks.
        self.applies_to.includes(streamtype.protocol)
            || (streamtype.server && self.applies_to.includes(Protocol::Ws))
    }

    /// Whether it is at something else than its default. What is not kept never is.
    pub(crate) fn is_set(&self, streamtype: &StreamType) -> bool {
        let fresh = &StreamType::new(String::new());
        match self.kind {
            FieldKind::Flag(field) => field.differs(streamtype, fresh),
            FieldKind::Text(_, field) => field.differs(streamtype, fresh),
            FieldKind::Template(field) => field.differs(streamtype, fresh),
            FieldKind::U8(_, field) => field.differs(streamtype, fresh),
            FieldKind::U16(field) => field.differs(streamtype, fresh),
            FieldKind::U32(field) => field.differs(streamtype, fresh),
            FieldKind::Index(field) => field.differs(streamtype, fresh),
            FieldKind::MaybeU16(field) => field.differs(streamtype, fresh),
            FieldKind::MaybeU32(field) => field.differs(streamtype, fresh),
            FieldKind::Protocol(field) => field.differs(streamtype, fresh),
            FieldKind::Method(field) => field.differs(streamtype, fresh),
            FieldKind::Url(field) => field.differs(streamtype, fresh),
            FieldKind::Refer(Reference::Retry) => streamtype.retry.is_some(),
            FieldKind::Refer(Reference::TrustStore) => streamtype.trust_store.is_some(),
            FieldKind::Refer(Reference::Auth) => streamtype.use_auth.is_some(),
            FieldKind::Metadata => !streamtype.metadata.is_empty(),
            FieldKind::RespMap => !streamtype.http.resp_map.is_empty(),
            FieldKind::Options => !streamtype.options.is_empty(),
            FieldKind::Ignored => false,
        }
    }

    /// Sets the key back to its default.
    pub(crate) fn reset(&self, streamtype: &mut StreamType) {
        let fresh = StreamType::new(String::new());
        match self.kind {
            FieldKind::Flag(field) => field.reset(streamtype, &fresh),
            FieldKind::Text(_, field) => field.reset(streamtype, &fresh),
            FieldKind::Template(field) => field.reset(streamtype, &fresh),
            FieldKind::U8(_, field) => field.reset(streamtype, &fresh),
            FieldKind::U16(field) => field.reset(streamtype, &fresh),
            FieldKind::U32(field) => field.reset(streamtype, &fresh),
            FieldKind::Index(field) => field.reset(streamtype, &fresh),
            FieldKind::MaybeU16(field) => field.reset(streamtype, &fresh),
            FieldKind::MaybeU32(field) => field.reset(streamtype, &fresh),
            FieldKind::Protocol(field) => field.reset(streamtype, &fresh),
            FieldKind::Method(field) => field.reset(streamtype, &fresh),
            FieldKind::Url(field) => field.reset(streamtype, &fresh),
            FieldKind::Refer(Reference::Retry) => streamtype.retry = None,
            FieldKind::Refer(Reference::TrustStore) => streamtype.trust_store = None,
            FieldKind::Refer(Reference::Auth) => streamtype.use_auth = None,
            FieldKind::Metadata => streamtype.metadata.clear(),
            FieldKind::RespMap => streamtype.http.resp_map.clear(),
            FieldKind::Options => streamtype.options.clear(),
            FieldKind::Ignored => {}
        }
    }
}
