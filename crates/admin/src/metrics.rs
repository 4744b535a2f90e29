//! Metrics: all names, with their help. `docs/monitoring.md` has the same table.

use std::collections::BTreeMap;
use std::fmt;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use sspc_proxy::Counters;
use sspc_proxy::view::{HistogramView, LineView, ProxyView, StreamtypeView};

use crate::answer::{Answer, failed, whole};
use crate::server::{PolicyView, Side};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Gives the samples of a metric: the values of its labels, and the number.
type Samples = fn(&Seen, &mut dyn FnMut(&[&str], Value<'_>));

/// A metric that the admin side has.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, without the `_total` that counters get.
    pub name: &'static str,
    /// What kind it is.
    pub kind: MetricKind,
    /// The labels of its samples. Their values come from the policy, the command line or this program; none
    /// is one that a client chooses.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
    samples: Samples,
}

/// What kind of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows, until the proxy is started again.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// How often, by size.
    Histogram,
    /// A fact, in its labels.
    Info,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        })
    }
}

enum Value<'a> {
    Number(u64),
    Real(f64),
    Times(&'a HistogramView),
    Fact,
}

/// What is shown, at one moment.
#[derive(Debug)]
struct Seen {
    proxy: ProxyView,
    counters: Counters,
    policy: PolicyView,
    /// Serial ports alone: their names are the command line's.
    lines: Vec<LineView>,
    connections: BTreeMap<&'static str, u64>,
    streamtypes: Vec<StreamtypeView>,
}

use Value::{Fact, Number, Real, Times};

/// One number.
macro_rules! one {
    ($kind:ident $name:literal $help:literal $($value:tt)+) => {
        Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &[],
            help: $help,
            samples: |seen, sample| sample(&[], $($value)+(seen)),
        }
    };
}

/// A number for each serial port.
macro_rules! line {
    ($kind:ident $name:literal $help:literal $value:expr) => {
        Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &["line"],
            help: $help,
            samples: |seen, sample| {
                let value: fn(&LineView) -> Option<Value<'static>> = $value;
                for line in &seen.lines {
                    if let Some(value) = value(line) {
                        sample(&[&line.name], value);
                    }
                }
            },
        }
    };
}

