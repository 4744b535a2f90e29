//! `--otlp`: traces and metrics for an OpenTelemetry collector.

use std::time::Duration;

use clap::Args;
use sspc_otel::{Exporter, Settings};
use sspc_proxy::Handle;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::exit::Failure;

/// How long the last spans may take.
const LAST: Duration = Duration::from_secs(5);

/// Where telemetry goes.
#[derive(Debug, Args)]
pub(crate) struct OtlpArgs {
    /// Send a span for each transaction, and metrics, to the OpenTelemetry collector at this URL, by OTLP over
    /// HTTP
    ///
    /// Such as `http://localhost:4318`; spans go to /v1/traces below it, metrics to /v1/metrics. The environment
    /// adds what OpenTelemetry defines: OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_TIMEOUT,
    /// OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
    /// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_METRICS_ENDPOINT. With a policy's
    /// `http_traceparent` servers learn which trace a request belongs to.
    #[arg(long = "otlp", value_name = "URL")]
    url: Option<String>,
}

impl OtlpArgs {
    /// Whether there is a collector.
    pub(super) const fn is_given(&self) -> bool {
        self.url.is_some()
    }

    /// Begins to send, as long as the runtime runs.
    pub(super) fn start(&self, handle: Handle, runtime: &Runtime) -> Result<Option<Otlp>, Failure> {
        let Some(url) = &self.url else { return Ok(None) };
        let failed = |why: String| Failure::new(format!("--otlp: {why}"));
        let settings = Settings::new(url).with_env(|name| std::env::var(name).ok());
        let settings = settings.map_err(|error| failed(error.to_string()))?;
        let exporter = Exporter::new(handle, settings).map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(exporter.run(async {
            let _ = stopped.await;
        }));
        Ok(Some(Otlp { stop, task }))
    }
}

/// A running exporter.
pub(super) struct Otlp {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Otlp {
    /// Sends what there is, and ends.
    pub(super) fn finish(self, runtime: &Runtime) {
        let _ = self.stop.send(());
        runtime.block_on(async {
            if timeout(LAST, self.task).await.is_err() {
                tracing::warn!("the collector did not take the last spans in time");
            }
        });
    }
}
