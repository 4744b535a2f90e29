//! Metrics, from what the proxy counts.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use sspc_proxy::Observed;
use sspc_proxy::view::{HistogramView, StreamtypeView};

use crate::{scope, text};

pub(crate) fn request(
    observed: &Observed,
    lost: u64,
    resource: Resource,
) -> ExportMetricsServiceRequest {
    let proxy = observed.proxy();
    let times = Times { began: nanos(proxy.started_at), now: nanos(proxy.now) };
    let streamtypes = observed.streamtypes();
    let each = |value: fn(&StreamtypeView) -> u64| {
        let points = streamtypes.iter().map(|seen| times.number(of(seen), value(seen)));
        points.collect::<Vec<_>>()
    };
    let transactions = streamtypes.iter().flat_map(|seen| {
        seen.outcomes.iter().map(|(outcome, count)| {
            let mut attributes = of(seen);
            attributes.push(text("sspc.outcome", outcome));
            times.number(attributes, *count)
        })
    });
    let payload = streamtypes.iter().flat_map(|seen| {
        [("from_client", seen.from_clients), ("to_client", seen.to_clients)].map(
            |(direction, bytes)| {
                let mut attributes = of(seen);
                attributes.push(text("sspc.direction", direction));
                times.number(attributes, bytes)
            },
        )
    });
    let durations = |which: fn(&StreamtypeView) -> &HistogramView| {
        let points = streamtypes.iter().map(|seen| times.histogram(of(seen), which(seen)));
        points.collect::<Vec<_>>()
    };
    let metrics = vec![
        gauge(
            "sspc.sessions",
            "Sessions that are open",
            "{session}",
            vec![times.number(Vec::new(), proxy.sessions)],
        ),
        gauge(
            "sspc.memory",
            "Bytes that wait in the proxy",
            "By",
            vec![times.number(Vec::new(), proxy.memory_held)],
        ),
        gauge("sspc.streams", "Streams that are open", "{stream}", each(|seen| seen.open)),
        sum(
            "sspc.streams.created",
            "Streams that were created",
            "{stream}",
            each(|seen| seen.created),
        ),
        sum(
            "sspc.transactions",
            "Transactions that ended",
            "{transaction}",
            transactions.collect(),
        ),
        sum("sspc.payload", "Payload", "By", payload.collect()),
        histogram(
            "sspc.transaction.duration",
            "From beginning to end",
            durations(|seen| &seen.total),
        ),
        histogram(
            "sspc.transaction.first_byte",
            "From beginning to first byte",
            durations(|seen| &seen.first_byte),
        ),
        sum(
            "sspc.otlp.lost",
            "Spans that the collector did not get",
            "{span}",
            vec![times.number(Vec::new(), lost)],
        ),
    ];
    let scope_metrics = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
    let metrics = ResourceMetrics {
        resource: Some(resource),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![metrics] }
}

fn of(seen: &StreamtypeView) -> Vec<KeyValue> {
    vec![text("sspc.streamtype", &seen.streamtype), text("sspc.protocol", &seen.protocol)]
}

const fn nanos(millis: u64) -> u64 {
    millis.saturating_mul(1_000_000)
}

/// From when to when is counted, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    began: u64,
    now: u64,
}

impl Times {
    fn number(self, attributes: Vec<KeyValue>, value: u64) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            value: Some(Value::AsInt(i64::try_from(value).unwrap_or(i64::MAX))),
            ..NumberDataPoint::default()
        }
    }

    fn histogram(self, attributes: Vec<KeyValue>, seen: &HistogramView) -> HistogramDataPoint {
        let bucket_counts: Vec<u64> = seen.buckets.iter().map(|(_, count)| *count).collect();
        let bounds = seen.buckets.iter().map(|(bound, _)| *bound);
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            count: bucket_counts.iter().sum(),
            sum: Some(seen.sum_us as f64 / 1e6),
            bucket_counts,
            explicit_bounds: bounds
                .filter(|bound| *bound < u64::MAX)
                .map(|us| us as f64 / 1e6)
                .collect(),
            ..HistogramDataPoint::default()
        }
    }
}

fn metric(name: &str, description: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn gauge(name: &str, description: &str, unit: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, description, unit, Data::Gauge(Gauge { data_points }))
}

/// What only grows, counted from the beginning on.
fn sum(name: &str, description: &str, unit: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    };
    metric(name, description, unit, Data::Sum(sum))
}

fn histogram(name: &str, description: &str, data_points: Vec<HistogramDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric(
        name,
        description,
        "s",
        Data::Histogram(Histogram { data_points, aggregation_temporality }),
    )
}
