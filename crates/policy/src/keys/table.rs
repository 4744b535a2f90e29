//! The keys of streamtypes: what each is, whether the proxy does it, and what it means. A key that
//! is added here is parsed, shown, laid over others, documented (docs/policy.md has these words)
//! and in the schema.
//!
//! What the proxy does about a key follows its type. When the proxy learns to do one, that is all
//! that changes: checks, refusals and the documentation follow.

use super::field::AppliesTo::{All, H2, Http, HttpWs, Mqtt, Ws};
use super::field::FieldKind::{
    Flag, Ignored as Anything, Index, MaybeU16, MaybeU32, Metadata, Method, Options, Protocol,
    Refer, RespMap, Template, Text, U8, U16, U32, Url,
};
use super::field::TextRule::{Free, HeaderName, HeaderValue};
use super::field::{AppliesTo, Field, FieldKind, Key, Reference};
use super::status::Instead::Refused;
use super::status::Status::{self, Acts, ByValue, Inert, NotBehindProxy, Partly, With};

/// A key that the reference has too.
const fn key(
    name: &'static str,
    applies_to: AppliesTo,
    kind: FieldKind,
    status: Status,
    meaning: &'static str,
) -> Key {
    Key { name, kind, applies_to, status, meaning, is_ours: false }
}

/// A key that the reference does not know.
const fn own(
    name: &'static str,
    applies_to: AppliesTo,
    kind: FieldKind,
    status: Status,
    meaning: &'static str,
) -> Key {
    Key { is_ours: true, ..key(name, applies_to, kind, status, meaning) }
}

/// Of headers that tell the server about the device.
const NO_VALUE: &str = "with a value of `sspc proxy --credentials`; left out without one";

/// A field of a streamtype by its path.
macro_rules! field {
    ($($path:ident).+) => {
        Field { get: |streamtype| &streamtype.$($path).+, get_mut: |streamtype| &mut streamtype.$($path).+ }
    };
}

