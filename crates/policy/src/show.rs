//! A policy back into text: what is in effect, as a policy that parses to the same.

mod layout;

use base64::Engine as _;
use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};

use layout::Layout;

use crate::keys::{FieldKind, Key, Reference, STREAM_KEYS};
use crate::retry::Retry;
use crate::types::{Auth, Metric, Policy, StreamType, TrustStore};

impl Policy {
    /// The whole policy as JSON, with every setting that is in effect and all defaults spelt out.
    ///
    /// The text is a policy itself: parsing it gives an equal [`Policy`].
    pub fn show(&self) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Layout::default());
        // Neither a vector nor what is written to it can fail.
        let written = Document::of(self).serialize(&mut serializer);
        debug_assert!(written.is_ok(), "{written:?}");
        out.push(b'\n');
        String::from_utf8(out).unwrap_or_default()
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

/// The document, in the order in which its parts are documented.
#[derive(serde::Serialize)]
struct Document<'p> {
    #[serde(rename = "via-socks5", skip_serializing_if = "Option::is_none")]
    via_socks5: Option<&'p str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    retry: Vec<Named<'p, RetryEntry<'p>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certs: Vec<Named<'p, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trust_stores: Vec<TrustStoreEntry<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    auth: Vec<AuthEntry<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<MetricEntry<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    s: Vec<Named<'p, Settings<'p>>>,
}

impl<'p> Document<'p> {
    fn of(policy: &'p Policy) -> Self {
        let base64 = |der: &[u8]| base64::engine::general_purpose::STANDARD.encode(der);
        Self {
            via_socks5: policy.via_socks5.as_deref(),
            retry: policy.retry.values().map(|r| Named(&r.name, RetryEntry::of(r))).collect(),
            certs: policy.certs.iter().map(|(name, der)| Named(name, base64(der))).collect(),
            trust_stores: policy.trust_stores.values().map(|s| TrustStoreEntry::of(s)).collect(),
            auth: policy.auth.values().map(|auth| AuthEntry::of(auth)).collect(),
            metrics: policy.metrics.iter().map(MetricEntry::of).collect(),
            s: policy.streamtypes.values().map(|s| Named(&s.name, Settings(s))).collect(),
        }
    }
}

/// `{"NAME": …}`
struct Named<'p, T>(&'p str, T);

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

#[derive(serde::Serialize)]
struct RetryEntry<'p> {
    backoff: &'p [u32],
    conceal: u16,
    jitterpc: u8,
    svalidping: u16,
    svalidhup: u16,
}

impl<'p> RetryEntry<'p> {
    fn of(retry: &'p Retry) -> Self {
        Self {
            backoff: &retry.backoff_ms,
            conceal: retry.conceal,
            jitterpc: retry.jitter_percent,
            svalidping: retry.valid_ping_s,
            svalidhup: retry.valid_hup_s,
        }
    }
}

#[derive(serde::Serialize)]
struct TrustStoreEntry<'p> {
    name: &'p str,
    stack: &'p [String],
}

impl<'p> TrustStoreEntry<'p> {
    fn of(store: &'p TrustStore) -> Self {
        Self { name: &store.name, stack: &store.stack }
    }
}

#[derive(serde::Serialize)]
struct AuthEntry<'p> {
    name: &'p str,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: &'p str,
    #[serde(skip_serializing_if = "Option::is_none")]
    streamtype: Option<&'p str>,
    blob: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'p str>,
}

impl<'p> AuthEntry<'p> {
    fn of(auth: &'p Auth) -> Self {
        Self {
            name: &auth.name,
            kind: &auth.kind,
            streamtype: auth.streamtype.as_deref(),
            blob: auth.blob,
            token_endpoint: auth.token_endpoint.as_deref(),
            scope: auth.scope.as_deref(),
        }
    }
}

#[derive(serde::Serialize)]
struct MetricEntry<'p> {
    name: &'p str,
    us_schedule: u64,
    us_halflife: u32,
    min_outlier: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'p str>,
}

impl<'p> MetricEntry<'p> {
    fn of(metric: &'p Metric) -> Self {
        Self {
            name: &metric.name,
            us_schedule: metric.schedule_us,
            us_halflife: metric.halflife_us,
            min_outlier: metric.min_outlier,
            report: metric.report.as_deref(),
        }
    }
}

/// A streamtype's keys that its protocol uses, in the order of the documentation.
struct Settings<'p>(&'p StreamType);

impl Serialize for Settings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let used = STREAM_KEYS.iter().filter(|key| key.is_for(self.0));
        serializer.collect_map(used.filter_map(|key| Some((key.name, setting(key, self.0)?))))
    }
}

/// A key's value; `None` if there is none to write.
fn setting(key: &Key, streamtype: &StreamType) -> Option<Value> {
    let named = |name: &str, value: Value| json!({ name: value });
    Some(match key.kind {
        FieldKind::Flag(field) => json!((field.get)(streamtype)),
        FieldKind::Text(_, field) => json!((field.get)(streamtype).as_deref()?),
        FieldKind::Template(field) => json!((field.get)(streamtype).as_ref()?.as_str()),
        FieldKind::U8(_, field) => json!((field.get)(streamtype)),
        FieldKind::U16(field) => json!((field.get)(streamtype)),
        FieldKind::U32(field) => json!((field.get)(streamtype)),
        FieldKind::Index(field) => json!((*(field.get)(streamtype))?),
        FieldKind::MaybeU16(field) => json!((*(field.get)(streamtype))?),
        FieldKind::MaybeU32(field) => json!((*(field.get)(streamtype))?),
        FieldKind::Protocol(field) => json!((field.get)(streamtype).as_str()),
        FieldKind::Method(field) => json!((field.get)(streamtype)),
        FieldKind::Url(field) => json!((field.get)(streamtype).as_str()),
        FieldKind::Refer(Reference::Retry) => json!(streamtype.retry.as_ref()?.name),
        FieldKind::Refer(Reference::TrustStore) => json!(streamtype.trust_store.as_ref()?.name),
        FieldKind::Refer(Reference::Auth) => json!(streamtype.use_auth.as_ref()?.name),
        FieldKind::Metadata => list(
            streamtype
                .metadata
                .iter()
                .map(|item| named(&item.name, json!(item.header.as_deref().unwrap_or_default()))),
        )?,
        FieldKind::RespMap => list(
            streamtype
                .http
                .resp_map
                .iter()
                .map(|(status, state)| named(&status.to_string(), json!(state))),
        )?,
        FieldKind::Options => {
            list(streamtype.options.iter().map(|(name, value)| named(name, json!(value))))?
        }
        FieldKind::Ignored => return None,
    })
}

fn list(items: impl Iterator<Item = Value>) -> Option<Value> {
    let items: Vec<Value> = items.collect();
    (!items.is_empty()).then_some(Value::Array(items))
}
