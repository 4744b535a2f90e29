//! How large the head of a request is: its path and its headers.
//!
//! A server that gets a head larger than it takes ends the connection, and with it all that is on it:
//! so large heads are refused before anything goes out, and those that some servers take and others
//! do not are sent over a connection of their own.

use http::{HeaderMap, Request};

use crate::onward::{Attempt, Failure, FailureKind};

/// Heads up to this size share a connection, bytes. Servers are known that end the connection at
/// twice of it.
pub(crate) const SHARED_MAX: usize = 4 * 1024;

/// What a header takes in http/1.1 beside its name and its value, and in h2's reckoning (RFC 9113
/// §6.5.2).
const H1_HEADER: usize = ": \r\n".len();
const H2_HEADER: usize = 32;

/// Bytes of a response's headers that are taken: as many as browsers take, and more than a server has
/// been seen to send.
pub(crate) const RESPONSE_MAX: u32 = 256 * 1024;

/// What cookies take in http/1.1 beside their text.
pub(crate) const COOKIE: usize = "cookie: \r\n".len();

/// The bytes of a path and of headers, as http/1.1 has them.
pub(crate) fn size(path: &str, headers: &HeaderMap) -> usize {
    path.len() + sum(headers, H1_HEADER)
}

/// The size of the same head as h2's SETTINGS_MAX_HEADER_LIST_SIZE counts it.
pub(crate) fn h2_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let pseudo = [
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str().unwrap_or_default()),
        (":authority", uri.authority().map_or("", |authority| authority.as_str())),
        (":path", uri.path_and_query().map_or("", |path| path.as_str())),
    ];
    let pseudo = pseudo.iter().map(|(name, value)| name.len() + value.len() + H2_HEADER);
    pseudo.sum::<usize>() + sum(request.headers(), H2_HEADER)
}

fn sum(headers: &HeaderMap, more: usize) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + more).sum()
}

/// Refuses a head that is too large, and says whose fault that is.
pub(crate) fn check(attempt: &Attempt, size: usize, limit: u32) -> Result<(), Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if size <= limit {
        return Ok(());
    }
    let from_client: usize = attempt.metadata.iter().map(|(_, value)| value.len()).sum();
    let (kind, remedy) = if size.saturating_sub(from_client) <= limit {
        (FailureKind::Request, "the client has to set shorter metadata")
    } else {
        (FailureKind::Policy, "the policy has to set shorter headers or a shorter path")
    };
    let why = format!(
        "the request's path and headers are {size} bytes, of which the client's metadata are \
         {from_client}; at most {limit} can be sent: {remedy}"
    );
    Err(Failure::new(kind, why))
}
