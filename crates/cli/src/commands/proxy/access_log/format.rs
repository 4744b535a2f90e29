//! What a transaction looks like in the access log.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use sspc_proxy::Missed;
use sspc_proxy::view::TransactionView;

use crate::console::printable;

/// `key=value` pairs, in the order of the fields.
pub(super) fn text(transaction: &TransactionView, into: &mut String) {
    let mut is_first = true;
    each(transaction, |name, value| {
        if !std::mem::take(&mut is_first) {
            into.push(' ');
        }
        // Writing to a string cannot fail.
        let _ = write!(into, "{name}={}", quoted(&value));
    });
}

/// An object with the same fields; numbers are numbers.
pub(super) fn json(transaction: &TransactionView, into: &mut String) {
    let mut object = serde_json::Map::new();
    each(transaction, |name, value| {
        let value = match value {
            Value::Text(text) => text.into(),
            Value::Number(number) => number.into(),
            Value::Bool(is) => is.into(),
        };
        object.insert(name.to_owned(), value);
    });
    let _ = write!(into, "{}", serde_json::Value::Object(object));
}

pub(super) fn text_missed(Missed(count): Missed, into: &mut String) {
    let _ = write!(into, "missed={count}");
}

pub(super) fn json_missed(Missed(count): Missed, into: &mut String) {
    let _ = write!(into, "{{\"missed\":{count}}}");
}

/// An entry in the journal's own format: each field is `SSPC_` and its name.
pub(super) fn journal(transaction: &TransactionView) -> Vec<u8> {
    let TransactionView { client, streamtype, endpoint, status, outcome, .. } = transaction;
    let mut message = format!("{client}: {streamtype}");
    let mut add = |part: &dyn fmt::Display| {
        let _ = write!(message, " {part}");
    };
    if let Some(endpoint) = endpoint {
        add(endpoint);
    }
    if let Some(status) = status {
        add(status);
    }
    add(&outcome.unwrap_or("running"));
    let is_failure = transaction.whose.is_some() || *outcome == Some("nacked");
    let mut entry = entry(&message, if is_failure { 4 } else { 6 });
    each(transaction, |name, value| {
        let value = match value {
            Value::Text(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
        };
        field(&mut entry, &format!("SSPC_{}", name.to_ascii_uppercase()), &value);
    });
    entry
}

pub(super) fn journal_missed(Missed(count): Missed) -> Vec<u8> {
    entry(&format!("{count} transactions were missed by the access log"), 4)
}

/// The beginning of an entry, with a priority as of syslog.
fn entry(message: &str, priority: u8) -> Vec<u8> {
    let mut entry = Vec::new();
    field(&mut entry, "MESSAGE", message);
    field(&mut entry, "PRIORITY", &priority.to_string());
    field(&mut entry, "SYSLOG_IDENTIFIER", "sspc");
    entry
}

/// A field with its length, as the journal takes values that may have line breaks.
fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

enum Value {
    Text(String),
    Number(u64),
    Bool(bool),
}

/// All fields that a transaction has, in order. This is the one list of them.
fn each(transaction: &TransactionView, mut take: impl FnMut(&'static str, Value)) {
    let TransactionView { times, .. } = transaction;
    let ended = transaction.began_at.saturating_add(times.total_us / 1000);
    let ended = i64::try_from(ended).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    if let Some(ended) = ended {
        take("time", Value::Text(format!("{ended:.3}")));
    }
    let text = |text: &str| Value::Text(text.to_owned());
    take("client", text(&transaction.client));
    take("peer", text(&transaction.peer));
    take("session", Value::Number(transaction.session));
    take("streamtype", text(&transaction.streamtype));
    take("protocol", text(&transaction.protocol));
    if let Some(endpoint) = &transaction.endpoint {
        take("endpoint", text(endpoint));
    }
    if let Some(status) = transaction.status {
        take("status", Value::Number(status.into()));
    }
    if let Some(outcome) = transaction.outcome {
        take("outcome", text(outcome));
    }
    if let Some(whose) = transaction.whose {
        take("whose", text(whose));
    }
    take("from_client", Value::Number(transaction.from_client));
    take("to_client", Value::Number(transaction.to_client));
    take("queue_us", Value::Number(times.queue_us));
    take("dns_us", Value::Number(times.dns_us));
    take("connect_us", Value::Number(times.connect_us));
    take("tls_us", Value::Number(times.tls_us));
    take("first_byte_us", Value::Number(times.first_byte_us));
    take("total_us", Value::Number(times.total_us));
    if let Some(connection) = transaction.connection {
        take("connection", Value::Number(connection));
    }
    if let Some(reused) = transaction.reused {
        take("reused", Value::Bool(reused));
    }
    if let Some(why) = &transaction.why {
        take("why", text(why));
    }
}

/// A value of the text format: in quotes unless it is one plain word.
fn quoted(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Text(text) => {
            let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
            if !text.is_empty() && text.chars().all(is_plain) {
                text.clone()
            } else {
                format!("\"{}\"", printable(&text.replace('\\', "\\\\").replace('"', "\\\"")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_one_word_or_quoted_and_never_break_a_line() {
        let of = |text: &str| quoted(&Value::Text(text.to_owned()));
        assert_eq!(of("example.com:443"), "example.com:443");
        assert_eq!(of(""), "\"\"");
        assert_eq!(of("user 1000"), "\"user 1000\"");
        assert_eq!(of("a \"b\"\\n\n\u{1b}[2J"), "\"a \\\"b\\\"\\\\n\\n\\u{1b}[2J\"");
    }

    #[test]
    fn the_journal_gets_each_field_with_its_length() {
        let mut entry = Vec::new();
        field(&mut entry, "SSPC_WHY", "a\nPRIORITY=0");
        assert_eq!(entry, b"SSPC_WHY\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n");
    }
}
