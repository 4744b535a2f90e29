//! How the API's answers become texts, for every command that shows them.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::console::{Style, age};

/// A number; 0 if there is none.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A text; empty if there is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The rows of an array; none if it is none.
pub(crate) fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How long ago it was, both in milliseconds since 1970.
pub(crate) fn since(now: u64, at: &Value) -> String {
    age(Duration::from_millis(now.saturating_sub(number(at))))
}

/// `nacked 404`, `connect: nobody listens there`
pub(crate) fn error(error: &Value) -> String {
    let mut said = text(&error["outcome"]).to_owned();
    if let Some(status) = error["status"].as_u64() {
        let _ = write!(said, " {status}");
    }
    if let Some(why) = error["why"].as_str() {
        let _ = write!(said, ": {why}");
    }
    said
}

/// How a stream's state looks.
pub(crate) fn state_style(state: &str) -> Style {
    match state {
        "CONNECTED" | "QOS_ACK_REMOTE" => Style::Good,
        "UNREACHABLE" | "AUTH_FAILED" | "ALL_RETRIES_FAILED" | "QOS_NACK_REMOTE" => Style::Bad,
        _ => Style::State,
    }
}

/// Whether a line's link is up, and since when.
pub(crate) fn link(line: &Value, now: u64) -> (String, Style) {
    match (line["is_up"].as_bool(), line["has_port"].as_bool()) {
        (Some(true), _) => (format!("up {}", since(now, &line["up_at"])), Style::Good),
        (_, Some(true)) => ("down".to_owned(), Style::Bad),
        _ => ("no port".to_owned(), Style::Bad),
    }
}

/// A line's last round trip; empty if none is known.
pub(crate) fn round_trip(line: &Value) -> String {
    let trip = line["round_trip_us"].as_u64().map(|us| format!("{:.1} ms", us as f64 / 1e3));
    trip.unwrap_or_default()
}
