//! What a response's headers mean to the client.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::response::Parts;
use http::{Method, StatusCode, Version};
use sspc_policy::StreamType;

/// The metadata that a response gives to the client, in the order to send: the policy's, reversed,
/// because that is the order that clients know.
pub(crate) fn metadata(stream: &StreamType, headers: &HeaderMap) -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    for item in stream.metadata.iter().rev() {
        let Some(name) = item.header.as_deref() else { continue };
        let name = name.trim().trim_end_matches(':');
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let Some(value) = joined(headers, &name) else { continue };
        found.push((item.name.clone(), value));
    }
    found
}

/// Whether a response can give metadata to the client.
pub(crate) fn asks_for_headers(stream: &StreamType) -> bool {
    stream.metadata.iter().any(|item| item.header.is_some())
}

/// Takes out what means nothing behind a body: what frames it or says what it is, cookies, and
/// where the response leads (RFC 9110 §6.5.1).
pub(crate) fn remove_what_is_no_trailer(trailers: &mut HeaderMap) {
    const NAMES: [HeaderName; 15] = [
        header::AGE,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::LOCATION,
        header::RETRY_AFTER,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::WWW_AUTHENTICATE,
    ];
    for name in NAMES {
        trailers.remove(name);
    }
}

/// Leaves only what says how the body is framed and what it is.
pub(crate) fn keep_what_frames(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 4] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
    ];
    let all = std::mem::take(headers);
    for name in NAMES {
        for value in all.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
}

/// All values of a header as one; of cookies the first, because commas are part of them.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Bytes> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next().filter(|_| *name != header::SET_COOKIE) else {
        return Some(Bytes::copy_from_slice(first.as_bytes()));
    };
    let mut all = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        all.extend_from_slice(b", ");
        all.extend_from_slice(value.as_bytes());
    }
    Some(all.into())
}

/// How long the peer asks to be left alone, be it for ever; who waits sets the limit.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that are no number are too many of them.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// The length of the body as the headers announce it; chunks announce none, whatever else the
/// headers say (RFC 9112 §6.3).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether a response to this method with this status has no body whatever its headers say.
pub(crate) fn is_bodyless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || status.is_informational()
}

/// Whether an http/1 connection ends with this response (RFC 9112 §9.3, §9.6): then its peer does
/// not want the rest of the request either.
pub(crate) fn closes_connection(method: &Method, head: &Parts) -> bool {
    let says = |token: &str| {
        let lines = head.headers.get_all(header::CONNECTION).iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .any(|given| given.trim().eq_ignore_ascii_case(token))
    };
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH)
        || head.headers.contains_key(header::TRANSFER_ENCODING)
        || is_bodyless(method, head.status);
    says("close") || !has_length || (head.version < Version::HTTP_11 && !says("keep-alive"))
}

/// Whether the status asks the client to come back later.
pub(crate) fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

/// Where a redirect leads; `None` if the response is none.
pub(crate) fn location(status: StatusCode, headers: &HeaderMap) -> Option<Result<&str, String>> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    // Some servers send letters beyond ASCII as they are.
    let location = headers.get(header::LOCATION).map(|value| std::str::from_utf8(value.as_bytes()));
    Some(match location {
        Some(Ok(location)) => Ok(location),
        Some(Err(_)) => Err(format!("{status} with an unreadable Location")),
        None => Err(format!("{status} without Location")),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use sspc_policy::{MetadataItem, StreamType};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn metadata_is_found_however_its_header_is_spelled() {
        let mut stream = StreamType::new("s");
        for (name, header) in [
            ("a", Some("X-Rig:")),
            ("b", Some("x-rig")),
            ("c", Some("Set-Cookie")),
            ("d", Some("serv")),
            ("e", None),
        ] {
            let header = header.map(str::to_owned);
            stream.metadata.push(MetadataItem { name: name.to_owned(), header });
        }
        let headers = headers(&[
            ("x-rig", "1"),
            ("x-rig", "2"),
            ("set-cookie", "k=v"),
            ("set-cookie", "l=w"),
            ("server", "s"),
        ]);
        let expected = [("c", "k=v"), ("b", "1, 2"), ("a", "1, 2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from(value)));
        assert_eq!(metadata(&stream, &headers), expected);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |text: &'static str| retry_after(&headers(&[("retry-after", text)]), now);
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999"), Some(Duration::from_secs(99_999_999_999)));
        // More than 64 bits once counted as no answer at all.
        assert_eq!(after("18446744073709551616"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(after("-1"), None);
        assert_eq!(after("+7"), None);
        assert_eq!(after("soon"), None);
    }
}
