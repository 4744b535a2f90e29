//! Every key of a policy: the one table that parsing, checking, showing and the documentation's
//! test go by.

use crate::{Protocol, StreamType, Template};

/// The part of a policy that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// The document itself.
    Top,
    /// An entry of `retry`.
    Retry,
    /// An entry of `trust_stores`, in its long form.
    TrustStore,
    /// An entry of `auth`.
    Auth,
    /// An entry of `metrics`.
    Metric,
    /// A streamtype.
    StreamType,
}

/// A key that the policy knows, in words: for help texts and completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInfo {
    /// Where it may stand.
    pub section: Section,
    /// The key.
    pub name: &'static str,
    /// Its type: `flag`, `text`, ``text `${}` `` if it is substituted, `number`, `name` of
    /// something defined elsewhere, `list` or `anything`. Empty outside streamtypes.
    pub kind: &'static str,
    /// The default: `none` if the key then has no effect. Empty outside streamtypes.
    pub default: &'static str,
    /// The protocols that use it: `all`, or their words. Empty outside streamtypes.
    pub protocols: &'static str,
}

/// Every key that the policy knows, in the order of the documentation.
pub fn key_reference() -> Vec<KeyInfo> {
    let sections: [(Section, &[&'static str]); 5] = [
        (Section::Top, &TOP_KEYS),
        (Section::Retry, &RETRY_KEYS),
        (Section::TrustStore, &TRUST_STORE_KEYS),
        (Section::Auth, &AUTH_KEYS),
        (Section::Metric, &METRIC_KEYS),
    ];
    let plain = sections.into_iter().flat_map(|(section, names)| {
        names.iter().map(move |name| KeyInfo {
            section,
            name,
            kind: "",
            default: "",
            protocols: "",
        })
    });
    let streams = STREAM_KEYS.iter().map(|key| KeyInfo {
        section: Section::StreamType,
        name: key.name,
        kind: key.kind(),
        default: key.default(),
        protocols: key.used.words(),
    });
    plain.chain(streams).collect()
}

/// A set of protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// By every protocol.
    All,
    /// By h1, h2 and h3.
    Http,
    /// By h1, h2, h3 and ws.
    HttpWs,
    /// By h2 and h3.
    H2,
    /// By ws.
    Ws,
    /// By mqtt.
    Mqtt,
}

impl Used {
    pub(crate) fn by(self, protocol: Protocol) -> bool {
        match self {
            Used::All => true,
            Used::Http => protocol.is_http(),
            Used::HttpWs => protocol.is_http() || protocol == Protocol::Ws,
            Used::H2 => matches!(protocol, Protocol::H2 | Protocol::H3),
            Used::Ws => protocol == Protocol::Ws,
            Used::Mqtt => protocol == Protocol::Mqtt,
        }
    }

    /// The words of the documentation.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Used::All => "all",
            Used::Http => "h1 h2 h3",
            Used::HttpWs => "h1 h2 h3 ws",
            Used::H2 => "h2 h3",
            Used::Ws => "ws",
            Used::Mqtt => "mqtt",
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
pub(crate) enum Text {
    /// Anything.
    Free,
    /// The name of an HTTP header, with or without a colon after it.
    HeaderName,
    /// Something that goes into the value of an HTTP header.
    HeaderValue,
}

type Field<T> = fn(&mut StreamType) -> &mut T;

/// Where a key's value goes, and with that its type.
#[derive(Clone, Copy)]
pub(crate) enum Slot {
    Flag(Field<bool>),
    Text(Text, Field<Option<String>>),
    Template(Field<Option<Template>>),
    U8(u8, Field<u8>),
    U16(Field<u16>),
    U32(Field<u32>),
    /// A number of which 0 is one like any other.
    Index(Field<Option<u8>>),
    /// A number of which 0 means that there is none.
    MaybeU16(Field<Option<u16>>),
    MaybeU32(Field<Option<u32>>),
    Protocol,
    Method,
    Url,
    Refer(Reference),
    Metadata,
    RespMap,
    Options,
    Ignored,
}

/// A key of a streamtype.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) slot: Slot,
    pub(crate) used: Used,
}

impl Key {
    /// The type as the documentation has it.
    fn kind(&self) -> &'static str {
        match self.slot {
            Slot::Flag(_) => "flag",
            Slot::Text(..) | Slot::Protocol | Slot::Method => "text",
            Slot::Template(_) | Slot::Url => "text `${}`",
            Slot::U8(..)
            | Slot::U16(_)
            | Slot::U32(_)
            | Slot::Index(_)
            | Slot::MaybeU16(_)
            | Slot::MaybeU32(_) => "number",
            Slot::Refer(_) => "name",
            Slot::Metadata | Slot::RespMap | Slot::Options => "list",
            Slot::Ignored => "anything",
        }
    }

    /// The default as the documentation has it.
    fn default(&self) -> &'static str {
        match self.slot {
            Slot::Flag(_) => "`false`",
            Slot::U8(..) | Slot::U16(_) | Slot::U32(_) => "0",
            Slot::Protocol => "`h1`",
            Slot::Method => "`GET`",
            Slot::Url => "`\"\"`",
            Slot::Metadata | Slot::RespMap | Slot::Options => "empty",
            Slot::Text(..)
            | Slot::Template(_)
            | Slot::Index(_)
            | Slot::MaybeU16(_)
            | Slot::MaybeU32(_)
            | Slot::Refer(_)
            | Slot::Ignored => "none",
        }
    }

    /// Sets the key back to its default.
    pub(crate) fn reset(&self, streamtype: &mut StreamType) {
        let mut fresh = StreamType::new(String::new());
        match self.slot {
            Slot::Flag(field) => *field(streamtype) = *field(&mut fresh),
            Slot::Text(_, field) => *field(streamtype) = field(&mut fresh).take(),
            Slot::Template(field) => *field(streamtype) = field(&mut fresh).take(),
            Slot::U8(_, field) => *field(streamtype) = *field(&mut fresh),
            Slot::U16(field) => *field(streamtype) = *field(&mut fresh),
            Slot::U32(field) => *field(streamtype) = *field(&mut fresh),
            Slot::Index(field) => *field(streamtype) = *field(&mut fresh),
            Slot::MaybeU16(field) => *field(streamtype) = *field(&mut fresh),
            Slot::MaybeU32(field) => *field(streamtype) = *field(&mut fresh),
            Slot::Protocol => streamtype.protocol = fresh.protocol,
            Slot::Method => streamtype.http.method = fresh.http.method,
            Slot::Url => streamtype.http.url = fresh.http.url,
            Slot::Refer(Reference::Retry) => streamtype.retry = None,
            Slot::Refer(Reference::TrustStore) => streamtype.trust_store = None,
            Slot::Refer(Reference::Auth) => streamtype.use_auth = None,
            Slot::Metadata => streamtype.metadata.clear(),
            Slot::RespMap => streamtype.http.resp_map.clear(),
            Slot::Options => streamtype.options.clear(),
            Slot::Ignored => {}
        }
    }
}

