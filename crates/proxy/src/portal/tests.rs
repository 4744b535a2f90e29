//! What is found, and who hears of it when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sspc_policy::{Policy, Source};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::smd::Subscription;
use crate::{Classes, Config, Handle, Proxy};

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const REDIRECT: &str = "HTTP/1.1 302 Found\r\nlocation: http://login.example/\r\n\r\n";
const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlogin";
const TRIGGER: &str = r#"{"trigger":"cpdcheck","src":"test"}"#;

/// A server that gives each connection the next of these answers, and hangs up when there is none.
struct Origin {
    folder: TempDir,
    asked: Arc<AtomicUsize>,
}

impl Origin {
    fn new(answers: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("origin")).unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut link, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let Some(answer) = answers.get(number) else { continue };
                assert!(link.read(&mut [0; 4096]).await.unwrap() > 0);
                link.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { folder, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn streamtype(&self, more: &str) -> String {
        let path = self.folder.path().join("origin");
        format!(
            r#""captive_portal_detect": {{"endpoint": "+{}", "http_url": "generate_204",
               "http_expect": 204, "http_fail_redirect": true, "allow_redirects": true {more}}}"#,
            path.display()
        )
    }
}

struct World {
    messages: Subscription,
    handle: Handle,
    running: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl World {
    fn new(streamtype: &str) -> Self {
        Self::with(streamtype, |_| {})
    }

    fn with(streamtype: &str, change: impl FnOnce(&mut Config)) -> Self {
        let retry = r#""retry": [{"soon": {"backoff": [1000], "conceal": 3, "jitterpc": 0}}]"#;
        let text = format!(r#"{{{retry}, "s": [{{{streamtype}}}]}}"#);
        let mut config = Config::new(Policy::parse(&Source::new("test", &text)).unwrap().policy);
        config.find_portals = true;
        change(&mut config);
        let proxy = Proxy::new(config).unwrap();
        let handle = proxy.handle();
        let messages = handle.smd().subscribe(Classes::NETWORK);
        let running = tokio::spawn(proxy.run(std::future::pending()));
        Self { messages, handle, running }
    }

    /// The next result, which has to come.
    async fn result(&mut self) -> String {
        timeout(Duration::from_secs(60), self.next()).await.unwrap()
    }

    async fn next(&mut self) -> String {
        loop {
            let message = self.messages.recv().await;
            let text = String::from_utf8(message.text.to_vec()).unwrap();
            if !super::is_trigger(text.as_bytes()) {
                return text;
            }
        }
    }

    fn trigger(&self) {
        self.handle.smd().publish(Classes::NETWORK, TRIGGER).unwrap();
    }
}

#[tokio::test]
async fn what_is_found_is_on_the_bus() {
    for (answers, result) in [
        (&[NO_CONTENT][..], "OK"),
        (&[REDIRECT], "Captive"),
        (&[PAGE], "Captive"),
        (&[], "No internet"),
    ] {
        let origin = Origin::new(answers);
        let mut world = World::new(&origin.streamtype(""));
        let expected = format!(r#"{{"type":"cpd","result":"{result}"}}"#);
        assert_eq!(world.result().await, expected, "{answers:?}");
        assert_eq!(origin.asked(), 1, "the redirect is not followed");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_again_when_somebody_wants_to_know() {
    let origin = Origin::new(&[NO_CONTENT, REDIRECT]);
    let mut world = World::new(&origin.streamtype(""));
    assert!(world.result().await.contains("OK"));
    // Once for all of them.
    for _ in 0..30 {
        world.trigger();
    }
    assert!(world.result().await.contains("Captive"));
    let more = timeout(Duration::from_secs(3600), world.next()).await;
    assert!(more.is_err(), "{more:?}");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_network_that_comes_up_later_is_found_by_the_policys_retries() {
    let origin = Origin::new(&["", "", NO_CONTENT]);
    let mut world = World::new(&origin.streamtype(r#", "retry": "soon""#));
    assert!(world.result().await.contains("No internet"));
    assert!(world.result().await.contains("OK"));
    assert_eq!(origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_no_way_to_the_internet() {
    let folder = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(folder.path().join("origin")).unwrap();
    let origin = Origin { folder, asked: Arc::default() };
    let mut world = World::new(&origin.streamtype(""));
    assert!(world.result().await.contains("No internet"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_that_nobody_wants() {
    let origin = Origin::new(&[NO_CONTENT]);
    for (streamtype, find) in [
        (origin.streamtype("").replace("captive_portal_detect", "other"), true),
        (origin.streamtype(""), false),
    ] {
        let mut world = World::with(&streamtype, |config| config.find_portals = find);
        world.trigger();
        let heard = timeout(Duration::from_secs(3600), world.next()).await;
        assert!(heard.is_err(), "{heard:?}");
        assert_eq!(origin.asked(), 0);
    }
}

#[tokio::test]
async fn the_check_takes_the_way_of_streams() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let via = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let streamtype = r#""captive_portal_detect": {"endpoint": "check.example", "port": 80,
        "http_expect": 204}"#;
    let mut world = World::with(streamtype, |config| config.ways_out.all = Some(via));
    let (mut link, _) = listener.accept().await.unwrap();
    let mut request = [0; 26];
    link.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"CONNECT check.example:80 H");
    drop(link);
    assert!(world.result().await.contains("No internet"));
}

#[test]
fn a_trigger_is_one_however_it_is_written() {
    for (text, is) in [
        (TRIGGER, true),
        (r#"{ "src": 7, "trigger" : "cpdcheck" }"#, true),
        (r#"{"trigger":"other"}"#, false),
        (r#"{"x":{"trigger":"cpdcheck"}}"#, false),
        (r#"["trigger","cpdcheck"]"#, false),
        (r#""cpdcheck""#, false),
        ("", false),
        ("{", false),
    ] {
        assert_eq!(super::is_trigger(text.as_bytes()), is, "{text}");
    }
}
