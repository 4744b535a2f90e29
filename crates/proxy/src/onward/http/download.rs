//! A response's body on its way to the client.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use sspc_policy::StreamType;
use sspc_wire::Flags;
use tokio::time::{sleep, timeout};

use super::exchange::Download;
use super::multipart_decode::Splitter;
use super::response;
use super::upload::{Progress, Upload};
use crate::onward::attempt::queue::{EventSender, SessionGone};

/// Most bytes of a body that are read only to keep its connection.
const DRAIN_MAX: usize = 16 * 1024;
/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(100);

/// How long trailers may take behind a body of which the length was announced.
const TRAILERS_TIME_MAX: Duration = Duration::from_secs(1);

/// What the delivery of a body needs to know.
pub(crate) struct Delivery<'a> {
    pub(crate) out: &'a EventSender,
    pub(crate) stream: &'a StreamType,
    pub(crate) headers: &'a HeaderMap,
    /// The response has no body whatever its headers say.
    pub(crate) none: bool,
    /// Longest silence of a peer that has all of the request.
    pub(crate) idle: Duration,
    pub(crate) upload: Option<&'a Upload>,
}

const NO_LAST_BOUNDARY: &str = "the multipart body ended without its last boundary";

type Next = Option<Result<Bytes, String>>;

impl Delivery<'_> {
    /// Hands the body on until its end; the inner error says how it broke off.
    pub(crate) async fn run(
        &self,
        download: &mut Download,
    ) -> Result<Result<(), String>, SessionGone> {
        let mut remaining = response::content_length(self.headers);
        if self.none || remaining == Some(0) || download.is_over() {
            return Ok(Ok(()));
        }
        let mut sink = Sink::new(self.out, self.splitter());
        let mut ahead: Option<Next> = None;
        loop {
            let next = match ahead.take() {
                Some(next) => next,
                None => {
                    download.beside(self.out.memory()).await;
                    self.next(download).await
                }
            };
            let bytes = match next {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => bytes,
                Some(Err(why)) => return Ok(Err(why)),
                None => {
                    if let Some(missing) = remaining {
                        return Ok(Err(format!("the body ended {missing} bytes early")));
                    }
                    if !sink.is_whole() {
                        return Ok(Err(NO_LAST_BOUNDARY.to_owned()));
                    }
                    sink.end().await?;
                    return Ok(Ok(()));
                }
            };
            remaining = remaining.map(|left| left.saturating_sub(bytes.len() as u64));
            let mut last = remaining == Some(0) || download.is_over();
            if !last && remaining.is_none() {
                // The end of a chunked body often comes along with its last data, but a moment
                // later to us. EOM on data is worth that moment to clients.
                download.beside(tokio::task::yield_now()).await;
                ahead = download.try_next();
                last = matches!(ahead, Some(None));
            }
            download.beside(sink.data(bytes, last)).await?;
            if last && !sink.is_whole() {
                return Ok(Err(NO_LAST_BOUNDARY.to_owned()));
            }
            if last {
                return Ok(Ok(()));
            }
        }
    }

    /// Metadata of what came behind a body that was handed on.
    pub(crate) async fn trailers(&self, download: &mut Download) -> Vec<(String, Bytes)> {
        if self.none || !response::asks_for_headers(self.stream) {
            return Vec::new();
        }
        match timeout(TRAILERS_TIME_MAX, download.trailers()).await {
            Ok(Some(mut trailers)) => {
                response::remove_what_is_no_trailer(&mut trailers);
                response::metadata(self.stream, &trailers)
            }
            Ok(None) | Err(_) => Vec::new(),
        }
    }

    fn splitter(&self) -> Option<Splitter> {
        if !self.stream.http.multipart_ss_in {
            return None;
        }
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Splitter::for_content_type(kind)
    }

    /// The next bytes. A peer that has all of the request must not be silent for too long; one
    /// that has not may be waiting for us.
    async fn next(&self, download: &mut Download) -> Next {
        let silence = async {
            if self.stream.http.long_poll {
                std::future::pending::<()>().await;
            }
            match self.upload {
                Some(upload) => match upload.ended().await {
                    Progress::Failed(fault) => return fault.to_string(),
                    _ => sleep(self.idle).await,
                },
                None => sleep(self.idle).await,
            }
            format!("the body stopped for {} s", self.idle.as_secs_f32())
        };
        tokio::select! {
            biased;
            next = download.next() => next,
            why = silence => Some(Err(why)),
        }
    }
}

/// Where a body goes: to the client, whole or part by part.
struct Sink<'a> {
    out: &'a EventSender,
    splitter: Option<Splitter>,
    begun: bool,
}

impl<'a> Sink<'a> {
    fn new(out: &'a EventSender, splitter: Option<Splitter>) -> Self {
        Self { out, splitter, begun: false }
    }

    async fn data(&mut self, bytes: Bytes, last: bool) -> Result<(), SessionGone> {
        let first = !std::mem::replace(&mut self.begun, true);
        let Some(splitter) = &mut self.splitter else {
            let som = if first { Flags::SOM } else { Flags::NONE };
            let eom = if last { Flags::EOM } else { Flags::NONE };
            return self.out.payload(bytes, som | eom).await;
        };
        let mut pieces = Vec::new();
        if first {
            pieces.push(Splitter::start());
        }
        splitter.push(&bytes, &mut pieces);
        for (bytes, flags) in pieces {
            self.out.payload(bytes, flags).await?;
        }
        Ok(())
    }

    /// Whether the body may end here. One without any data is none at all.
    fn is_whole(&self) -> bool {
        !self.begun || self.splitter.as_ref().is_none_or(Splitter::is_complete)
    }

    /// The end came without data.
    async fn end(&mut self) -> Result<(), SessionGone> {
        if !self.begun || self.splitter.is_some() {
            return Ok(());
        }
        self.out.payload(Bytes::new(), Flags::EOM).await
    }
}

/// Reads what is left of a body if that is little; true if it is over.
pub(crate) async fn drain(download: &mut Download) -> bool {
    let reading = async {
        let mut left = DRAIN_MAX;
        while !download.is_over() {
            match download.next().await {
                None => break,
                Some(Ok(bytes)) if bytes.len() <= left => left -= bytes.len(),
                Some(_) => return false,
            }
        }
        true
    };
    timeout(DRAIN_TIME_MAX, reading).await.unwrap_or(false)
}
