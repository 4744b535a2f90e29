//! Tells an OpenTelemetry collector what a Secure Streams proxy does: a span for each transaction, and
//! metrics.
//!
//! [`Exporter`] reads what an [observed](sspc_proxy::Observed) proxy shows and sends it to a collector with
//! OTLP over HTTP, in protobuf. A collector that is slow or gone costs streams nothing: what does not fit into
//! the feed of transactions is left out, and a metric says how much that was.

mod metrics;
mod settings;
mod spans;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use sspc_proxy::view::TransactionView;
use sspc_proxy::{Handle, Observed, PostAnswer, PostTo, TransactionFeed};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tracing::{debug, warn};

pub use self::settings::{Settings, SettingsError};

/// Spans that are sent at a time.
const BATCH: usize = 512;
/// How long spans may wait for others.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// How often a batch is sent again that the collector did not take, and how long until then at first and at
/// most.
const RETRIES: u32 = 5;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Sends spans and metrics until its caller ends it.
#[derive(Debug)]
pub struct Exporter {
    handle: Handle,
    observed: Observed,
    settings: Settings,
    traces: PostTo,
    metrics: PostTo,
    feed: TransactionFeed,
    /// The log says that the collector takes nothing.
    is_failing: bool,
    /// Spans that it did not get.
    lost: u64,
}

impl Exporter {
    /// An exporter for a proxy with [`Config::observe`](sspc_proxy::Config::observe). It sends the
    /// transactions that end from now on.
    ///
    /// # Errors
    /// The proxy is not observed, or the settings name no server; in words.
    pub fn new(handle: Handle, settings: Settings) -> Result<Self, String> {
        let observed = handle.observed().ok_or("the proxy is not observed")?;
        let to = |url: &str| {
            let mut headers = settings.headers.clone();
            headers.push(("content-type".to_owned(), "application/x-protobuf".to_owned()));
            PostTo::new(url, &headers, settings.trust_store.clone())
        };
        let (traces, metrics) = (to(&settings.traces)?, to(&settings.metrics)?);
        let feed = observed.transactions();
        Ok(Self { handle, observed, settings, traces, metrics, feed, is_failing: false, lost: 0 })
    }

    /// Sends until `end` is ready, and then what is left, once.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let every = self.settings.metrics_every;
        let mut tick = interval_at(Instant::now() + every, every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut due = None;
        loop {
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                next = self.feed.next() => match next {
                    None => break,
                    Some(Err(missed)) => self.lost += missed.0,
                    Some(Ok(transaction)) => {
                        due = due.or_else(|| Some(Instant::now() + SPANS_EVERY));
                        batch.push(transaction);
                        if batch.len() < BATCH {
                            continue;
                        }
                        due = None;
                        self.send_spans(&mut batch, RETRIES).await;
                    }
                },
                () = wait => {
                    due = None;
                    self.send_spans(&mut batch, RETRIES).await;
                }
                _ = tick.tick() => self.send_metrics(0).await,
                () = &mut end => break,
            }
        }
        while let Some(next) = self.feed.ready() {
            match next {
                Ok(transaction) => batch.push(transaction),
                Err(missed) => self.lost += missed.0,
            }
        }
        self.send_spans(&mut batch, 0).await;
        self.send_metrics(0).await;
    }

    async fn send_spans(&mut self, batch: &mut Vec<Arc<TransactionView>>, retries: u32) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let request = spans::request(&std::mem::take(batch), self.resource());
        let to = self.traces.clone();
        if !self.send(&to, request.encode_to_vec(), retries).await {
            self.lost += count;
        }
    }

    async fn send_metrics(&mut self, retries: u32) {
        let request = metrics::request(&self.observed, self.lost, self.resource());
        let to = self.metrics.clone();
        // The next ones say all that these do.
        self.send(&to, request.encode_to_vec(), retries).await;
    }

    fn resource(&self) -> Resource {
        let attributes = self.settings.resource.iter();
        let attributes = attributes.map(|(name, value)| text(name, value)).collect();
        Resource { attributes, ..Resource::default() }
    }

    /// Whether the collector took it.
    async fn send(&mut self, to: &PostTo, body: Vec<u8>, retries: u32) -> bool {
        let mut wait = RETRY_FIRST;
        let body = prost::bytes::Bytes::from(body);
        for left in (0..=retries).rev() {
            let answer = self.handle.post(to, body.clone(), self.settings.timeout).await;
            let (why, asked) = match answer {
                Ok(PostAnswer { status: 200..=299, .. }) => {
                    if std::mem::take(&mut self.is_failing) {
                        warn!(%to, lost = self.lost, "the collector takes telemetry again");
                    }
                    return true;
                }
                Ok(PostAnswer {
                    status: status @ (429 | 502 | 503 | 504), retry_after, ..
                }) => (format!("it answers with {status}"), retry_after.as_deref().and_then(delay)),
                Ok(PostAnswer { status, .. }) => {
                    self.failed(to, &format!("it answers with {status}"));
                    return false;
                }
                Err(why) => (why, None),
            };
            self.failed(to, &why);
            if left > 0 {
                sleep(asked.unwrap_or(wait).min(RETRY_MAX)).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
        false
    }

    /// Says it once until it goes well.
    fn failed(&mut self, to: &PostTo, why: &str) {
        if std::mem::replace(&mut self.is_failing, true) {
            debug!(%to, why, "the collector takes no telemetry");
        } else {
            warn!(%to, why, "the collector takes no telemetry; streams go on");
        }
    }
}

/// What Retry-After says.
fn delay(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Who measured.
fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn text(name: &str, value: &str) -> KeyValue {
    attribute(name, Value::StringValue(value.to_owned()))
}

fn number(name: &str, value: u64) -> KeyValue {
    attribute(name, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}
