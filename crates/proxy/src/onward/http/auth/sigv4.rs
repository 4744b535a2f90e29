//! AWS Signature Version 4 for requests.

use std::fmt::Write as _;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest as _, Sha256};

use super::{Line, secret};
use crate::credentials::AwsKeys;
use crate::onward::{Attempt, Failure, FailureKind};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// All but what RFC 3986 leaves as it is.
static ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In a path.
static ENCODED_PATH: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Who signs, for what.
#[derive(Debug)]
pub(crate) struct Signer {
    keys: AwsKeys,
    region: String,
    service: String,
    /// What stands for the body where the client does not say.
    payload: Payload,
}

#[derive(Debug, PartialEq, Eq)]
enum Payload {
    /// There is none.
    Empty,
    /// It is not known yet, and S3 takes that over TLS.
    Unsigned,
    /// It is not known yet.
    Unknown,
}

impl Signer {
    pub(super) fn new(
        attempt: &Attempt,
        keys: AwsKeys,
        has_body: bool,
        tls: bool,
    ) -> Result<Self, Failure> {
        let stream = &attempt.stream;
        let value = |key: &str, name: &Option<String>| {
            let Some(name) = name else {
                let why = format!("`{key}` is missing, which sigv4 needs");
                return Err(Failure::new(FailureKind::Policy, why));
            };
            let value = attempt.value(name).and_then(|value| std::str::from_utf8(value).ok());
            let is_word =
                |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            value.filter(|text| !text.is_empty()).filter(is_word).map(str::to_owned).ok_or_else(
                || {
                    let why =
                        format!("metadata {name:?}, which is `{key}`, has to be a word for sigv4");
                    Failure::new(FailureKind::Request, why)
                },
            )
        };
        let region = value("aws_region", &stream.aws_region)?;
        let service = value("aws_service", &stream.aws_service)?;
        let payload = match (has_body, service == "s3" && tls) {
            (false, _) => Payload::Empty,
            (true, true) => Payload::Unsigned,
            (true, false) => Payload::Unknown,
        };
        Ok(Self { keys, region, service, payload })
    }

    /// Signs a head. What the client set of the `x-amz-` headers is signed as it is.
    pub(super) fn sign(
        &self,
        line: Line<'_>,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<(), Failure> {
        let failed = |why: &str| Failure::new(FailureKind::Request, format!("sigv4: {why}"));
        let time = match headers.get(&DATE) {
            Some(given) => given.to_str().map(str::to_owned).unwrap_or_default(),
            None => timestamp(now),
        };
        let day = time.get(..8).filter(|day| day.bytes().all(|byte| byte.is_ascii_digit()));
        let day = day.ok_or_else(|| failed("x-amz-date has to be like 20150830T123600Z"))?;
        let payload = match (headers.get(&CONTENT_SHA256), &self.payload) {
            (Some(given), _) => given.to_str().map(str::to_owned).unwrap_or_default(),
            (None, Payload::Empty) => hex(&Sha256::digest(b"")),
            (None, Payload::Unsigned) => UNSIGNED.to_owned(),
            (None, Payload::Unknown) => {
                return Err(failed(
                    "the client has to set metadata for x-amz-content-sha256: it is signed before \
                     the body is here",
                ));
            }
        };
        let own = |name: &HeaderName, text: &str| secret(name, text);
        headers.insert(DATE, own(&DATE, &time)?);
        if self.service == "s3" {
            headers.insert(CONTENT_SHA256, own(&CONTENT_SHA256, &payload)?);
        }
        if !self.keys.session_token.is_empty() {
            headers.insert(SECURITY_TOKEN, own(&SECURITY_TOKEN, &self.keys.session_token)?);
        }
        let (canonical, signed) = self.canonical(line, headers, &payload);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hash = hex(&Sha256::digest(canonical.as_bytes()));
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{hash}");
        let first = format!("AWS4{}", self.keys.secret_key);
        let parts = [day, &self.region, &self.service, "aws4_request", &text];
        let signature =
            parts.iter().fold(first.into_bytes(), |key, part| hmac(&key, part.as_bytes()));
        let value = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={}",
            self.keys.key_id,
            hex(&signature)
        );
        headers.insert(AUTHORIZATION, secret(&AUTHORIZATION, &value)?);
        Ok(())
    }

    /// The request in the form that is signed, and the names of the headers in it.
    fn canonical(&self, line: Line<'_>, headers: &HeaderMap, payload: &str) -> (String, String) {
        let (path, query) = line.path.split_once('?').unwrap_or((line.path, ""));
        let mut signed: Vec<(&str, String)> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("x-amz-") || **name == CONTENT_TYPE)
            .map(|name| {
                let values: Vec<String> = headers.get_all(name).iter().map(folded).collect();
                (name.as_str(), values.join(","))
            })
            .collect();
        signed.push(("host", String::from_utf8_lossy(line.host).trim().to_owned()));
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut text = format!("{}\n{}\n{}\n", line.method, self.path(path), sorted(query));
        for (name, value) in &signed {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name}:{value}");
        }
        let _ = write!(text, "\n{names}\n{payload}");
        (text, names)
    }

    /// S3 takes paths as they are; all others normalize them and encode what is sent once more.
    fn path(&self, path: &str) -> String {
        if self.service == "s3" {
            let decoded: Vec<u8> = percent_decode_str(path).collect();
            return percent_encode(&decoded, &ENCODED_PATH).to_string();
        }
        let mut segments: Vec<&str> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
        let path = format!("/{}{end}", segments.join("/"));
        percent_encode(path.as_bytes(), &ENCODED_PATH).to_string()
    }
}

/// The query with its parameters encoded in one way, and in their order.
fn sorted(query: &str) -> String {
    let encode = |text: &str| {
        let decoded: Vec<u8> = percent_decode_str(text).collect();
        percent_encode(&decoded, &ENCODED).to_string()
    };
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<(String, String)> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encode(name), encode(value))
        })
        .collect();
    parameters.sort();
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

/// A header's value with one space for many.
fn folded(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key may be of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Like 20150830T123600Z.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin with March here, so that the day that comes and goes is their last.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_year = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_year + 2) / 5 + 1;
    let month = if month_of_year < 10 { month_of_year + 3 } else { month_of_year - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests;
