//! The policy as the rest of the program sees it: plain data with every default resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::retry::Retry;
use crate::template::Template;
use crate::way_out::WayOut;

/// Longest streamtype name in bytes; the wire's STREAMTYPE frame holds no more.
pub const STREAMTYPE_NAME_MAX: usize = 31;
/// Longest metadata name in bytes that a client may set.
pub const METADATA_NAME_MAX: usize = 30;
/// Most entries of one `http_resp_map`.
pub const RESP_MAP_MAX: usize = 16;
/// Most streamtypes in a chain of `rideshare`; the chain ends there. Clients know no more than 4.
pub const RIDESHARE_MAX: usize = 64;

/// Bytes the proxy holds for a stream of the message bus in each direction: 40 messages of the greatest
/// length, rounded up.
const SMD_BUFLEN: u32 = 16 * 1024;

/// A whole policy: every streamtype, and what they refer to.
///
/// Two policies are equal when they mean the same; where they were written plays no part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The streamtypes by their exact names.
    pub streamtypes: BTreeMap<String, Arc<StreamType>>,
    /// A SOCKS5 proxy for every onward connection, as [`WayOut`] reads it.
    pub via_socks5: Option<String>,
    /// The retry policies by name.
    pub retry: BTreeMap<String, Arc<Retry>>,
    /// The certificates by name, DER.
    pub certs: BTreeMap<String, Arc<[u8]>>,
    /// The trust stores by name.
    pub trust_stores: BTreeMap<String, Arc<TrustStore>>,
    /// The authentication entries by name.
    pub auth: BTreeMap<String, Arc<Auth>>,
    /// The metrics entries; they have no effect on streams.
    pub metrics: Vec<Metric>,
}

impl Policy {
    /// The streamtype of exactly this name.
    pub fn streamtype(&self, name: &str) -> Option<&Arc<StreamType>> {
        self.streamtypes.get(name)
    }

    /// The streamtype `name` and those that follow it by `rideshare`, in order.
    ///
    /// Empty if there is no such streamtype. The chain ends before a name that is not defined and
    /// before one that is already in it, so loops are harmless, and after [`RIDESHARE_MAX`].
    pub fn rideshare_chain(&self, name: &str) -> Vec<Arc<StreamType>> {
        let mut chain: Vec<Arc<StreamType>> = Vec::new();
        let mut next = self.streamtype(name);
        while let Some(streamtype) = next {
            let again = chain.iter().any(|seen| seen.name == streamtype.name);
            if again || chain.len() == RIDESHARE_MAX {
                break;
            }
            chain.push(Arc::clone(streamtype));
            next = streamtype.rideshare.as_deref().and_then(|name| self.streamtype(name));
        }
        chain
    }
}

/// The protocol that a stream speaks to its remote peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1, `h1`; also what a stream without `protocol` speaks.
    #[default]
    H1,
    /// HTTP/2, `h2`.
    H2,
    /// WebSocket, `ws`.
    Ws,
    /// MQTT 3.1.1, `mqtt`.
    Mqtt,
    /// Bytes as they are, over TCP or TLS, `raw`.
    Raw,
    /// HTTP/3, `h3`.
    H3,
    /// The proxy's own message bus, which no policy can name; see [`StreamType::smd`].
    Smd,
}

impl Protocol {
    /// Every protocol that a policy can name, in the order of the documentation.
    pub const ALL: [Protocol; 6] =
        [Protocol::H1, Protocol::H2, Protocol::H3, Protocol::Ws, Protocol::Mqtt, Protocol::Raw];