/// The key of this name.
pub(crate) fn stream_key(name: &str) -> Option<&'static Key> {
    STREAM_KEYS.iter().find(|key| key.name == name)
}

/// Names that are written down somewhere for a key of another name.
pub(crate) const ALIASES: [(&str, &str); 1] =
    [("http_multipart_content_type", "http_mime_content_type")];

/// The keys of the whole document.
pub(crate) const TOP_KEYS: [&str; 10] = [
    "release",
    "product",
    "schema-version",
    "via-socks5",
    "retry",
    "certs",
    "trust_stores",
    "auth",
    "metrics",
    "s",
];

/// The keys of an entry of `retry`.
pub(crate) const RETRY_KEYS: [&str; 5] =
    ["backoff", "conceal", "jitterpc", "svalidping", "svalidhup"];

/// The keys of an entry of `trust_stores`.
pub(crate) const TRUST_STORE_KEYS: [&str; 2] = ["name", "stack"];

/// The keys of an entry of `auth`.
pub(crate) const AUTH_KEYS: [&str; 4] = ["name", "type", "streamtype", "blob"];

/// The keys of an entry of `metrics`.
pub(crate) const METRIC_KEYS: [&str; 5] =
    ["name", "us_schedule", "us_halflife", "min_outlier", "report"];

