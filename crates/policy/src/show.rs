//! A policy back into text: what is in effect, as a policy that parses to the same.

use std::fmt::Write as _;

use base64::Engine as _;

use crate::keys::{Key, Reference, STREAM_KEYS, Slot};
use crate::{Auth, Metric, Policy, Retry, StreamType};

/// Longest list or object that is written on one line, bytes.
const LINE_MAX: usize = 72;

impl Policy {
    /// The whole policy as JSON, with every setting that is in effect and all defaults spelt out.
    ///
    /// The text is a policy itself: parsing it gives an equal [`Policy`].
    pub fn show(&self) -> String {
        let mut top = Vec::new();
        if let Some(proxy) = &self.via_socks5 {
            top.push(("via-socks5".to_owned(), text(proxy)));
        }
        section(&mut top, "retry", self.retry.values().map(|r| named(&r.name, retry(r))));
        section(
            &mut top,
            "certs",
            self.certs.iter().map(|(name, der)| {
                named(name, text(&base64::engine::general_purpose::STANDARD.encode(der)))
            }),
        );
        section(
            &mut top,
            "trust_stores",
            self.trust_stores.values().map(|store| {
                let stack = store.stack.iter().map(|cert| text(cert)).collect();
                object([("name", text(&store.name)), ("stack", Json::List(stack))])
            }),
        );
        section(&mut top, "auth", self.auth.values().map(|entry| auth(entry)));
        section(&mut top, "metrics", self.metrics.iter().map(metric));
        let streamtypes = self.streamtypes.values();
        section(&mut top, "s", streamtypes.map(|s| named(&s.name, streamtype(s))));
        let mut out = String::new();
        Json::Object(top).write(&mut out, 0);
        out.push('\n');
        out
    }

    /// Like [`Policy::show`], of one streamtype and what it needs to be valid; `None` if there is
    /// none of this name.
    pub fn show_streamtype(&self, name: &str) -> Option<String> {
        let shown = self.streamtype(name)?;
        let mut part = Policy { via_socks5: self.via_socks5.clone(), ..Policy::default() };
        let mut streamtypes = self.rideshare_chain(name);
        if shown.endpoint.is_none() || shown.port == 0 {
            // Valid only as a part of those that lead to it.
            let heads = self.streamtypes.values().filter(|s| s.rideshare.as_deref() == Some(name));
            streamtypes.extend(heads.cloned());
        }
        for streamtype in streamtypes {
            if let Some(retry) = &streamtype.retry {
                part.retry.insert(retry.name.clone(), retry.clone());
            }
            if let Some(auth) = &streamtype.use_auth {
                part.auth.insert(auth.name.clone(), auth.clone());
            }
            let stack = streamtype.trust_store.iter().flat_map(|store| &store.stack);
            for cert in stack.chain(&streamtype.server_cert).chain(&streamtype.server_key) {
                if let Some(der) = self.certs.get(cert) {
                    part.certs.insert(cert.clone(), der.clone());
                }
            }
            if let Some(store) = &streamtype.trust_store {
                part.trust_stores.insert(store.name.clone(), store.clone());
            }
            part.streamtypes.insert(streamtype.name.clone(), streamtype);
        }
        Some(part.show())
    }
}

