//! What a running proxy shows of itself: plain data, which serializes to the JSON of its admin side.
//!
//! Times are in milliseconds since 1970 where the name ends in `_at`, durations in microseconds where it
//! ends in `_us`. Nothing here holds payload, metadata or credentials.

use serde::{Serialize, Serializer};

/// A session: one link of a client, with the stream on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SessionView {
    /// Its number, which logs have too.
    pub id: u64,
    /// Whom it counts as for limits, such as `user 1000` or `host 192.0.2.1`.
    pub client: String,
    /// Who it is exactly, such as `process 12 of user 1000`.
    pub peer: String,
    /// The streamtype's name.
    pub streamtype: String,
    /// The streamtype's protocol.
    pub protocol: String,
    /// The last state that the client was told, such as `CONNECTED`.
    pub state: String,
    /// When the stream was created.
    pub created_at: u64,
    /// Bytes of payload that came from the client.
    pub from_client: u64,
    /// Bytes of payload that went to the client.
    pub to_client: u64,
    /// Transactions that were begun.
    pub transactions: u64,
    /// The transaction that runs.
    pub transaction: Option<TransactionView>,
    /// The last transaction that ended, if it failed.
    pub last_error: Option<TransactionView>,
}

/// A transaction: one attempt to do what a stream is for. For h1, h2 and h3 that is a request with its
/// response; for ws, mqtt and raw a connection, or a stream's part of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransactionView {
    /// Its number, in the order of beginning.
    pub id: u64,
    /// The session's number.
    pub session: u64,
    /// As of [`SessionView::client`].
    pub client: String,
    /// As of [`SessionView::peer`].
    pub peer: String,
    /// The streamtype's name.
    pub streamtype: String,
    /// The streamtype's protocol.
    pub protocol: String,
    /// Where it leads, `HOST:PORT` or a socket's path; `None` before that is known.
    pub endpoint: Option<String>,
    /// The status of the response.
    pub status: Option<u16>,
    /// `None` while it runs; then `acked` or `nacked` after a verdict, `left` if the client or the proxy ended
    /// it, else what went wrong in one word, such as `tls` or `closed`.
    pub outcome: Option<&'static str>,
    /// Whose fault it is if it failed: `upstream`, `client`, `policy` or `local`.
    pub whose: Option<&'static str>,
    /// What went wrong, for a person.
    pub why: Option<String>,
    /// When it began.
    pub began_at: u64,
    /// Bytes of payload that came from the client for it.
    pub from_client: u64,
    /// Bytes of payload that went to the client.
    pub to_client: u64,
    /// The number of the onward connection.
    pub connection: Option<u64>,
    /// Whether that connection had been open before.
    pub reused: Option<bool>,
    /// How long its parts took.
    pub times: TimesView,
    /// The trace that it belongs to (W3C Trace Context).
    #[serde(serialize_with = "trace_hex")]
    pub trace_id: u128,
    /// Its span of that trace.
    #[serde(serialize_with = "span_hex")]
    pub span_id: u64,
    /// The span that it is a part of, if the client told one.
    #[serde(serialize_with = "parent_hex")]
    pub parent_span_id: Option<u64>,
}

/// How long the parts of a transaction took, in microseconds; 0 for parts that there were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TimesView {
    /// It waited: for a descriptor, for a place on a connection, for its turn.
    pub queue_us: u64,
    /// The name was looked up.
    pub dns_us: u64,
    /// The connection was made.
    pub connect_us: u64,
    /// The TLS handshake.
    pub tls_us: u64,
    /// From the beginning to the first byte of the response; for ws, mqtt and raw until it was connected.
    pub first_byte_us: u64,
    /// From the beginning to the end, or until now.
    pub total_us: u64,
}

