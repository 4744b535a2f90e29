//! Where the collector is, and which attributes it gets of the proxy: named as the OpenTelemetry
//! specification names them in the environment.

use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sspc_policy::TrustStore;

/// How long the collector may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(60);

/// Settings of an [`Exporter`](crate::Exporter).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where spans go.
    pub traces: String,
    /// Where metrics go.
    pub metrics: String,
    /// Headers of each request, such as one with a token.
    pub headers: Vec<(String, String)>,
    /// Attributes of the proxy.
    pub resource: Vec<(String, String)>,
    /// How long the collector may take for an answer. Default: 10 s.
    pub timeout: Duration,
    /// How often metrics are sent. Default: each minute.
    pub metrics_every: Duration,
    /// Who vouches for the collector; `None` for the system's trust store.
    pub trust_store: Option<Arc<TrustStore>>,
}

/// A variable of the environment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?}: {why}")]
pub struct SettingsError {
    variable: &'static str,
    value: String,
    why: &'static str,
}

impl Settings {
    /// For the collector at this URL: spans go to `/v1/traces` below it, metrics to `/v1/metrics`.
    pub fn new(url: &str) -> Self {
        let url = url.trim_end_matches('/');
        Self {
            traces: format!("{url}/v1/traces"),
            metrics: format!("{url}/v1/metrics"),
            headers: Vec::new(),
            resource: vec![
                ("service.name".to_owned(), "sspc-proxy".to_owned()),
                ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ],
            timeout: TIMEOUT,
            metrics_every: METRICS_EVERY,
            trust_store: None,
        }
    }

    /// Takes over what `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`,
    /// `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` say.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn with_env(mut self, env: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let get = |variable| env(variable).filter(|value| !value.trim().is_empty());
        let pairs = |variable| match get(variable) {
            Some(value) => pairs(variable, value),
            None => Ok(Vec::new()),
        };
        let millis = |variable| match get(variable) {
            Some(value) => millis(variable, value).map(Some),
            None => Ok(None),
        };
        self.headers.extend(pairs("OTEL_EXPORTER_OTLP_HEADERS")?);
        for (name, value) in pairs("OTEL_RESOURCE_ATTRIBUTES")? {
            self.set(&name, value);
        }
        if let Some(name) = get("OTEL_SERVICE_NAME") {
            self.set("service.name", name);
        }
        self.timeout = millis("OTEL_EXPORTER_OTLP_TIMEOUT")?.unwrap_or(self.timeout);
        let every = millis("OTEL_METRIC_EXPORT_INTERVAL")?;
        self.metrics_every = every.unwrap_or(self.metrics_every);
        self.traces = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").unwrap_or(self.traces);
        self.metrics = get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT").unwrap_or(self.metrics);
        Ok(self)
    }

    fn set(&mut self, name: &str, value: String) {
        self.resource.retain(|(known, _)| known != name);
        self.resource.push((name.to_owned(), value));
    }
}

/// `name=value,name=value`, as in the header Baggage: values may be percent-encoded.
fn pairs(variable: &'static str, text: String) -> Result<Vec<(String, String)>, SettingsError> {
    let parsed: Option<Vec<_>> = text
        .split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
        })
        .collect();
    let why = "expected NAME=VALUE,NAME=VALUE, with values percent-encoded";
    parsed.ok_or(SettingsError { variable, value: text, why })
}

fn millis(variable: &'static str, text: String) -> Result<Duration, SettingsError> {
    match text.trim().parse() {
        Ok(0) | Err(_) => {
            let why = "expected milliseconds, more than 0";
            Err(SettingsError { variable, value: text, why })
        }
        Ok(millis) => Ok(Duration::from_millis(millis)),
    }
}
