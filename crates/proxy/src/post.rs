//! What programs send to servers of their own choice, in the way of streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_policy::{MetadataItem, Protocol, StreamType, Target, Template, TrustStore};

use crate::onward::own::Own;
use crate::server::Handle;

/// Most bytes of an answer that are kept.
const ANSWER_MAX: usize = 64 * 1024;
/// What it is called as metadata; no policy can declare the like.
const RETRY_AFTER: &str = " retry-after";

/// A server that takes what [`Handle::post`] sends, by its URL.
#[derive(Clone, Debug)]
pub struct PostTo {
    stream: StreamType,
    /// The values of its headers.
    headers: Vec<(String, Bytes)>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostAnswer {
    /// The status.
    pub status: u16,
    /// The header Retry-After, if there was one.
    pub retry_after: Option<String>,
}

impl PostTo {
    /// An `https:` or `http:` URL, verified with the system's trust store or with this one, and with these
    /// headers in each request.
    ///
    /// # Errors
    /// It is no such URL; in words.
    pub fn new(
        url: &str,
        headers: &[(String, String)],
        trust_store: Option<Arc<TrustStore>>,
    ) -> Result<Self, String> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let mut stream = StreamType::new("post");
        stream.tls = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{url} is not an http: or https: URL")),
        };
        stream.endpoint = Some(Template::new(url));
        stream.protocol = if stream.tls { Protocol::H2 } else { Protocol::H1 };
        stream.http.method = "POST".to_owned();
        stream.trust_store = trust_store;
        let retry_after = Some("retry-after".to_owned());
        let item = MetadataItem { name: RETRY_AFTER.to_owned(), header: retry_after };
        stream.metadata.push(item);
        let mut values = Vec::new();
        for (number, (header, value)) in headers.iter().enumerate() {
            let name = format!(" {number}");
            stream
                .metadata
                .push(MetadataItem { name: name.clone(), header: Some(header.to_owned()) });
            values.push((name, Bytes::copy_from_slice(value.as_bytes())));
        }
        Target::resolve(&stream, |_| None).map_err(|error| format!("{url}: {error}"))?;
        Ok(Self { stream, headers: values })
    }
}

impl fmt::Display for PostTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream.endpoint.as_ref().map_or("", Template::as_str))
    }
}

impl Handle {
    /// Sends a body to a server by POST, over the connections, ways out and look-ups of streams, and waits
    /// for the answer for so long. Streams are not concerned.
    ///
    /// # Errors
    /// No answer came; in words.
    pub async fn post(
        &self,
        to: &PostTo,
        body: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<PostAnswer, String> {
        let (stream, metadata) = (to.stream.clone(), to.headers.clone());
        let body = Some(body.into());
        let own = Own { stream, metadata, body, answer_max: ANSWER_MAX, limit };
        let answer = own.ask(&self.shared.onward).await.map_err(|failure| failure.to_string())?;
        let retry_after = answer.metadata.into_iter().find(|(name, _)| name == RETRY_AFTER);
        let retry_after = retry_after.and_then(|(_, value)| String::from_utf8(value.to_vec()).ok());
        Ok(PostAnswer { status: answer.status, retry_after })
    }
}
