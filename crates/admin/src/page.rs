//! The status page.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{self, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::answer::{Answer, whole};

const PAGE: &str = include_str!("page.html");

/// What the page may do: run its one script, use its one style, and ask where it comes from.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let script = hash(PAGE, "<script>", "</script>")?;
    let style = hash(PAGE, "<style>", "</style>")?;
    let policy = format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    policy.try_into().ok()
});

/// As Content-Security-Policy names an element that may be there.
fn hash(page: &str, begin: &str, end: &str) -> Option<String> {
    let (_, rest) = page.split_once(begin)?;
    let (content, _) = rest.split_once(end)?;
    Some(format!("sha256-{}", STANDARD.encode(Sha256::digest(content))))
}

/// `/`
pub(crate) fn page() -> Answer {
    let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    // Without it nothing of the page may run.
    let none = || HeaderValue::from_static("default-src 'none'");
    let policy = POLICY.clone().unwrap_or_else(none);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}