/// The keys of a streamtype, in the order in which they are documented and shown.
#[rustfmt::skip]
pub(crate) static STREAM_KEYS: &[Key] = &[
    key("endpoint", All, Template(field!(endpoint)), Acts,
        "host, URL or `+` and a Unix socket: see [below](#endpoints-and-urls)"),
    key("port", All, U16(field!(port)), Acts,
        "TCP port. 0 is an error unless the endpoint has a port of its own"),
    key("protocol", All, Protocol(field!(protocol)), ByValue,
        "`h1`, `h2`, `h3`, `ws`, `mqtt` or `raw`"),
    key("tls", All, Flag(field!(tls)), Acts,
        "encrypt the onward connection"),
    own("allow_clear", All, Flag(field!(allow_clear)), Acts,
        "with an `endpoint` that is one `${name}`: the client's URL may be `http:`, `ws:` or \
         `mqtt:`, and turn `tls` off"),
    own("allow_private", All, Flag(field!(allow_private)), Acts,
        "a client that chooses the host may choose a private address, and servers may redirect \
         there"),
    key("tls_trust_store", All, Refer(Reference::TrustStore), Acts,
        "the trust store to verify the server with; the system's if none"),
    key("client_cert", All, Index(field!(client_cert)), Partly(
        "with a certificate of `sspc proxy --credentials`; it never connects without"),
        "number of the device's client certificate, from 0"),
    key("opportunistic", All, Flag(field!(opportunistic)), Acts,
        "connect only when asked, and stay disconnected after a loss"),
    key("nailed_up", All, Flag(field!(nailed_up)), Acts,
        "connect as soon as the stream exists"),
    key("retry", All, Refer(Reference::Retry), Acts,
        "the retry policy"),
    key("timeout_ms", All, U32(field!(timeout_ms)), Acts,
        "ms until TIMEOUT when a client asks for its default timeout; 0 for none"),
    key("metadata", All, Metadata, Acts,
        "the values that clients may set and read: `{\"NAME\": \"header\"}`, or `{\"NAME\": \
         \"\"}` for one that only serves `${NAME}`"),
    key("perf", All, Flag(field!(perf)), Acts,
        "measure each connection and report it to the client"),
    key("attr_priority", All, U8(7, field!(priority)), Acts,
        "priority of the onward socket, 0 to 7; 7 takes a privilege. On a serial line also the \
         rank of the stream's frames: a higher one passes lower ones"),
    key("attr_low_latency", All, Flag(field!(tos.low_latency)), Acts,
        "IP type of service: low latency"),
    key("attr_high_throughput", All, Flag(field!(tos.high_throughput)), Acts,
        "IP type of service: high throughput"),
    key("attr_high_reliability", All, Flag(field!(tos.high_reliability)), Acts,
        "IP type of service: high reliability"),
    key("attr_low_cost", All, Flag(field!(tos.low_cost)), Inert(
        "Linux does not send this bit over TCP"),
        "IP type of service: low cost"),
    key("swake_validity", All, Flag(field!(swake_validity)), Inert(
        "on Linux no timer of a process runs while the machine sleeps; probes go on when it wakes"),
        "probing a silent connection may wake a suspended device"),
    key("proxy_buflen", All, MaybeU32(field!(proxy_buflen)), Acts,
        "bytes that the proxy may hold for a stream in each direction; 65536 in `sspc proxy` if \
         none"),
    key("proxy_buflen_rxflow_on_above", All, MaybeU32(field!(proxy_rxflow_on_above)), Acts,
        "stop reading from the server when this many bytes wait for the client; at most \
         `proxy_buflen` acts"),
    key("proxy_buflen_rxflow_off_below", All, MaybeU32(field!(proxy_rxflow_off_below)), Acts,
        "and go on when there are fewer than this"),
    key("client_buflen", All, U32(field!(client_buflen)), Acts,
        "bytes of buffer that the client is advised to have; 0 leaves it to the client"),
    key("client_buflen_rxflow_on_above", All, U32(field!(client_rxflow_on_above)), Inert(
        "never sent to clients"),
        "the client is to stop reading when this many bytes wait for it"),
    key("client_buflen_rxflow_off_below", All, U32(field!(client_rxflow_off_below)), Inert(
        "never sent to clients"),
        "and to go on when there are fewer than this"),
    key("via-socks5", All, Text(Free, field!(via_socks5)), Inert(
        "only the document's own is used"),
        "SOCKS5 proxy of the stream"),
    key("plugins", All, Anything, Inert("deprecated there"),
        "plugins of the stream"),
    key("urgent_tx", All, Flag(field!(urgent_tx)), Inert("stored there and never used"),
        "what is sent is urgent"),
    key("urgent_rx", All, Flag(field!(urgent_rx)), Inert("stored there and never used"),
        "what is received is urgent"),
    key("payload_fmt", All, Text(Free, field!(payload_fmt)), Inert("never sent to clients"),
        "for creators in the same process"),
    key("local_sink", All, Flag(field!(local_sink)), NotBehindProxy(Refused,
        "a sink is code of the process that opens the stream, and clients are others"),
        "the stream ends in the same process"),
    key("server", All, Flag(field!(server)), NotBehindProxy(Refused,
        "a client's link carries one stream, and a listener has one for each connection"),
        "the stream listens"),
    key("server_cert", All, Text(Free, field!(server_cert)), With("server"),
        "the listener's certificate"),
    key("server_key", All, Text(Free, field!(server_key)), With("server"),
        "the listener's key"),
    key("options", All, Options, With("server"),
        "`{\"option\": \"value\"}`: the listener's options"),
    key("http_method", Http, Method(field!(http.method)), Partly("`CONNECT` cannot be sent"),
        "any method; methods are case-sensitive"),
    key("http_url", HttpWs, Url(field!(http.url)), Acts,
        "path and query, with or without a leading slash"),
    key("http_expect", Http, MaybeU16(field!(http.expect)), Acts,
        "the one status that is a success; any 2xx if none"),
    key("http_resp_map", Http, RespMap, Acts,
        "`{\"STATUS\": state}`: reports the state, from 1000 to 65535, when a response has that \
         status; at most 16"),
    key("allow_redirects", Http, Flag(field!(allow_redirects)), Acts,
        "follow redirects; without it they are failures"),
    key("http_fail_redirect", Http, Flag(field!(http.fail_redirect)), Acts,
        "a redirect means a captive portal: it is a failure, whatever `allow_redirects` says"),
    key("http_auth_header", HttpWs, Text(HeaderName, field!(http.auth_header)), Partly(
        NO_VALUE),
        "header that carries the preamble and the device's credential"),
    key("http_auth_preamble", HttpWs, Text(HeaderValue, field!(http.auth_preamble)), With(
        "http_auth_header"),
        "what stands before the credential, such as `bearer `; without a credential the header \
         is left out"),
    key("http_dsn_header", HttpWs, Text(HeaderName, field!(http.dsn_header)), Partly(
        NO_VALUE),
        "header that carries the device's serial number"),
    key("http_fwv_header", HttpWs, Text(HeaderName, field!(http.fwv_header)), Partly(
        NO_VALUE),
        "header that carries the firmware's version"),
    key("http_devtype_header", HttpWs, Text(HeaderName, field!(http.devtype_header)), Partly(
        NO_VALUE),
        "header that carries the device's type"),
    key("http_no_content_length", Http, Flag(field!(http.no_content_length)), Acts,
        "send no content-length, even if the client says how long the body is"),
    key("http_www_form_urlencoded", Http, Flag(field!(http.www_form_urlencoded)), Acts,
        "the body is a form: its content-type is `application/x-www-form-urlencoded`"),
    key("http_multipart_name", Http, Text(HeaderValue, field!(http.multipart_name)), Acts,
        "this and the next two make each message a part of a multipart/form-data body; name of \
         the part"),
    key("http_multipart_filename", Http, Text(HeaderValue, field!(http.multipart_filename)), Acts,
        "its file name"),
    key("http_mime_content_type", Http, Text(HeaderValue, field!(http.mime_content_type)), Acts,
        "its content type"),
    key("http_multipart_ss_in", Http, Flag(field!(http.multipart_ss_in)), Acts,
        "give a multipart response to the client part by part; one that ends before its last \
         boundary is cut short"),
    key("http_cookies", HttpWs, Flag(field!(http.cookies)), Acts,
        "keep the server's cookies and send them back: see [below](#cookies)"),
    own("http_traceparent", HttpWs, Flag(field!(http.traceparent)), Acts,
        "requests say in `traceparent` (W3C) which trace they belong to: the client's, if metadata sets \
         that header, else one of their own; `sspc proxy --otlp` reports it"),
    key("rideshare", Http, Text(Free, field!(rideshare)), Acts,
        "streamtype of the next part of the same multipart body; chains may be up to 4 long"),
    key("use_auth", Http, Refer(Reference::Auth), Partly(
        "with a value of `sspc proxy --credentials`; no request is sent without one"),
        "the entry of `auth` that requests say by who sends them"),
    key("aws_region", Http, Text(Free, field!(aws_region)), With("use_auth"),
        "name of the metadata that holds the region, for sigv4"),
    key("aws_service", Http, Text(Free, field!(aws_service)), With("use_auth"),
        "name of the metadata that holds the service, for sigv4"),
    key("direct_proto_str", Http, Flag(field!(direct_proto_str)), Inert(
        "for streams that do not come through a proxy"),
        "has no effect through a proxy"),
    key("long_poll", H2, Flag(field!(http.long_poll)), Acts,
        "the server answers when it has something to tell, and goes on for ever: nothing is \
         sent any more, and neither the headers nor the body time out"),
    key("nghttp2_quirk_end_stream", H2, Flag(field!(http.quirk_end_stream)), Partly(
        "always, set or not"),
        "take a response that ends with its headers for complete"),
    key("h2q_oflow_txcr", H2, Flag(field!(http.oflow_txcr)), Acts,
        "tolerate an h2 server that gives each stream the largest window there is, and then more; \
         always done, set or not"),
    own("alt_svc", H2, Flag(field!(http.alt_svc)), Acts,
        "go over to h3 where the server says by Alt-Svc that it speaks that, at the same host"),
    key("ws_subprotocol", Ws, Text(HeaderValue, field!(ws.subprotocol)), Acts,
        "what Sec-WebSocket-Protocol asks for"),
    key("ws_binary", Ws, Flag(field!(ws.binary)), Acts,
        "send binary messages, not text"),
    own("ws_headers", Ws, Flag(field!(ws.headers)), Acts,
        "the request to upgrade has the headers of metadata, `http_auth_header` and the like, as \
         http requests have them, and headers of its answer are metadata"),
    own("ws_over_h2", Ws, Flag(field!(ws.over_h2)), Acts,
        "with `tls`: the websocket is a stream of the h2 connection that requests share, if the server \
         takes that (RFC 8441), else a connection of its own"),
    key("ws_prioritize_reads", Ws, Flag(field!(ws.prioritize_reads)), Acts,
        "read all that has come before writing; without it both go on side by side"),
    key("mqtt_topic", Mqtt, Template(field!(mqtt.topic)), Acts,
        "topic that the client's messages are published to; each as the metadata was when the client \
         began it"),
    key("mqtt_subscribe", Mqtt, Template(field!(mqtt.subscribe)), Acts,
        "the one filter that is subscribed to"),
    key("mqtt_qos", Mqtt, U8(2, field!(mqtt.qos)), Acts,
        "quality of service of both, 0 to 2"),
    key("mqtt_retain", Mqtt, Flag(field!(mqtt.retain)), Acts,
        "messages are retained by the broker"),
    key("mqtt_keep_alive", Mqtt, U16(field!(mqtt.keep_alive_s)), Acts,
        "s; the broker may end a connection that is silent for one and a half times this. 0 for \
         none"),
    key("mqtt_clean_start", Mqtt, Flag(field!(mqtt.clean_start)), Acts,
        "forget what the broker has stored for this client; always so without a client id of the \
         device's own"),
    key("mqtt_will_topic", Mqtt, Template(field!(mqtt.will.topic)), Acts,
        "topic of the message that the broker publishes when the connection is lost"),
    key("mqtt_will_message", Mqtt, Template(field!(mqtt.will.message)), Acts,
        "its payload"),
    key("mqtt_will_qos", Mqtt, U8(2, field!(mqtt.will.qos)), Acts,
        "its quality of service"),
    key("mqtt_will_retain", Mqtt, Flag(field!(mqtt.will.retain)), Acts,
        "whether it is retained"),
    key("mqtt_birth_topic", Mqtt, Template(field!(mqtt.birth.topic)), Acts,
        "topic of a message that is published once a connection, before CONNECTED"),
    key("mqtt_birth_message", Mqtt, Template(field!(mqtt.birth.message)), Acts,
        "its payload"),
    key("mqtt_birth_qos", Mqtt, U8(2, field!(mqtt.birth.qos)), Acts,
        "its quality of service"),
    key("mqtt_birth_retain", Mqtt, Flag(field!(mqtt.birth.retain)), Acts,
        "whether it is retained"),
    own("mqtt_v5", Mqtt, Flag(field!(mqtt.v5)), Acts,
        "speak MQTT 5 rather than 3.1.1"),
    own("mqtt_ws_path", Mqtt, Text(HeaderValue, field!(mqtt.ws_path)), Acts,
        "speak MQTT over a websocket at this path, usually `/mqtt`; with `tls` that is `wss:`"),
    key("aws_iot", Mqtt, Flag(field!(mqtt.aws_iot)), Acts,
        "the broker is AWS IoT: topics have at most 256 bytes, TLS asks for `x-amzn-mqtt-ca`, and what is \
         published to a shadow is answered"),
];