    /// The word that the policy uses for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::H1 => "h1",
            Protocol::H2 => "h2",
            Protocol::Ws => "ws",
            Protocol::Mqtt => "mqtt",
            Protocol::Raw => "raw",
            Protocol::H3 => "h3",
            Protocol::Smd => "smd",
        }
    }

    /// The protocol for a word of the policy.
    pub fn from_word(word: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == word)
    }

    /// Whether it carries HTTP transactions.
    pub fn is_http(self) -> bool {
        matches!(self, Protocol::H1 | Protocol::H2 | Protocol::H3)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One streamtype: everything the proxy knows about streams of this name.
///
/// Keys of another protocol's family never get in here: they are reported and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamType {
    /// The name that clients ask for, 1..=[`STREAMTYPE_NAME_MAX`] bytes.
    pub name: String,
    /// `endpoint`: host, URL or `+unix-socket`, see [`crate::Target`].
    pub endpoint: Option<Template>,
    /// `port`: TCP port; 0 if none was given.
    pub port: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `tls`: whether the onward connection is encrypted.
    pub tls: bool,
    /// `allow_private`: a client that chooses the host may choose one that is not public, and servers
    /// may redirect there.
    pub allow_private: bool,
    /// `allow_clear`: a client that gives the whole endpoint may choose a scheme without TLS.
    pub allow_clear: bool,
    /// `tls_trust_store`: the trust anchors; the platform's if `None`.
    pub trust_store: Option<Arc<TrustStore>>,
    /// `client_cert`: index of the device's client certificate; 0 is an index.
    pub client_cert: Option<u8>,
    /// The document's `via-socks5`: the SOCKS5 proxy through which the stream connects.
    pub way_out: Option<Arc<WayOut>>,
    /// `via-socks5` of the stream; has no effect.
    pub via_socks5: Option<String>,
    /// `opportunistic`: connect only when asked, never by itself after a loss.
    pub opportunistic: bool,
    /// `nailed_up`: connect as soon as the stream exists.
    pub nailed_up: bool,
    /// `allow_redirects`: follow HTTP redirects.
    pub allow_redirects: bool,
    /// `urgent_tx`; has no effect.
    pub urgent_tx: bool,
    /// `urgent_rx`; has no effect.
    pub urgent_rx: bool,
    /// `attr_priority`: priority of the onward socket, and of the stream on a serial line, 0..=7.
    pub priority: u8,
    /// `attr_low_latency` and its siblings: IP type-of-service bits.
    pub tos: Tos,
    /// `retry`: how failures are retried; see [`StreamType::retry_or_default`].
    pub retry: Option<Arc<Retry>>,
    /// `timeout_ms`: what a client's request for the default timeout means, ms; 0 for none.
    pub timeout_ms: u32,
    /// `perf`: measure connections and report them to the client.
    pub perf: bool,
    /// `swake_validity`: validity checks may wake a suspended device.
    pub swake_validity: bool,
    /// `proxy_buflen`: bytes the proxy holds for a stream in each direction; as many as it holds for
    /// any stream if `None`.
    pub proxy_buflen: Option<u32>,
    /// `proxy_buflen_rxflow_on_above`: stop reading from the peer at this backlog, bytes.
    pub proxy_rxflow_on_above: Option<u32>,
    /// `proxy_buflen_rxflow_off_below`: read again below this backlog, bytes.
    pub proxy_rxflow_off_below: Option<u32>,
    /// `client_buflen`: told to the client at creation, bytes; 0 leaves it to the client.
    pub client_buflen: u32,
    /// `client_buflen_rxflow_on_above`; kept, never sent.
    pub client_rxflow_on_above: u32,
    /// `client_buflen_rxflow_off_below`; kept, never sent.
    pub client_rxflow_off_below: u32,
    /// `metadata`: the items that clients may set and read, in the policy's order.
    pub metadata: Vec<MetadataItem>,
    /// `rideshare`: name of the streamtype of the next part of a multipart body.
    pub rideshare: Option<String>,
    /// `payload_fmt`; kept for creators in the same process, never sent.
    pub payload_fmt: Option<String>,
    /// The `http_*` keys; for h1, h2, h3, and the URL and cookies for ws.
    pub http: Http,
    /// The `ws_*` keys.
    pub ws: Ws,
    /// The `mqtt_*` keys and `aws_iot`.
    pub mqtt: Mqtt,
    /// `local_sink`: the stream ends in the proxy's own process. Proxies refuse it.
    pub local_sink: bool,
    /// `server`: the stream is a listener. Proxies refuse it.
    pub server: bool,
    /// `server_cert`: name of the listener's certificate.
    pub server_cert: Option<String>,
    /// `server_key`: name of the listener's key.
    pub server_key: Option<String>,
    /// `options`: options of the listener, in order.
    pub options: Vec<(String, String)>,
    /// `use_auth`: how requests are authenticated.
    pub use_auth: Option<Arc<Auth>>,
    /// `aws_region`: name of the metadata item that holds the region for sigv4.
    pub aws_region: Option<String>,
    /// `aws_service`: name of the metadata item that holds the service for sigv4.
    pub aws_service: Option<String>,
    /// `direct_proto_str`; has no effect on streams that come through a proxy.
    pub direct_proto_str: bool,
}

