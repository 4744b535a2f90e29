//! The keys of streamtypes, a line each. A key that is added here is parsed, shown, laid over others
//! and held against the documentation; docs/policy.md needs a line for it too.

use super::field::AppliesTo::{All, H2, Http, HttpWs, Mqtt, Ws};
use super::field::FieldKind::{
    Flag, Ignored, Index, MaybeU16, MaybeU32, Metadata, Method, Options, Protocol, Refer, RespMap,
    Template, Text, U8, U16, U32, Url,
};
use super::field::TextRule::{Free, HeaderName, HeaderValue};
use super::field::{AppliesTo, Field, FieldKind, Key, Reference};

const fn key(name: &'static str, applies_to: AppliesTo, kind: FieldKind) -> Key {
    Key { name, kind, applies_to }
}

/// A field of a streamtype by its path.
macro_rules! field {
    ($($path:ident).+) => {
        Field { get: |streamtype| &streamtype.$($path).+, get_mut: |streamtype| &mut streamtype.$($path).+ }
    };
}

/// The keys of a streamtype, in the order in which they are documented and shown.
pub(crate) static STREAM_KEYS: &[Key] = &[
    key("endpoint", All, Template(field!(endpoint))),
    key("port", All, U16(field!(port))),
    key("protocol", All, Protocol(field!(protocol))),
    key("tls", All, Flag(field!(tls))),
    key("allow_clear", All, Flag(field!(allow_clear))),
    key("allow_private", All, Flag(field!(allow_private))),
    key("tls_trust_store", All, Refer(Reference::TrustStore)),
    key("client_cert", All, Index(field!(client_cert))),
    key("opportunistic", All, Flag(field!(opportunistic))),
    key("nailed_up", All, Flag(field!(nailed_up))),
    key("retry", All, Refer(Reference::Retry)),
    key("timeout_ms", All, U32(field!(timeout_ms))),
    key("metadata", All, Metadata),
    key("perf", All, Flag(field!(perf))),
    key("attr_priority", All, U8(7, field!(priority))),
    key("attr_low_latency", All, Flag(field!(tos.low_latency))),
    key("attr_high_throughput", All, Flag(field!(tos.high_throughput))),
    key("attr_high_reliability", All, Flag(field!(tos.high_reliability))),
    key("attr_low_cost", All, Flag(field!(tos.low_cost))),
    key("swake_validity", All, Flag(field!(swake_validity))),
    key("proxy_buflen", All, MaybeU32(field!(proxy_buflen))),
    key("proxy_buflen_rxflow_on_above", All, MaybeU32(field!(proxy_rxflow_on_above))),
    key("proxy_buflen_rxflow_off_below", All, MaybeU32(field!(proxy_rxflow_off_below))),
    key("client_buflen", All, U32(field!(client_buflen))),
    key("client_buflen_rxflow_on_above", All, U32(field!(client_rxflow_on_above))),
    key("client_buflen_rxflow_off_below", All, U32(field!(client_rxflow_off_below))),
    key("via-socks5", All, Text(Free, field!(via_socks5))),
    key("plugins", All, Ignored),
    key("urgent_tx", All, Flag(field!(urgent_tx))),
    key("urgent_rx", All, Flag(field!(urgent_rx))),
    key("payload_fmt", All, Text(Free, field!(payload_fmt))),
    key("local_sink", All, Flag(field!(local_sink))),
    key("server", All, Flag(field!(server))),
    key("server_cert", All, Text(Free, field!(server_cert))),
    key("server_key", All, Text(Free, field!(server_key))),
    key("options", All, Options),
    key("http_method", Http, Method(field!(http.method))),
    key("http_url", HttpWs, Url(field!(http.url))),
    key("http_expect", Http, MaybeU16(field!(http.expect))),
    key("http_resp_map", Http, RespMap),
    key("allow_redirects", Http, Flag(field!(allow_redirects))),
    key("http_fail_redirect", Http, Flag(field!(http.fail_redirect))),
    key("http_auth_header", Http, Text(HeaderName, field!(http.auth_header))),
    key("http_auth_preamble", Http, Text(HeaderValue, field!(http.auth_preamble))),
    key("http_dsn_header", Http, Text(HeaderName, field!(http.dsn_header))),
    key("http_fwv_header", Http, Text(HeaderName, field!(http.fwv_header))),
    key("http_devtype_header", Http, Text(HeaderName, field!(http.devtype_header))),
    key("http_no_content_length", Http, Flag(field!(http.no_content_length))),
    key("http_www_form_urlencoded", Http, Flag(field!(http.www_form_urlencoded))),
    key("http_multipart_name", Http, Text(HeaderValue, field!(http.multipart_name))),
    key("http_multipart_filename", Http, Text(HeaderValue, field!(http.multipart_filename))),
    key("http_mime_content_type", Http, Text(HeaderValue, field!(http.mime_content_type))),
    key("http_multipart_ss_in", Http, Flag(field!(http.multipart_ss_in))),
    key("http_cookies", HttpWs, Flag(field!(http.cookies))),
    key("rideshare", Http, Text(Free, field!(rideshare))),
    key("use_auth", Http, Refer(Reference::Auth)),
    key("aws_region", Http, Text(Free, field!(aws_region))),
    key("aws_service", Http, Text(Free, field!(aws_service))),
    key("direct_proto_str", Http, Flag(field!(direct_proto_str))),
    key("long_poll", H2, Flag(field!(http.long_poll))),
    key("nghttp2_quirk_end_stream", H2, Flag(field!(http.quirk_end_stream))),
    key("h2q_oflow_txcr", H2, Flag(field!(http.oflow_txcr))),
    key("ws_subprotocol", Ws, Text(HeaderValue, field!(ws.subprotocol))),
    key("ws_binary", Ws, Flag(field!(ws.binary))),
    key("ws_prioritize_reads", Ws, Flag(field!(ws.prioritize_reads))),
    key("mqtt_topic", Mqtt, Template(field!(mqtt.topic))),
    key("mqtt_subscribe", Mqtt, Template(field!(mqtt.subscribe))),
    key("mqtt_qos", Mqtt, U8(2, field!(mqtt.qos))),
    key("mqtt_retain", Mqtt, Flag(field!(mqtt.retain))),
    key("mqtt_keep_alive", Mqtt, U16(field!(mqtt.keep_alive_s))),
    key("mqtt_clean_start", Mqtt, Flag(field!(mqtt.clean_start))),
    key("mqtt_will_topic", Mqtt, Template(field!(mqtt.will.topic))),
    key("mqtt_will_message", Mqtt, Template(field!(mqtt.will.message))),
    key("mqtt_will_qos", Mqtt, U8(2, field!(mqtt.will.qos))),
    key("mqtt_will_retain", Mqtt, Flag(field!(mqtt.will.retain))),
    key("mqtt_birth_topic", Mqtt, Template(field!(mqtt.birth.topic))),
    key("mqtt_birth_message", Mqtt, Template(field!(mqtt.birth.message))),
    key("mqtt_birth_qos", Mqtt, U8(2, field!(mqtt.birth.qos))),
    key("mqtt_birth_retain", Mqtt, Flag(field!(mqtt.birth.retain))),
    key("aws_iot", Mqtt, Flag(field!(mqtt.aws_iot))),
];
