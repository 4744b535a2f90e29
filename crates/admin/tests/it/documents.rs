//! docs/monitoring.md and the code say the same.

use sspc_admin::METRICS;

const DOCUMENT: &str = include_str!("../../../../docs/monitoring.md");

#[test]
fn the_table_of_metrics_is_complete() {
    let rows: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with("| `sspc_")).collect();
    let expected: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, help) = (metric.name, metric.kind, metric.help);
            format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
        })
        .collect();
    assert_eq!(rows, expected, "write\n{}", expected.join("\n"));
}

#[test]
fn every_path_is_in_the_document() {
    for path in [
        "/",
        "/api/v1/status",
        "/api/v1/sessions",
        "/api/v1/sessions/ID",
        "/api/v1/lines",
        "/api/v1/connections",
        "/api/v1/failures",
        "/api/v1/streamtypes",
        "/api/v1/transactions",
        "/api/v1/events",
        "/metrics",
        "/healthz",
        "/readyz",
    ] {
        assert!(DOCUMENT.contains(&format!("| `{path}` |")), "{path}");
    }
}