impl StreamType {
    /// Whether the headers of metadata and of the device go into its requests, and come from the
    /// answers.
    pub fn has_headers(&self) -> bool {
        self.protocol.is_http() || (self.protocol == Protocol::Ws && self.ws.headers)
    }

    /// A streamtype of this name with every setting at its default.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The streamtype of this name that proxies have by themselves: their message bus. What a policy
    /// defines by the same name is never reached.
    pub fn smd(name: impl Into<String>) -> Self {
        Self {
            protocol: Protocol::Smd,
            nailed_up: true,
            proxy_buflen: Some(SMD_BUFLEN),
            // Messages wait on the bus, where they grow old, and not in front of a client that does
            // not read.
            proxy_rxflow_on_above: Some(1),
            ..Self::new(name)
        }
    }

    /// The metadata item of this name, if the policy declares it.
    pub fn metadata_item(&self, name: &str) -> Option<&MetadataItem> {
        self.metadata.iter().find(|item| item.name == name)
    }

    /// The keys that make the proxy show the peer who the device is.
    pub fn credentials(&self) -> Vec<&'static str> {
        [
            ("client_cert", self.client_cert.is_some()),
            ("http_auth_header", self.http.auth_header.is_some()),
            ("http_dsn_header", self.http.dsn_header.is_some()),
            ("http_fwv_header", self.http.fwv_header.is_some()),
            ("http_devtype_header", self.http.devtype_header.is_some()),
            ("use_auth", self.use_auth.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, set)| set.then_some(key))
        .collect()
    }

    /// The retry policy, or what holds without one: 3 s delays and no retries at all.
    pub fn retry_or_default(&self) -> &Retry {
        static NONE: Retry = Retry::NONE;
        self.retry.as_deref().unwrap_or(&NONE)
    }

    /// How long the onward connection may stay silent; `None` for ever.
    ///
    /// Means something for h2, ws and mqtt only: h1 and raw have nothing to ping with.
    pub fn validity(&self) -> Option<Validity> {
        let seconds = |s: u16| Duration::from_secs(u64::from(s));
        match self.retry.as_deref() {
            None => Some(Validity { ping: Some(seconds(300)), hangup: seconds(310) }),
            Some(retry) if retry.valid_hup_s == 0 => None,
            Some(retry) => Some(Validity {
                ping: (0 < retry.valid_ping_s && retry.valid_ping_s < retry.valid_hup_s)
                    .then(|| seconds(retry.valid_ping_s)),
                hangup: seconds(retry.valid_hup_s),
            }),
        }
    }

    /// Whether a request of this streamtype has a multipart/form-data body.
    pub fn is_multipart(&self) -> bool {
        self.http.multipart_name.is_some()
            || self.http.multipart_filename.is_some()
            || self.http.mime_content_type.is_some()
    }
}

/// When a silent onward connection is probed and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Silence after which a ping is sent; `None` never pings.
    pub ping: Option<Duration>,
    /// Silence after which the connection is dropped.
    pub hangup: Duration,
}

/// IP type-of-service wishes for the onward socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tos {
    /// `attr_low_latency`
    pub low_latency: bool,
    /// `attr_high_throughput`
    pub high_throughput: bool,
    /// `attr_high_reliability`
    pub high_reliability: bool,
    /// `attr_low_cost`
    pub low_cost: bool,
}

