//! Transactions as spans.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use sspc_proxy::view::TransactionView;

use crate::{attribute, number, scope, text};

pub(crate) fn request(
    batch: &[Arc<TransactionView>],
    resource: Resource,
) -> ExportTraceServiceRequest {
    let spans = batch.iter().map(|transaction| span(transaction)).collect();
    let scope_spans = ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() };
    let spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

fn span(transaction: &TransactionView) -> Span {
    let times = &transaction.times;
    let begin = transaction.began_at.saturating_mul(1_000_000);
    let at = |us: u64| begin.saturating_add(us.saturating_mul(1000));
    let mut events = Vec::new();
    if times.first_byte_us > 0 {
        events.push(Event {
            time_unix_nano: at(times.first_byte_us),
            name: "first_byte".to_owned(),
            ..Event::default()
        });
    }
    let parent = transaction.parent_span_id.map(|id| id.to_be_bytes().to_vec());
    Span {
        trace_id: transaction.trace_id.to_be_bytes().to_vec(),
        span_id: transaction.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        name: transaction.streamtype.clone(),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: begin,
        end_time_unix_nano: at(times.total_us),
        attributes: attributes(transaction),
        events,
        status: Some(status(transaction)),
        ..Span::default()
    }
}

fn status(transaction: &TransactionView) -> Status {
    let is_error = transaction.whose.is_some() || transaction.outcome == Some("nacked");
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    let message = transaction.why.clone().filter(|_| is_error).unwrap_or_default();
    Status { message, code: code.into() }
}

/// Names of OpenTelemetry's semantic conventions where there are some.
fn attributes(transaction: &TransactionView) -> Vec<KeyValue> {
    let TransactionView { times, .. } = transaction;
    let mut all = vec![
        text("sspc.streamtype", &transaction.streamtype),
        text("sspc.client", &transaction.client),
        text("sspc.peer", &transaction.peer),
        number("sspc.session", transaction.session),
        text("network.protocol.name", protocol(&transaction.protocol)),
        number("sspc.from_client", transaction.from_client),
        number("sspc.to_client", transaction.to_client),
        number("sspc.queue_us", times.queue_us),
        number("sspc.dns_us", times.dns_us),
        number("sspc.connect_us", times.connect_us),
        number("sspc.tls_us", times.tls_us),
    ];
    if let Some(version) = version(&transaction.protocol) {
        all.push(text("network.protocol.version", version));
    }
    if let Some(endpoint) = &transaction.endpoint {
        let parts = endpoint.rsplit_once(':');
        match parts.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?))) {
            Some((host, port)) => {
                all.push(text("server.address", host.trim_matches(['[', ']'])));
                all.push(number("server.port", port.into()));
            }
            None => all.push(text("server.address", endpoint)),
        }
    }
    if let Some(status) = transaction.status {
        all.push(number("http.response.status_code", status.into()));
    }
    if let Some(outcome) = transaction.outcome {
        all.push(text("sspc.outcome", outcome));
        if transaction.whose.is_some() {
            all.push(text("error.type", outcome));
        }
    }
    if let Some(whose) = transaction.whose {
        all.push(text("sspc.whose", whose));
    }
    if let Some(connection) = transaction.connection {
        all.push(number("sspc.connection", connection));
    }
    if let Some(reused) = transaction.reused {
        all.push(attribute("sspc.connection.reused", Value::BoolValue(reused)));
    }
    all
}

fn protocol(of_policy: &str) -> &str {
    match of_policy {
        "h1" | "h2" | "h3" => "http",
        "ws" => "websocket",
        other => other,
    }
}

fn version(of_policy: &str) -> Option<&'static str> {
    match of_policy {
        "h1" => Some("1.1"),
        "h2" => Some("2"),
        "h3" => Some("3"),
        _ => None,
    }
}
