//! Policies that come from a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sspc_policy::{
    MetadataItem, Policy, Protocol, SOURCE_MAX, StreamType, Target, Template, TrustStore,
};

use crate::onward::own::{Answer, Own};
use crate::server::Handle;

/// The streamtype that a policy gets its successor with.
const STREAMTYPE: &str = "fetch_policy";
/// For a whole policy, however it comes.
const LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of a signature; those of minisign have a few hundred.
const SIGNATURE_MAX: usize = 16 * 1024;
/// Most bytes of an ETag that is sent back.
const ETAG_MAX: usize = 1024;
/// What the two headers are called as metadata; no policy can declare the like.
const ETAG: &str = " etag";
const KNOWN: &str = " known";

/// Where a policy comes from.
#[derive(Clone, Debug)]
pub struct PolicyOrigin {
    stream: StreamType,
}

/// What came of asking.
#[derive(Debug)]
#[non_exhaustive]
pub enum FetchedPolicy {
    /// The one that the ETag was for is the latest.
    Unchanged,
    /// This one.
    New {
        /// What it says; nobody has checked it.
        text: String,
        /// To be given when it is asked for again.
        etag: Option<String>,
    },
}

impl PolicyOrigin {
    /// An `https:` URL, verified with the system's trust store or with this one. `http:` is for this
    /// machine alone.
    ///
    /// # Errors
    /// It is no such URL; in words.
    pub fn from_url(url: &str, trust_store: Option<Arc<TrustStore>>) -> Result<Self, String> {
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let mut stream = StreamType::new(STREAMTYPE);
        stream.tls = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is not an https: URL".to_owned()),
        };
        stream.endpoint = Some(Template::new(url));
        stream.protocol = if stream.tls { Protocol::H2 } else { Protocol::H1 };
        // They never lead to clear HTTP from https, and might from this machine.
        stream.allow_redirects = stream.tls;
        stream.trust_store = trust_store;
        let target = Target::resolve(&stream, |_| None).map_err(|error| error.to_string())?;
        if !stream.tls && !target.is_loopback() {
            return Err("a policy from another machine has to come over https:".to_owned());
        }
        Ok(Self { stream })
    }

    /// The streamtype `fetch_policy` of a policy, if it has one.
    ///
    /// # Errors
    /// No policy can come that way; in words.
    pub fn of(policy: &Policy) -> Option<Result<Self, String>> {
        let stream = policy.streamtype(STREAMTYPE)?;
        let origin = Self { stream: StreamType::clone(stream) };
        Some(if stream.protocol.is_http() {
            Ok(origin)
        } else {
            Err(format!(
                "streamtype `{STREAMTYPE}` is {}, and policies come over http",
                stream.protocol
            ))
        })
    }

    /// Whether nobody on the way can change what comes.
    pub fn is_secure(&self) -> bool {
        self.stream.tls
            || Target::resolve(&self.stream, |_| Some(b"")).is_ok_and(|target| target.is_loopback())
    }

    /// Where the signature is: at the same place, with `.minisig` behind the path.
    fn of_signature(&self) -> Self {
        let mut stream = self.stream.clone();
        let has_path = |template: &Template| {
            Target::resolve(&stream, |_| Some(b"")).is_ok_and(|target| target.path.is_some())
                && !template.is_empty()
        };
        let behind = |template: &Template| {
            let text = template.as_str();
            let end = text.find(['?', '#']).unwrap_or(text.len());
            let (path, rest) = text.split_at(end);
            Template::new(format!("{path}.minisig{rest}"))
        };
        match &stream.endpoint {
            Some(endpoint) if has_path(endpoint) => stream.endpoint = Some(behind(endpoint)),
            _ => stream.http.url = behind(&stream.http.url),
        }
        Self { stream }
    }

    async fn ask(
        &self,
        handle: &Handle,
        etag: Option<&str>,
        answer_max: usize,
    ) -> Result<Answer, String> {
        let mut stream = self.stream.clone();
        // Only its status matters.
        stream.http.expect = None;
        for (name, header) in [(ETAG, "etag"), (KNOWN, "if-none-match")] {
            let header = Some(header.to_owned());
            stream.metadata.push(MetadataItem { name: name.to_owned(), header });
        }
        let etag = etag.filter(|etag| etag.len() <= ETAG_MAX);
        let metadata = etag.map(|etag| (KNOWN.to_owned(), Bytes::copy_from_slice(etag.as_bytes())));
        let metadata = metadata.into_iter().collect();
        let own = Own { stream, metadata, body: None, answer_max, limit: LIMIT };
        own.ask(&handle.shared.onward).await.map_err(|failure| failure.to_string())
    }
}

impl fmt::Display for PolicyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.stream.endpoint.as_ref().map_or("", Template::as_str);
        if endpoint.contains("://") {
            return f.write_str(endpoint);
        }
        let scheme = if self.stream.tls { "https" } else { "http" };
        let path = self.stream.http.url.as_str();
        let slash = if path.starts_with('/') { "" } else { "/" };
        write!(f, "{scheme}://{endpoint}:{}{slash}{path}", self.stream.port)
    }
}

impl Handle {
    /// Asks for a policy, or whether the one with this ETag is still the latest.
    ///
    /// Streams are not concerned: [`Handle::reload`] is for what came, once it is checked.
    ///
    /// # Errors
    /// None came; in words.
    pub async fn fetch_policy(
        &self,
        origin: &PolicyOrigin,
        etag: Option<&str>,
    ) -> Result<FetchedPolicy, String> {
        let answer = origin.ask(self, etag, SOURCE_MAX).await?;
        match answer.status {
            200 => {}
            304 if etag.is_some() => return Ok(FetchedPolicy::Unchanged),
            status => return Err(format!("the server answers with status {status}")),
        }
        let etag = answer.metadata.into_iter().find(|(name, _)| name == ETAG);
        let etag = etag.and_then(|(_, etag)| String::from_utf8(etag.to_vec()).ok());
        let text = String::from_utf8(answer.body).map_err(|_| "what comes is not UTF-8")?;
        Ok(FetchedPolicy::New { text, etag: etag.filter(|etag| !etag.is_empty()) })
    }

    /// The signature of the policy that comes from there, in the format of minisign: it is at the same
    /// place, with `.minisig` behind the path.
    ///
    /// # Errors
    /// None came; in words.
    pub async fn fetch_policy_signature(&self, origin: &PolicyOrigin) -> Result<String, String> {
        let origin = origin.of_signature();
        let answer = origin.ask(self, None, SIGNATURE_MAX).await;
        let answer = answer.map_err(|why| format!("{origin}: {why}"))?;
        if answer.status != 200 {
            return Err(format!("{origin}: the server answers with status {}", answer.status));
        }
        String::from_utf8(answer.body).map_err(|_| format!("{origin}: what comes is not UTF-8"))
    }
}
