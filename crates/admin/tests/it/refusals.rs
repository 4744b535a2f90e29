//! Who may not look, and what is no question.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use sspc_admin::{Admin, AdminAddress};
use sspc_policy::Policy;
use sspc_proxy::{Config, Proxy};

use crate::support::{World, ask, connect, get};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_here_by_somebody_elses_will_shows_nothing() {
    let world = World::at(&"http:127.0.0.1:0".parse().unwrap()).await;
    let AdminAddress::Http(at) = world.admin else { panic!() };
    let port = at.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("LOCALHOST:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        (format!("evil.example:{port}"), 403),
        (format!("127.0.0.1.evil.example:{port}"), 403),
        ("127.0.0.1".to_owned(), 403),
        ("127.0.0.1:1".to_owned(), 403),
        ("".to_owned(), 403),
    ] {
        for path in ["/", "/metrics", "/api/v1/sessions"] {
            let answer = ask(&world.admin, &get(path, &host));
            assert_eq!(answer.status, status, "{host:?}: {}", answer.body);
        }
    }
    let none = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&world.admin, none).status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_hears_what_why_and_what_to_do() {
    let world = World::start().await;
    for (path, status, help) in [
        ("/nowhere", 404, "/api/v1/status"),
        ("/api/v1/sessions/0", 404, "/api/v1/sessions"),
        ("/api/v1/sessions/x", 404, "/api/v1/sessions"),
        ("/api/v1/sessions?limit=0", 400, "1 to 1000"),
        ("/api/v1/sessions?limit=1001", 400, "1 to 1000"),
        ("/api/v1/sessions?after=x", 400, "number"),
        ("/api/v1/sessions?sort=size", 400, "bytes"),
        ("/api/v1/sessions?colour=red", 400, "streamtype"),
        ("/api/v1/lines?limit=1", 400, "leave out"),
    ] {
        let answer = world.look(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        for part in ["what", "why"] {
            assert!(!said[part].as_str().unwrap().is_empty(), "{path}: {said}");
        }
        assert!(said["help"].as_str().unwrap().contains(help), "{path}: {said}");
    }
    let long = world.look(&format!("/api/v1/sessions?client={}", "x".repeat(201))).await;
    assert_eq!(long.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_changed() {
    let world = World::start().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        let request =
            format!("{method} /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = ask(&world.admin, &request);
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get"), "{}", answer.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_may_follow_and_a_reader_who_reads_nothing_stops_nobody() {
    let world = World::start().await;
    let mut followers = Vec::new();
    for _ in 0..16 {
        let mut link = connect(&world.admin);
        link.write_all(get("/api/v1/events", "localhost").as_bytes()).unwrap();
        let mut first = [0; 15];
        link.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        followers.push(link);
    }
    let refused = world.look("/api/v1/events").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains("at most 16"), "{}", refused.body);
    // None of them reads on.
    for _ in 0..50 {
        world.get("good").await;
    }
    assert_eq!(world.look("/healthz").await.status, 200);
    drop(followers);
    let mut freed = world.look("/api/v1/transactions?client=x&streamtype=y&state=z").await;
    while freed.status == 503 {
        freed = world.look("/api/v1/transactions?client=x&streamtype=y&state=z").await;
    }
    assert_eq!(freed.status, 400, "it takes no parameter `state`");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sockets_file_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ss.sock.admin");
    let world = World::at(&AdminAddress::Path(path.clone())).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.look("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_observed_has_no_admin_side() {
    let proxy = Proxy::new(Config::new(Policy::builtin())).unwrap();
    let error = Admin::bind(&"http:127.0.0.1:0".parse().unwrap(), proxy.handle()).unwrap_err();
    assert!(error.to_string().contains("Config::observe"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_run_its_own_script_and_nothing_else() {
    let world = World::start().await;
    let page = world.look("/").await;
    assert_eq!(page.status, 200);
    let policy = page.head.lines().find(|line| line.starts_with("content-security-policy"));
    let policy = policy.expect("it has a policy");
    assert!(policy.contains("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for outside in
        ["http://", "https://", "innerHTML", "insertAdjacentHTML", "document.write", "eval("]
    {
        assert!(
            !page.body.replace("http://www.w3.org/2000/svg", "").contains(outside),
            "{outside}"
        );
    }
    assert_eq!(page.body.matches("<script>").count(), 1);
    assert_eq!(page.body.matches("<style>").count(), 1);
    assert!(!page.body.contains(" style="), "the policy forbids styles of elements");
}