/// Numbers for each streamtype.
macro_rules! streamtype {
    ($kind:ident $name:literal [$($label:literal)*] $help:literal $samples:expr) => {
        Metric {
            name: $name,
            kind: MetricKind::$kind,
            labels: &["streamtype", "protocol", $($label),*],
            help: $help,
            samples: |seen, sample| {
                let samples: fn(&StreamtypeView, &mut dyn FnMut(&[&str], Value<'_>)) = $samples;
                for streamtype in &seen.streamtypes {
                    samples(streamtype, &mut |more, value| {
                        let mut labels = vec![&*streamtype.streamtype, &*streamtype.protocol];
                        labels.extend(more);
                        sample(&labels, value);
                    });
                }
            },
        }
    };
}

/// Every metric.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "sspc_build",
        kind: MetricKind::Info,
        labels: &["version"],
        help: "Which sspc this is",
        samples: |seen, sample| sample(&[seen.proxy.version], Fact),
    },
    one!(Gauge "sspc_start_time_seconds" "When the proxy was started, in seconds since 1970"
        (|seen: &Seen| Real(seen.proxy.started_at as f64 / 1000.0))),
    one!(Gauge "sspc_ready" "1 if the proxy takes clients, 0 before it runs and while it drains"
        (|seen: &Seen| Number(seen.proxy.is_accepting.into()))),
    one!(Gauge "sspc_sessions" "Sessions that are open: links with or without a stream"
        (|seen: &Seen| Number(seen.proxy.sessions))),
    one!(Gauge "sspc_sessions_max" "Most sessions that may be open"
        (|seen: &Seen| Number(seen.proxy.sessions_max))),
    one!(Counter "sspc_sessions_opened" "Sessions that were ever opened"
        (|seen: &Seen| Number(seen.counters.sessions_total))),
    one!(Counter "sspc_sessions_over_limit" "Sessions turned away because a limit was reached"
        (|seen: &Seen| Number(seen.counters.over_limit))),
    one!(Counter "sspc_streams_refused" "Streams refused with CREATE_RESULT 1"
        (|seen: &Seen| Number(seen.counters.refused))),
    one!(Counter "sspc_protocol_errors" "Links closed because of what the client sent"
        (|seen: &Seen| Number(seen.counters.protocol_errors))),
    one!(Counter "sspc_accept_errors" "Accepts that failed"
        (|seen: &Seen| Number(seen.counters.accept_errors))),
    one!(Counter "sspc_attempts" "Attempts to connect onward"
        (|seen: &Seen| Number(seen.counters.attempts))),
    Metric {
        name: "sspc_attempt_failures",
        kind: MetricKind::Counter,
        labels: &["whose"],
        help: "Attempts that failed, by whose fault it was: upstream, client, policy or local",
        samples: |seen, sample| {
            let counters = &seen.counters;
            sample(&["upstream"], Number(counters.failures_upstream));
            sample(&["client"], Number(counters.failures_client));
            sample(&["policy"], Number(counters.failures_policy));
            sample(&["local"], Number(counters.failures_local));
        },
    },
    Metric {
        name: "sspc_payload_bytes",
        kind: MetricKind::Counter,
        labels: &["direction"],
        help: "Bytes of payload, by direction: from_clients or to_clients",
        samples: |seen, sample| {
            sample(&["from_clients"], Number(seen.counters.bytes_from_clients));
            sample(&["to_clients"], Number(seen.counters.bytes_to_clients));
        },
    },
    one!(Gauge "sspc_memory_held_bytes" "Bytes that wait in the proxy"
        (|seen: &Seen| Number(seen.proxy.memory_held))),
    one!(Gauge "sspc_memory_max_bytes" "Most bytes that may wait in the proxy"
        (|seen: &Seen| Number(seen.proxy.memory_max))),
    one!(Counter "sspc_smd_messages" "System messages given to all who wanted them"
        (|seen: &Seen| Number(seen.counters.smd_messages))),
    one!(Counter "sspc_smd_refused" "System messages refused because of their length"
        (|seen: &Seen| Number(seen.counters.smd_refused))),
    one!(Counter "sspc_smd_lost" "System messages that clients lost because they did not read in time"
        (|seen: &Seen| Number(seen.counters.smd_lost))),
    one!(Gauge "sspc_links_up" "Lines whose link is up, serial ports and others"
        (|seen: &Seen| Number(seen.counters.links_up))),
    one!(Counter "sspc_link_losses" "Links of lines that were lost"
        (|seen: &Seen| Number(seen.counters.link_losses))),
    one!(Counter "sspc_channel_overflows" "Channels of lines closed because too much came on them"
        (|seen: &Seen| Number(seen.counters.overflows))),
    line!(Gauge "sspc_line_up" "1 if the link of this serial port is up"
        |line| Some(Number(line.is_up.into()))),
    line!(Counter "sspc_line_losses" "Times that the link of this serial port was lost"
        |line| Some(Number(line.losses))),
    line!(Gauge "sspc_line_round_trip_seconds" "Last round trip on this serial port, while it is known"
        |line| line.round_trip_us.map(|us| Real(us as f64 / 1e6))),
    line!(Gauge "sspc_line_channels" "Channels that are open on this serial port"
        |line| Some(Number(u64::try_from(line.channels).unwrap_or(u64::MAX)))),
    Metric {
        name: "sspc_line_bytes",
        kind: MetricKind::Counter,
        labels: &["line", "direction"],
        help: "Bytes on this serial port, by direction: in or out",
        samples: |seen, sample| {
            for line in &seen.lines {
                sample(&[&line.name, "in"], Number(line.bytes_in));
                sample(&[&line.name, "out"], Number(line.bytes_out));
            }
        },
    },
    Metric {
        name: "sspc_line_packets",
        kind: MetricKind::Counter,
        labels: &["line", "direction"],
        help: "Packets on this serial port with framing=reliable, by direction: in or out",
        samples: |seen, sample| {
            for line in &seen.lines {
                sample(&[&line.name, "in"], Number(line.packets_in));
                sample(&[&line.name, "out"], Number(line.packets_out));
            }
        },
    },
    line!(Counter "sspc_line_packets_resent" "Packets that were sent again on this serial port"
        |line| Some(Number(line.packets_resent))),
    line!(Counter "sspc_line_packets_damaged" "What came on this serial port and was no packet"
        |line| Some(Number(line.packets_damaged))),
    Metric {
        name: "sspc_connections",
        kind: MetricKind::Gauge,
        labels: &["protocol"],
        help: "Onward connections that are open, by what is spoken on them",
        samples: |seen, sample| {
            for (protocol, number) in &seen.connections {
                sample(&[protocol], Number(*number));
            }
        },
    },
    one!(Gauge "sspc_policy_streamtypes" "Streamtypes of the policy"
        (|seen: &Seen| Number(u64::try_from(seen.policy.streamtypes).unwrap_or(u64::MAX)))),
    one!(Gauge "sspc_policy_warnings" "Warnings of the policy"
        (|seen: &Seen| Number(u64::try_from(seen.policy.warnings_total).unwrap_or(u64::MAX)))),
    one!(Gauge "sspc_policy_failed" "1 if the last attempt to replace the policy failed"
        (|seen: &Seen| Number(seen.policy.last_error.is_some().into()))),
    streamtype!(Gauge "sspc_streams" [] "Streams that are open"
        |seen, sample| sample(&[], Number(seen.open))),
    streamtype!(Counter "sspc_streams_created" [] "Streams that were ever created"
        |seen, sample| sample(&[], Number(seen.created))),
    streamtype!(Counter "sspc_transactions" ["outcome"] "Transactions that ended, by how: acked, nacked, left, closed, or what went wrong"
    |seen, sample| {
        for (outcome, number) in &seen.outcomes {
            sample(&[outcome], Number(*number));
        }
    }),
    streamtype!(Counter "sspc_stream_payload_bytes" ["direction"] "Bytes of payload, by direction: from_clients or to_clients"
    |seen, sample| {
        sample(&["from_clients"], Number(seen.from_clients));
        sample(&["to_clients"], Number(seen.to_clients));
    }),
    streamtype!(Histogram "sspc_first_byte_seconds" [] "From the beginning of a transaction to the first byte of its response"
        |seen, sample| sample(&[], Times(&seen.first_byte))),
    streamtype!(Histogram "sspc_transaction_seconds" [] "From the beginning of a transaction to its end"
        |seen, sample| sample(&[], Times(&seen.total))),
];