const fn key(name: &'static str, used: Used, slot: Slot) -> Key {
    Key { name, slot, used }
}

/// The keys of a streamtype, in the order in which they are documented and shown.
pub(crate) static STREAM_KEYS: [Key; 78] = {
    use Slot::{Flag, Index, MaybeU16, MaybeU32, Refer, Template, U8, U16, U32};
    use Text::{Free, HeaderName, HeaderValue};
    use Used::{All, H2, Http, HttpWs, Mqtt, Ws};
    [
        key("endpoint", All, Template(|s| &mut s.endpoint)),
        key("port", All, U16(|s| &mut s.port)),
        key("protocol", All, Slot::Protocol),
        key("tls", All, Flag(|s| &mut s.tls)),
        key("tls_trust_store", All, Refer(Reference::TrustStore)),
        key("client_cert", All, Index(|s| &mut s.client_cert)),
        key("opportunistic", All, Flag(|s| &mut s.opportunistic)),
        key("nailed_up", All, Flag(|s| &mut s.nailed_up)),
        key("retry", All, Refer(Reference::Retry)),
        key("timeout_ms", All, U32(|s| &mut s.timeout_ms)),
        key("metadata", All, Slot::Metadata),
        key("perf", All, Flag(|s| &mut s.perf)),
        key("attr_priority", All, U8(7, |s| &mut s.priority)),
        key("attr_low_latency", All, Flag(|s| &mut s.tos.low_latency)),
        key("attr_high_throughput", All, Flag(|s| &mut s.tos.high_throughput)),
        key("attr_high_reliability", All, Flag(|s| &mut s.tos.high_reliability)),
        key("attr_low_cost", All, Flag(|s| &mut s.tos.low_cost)),
        key("swake_validity", All, Flag(|s| &mut s.swake_validity)),
        key("proxy_buflen", All, MaybeU32(|s| &mut s.proxy_buflen)),
        key("proxy_buflen_rxflow_on_above", All, MaybeU32(|s| &mut s.proxy_rxflow_on_above)),
        key("proxy_buflen_rxflow_off_below", All, MaybeU32(|s| &mut s.proxy_rxflow_off_below)),
        key("client_buflen", All, U32(|s| &mut s.client_buflen)),
        key("client_buflen_rxflow_on_above", All, U32(|s| &mut s.client_rxflow_on_above)),
        key("client_buflen_rxflow_off_below", All, U32(|s| &mut s.client_rxflow_off_below)),
        key("via-socks5", All, Slot::Text(Free, |s| &mut s.via_socks5)),
        key("plugins", All, Slot::Ignored),
        key("urgent_tx", All, Flag(|s| &mut s.urgent_tx)),
        key("urgent_rx", All, Flag(|s| &mut s.urgent_rx)),
        key("payload_fmt", All, Slot::Text(Free, |s| &mut s.payload_fmt)),
        key("local_sink", All, Flag(|s| &mut s.local_sink)),
        key("server", All, Flag(|s| &mut s.server)),
        key("server_cert", All, Slot::Text(Free, |s| &mut s.server_cert)),
        key("server_key", All, Slot::Text(Free, |s| &mut s.server_key)),
        key("options", All, Slot::Options),
        key("http_method", Http, Slot::Method),
        key("http_url", HttpWs, Slot::Url),
        key("http_expect", Http, MaybeU16(|s| &mut s.http.expect)),
        key("http_resp_map", Http, Slot::RespMap),
        key("allow_redirects", Http, Flag(|s| &mut s.allow_redirects)),
        key("http_fail_redirect", Http, Flag(|s| &mut s.http.fail_redirect)),
        key("http_auth_header", Http, Slot::Text(HeaderName, |s| &mut s.http.auth_header)),
        key("http_auth_preamble", Http, Slot::Text(HeaderValue, |s| &mut s.http.auth_preamble)),
        key("http_dsn_header", Http, Slot::Text(HeaderName, |s| &mut s.http.dsn_header)),
        key("http_fwv_header", Http, Slot::Text(HeaderName, |s| &mut s.http.fwv_header)),
        key("http_devtype_header", Http, Slot::Text(HeaderName, |s| &mut s.http.devtype_header)),
        key("http_no_content_length", Http, Flag(|s| &mut s.http.no_content_length)),
        key("http_www_form_urlencoded", Http, Flag(|s| &mut s.http.www_form_urlencoded)),
        key("http_multipart_name", Http, Slot::Text(HeaderValue, |s| &mut s.http.multipart_name)),
        key(
            "http_multipart_filename",
            Http,
            Slot::Text(HeaderValue, |s| &mut s.http.multipart_filename),
        ),
        key(
            "http_mime_content_type",
            Http,
            Slot::Text(HeaderValue, |s| &mut s.http.mime_content_type),
        ),
        key("http_multipart_ss_in", Http, Flag(|s| &mut s.http.multipart_ss_in)),
        key("http_cookies", HttpWs, Flag(|s| &mut s.http.cookies)),
        key("rideshare", Http, Slot::Text(Free, |s| &mut s.rideshare)),
        key("use_auth", Http, Refer(Reference::Auth)),
        key("aws_region", Http, Slot::Text(Free, |s| &mut s.aws_region)),
        key("aws_service", Http, Slot::Text(Free, |s| &mut s.aws_service)),
        key("direct_proto_str", Http, Flag(|s| &mut s.direct_proto_str)),
        key("long_poll", H2, Flag(|s| &mut s.http.long_poll)),
        key("nghttp2_quirk_end_stream", H2, Flag(|s| &mut s.http.quirk_end_stream)),
        key("h2q_oflow_txcr", H2, Flag(|s| &mut s.http.oflow_txcr)),
        key("ws_subprotocol", Ws, Slot::Text(HeaderValue, |s| &mut s.ws.subprotocol)),
        key("ws_binary", Ws, Flag(|s| &mut s.ws.binary)),
        key("ws_prioritize_reads", Ws, Flag(|s| &mut s.ws.prioritize_reads)),
        key("mqtt_topic", Mqtt, Template(|s| &mut s.mqtt.topic)),
        key("mqtt_subscribe", Mqtt, Template(|s| &mut s.mqtt.subscribe)),
        key("mqtt_qos", Mqtt, U8(2, |s| &mut s.mqtt.qos)),
        key("mqtt_retain", Mqtt, Flag(|s| &mut s.mqtt.retain)),
        key("mqtt_keep_alive", Mqtt, U16(|s| &mut s.mqtt.keep_alive_s)),
        key("mqtt_clean_start", Mqtt, Flag(|s| &mut s.mqtt.clean_start)),
        key("mqtt_will_topic", Mqtt, Template(|s| &mut s.mqtt.will.topic)),
        key("mqtt_will_message", Mqtt, Template(|s| &mut s.mqtt.will.message)),
        key("mqtt_will_qos", Mqtt, U8(2, |s| &mut s.mqtt.will.qos)),
        key("mqtt_will_retain", Mqtt, Flag(|s| &mut s.mqtt.will.retain)),
        key("mqtt_birth_topic", Mqtt, Template(|s| &mut s.mqtt.birth.topic)),
        key("mqtt_birth_message", Mqtt, Template(|s| &mut s.mqtt.birth.message)),
        key("mqtt_birth_qos", Mqtt, U8(2, |s| &mut s.mqtt.birth.qos)),
        key("mqtt_birth_retain", Mqtt, Flag(|s| &mut s.mqtt.birth.retain)),
        key("aws_iot", Mqtt, Flag(|s| &mut s.mqtt.aws_iot)),
    ]
};