enum Json {
    /// Text that is JSON already.
    Scalar(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn write(&self, out: &mut String, indent: usize) {
        if let Some(line) = self.line().filter(|line| line.len() + indent <= LINE_MAX) {
            out.push_str(&line);
            return;
        }
        let (open, close) = match self {
            Json::Object(_) => ('{', '}'),
            _ => ('[', ']'),
        };
        let inner = indent + 2;
        out.push(open);
        let mut first = true;
        let mut item = |out: &mut String, key: Option<&str>, value: &Json| {
            out.push_str(if first { "\n" } else { ",\n" });
            first = false;
            let _ = write!(out, "{:inner$}", "");
            if let Some(key) = key {
                let _ = write!(out, "{}: ", quoted(key));
            }
            value.write(out, inner);
        };
        match self {
            Json::Scalar(text) => item(out, None, &Json::Scalar(text.clone())),
            Json::List(items) => items.iter().for_each(|value| item(out, None, value)),
            Json::Object(pairs) => {
                pairs.iter().for_each(|(key, value)| item(out, Some(key), value))
            }
        }
        let _ = write!(out, "\n{:indent$}{close}", "");
    }

    /// All on one line, unless an object of objects would be hard to read so.
    fn line(&self) -> Option<String> {
        match self {
            Json::Scalar(text) => Some(text.clone()),
            Json::List(items) => {
                let items: Option<Vec<String>> = items.iter().map(Json::line).collect();
                Some(format!("[{}]", items?.join(", ")))
            }
            Json::Object(pairs) => {
                let pairs: Option<Vec<String>> = pairs
                    .iter()
                    .map(|(key, value)| match value {
                        Json::Scalar(text) => Some(format!("{}: {text}", quoted(key))),
                        _ => None,
                    })
                    .collect();
                Some(format!("{{{}}}", pairs?.join(", ")))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text(value: &str) -> Json {
    Json::Scalar(quoted(value))
}

fn plain(value: impl ToString) -> Json {
    Json::Scalar(value.to_string())
}

fn named(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

fn object<const N: usize>(pairs: [(&str, Json); N]) -> Json {
    Json::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn section(top: &mut Vec<(String, Json)>, name: &str, items: impl Iterator<Item = Json>) {
    let items: Vec<Json> = items.collect();
    if !items.is_empty() {
        top.push((name.to_owned(), Json::List(items)));
    }
}

fn retry(retry: &Retry) -> Json {
    object([
        ("backoff", Json::List(retry.backoff_ms.iter().map(plain).collect())),
        ("conceal", plain(retry.conceal)),
        ("jitterpc", plain(retry.jitter_percent)),
        ("svalidping", plain(retry.valid_ping_s)),
        ("svalidhup", plain(retry.valid_hup_s)),
    ])
}

fn auth(auth: &Auth) -> Json {
    let mut pairs = vec![("name".to_owned(), text(&auth.name))];
    if !auth.kind.is_empty() {
        pairs.push(("type".to_owned(), text(&auth.kind)));
    }
    if let Some(streamtype) = &auth.streamtype {
        pairs.push(("streamtype".to_owned(), text(streamtype)));
    }
    pairs.push(("blob".to_owned(), plain(auth.blob)));
    Json::Object(pairs)
}

fn metric(metric: &Metric) -> Json {
    let mut pairs = vec![
        ("name".to_owned(), text(&metric.name)),
        ("us_schedule".to_owned(), plain(metric.schedule_us)),
        ("us_halflife".to_owned(), plain(metric.halflife_us)),
        ("min_outlier".to_owned(), plain(metric.min_outlier)),
    ];
    if let Some(report) = &metric.report {
        pairs.push(("report".to_owned(), text(report)));
    }
    Json::Object(pairs)
}

fn streamtype(streamtype: &StreamType) -> Json {
    // The table's fields are written through, so it needs one that may be changed.
    let mut copy = streamtype.clone();
    let used = STREAM_KEYS.iter().filter(|key| key.used.by(streamtype.protocol));
    Json::Object(
        used.filter_map(|key| Some((key.name.to_owned(), setting(key, &mut copy)?))).collect(),
    )
}

/// A key's value; `None` if there is none to write.
fn setting(key: &Key, streamtype: &mut StreamType) -> Option<Json> {
    Some(match key.slot {
        Slot::Flag(field) => plain(*field(streamtype)),
        Slot::Text(_, field) => text(field(streamtype).as_deref()?),
        Slot::Template(field) => text(field(streamtype).as_ref()?.as_str()),
        Slot::U8(_, field) => plain(*field(streamtype)),
        Slot::U16(field) => plain(*field(streamtype)),
        Slot::U32(field) => plain(*field(streamtype)),
        Slot::Index(field) => plain((*field(streamtype))?),
        Slot::MaybeU16(field) => plain((*field(streamtype))?),
        Slot::MaybeU32(field) => plain((*field(streamtype))?),
        Slot::ProxyBuflen => plain(streamtype.proxy_buflen_bytes()),
        Slot::Protocol => text(streamtype.protocol.as_str()),
        Slot::Method => text(&streamtype.http.method),
        Slot::Url => text(streamtype.http.url.as_str()),
        Slot::Refer(Reference::Retry) => text(&streamtype.retry.as_ref()?.name),
        Slot::Refer(Reference::TrustStore) => text(&streamtype.trust_store.as_ref()?.name),
        Slot::Refer(Reference::Auth) => text(&streamtype.use_auth.as_ref()?.name),
        Slot::Metadata => list(
            streamtype
                .metadata
                .iter()
                .map(|item| named(&item.name, text(item.header.as_deref().unwrap_or_default()))),
        )?,
        Slot::RespMap => list(
            streamtype
                .http
                .resp_map
                .iter()
                .map(|(status, state)| named(&status.to_string(), plain(state))),
        )?,
        Slot::Options => {
            list(streamtype.options.iter().map(|(name, value)| named(name, text(value))))?
        }
        Slot::Ignored => return None,
    })
}

fn list(items: impl Iterator<Item = Json>) -> Option<Json> {
    let items: Vec<Json> = items.collect();
    (!items.is_empty()).then_some(Json::List(items))
}