impl Tos {
    /// The value for the socket's `IP_TOS`.
    pub fn bits(self) -> u8 {
        u8::from(self.low_latency) << 4
            | u8::from(self.high_throughput) << 3
            | u8::from(self.high_reliability) << 2
            | u8::from(self.low_cost) << 1
    }
}

/// One declared metadata item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataItem {
    /// The name that clients use, 1..=[`METADATA_NAME_MAX`] bytes.
    pub name: String,
    /// The HTTP header it is sent as and read from, as the policy spells it but without a
    /// trailing colon; `None` for items that only serve `${name}`.
    pub header: Option<String>,
}

impl MetadataItem {
    /// Whether the header frames or routes the message, so that only the proxy may write it.
    ///
    /// Such an item is still filled from responses. `content-length` is not one of them: the
    /// proxy reads the client's value as the length of the body.
    pub fn is_hop_by_hop(&self) -> bool {
        const NAMES: [&str; 8] = [
            "connection",
            "expect",
            "http2-settings",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let Some(header) = self.header.as_deref() else { return false };
        let begins = |prefix: &str| {
            header.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        NAMES.iter().any(|name| name.eq_ignore_ascii_case(header)) || begins("proxy-")
    }
}

/// The `http_*` family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http {
    /// `http_method`: a valid method token.
    pub method: String,
    /// `http_url`: path and query; empty means `/`. See [`crate::request_path`].
    pub url: Template,
    /// `http_expect`: the one status that counts as success; any 2xx if `None`.
    pub expect: Option<u16>,
    /// `http_resp_map`: status → state to report, in the policy's order.
    pub resp_map: Vec<(u16, u32)>,
    /// `http_fail_redirect`: a redirect means a captive portal.
    pub fail_redirect: bool,
    /// `http_auth_header`: header that carries preamble and credential.
    pub auth_header: Option<String>,
    /// `http_auth_preamble`: text before the credential, such as `bearer `.
    pub auth_preamble: Option<String>,
    /// `http_dsn_header`: header for the device's serial number.
    pub dsn_header: Option<String>,
    /// `http_fwv_header`: header for the firmware's version.
    pub fwv_header: Option<String>,
    /// `http_devtype_header`: header for the device's type.
    pub devtype_header: Option<String>,
    /// `http_no_content_length`: send no content-length even if the length is known.
    pub no_content_length: bool,
    /// `http_www_form_urlencoded`: the body is a form.
    pub www_form_urlencoded: bool,
    /// `http_multipart_name`: name of the form's part.
    pub multipart_name: Option<String>,
    /// `http_multipart_filename`: file name of the form's part.
    pub multipart_filename: Option<String>,
    /// `http_mime_content_type`: content type of the form's part.
    pub mime_content_type: Option<String>,
    /// `http_multipart_ss_in`: hand an incoming multipart body on part by part.
    pub multipart_ss_in: bool,
    /// `http_cookies`: keep and send cookies.
    pub cookies: bool,
    /// `long_poll` (h2): the response never times out, its headers included.
    pub long_poll: bool,
    /// `nghttp2_quirk_end_stream` (h2): a response without body is complete at its headers.
    pub quirk_end_stream: bool,
    /// `h2q_oflow_txcr` (h2): tolerate a peer that gives more than the largest window there is.
    pub oflow_txcr: bool,
    /// `alt_svc`: go over to h3 where the server offers it by Alt-Svc.
    pub alt_svc: bool,
    /// `http_traceparent`: say in `traceparent` which trace a request belongs to.
    pub traceparent: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            url: Template::default(),
            expect: None,
            resp_map: Vec::new(),
            fail_redirect: false,
            auth_header: None,
            auth_preamble: None,
            dsn_header: None,
            fwv_header: None,
            devtype_header: None,
            no_content_length: false,
            www_form_urlencoded: false,
            multipart_name: None,
            multipart_filename: None,
            mime_content_type: None,
            multipart_ss_in: false,
            cookies: false,
            long_poll: false,
            quirk_end_stream: false,
            oflow_txcr: false,
            alt_svc: false,
            traceparent: false,
        }
    }
}