/// A line: a serial port, or a device over a network, with a mux on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LineView {
    /// What logs call it.
    pub name: String,
    /// The port, or the connection, is there.
    pub has_port: bool,
    /// The link is up.
    pub is_up: bool,
    /// Since when.
    pub up_at: Option<u64>,
    /// `plain`, `reliable` or `encrypted`, while the link is up.
    pub framing: Option<&'static str>,
    /// The id of the device whose key proved itself.
    pub device: Option<String>,
    /// The last round trip.
    pub round_trip_us: Option<u64>,
    /// Channels that are open.
    pub channels: usize,
    /// How often the link came up.
    pub ups: u64,
    /// How often it was lost.
    pub losses: u64,
    /// Why it was lost last.
    pub last_loss: Option<String>,
    /// Bytes read from the port.
    pub bytes_in: u64,
    /// Bytes given to the port.
    pub bytes_out: u64,
    /// Packets sent, with `framing=reliable`.
    pub packets_out: u64,
    /// Packets that came whole.
    pub packets_in: u64,
    /// Packets of data that were sent again.
    pub packets_resent: u64,
    /// What came and was no packet.
    pub packets_damaged: u64,
}

/// An onward connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its number.
    pub id: u64,
    /// Where it leads, `HOST:PORT` or a socket's path.
    pub endpoint: String,
    /// The address that was connected to.
    pub address: String,
    /// Whether it is encrypted.
    pub tls: bool,
    /// What is spoken on it: `h1`, `h2`, `h3`, `ws`, `mqtt` or `raw`.
    pub protocol: &'static str,
    /// The only client whose streams may share it; `None` if all may.
    pub client: Option<String>,
    /// When it was opened.
    pub opened_at: u64,
    /// The sessions whose transactions run on it.
    pub sessions: Vec<u64>,
}

/// Failures of one kind, of one client's streams of one streamtype.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FailureView {
    /// The kind in one word, as logs have it.
    pub kind: &'static str,
    /// Whose fault it is: `upstream`, `client`, `policy` or `local`.
    pub whose: &'static str,
    /// As of [`SessionView::client`].
    pub client: String,
    /// The streamtype's name, if it was known.
    pub streamtype: Option<String>,
    /// The status of the response, if there was one, of the last of them.
    pub status: Option<u16>,
    /// What went wrong the last time, for a person.
    pub why: String,
    /// How often.
    pub count: u64,
    /// When first.
    pub first_at: u64,
    /// When last.
    pub last_at: u64,
}

/// What streams of one streamtype did since the proxy was started.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StreamtypeView {
    /// Its name.
    pub streamtype: String,
    /// Its protocol.
    pub protocol: String,
    /// Streams that are open.
    pub open: u64,
    /// Streams that were created.
    pub created: u64,
    /// Transactions that ended, by outcome as of [`TransactionView::outcome`].
    pub outcomes: Vec<(&'static str, u64)>,
    /// Bytes of payload from clients.
    pub from_clients: u64,
    /// Bytes of payload to clients.
    pub to_clients: u64,
    /// Times to the first byte of transactions that had one.
    pub first_byte: HistogramView,
    /// Times from beginning to end of transactions.
    pub total: HistogramView,
}

/// How many durations fell into each bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HistogramView {
    /// Upper bound of each bucket in microseconds, and how many durations are above the bound before and not
    /// above this one; the last bucket's bound is [`u64::MAX`].
    pub buckets: Vec<(u64, u64)>,
    /// All durations together, in microseconds.
    pub sum_us: u64,
}

/// The proxy as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProxyView {
    /// The version of this library.
    pub version: &'static str,
    /// The process.
    pub pid: u32,
    /// When the proxy was made.
    pub started_at: u64,
    /// The time of this look.
    pub now: u64,
    /// It takes clients: false before it runs and while it drains.
    pub is_accepting: bool,
    /// Where it listens.
    pub listeners: Vec<String>,
    /// Sessions that are open.
    pub sessions: u64,
    /// Most sessions that there may be.
    pub sessions_max: u64,
    /// Bytes that wait in the proxy.
    pub memory_held: u64,
    /// Most bytes that may wait.
    pub memory_max: u64,
    /// Streamtypes of the policy that new streams use.
    pub streamtypes: usize,
}

fn trace_hex<S: Serializer>(id: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:032x}"))
}

fn span_hex<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:016x}"))
}

fn parent_hex<S: Serializer>(id: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => span_hex(id, serializer),
        None => serializer.serialize_none(),
    }
}