/// `/metrics`
pub(crate) fn answer(side: &Side) -> Answer {
    let mut connections = BTreeMap::new();
    for connection in side.observed.connections() {
        *connections.entry(connection.protocol).or_default() += 1;
    }
    let mut lines = side.observed.lines();
    lines.retain(|line| line.name.starts_with("serial:"));
    let seen = Seen {
        proxy: side.observed.proxy(),
        counters: side.handle.counters(),
        policy: side.policy(),
        lines,
        connections,
        streamtypes: side.observed.streamtypes(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(seen));
    let mut out = String::new();
    match text::encode(&mut out, &registry) {
        Ok(()) => whole(StatusCode::OK, OPENMETRICS, out),
        Err(error) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be written",
            &error.to_string(),
            "report this as a fault of sspc",
        ),
    }
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS.iter().try_for_each(|metric| metric.encode(self, &mut encoder))
    }
}

impl Metric {
    fn encode(&self, seen: &Seen, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match self.kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
            MetricKind::Info => MetricType::Info,
        };
        let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
        let unit = units.iter().find_map(|(suffix, unit)| {
            let name = self.name.strip_suffix(suffix)?;
            Some((name, unit))
        });
        let (name, unit) = match unit {
            Some((name, unit)) => (name, Some(unit)),
            None => (self.name, None),
        };
        let mut encoder = encoder.encode_descriptor(name, self.help, unit, kind)?;
        let mut result = Ok(());
        (self.samples)(seen, &mut |values, value| {
            let labels: Vec<_> = self.labels.iter().copied().zip(values.iter().copied()).collect();
            if result.is_ok() {
                result = write(&mut encoder, &labels, self.kind, value);
            }
        });
        result
    }
}

fn write(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&str, &str)],
    kind: MetricKind,
    value: Value<'_>,
) -> fmt::Result {
    let labels = labels.to_vec();
    if let Fact = value {
        return encoder.encode_info(&labels);
    }
    // Without labels there are to be no braces.
    match labels.is_empty() {
        true => number(encoder, kind, value),
        false => number(&mut encoder.encode_family(&labels)?, kind, value),
    }
}

fn number(encoder: &mut MetricEncoder<'_>, kind: MetricKind, value: Value<'_>) -> fmt::Result {
    match value {
        Number(number) if kind == MetricKind::Counter => {
            encoder.encode_counter::<NoLabelSet, _, u64>(&number, None)
        }
        Number(number) => encoder.encode_gauge(&number),
        Real(number) => encoder.encode_gauge(&number),
        Times(times) => {
            let bound = |us: u64| if us == u64::MAX { f64::INFINITY } else { us as f64 / 1e6 };
            let buckets: Vec<_> =
                times.buckets.iter().map(|(us, count)| (bound(*us), *count)).collect();
            let count = times.buckets.iter().map(|(_, count)| count).sum();
            let sum = times.sum_us as f64 / 1e6;
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        }
        Fact => Ok(()),
    }
}
