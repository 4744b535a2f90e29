//! What the fuzz targets reach of the inside: built for them and for tests, and no part of the API.
//! What they check is with them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use sspc_policy::{Address, StreamType};
use sspc_wire::Flags;

use crate::config::{DeviceCredentials, Limits};
use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::connect::{Reach, Route, Scope, via};
use crate::onward::cookies::{Asked, Cookies};
use crate::onward::http::multipart_decode::Splitter;
use crate::onward::http::multipart_encode::Parts;
use crate::onward::http::request::Plan;
use crate::onward::{Attempt, AttemptHandle, End, Event, Onward, OnwardConfig, TxChunk};

/// What a client set, by the policy's names.
pub type Metadata = Vec<(String, Bytes)>;

fn attempt(stream: StreamType, metadata: Metadata) -> Attempt {
    Attempt {
        client: Identity::Unknown,
        account: Arc::<Memory>::default().open_account(Identity::Unknown),
        stream: Arc::new(stream),
        chain: Vec::new(),
        metadata,
        length_hint: None,
        bus: Default::default(),
        record: Default::default(),
    }
}

/// An attempt that runs.
#[derive(Debug)]
pub struct Running(AttemptHandle);

/// What an attempt reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Something of the response's head, or credit.
    Other,
    /// How the connection came about.
    Perf,
    /// The peer is there.
    Connected,
    /// Payload of this length.
    Payload(usize, Flags),
    /// The peer took the message, or refused it; true if that ends the transaction.
    Verdict(bool),
    /// The end; true if the transaction is complete.
    Ended(bool),
}

impl Running {
    /// Starts an attempt, with connections of its own.
    pub fn start(stream: StreamType) -> Self {
        let onward = Onward::new(OnwardConfig::default());
        Self(onward.start(attempt(stream, Vec::new())))
    }

    /// What happens next; nothing after [`Seen::Ended`].
    pub async fn next(&mut self) -> Option<Seen> {
        Some(match self.0.events.recv().await? {
            Event::Metadata(_) | Event::UserState(_) | Event::TxCredit(_) => Seen::Other,
            Event::Perf(_) => Seen::Perf,
            Event::Connected { .. } => Seen::Connected,
            Event::Payload { bytes, flags } => Seen::Payload(bytes.len(), flags),
            Event::Acked { ends_transaction } | Event::Nacked { ends_transaction } => {
                Seen::Verdict(ends_transaction)
            }
            Event::Ended(end) => Seen::Ended(matches!(end, End::Complete)),
        })
    }

    /// Payload of the client, if the attempt takes it now.
    pub fn send(&self, bytes: Bytes, flags: Flags) -> bool {
        self.0.body.try_send(TxChunk::new(bytes, flags)).is_ok()
    }
}

/// The request of an attempt.
#[derive(Debug)]
pub struct Planned(Plan);

impl Planned {
    /// With this credential; `None` if there is no such request.
    pub fn new(stream: StreamType, metadata: Metadata, credential: &'static str) -> Option<Self> {
        let credentials = DeviceCredentials { auth: credential.into(), ..Default::default() };
        let config = OnwardConfig { credentials: credentials.into(), ..OnwardConfig::default() };
        Plan::new(&attempt(stream, metadata), &config).ok().map(Self)
    }

    /// Does what this status with this Location says; false if it must not.
    pub fn redirect(&mut self, status: StatusCode, location: &str) -> bool {
        self.0.redirect(status, location, Scope::Global).is_ok()
    }

    /// Scheme and authority of where it goes.
    pub fn origin(&self) -> (&'static str, String) {
        (self.0.route.scheme(), self.0.route.authority())
    }

    /// The request in http/1.1 and in h2, each if it can be sent.
    pub fn requests(&self) -> (Option<Request<()>>, Option<Request<()>>) {
        (self.0.h1(()).ok(), self.0.h2().ok())
    }
}

/// What a client's requests to one server say of themselves, and what its answers ask to be kept.
#[derive(Debug)]
pub struct CookieJar {
    cookies: Cookies,
    client: Identity,
    route: Route,
}

impl CookieJar {
    /// Most bytes that a jar holds, and that a request has room for here.
    pub const MAX: usize = 500;

    /// Of a server that is asked over TLS or not.
    pub fn new(tls: bool) -> Self {
        let limits = Limits { cookies: Self::MAX as u32, ..Limits::default() };
        let address = Address::Tcp { host: "a.example".to_owned(), port: 443 };
        let (stream, own) = (StreamType::new("s"), DeviceCredentials::default());
        let route = Route::new(None, address, tls, Reach::Policy, &stream, &own);
        Self { cookies: Cookies::new(&limits), client: Identity::Unknown, route }
    }

    fn asked<'a>(&'a self, path: &'a str) -> Asked<'a> {
        Asked { client: &self.client, route: &self.route, host: "a.example".into(), path }
    }

    /// Takes the `Set-Cookie` headers of an answer.
    pub fn take(&self, path: &str, values: &[HeaderValue]) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(http::header::SET_COOKIE, value.clone());
        }
        self.cookies.take(&self.asked(path), &headers);
    }

    /// The next request's `Cookie`.
    pub fn header(&self, path: &str) -> Option<HeaderValue> {
        self.cookies.header(&self.asked(path), Self::MAX)
    }
}

/// Asks a proxy on the way out, as `socks5://…` or `http://…`, for a connection over this stream.
///
/// # Errors
/// What it says, or that it does not speak its protocol.
pub async fn ask_way_out<S>(stream: &mut S, via: &str) -> std::io::Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let via = via.parse().map_err(std::io::Error::other)?;
    via::ask(stream, &via, "server.example", 443).await
}

/// Messages as a multipart body: its content-type, how many bytes the framing was announced to
/// take, and the body.
pub fn join_parts(
    chain: &[Arc<StreamType>],
    boundary: &str,
    messages: &[Vec<Bytes>],
) -> (String, u64, Vec<u8>) {
    let first = chain.first().map_or_else(|| StreamType::new("s"), |first| (**first).clone());
    let mut parts = Parts::new(&first, chain, boundary.to_owned());
    let (kind, overhead) = (parts.content_type(), parts.overhead());
    let mut body = VecDeque::new();
    for message in messages {
        for chunk in message {
            parts.frame(chunk.clone(), false, &mut body);
        }
        parts.frame(Bytes::new(), true, &mut body);
    }
    (kind, overhead, body.iter().flat_map(|piece| piece.bytes.to_vec()).collect())
}

/// A body, as it comes, in messages, and whether its end was seen; `None` if the content-type is of
/// no multipart body.
pub fn split_parts(kind: &str, body: &[&[u8]]) -> Option<(Vec<(Bytes, Flags)>, bool)> {
    let mut splitter = Splitter::for_content_type(kind)?;
    let mut pieces = vec![Splitter::start()];
    for input in body {
        splitter.push(&Bytes::copy_from_slice(input), &mut pieces);
    }
    Some((pieces, splitter.is_complete()))
}