impl Http {
    /// The state to report for a response of this status, if the policy maps it.
    pub fn mapped_state(&self, status: u16) -> Option<u32> {
        self.resp_map.iter().find(|(code, _)| *code == status).map(|(_, state)| *state)
    }

    /// Whether a response of this status counts as success.
    pub fn is_success(&self, status: u16) -> bool {
        match self.expect {
            Some(expected) => status == expected,
            None => (200..300).contains(&status),
        }
    }
}

/// The `ws_*` family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ws {
    /// `ws_subprotocol`: what `Sec-WebSocket-Protocol` asks for.
    pub subprotocol: Option<String>,
    /// `ws_binary`: send binary messages rather than text.
    pub binary: bool,
    /// `ws_headers`: the request to upgrade has the headers of metadata and of the device, and its
    /// answer is metadata.
    pub headers: bool,
    /// `ws_over_h2`: ask for it on a connection that h2 requests share, if the server takes that.
    pub over_h2: bool,
    /// `ws_prioritize_reads`: read all that is pending before writing.
    pub prioritize_reads: bool,
}

/// The `mqtt_*` family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mqtt {
    /// `mqtt_topic`: topic to publish to.
    pub topic: Option<Template>,
    /// `mqtt_subscribe`: the one topic filter to subscribe to.
    pub subscribe: Option<Template>,
    /// `mqtt_qos`: quality of service of publish and subscribe, 0..=2.
    pub qos: u8,
    /// `mqtt_retain`: publish as retained.
    pub retain: bool,
    /// `mqtt_keep_alive`: s; 0 for none.
    pub keep_alive_s: u16,
    /// `mqtt_clean_start`: start without the broker's stored session.
    pub clean_start: bool,
    /// The `mqtt_will_*` keys: published by the broker when the connection dies.
    pub will: MqttMessage,
    /// The `mqtt_birth_*` keys: published once a connection, before CONNECTED.
    pub birth: MqttMessage,
    /// `mqtt_v5`: speak MQTT 5 rather than 3.1.1.
    pub v5: bool,
    /// `mqtt_ws_path`: path and query of a websocket to speak MQTT over, in place of TCP or TLS alone.
    pub ws_path: Option<String>,
    /// `aws_iot`: handle shadow topics.
    pub aws_iot: bool,
}

/// An mqtt message that the policy itself holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MqttMessage {
    /// Its topic; without one the message does not exist.
    pub topic: Option<Template>,
    /// Its payload; empty if `None`.
    pub message: Option<Template>,
    /// Its quality of service, 0..=2.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
}

/// A named set of trust anchors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustStore {
    /// The name that `tls_trust_store` uses.
    pub name: String,
    /// The names of its certificates, as the policy lists them.
    pub stack: Vec<String>,
    /// The certificates, DER, in the same order; the policy's own, not copies.
    pub certs: Vec<Arc<[u8]>>,
}

/// An entry of `auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Auth {
    /// The name that `use_auth` uses.
    pub name: String,
    /// `type`: see [`method`](Auth::method).
    pub kind: String,
    /// `streamtype`: the stream that obtains the token.
    pub streamtype: Option<String>,
    /// `blob`: the number of the device's credential.
    pub blob: u8,
    /// `token_endpoint`: URL that OAuth 2 tokens come from.
    pub token_endpoint: Option<String>,
    /// `scope`: what an OAuth 2 token is to be good for.
    pub scope: Option<String>,
}

/// An entry of `metrics`; has no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// `name`
    pub name: String,
    /// `us_schedule`: period of reports, µs.
    pub schedule_us: u64,
    /// `us_halflife`: decay, µs.
    pub halflife_us: u32,
    /// `min_outlier`: least number of contributors.
    pub min_outlier: u8,
    /// `report`: comma-separated names of metrics.
    pub report: Option<String>,
}
