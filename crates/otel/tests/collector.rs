//! What a collector gets, from a real proxy with a real server and a real client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in helpers of tests too, a surprise is a failure"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use sspc::tokio::{Client, Event};
use sspc_otel::{Exporter, Settings};
use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Proxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Clone, Debug)]
struct Got {
    head: String,
    body: Vec<u8>,
}

/// A server that keeps what it gets, and answers with these statuses, the last one for ever.
struct Server {
    port: u16,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    async fn start(mut statuses: Vec<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let all = Arc::clone(&got);
        let next = move || if statuses.len() > 1 { statuses.remove(0) } else { statuses[0] };
        let next = Arc::new(Mutex::new(next));
        tokio::spawn(async move {
            while let Ok((link, _)) = listener.accept().await {
                let (all, next) = (Arc::clone(&all), Arc::clone(&next));
                tokio::spawn(async move {
                    let mut link = link;
                    while let Some(got) = request(&mut link).await {
                        all.lock().unwrap().push(got);
                        let status = next.lock().unwrap()();
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\nretry-after: 0\r\ncontent-length: 2\r\n\r\nhi"
                        );
                        if link.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, got }
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    async fn until(&self, has: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let waiting = async {
            loop {
                let got = self.got();
                if has(&got) {
                    return got;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes in time")
    }
}

async fn request(link: &mut TcpStream) -> Option<Got> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(link.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    link.read_exact(&mut body).await.ok()?;
    Some(Got { head, body })
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// Spans of all requests so far.
fn spans(got: &[Got]) -> Vec<Span> {
    got.iter()
        .filter(|got| got.head.starts_with("post /v1/traces "))
        .flat_map(|got| ExportTraceServiceRequest::decode(&*got.body).unwrap().resource_spans)
        .flat_map(|of_resource| of_resource.scope_spans)
        .flat_map(|of_scope| of_scope.spans)
        .collect()
}

struct Rig {
    client: Client,
    origin: Server,
    collector: Server,
    stop: oneshot::Sender<()>,
    exporting: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

async fn rig(statuses: Vec<u16>, change: impl FnOnce(&mut Settings)) -> Rig {
    let (origin, collector) = (Server::start(vec![200]).await, Server::start(statuses).await);
    let policy = format!(
        r#"{{"s": [
            {{"hello": {{"endpoint": "localhost", "port": {port}, "opportunistic": true,
                "http_traceparent": true, "metadata": [{{"trace": "traceparent:"}}]}}}},
            {{"lost": {{"endpoint": "nowhere.invalid", "port": 1, "opportunistic": true}}}}
        ]}}"#,
        port = origin.port
    );
    let policy = Policy::parse(&Source::new("test", policy)).unwrap().policy;
    let mut config = Config::new(policy);
    config.observe = true;
    let mut proxy = Proxy::new(config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("uds:{}", folder.path().join("ss").display());
    proxy.listen(&address.parse().unwrap()).unwrap();
    let mut settings = Settings::new(&format!("http://localhost:{}/", collector.port));
    settings.metrics_every = Duration::from_secs(3600);
    change(&mut settings);
    let exporter = Exporter::new(proxy.handle(), settings).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let exporting = tokio::spawn(exporter.run(async {
        let _ = stopped.await;
    }));
    tokio::spawn(proxy.run(std::future::pending()));
    let client = Client::new(address.parse().unwrap());
    Rig { client, origin, collector, stop, exporting, _folder: folder }
}

impl Rig {
    async fn get(&self, streamtype: &str, trace: Option<&str>) {
        let mut stream = self.client.open(streamtype).await.unwrap();
        if let Some(trace) = trace {
            stream.set_metadata("trace", trace).unwrap();
        }
        stream.connect();
        let over = async {
            while let Some(event) = stream.next().await {
                let Event::State { state, .. } = event else { continue };
                if matches!(state.name(), "DISCONNECTED" | "ALL_RETRIES_FAILED") {
                    return;
                }
            }
        };
        timeout(PATIENCE, over).await.expect("it ends in time");
    }
}

#[tokio::test]
async fn a_collector_gets_a_span_for_each_transaction_and_servers_learn_of_it() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let rig = rig(vec![200], |settings| {
        settings.headers.push(("authorization".to_owned(), "Bearer token".to_owned()));
    })
    .await;
    rig.get("hello", Some(PARENT)).await;
    rig.get("lost", None).await;
    let got = rig.collector.until(|got| spans(got).len() == 2).await;
    let head = &got[0].head;
    assert!(head.contains("authorization: bearer token"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let spans = spans(&got);
    let [hello, lost] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*hello.name, &*lost.name), ("hello", "lost"));
    assert_eq!(hello.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(hello.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    let of_hello = |name: &str| attribute(&hello.attributes, name).unwrap().clone();
    assert_eq!(of_hello("http.response.status_code"), Value::IntValue(200));
    assert_eq!(of_hello("server.address"), text("localhost"));
    assert_eq!(of_hello("server.port"), Value::IntValue(rig.origin.port.into()));
    assert_eq!(of_hello("sspc.outcome"), text("acked"));
    assert_eq!(of_hello("sspc.to_client"), Value::IntValue(2));
    assert_eq!(hello.status.as_ref().unwrap().code, 0);
    assert!(hello.start_time_unix_nano < hello.end_time_unix_nano);
    assert_eq!(hello.events[0].name, "first_byte");
    let status = lost.status.as_ref().unwrap();
    assert_eq!(status.code, 2);
    assert!(status.message.contains("nowhere.invalid"), "{status:?}");
    assert_eq!(attribute(&lost.attributes, "error.type"), Some(&text("unknown_name")));
    assert!(lost.parent_span_id.is_empty() && lost.trace_id != hello.trace_id);
    // The server's request belongs to the same trace, and its parent is this span.
    let asked = &rig.origin.got()[0].head;
    let span: String = hello.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let traceparent = format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-{span}-01");
    assert!(asked.contains(&traceparent), "{traceparent} in {asked}");
}

#[tokio::test]
async fn what_a_busy_collector_does_not_take_is_sent_again_and_the_last_is_sent_at_the_end() {
    let rig = rig(vec![503, 429, 200], |_| {}).await;
    rig.get("hello", None).await;
    rig.collector.until(|got| spans(got).len() == 3).await;
    let got = rig.collector.got();
    assert!(got.iter().all(|again| again.body == got[0].body));
    rig.get("hello", None).await;
    rig.stop.send(()).unwrap();
    timeout(PATIENCE, rig.exporting).await.unwrap().unwrap();
    let got = rig.collector.got();
    assert_eq!(spans(&got).len(), 4);
    let metrics = got.iter().rfind(|got| got.head.starts_with("post /v1/metrics ")).unwrap();
    let metrics = ExportMetricsServiceRequest::decode(&*metrics.body).unwrap();
    let of_resource = &metrics.resource_metrics[0];
    let resource = of_resource.resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), Some(&text("sspc-proxy")));
    let metrics = &of_resource.scope_metrics[0].metrics;
    let of = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap().data.clone();
    let Some(Data::Sum(transactions)) = of("sspc.transactions") else { panic!() };
    let [point] = &transactions.data_points[..] else { panic!("{transactions:?}") };
    assert_eq!(attribute(&point.attributes, "sspc.outcome"), Some(&text("acked")));
    let two = opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsInt(2);
    assert_eq!(point.value, Some(two));
    let Some(Data::Histogram(duration)) = of("sspc.transaction.duration") else { panic!() };
    let point = &duration.data_points[0];
    assert_eq!((point.count, point.bucket_counts.len()), (2, point.explicit_bounds.len() + 1));
}

#[test]
fn the_environment_says_the_rest() {
    let env = |name: &str| {
        let value = match name {
            "OTEL_EXPORTER_OTLP_HEADERS" => "api-key=a%20b, x = y",
            "OTEL_RESOURCE_ATTRIBUTES" => "service.name=one,site=north",
            "OTEL_SERVICE_NAME" => "two",
            "OTEL_EXPORTER_OTLP_TIMEOUT" => "250",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => "https://traces.example.com/in",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let settings = Settings::new("http://localhost:4318").with_env(env).unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(settings.headers, [pair("api-key", "a b"), pair("x", "y")]);
    assert!(settings.resource.contains(&pair("service.name", "two")));
    assert!(settings.resource.contains(&pair("site", "north")));
    assert_eq!(settings.timeout, Duration::from_millis(250));
    assert_eq!(settings.traces, "https://traces.example.com/in");
    assert_eq!(settings.metrics, "http://localhost:4318/v1/metrics");
    let wrong = |name: &'static str, value: &'static str| {
        let env = move |asked: &str| (asked == name).then(|| value.to_owned());
        Settings::new("http://x").with_env(env).unwrap_err().to_string()
    };
    assert_eq!(
        wrong("OTEL_EXPORTER_OTLP_HEADERS", "token"),
        "OTEL_EXPORTER_OTLP_HEADERS=\"token\": expected NAME=VALUE,NAME=VALUE, with values percent-encoded"
    );
    assert!(wrong("OTEL_METRIC_EXPORT_INTERVAL", "soon").contains("expected milliseconds"));
}
