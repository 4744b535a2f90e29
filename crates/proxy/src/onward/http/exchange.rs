//! One request and its response, on whichever connection carries it.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};

use super::{h1, h2, h3};
use crate::onward::FailureKind;
use crate::onward::connect::Scope;

/// Whether a request that got no response may be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retryability {
    /// It may have been worked on, or a second try would end the same way.
    Never,
    /// The connection died, and was used by others too: the peer may never have seen the request,
    /// and it may have nothing to do with the end.
    IfIdempotent,
    /// The peer certainly did not work on it.
    Always,
    /// The same, because the connection had had enough requests: the peer did work on others.
    Unprocessed,
    /// The same, and it asks for http/1.1.
    OverHttp1,
}

/// No response came.
#[derive(Debug)]
pub(crate) struct NoResponse {
    pub(crate) kind: FailureKind,
    pub(crate) why: String,
    pub(crate) retryability: Retryability,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that is under way.
pub(crate) struct Exchange {
    /// The response's headers, and its body.
    pub(crate) response: Boxed<Result<Response<Download>, NoResponse>>,
    /// Brings the request's body to the connection where the connection does not fetch it itself.
    pub(crate) pump: Pump,
    /// What the peer lets us send to begin with, where it says so.
    pub(crate) credit: Option<i32>,
    pub(crate) carrier: Carrier,
}

impl Exchange {
    /// Waits until the peer has all of the request or takes no more of it; for when it has answered
    /// already. Dropping the call loses nothing.
    pub(crate) async fn request_over(&mut self) {
        match &mut self.carrier {
            Carrier::H1(connection) => connection.idle_or_closed().await,
            Carrier::H2(_) | Carrier::H3(_) => self.pump.finish().await,
        }
    }
}

/// Work that goes on beside whatever else the exchange waits for.
pub(crate) struct Pump(Option<Boxed<()>>);

impl Pump {
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }

    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// The result of `main`, while the pump runs beside it.
    pub(crate) async fn beside<T>(&mut self, main: impl Future<Output = T>) -> T {
        tokio::select! {
            value = main => value,
            never = self.run() => match never {},
        }
    }

    async fn run(&mut self) -> Infallible {
        self.finish().await;
        pending().await
    }

    /// Runs the pump to its end.
    async fn finish(&mut self) {
        if let Some(work) = &mut self.0 {
            work.as_mut().await;
            self.0 = None;
        }
    }
}

/// What carries an exchange. Dropping it abandons the exchange.
#[derive(Debug)]
pub(crate) enum Carrier {
    /// A connection of its own.
    H1(h1::Connection),
    /// A place on a shared connection.
    H2(h2::Slot),
    /// The same.
    #[cfg_attr(not(feature = "http3"), expect(dead_code, reason = "there is none"))]
    H3(h3::Slot),
}

impl Carrier {
    /// What the peer's address is.
    pub(crate) fn peer(&self) -> Scope {
        match self {
            Self::H1(connection) => connection.peer(),
            Self::H2(slot) => slot.connection().peer(),
            Self::H3(slot) => slot.connection().peer(),
        }
    }
}

/// A response's body as it comes.
#[derive(Debug)]
pub(crate) enum Download {
    H1 {
        body: Incoming,
        /// What came behind the body.
        trailers: Option<HeaderMap>,
    },
    H2(h2::Body),
    #[cfg_attr(not(feature = "http3"), expect(dead_code, reason = "there is none"))]
    H3(h3::Body),
}

impl Download {
    /// Whether it is known that nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Download::H1 { body, .. } => body.is_end_stream(),
            Download::H2(body) => body.is_over(),
            Download::H3(body) => body.is_over(),
        }
    }

    /// The next bytes, `None` at the end. A caller that calls again has passed
    /// on what it got.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, String>> {
        let (body, trailers) = match self {
            Download::H1 { body, trailers } => (body, trailers),
            Download::H2(body) => return body.next().await,
            Download::H3(body) => return body.next().await,
        };
        loop {
            match body.frame().await?.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(frame)) => *trailers = frame.into_trailers().ok(),
                Err(error) => return Some(Err(h1::describe(&error))),
            }
        }
    }

    /// The headers that the peer sent behind a body that is complete.
    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        // Their end is the body's.
        while let Some(Ok(_)) = self.next().await {}
        match self {
            Download::H1 { trailers, .. } => trailers.take(),
            Download::H2(body) => body.trailers().await,
            Download::H3(body) => body.trailers().await,
        }
    }

    /// The result of `main`. What comes meanwhile is gathered where it would else take more memory
    /// than it needs.
    pub(crate) async fn beside<T>(&mut self, main: impl Future<Output = T>) -> T {
        match self {
            // Nobody reads it.
            Download::H1 { .. } | Download::H3(_) => main.await,
            Download::H2(body) => tokio::select! {
                biased;
                value = main => value,
                never = body.gather() => match never {},
            },
        }
    }

    /// What [`Download::next`] would return without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Option<Result<Bytes, String>>> {
        self.next().now_or_never()
    }
}
