//! What paths answer.

use std::io::{BufRead, BufReader, Write};

use serde_json::Value;
use sspc_admin::AdminAddress;

use tokio::time::timeout;

use crate::support::{PATIENCE, World, ask, connect, get};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_show_who_does_what_and_what_went_wrong() {
    let world = World::start().await;
    let _good = world.get("good").await;
    let _gone = world.get("gone").await;
    let _nobody = world.get("nobody").await;
    let all = world.json("/api/v1/sessions").await;
    assert_eq!((&all["total"], &all["matching"]), (&3.into(), &3.into()), "{all}");

    let good = world.json("/api/v1/sessions?streamtype=good").await;
    assert_eq!(good["matching"], 1, "{good}");
    let session = &good["rows"][0];
    assert_eq!(session["to_client"], 5, "{session}");
    assert!(session["client"].as_str().unwrap().starts_with("user "), "{session}");
    let id = session["id"].as_u64().unwrap();
    let same = world.json(&format!("/api/v1/sessions/{id}")).await;
    assert_eq!((&same["streamtype"], &same["last_error"]), (&"good".into(), &Value::Null));

    let gone = world.json("/api/v1/sessions?text=404").await;
    assert_eq!(gone["matching"], 0, "a status is no text: {gone}");
    let gone = world.json("/api/v1/sessions?text=NACKED").await;
    assert_eq!(gone["rows"][0]["last_error"]["status"], 404, "{gone}");

    let page = world.json("/api/v1/sessions?sort=-age&limit=1").await;
    assert_eq!((&page["matching"], &page["rows"][0]["streamtype"]), (&3.into(), &"nobody".into()));
    let rest = world.json(&format!("/api/v1/sessions?after={id}")).await;
    assert_eq!(rest["matching"], 2, "{rest}");
    for (query, matching) in [("client=user", 3), ("client=nobody-else", 0), ("state=xyz", 0)] {
        let found = world.json(&format!("/api/v1/sessions?{query}")).await;
        assert_eq!(found["matching"], matching, "{query}: {found}");
    }

    let failures = world.json("/api/v1/failures").await;
    let kinds: Vec<_> = failures.as_array().unwrap().iter().map(|f| f["kind"].as_str()).collect();
    assert!(kinds.contains(&Some("nacked")), "{failures}");
    assert_eq!(failures.as_array().unwrap().len(), 2, "{failures}");
    let streamtypes = world.json("/api/v1/streamtypes").await;
    let of_good = &streamtypes.as_array().unwrap().iter().find(|s| s["streamtype"] == "good");
    assert_eq!(of_good.unwrap()["to_clients"], 5, "{streamtypes}");
    let connections = world.json("/api/v1/connections").await;
    assert_eq!(connections[0]["protocol"], "h1", "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_has_the_policy_and_its_warnings() {
    let world = World::start().await;
    let long = "é".repeat(1000);
    world.policy.loaded("site.json", (0..60).map(|number| format!("{number} {long}")));
    let status = world.until("/api/v1/status", |status| status["ready"] == true).await;
    let policy = &status["policy"];
    assert_eq!((&policy["source"], &policy["streamtypes"]), (&"site.json".into(), &3.into()));
    assert_eq!(policy["warnings_total"], 60);
    let warnings = policy["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 50);
    assert!(warnings.iter().all(|warning| warning.as_str().unwrap().len() <= 500));
    world.policy.failed("it is wrong");
    let status = world.json("/api/v1/status").await;
    assert_eq!(status["policy"]["last_error"], "it is wrong");
    assert_eq!(status["policy"]["source"], "site.json", "the old one stays in use");
    assert!(status["counters"]["sessions_total"].is_u64(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_healthy_from_the_beginning_and_ready_until_it_drains() {
    let mut world = World::start().await;
    world.until("/api/v1/status", |status| status["ready"] == true).await;
    assert_eq!(world.look("/healthz").await.status, 200);
    assert_eq!(world.look("/readyz").await.status, 200);
    world.stop.take().unwrap().send(()).unwrap();
    world.until("/api/v1/status", |status| status["ready"] == false).await;
    let readyz = world.look("/readyz").await;
    assert_eq!((readyz.status, &*readyz.body), (503, "not ready: it takes no clients\n"));
    assert_eq!(world.look("/healthz").await.status, 200);
}

/// What a stream of events says next.
fn events(world: &World, path: &str) -> impl FnMut() -> (String, Value) + Send + use<> {
    let mut link = connect(&world.admin);
    link.write_all(get(path, "localhost").as_bytes()).unwrap();
    let mut lines = BufReader::new(link).lines();
    move || {
        let mut name = String::new();
        for line in lines.by_ref() {
            let line = line.unwrap();
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap());
            }
        }
        panic!("the events end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_come_as_they_end() {
    let world = World::start().await;
    let mut all = events(&world, "/api/v1/transactions");
    let gone = events(&world, "/api/v1/transactions?streamtype=gone");
    // They follow once they have got an answer's head.
    let _first = world.get("good").await;
    let _second = world.get("gone").await;
    let (name, first) = tokio::task::spawn_blocking(move || {
        let first = all();
        let second = all();
        assert_eq!(second.1["streamtype"], "gone");
        first
    })
    .await
    .unwrap();
    assert_eq!(name, "transaction");
    let expected = (&"good".into(), &"acked".into(), &200.into());
    assert_eq!((&first["streamtype"], &first["outcome"], &first["status"]), expected, "{first}");
    let (_, only) = tokio::task::spawn_blocking(gone).await.unwrap();
    assert_eq!(only["status"], 404, "{only}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_as_they_pass_cut_and_filtered_as_asked() {
    let world = World::start().await;
    let mut good = events(&world, "/api/v1/frames?streamtype=good&snap=3");
    let nobody = events(&world, "/api/v1/frames?client=nobody%20of%20this%20name");
    let _first = world.get("gone").await;
    let _second = world.get("good").await;
    let frames = tokio::task::spawn_blocking(move || {
        let mut frames = Vec::new();
        loop {
            let (name, frame) = good();
            assert_eq!(name, "frame");
            frames.push(frame);
            // RX_PAYLOAD
            if frames.last().unwrap()["bytes"].as_str().unwrap().starts_with("55") {
                return frames;
            }
        }
    });
    let frames = timeout(PATIENCE, frames).await.unwrap().unwrap();
    let types: Vec<_> = frames.iter().map(|frame| &frame["bytes"].as_str().unwrap()[..2]).collect();
    // STREAMTYPE, CREATE_RESULT, CONNSTATE, ONWARD_CONNECT, and so on.
    assert_eq!(&types[..2], ["aa", "56"], "{types:?}");
    assert!(types.contains(&"ab") && types.contains(&"57"), "{types:?}");
    let first = &frames[0];
    assert_eq!((&first["direction"], &first["streamtype"]), (&"to_proxy".into(), &"good".into()));
    assert!(first["peer"].as_str().unwrap().starts_with("process "), "{first}");
    assert_eq!(first["bytes"].as_str().unwrap().len(), 6);
    assert_eq!(first["length"], 3 + 9 + "good".len());
    drop(nobody);
    let answer = world.look("/api/v1/frames?snap=x").await;
    assert_eq!(answer.status, 400, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_shown_over_unix_sockets_alone() {
    let world = World::at(&"http:127.0.0.1:0".parse().unwrap()).await;
    let AdminAddress::Http(at) = &world.admin else { panic!() };
    let asked = get("/api/v1/frames", &at.to_string());
    let admin = world.admin.clone();
    let answer = tokio::task::spawn_blocking(move || ask(&admin, &asked)).await.unwrap();
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(answer.body.contains("hold payload and metadata"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_gets_snapshots_with_rates() {
    let world = World::start().await;
    let _good = world.get("good").await;
    let mut next = events(&world, "/api/v1/events?sort=-rate&limit=1");
    let (first, second) = tokio::task::spawn_blocking(move || (next(), next())).await.unwrap();
    assert_eq!(first.0, "snapshot");
    assert_eq!(first.1["sessions"]["rows"][0].get("rate"), None);
    assert_eq!(second.1["sessions"]["rows"][0]["rate"], 0, "{}", second.1);
    for part in ["proxy", "counters", "policy", "lines", "connections", "failures"] {
        assert!(second.1[part].is_object(), "no {part} in {}", second.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_openmetrics_and_count_what_happened() {
    let world = World::start().await;
    let _good = world.get("good").await;
    let _gone = world.get("gone").await;
    let answer = world.look("/metrics").await;
    assert!(answer.head.contains("application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    let lines: Vec<_> = answer.body.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"));
    for sample in [
        "sspc_sessions 2",
        "sspc_sessions_opened_total 2",
        r#"sspc_streams{streamtype="good",protocol="h1"} 1"#,
        r#"sspc_transactions_total{streamtype="gone",protocol="h1",outcome="nacked"} 1"#,
        r#"sspc_payload_bytes_total{direction="to_clients"} 10"#,
        r#"sspc_transaction_seconds_bucket{le="+Inf",streamtype="good",protocol="h1"} 1"#,
        r#"sspc_connections{protocol="h1"} 1"#,
        "# TYPE sspc_memory_max_bytes gauge",
    ] {
        assert!(lines.contains(&sample), "no {sample} in\n{}", answer.body);
    }
    // Each name has its help once, and its samples right behind it.
    let mut names: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
