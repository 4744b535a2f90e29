//! Names, looked up at a name server of the test and in files of the test.

pub(crate) mod server;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::server::{NameServer, Reply};
use super::*;

/// For what must not hang; nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// For as many look-ups as the limits allow.
fn descriptors() -> Arc<Descriptors> {
    Descriptors::for_onward(1)
}

/// A resolver with files of its own.
struct World {
    resolver: Arc<Resolver>,
    server: NameServer,
    folder: TempDir,
}

impl World {
    /// A server that answers so, and these further lines of `resolv.conf`.
    async fn new(options: &str, reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let server = NameServer::start(reply).await;
        let folder = tempfile::tempdir().unwrap();
        let (resolv_conf, hosts) = (folder.path().join("resolv.conf"), folder.path().join("hosts"));
        fs::write(&resolv_conf, format!("nameserver 127.0.0.1\n{options}\n")).unwrap();
        let files = NameFiles { resolv_conf, hosts, port: server.port };
        let resolver = Arc::new(Resolver::new(files, Limits::default(), descriptors()));
        Self { resolver, server, folder }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join(file), text).unwrap();
    }

    async fn lookup(&self, uid: u32, host: &str) -> Result<Vec<SocketAddr>, Failure> {
        let mut perf = Perf::default();
        let looking =
            async { self.resolver.lookup(&Identity::User(uid), host, 80, &mut perf).await };
        timeout(PATIENCE, looking).await.expect("an answer")
    }

    async fn addresses(&self, uid: u32, host: &str) -> Vec<String> {
        let found = self.lookup(uid, host).await.unwrap();
        found.iter().map(|address| address.ip().to_string()).collect()
    }

    fn sizes(&self) -> (usize, usize, usize) {
        lock(self.resolver.table()).sizes()
    }

    /// Look-ups that go on until the set is dropped.
    fn start(&self, set: &mut JoinSet<()>, uid: u32, host: String) {
        let resolver = Arc::clone(&self.resolver);
        set.spawn(async move {
            let mut perf = Perf::default();
            let _ = resolver.lookup(&Identity::User(uid), &host, 80, &mut perf).await;
        });
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !is_so(self) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.sizes()));
    }
}

/// Silent for names that begin so, one address for all others.
fn silent_or_found(name: &str) -> Reply {
    if name.starts_with("silent") { Reply::Silence } else { Reply::addresses(&["192.0.2.1"]) }
}

#[tokio::test]
async fn both_kinds_of_address_take_turns() {
    let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"];
    let world = World::new("", move |_| Reply::addresses(&all)).await;
    let wanted = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"];
    assert_eq!(world.addresses(1, "Name.Example").await, wanted);
}

#[tokio::test]
async fn no_more_than_some_addresses_of_a_name_are_tried() {
    let many = |prefix: &str| (1..=12).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let all = [many("192.0.2."), many("2001:db8::")].concat();
    let world = World::new("", move |_| {
        Reply::addresses(&all.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await;
    assert_eq!(world.addresses(1, "many.example").await.len(), 16);
}

/// How servers that are not to be given up while a test runs are asked.
const PATIENT: &str = "options timeout:30 attempts:5";

/// 3,000 opens and closes on a silent name left 512 threads and stopped name look-ups for 20 s;
/// another client's `localhost` failed.
#[tokio::test]
async fn look_ups_that_nobody_waits_for_leave_nothing_and_hold_up_nobody() {
    let world = World::new(PATIENT, silent_or_found).await;
    assert_eq!(world.addresses(1, "first.example").await, ["192.0.2.1"]);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for i in 0..3000 {
        let mut perf = Perf::default();
        let host = format!("silent{i}.example");
        let client = Identity::User(1);
        let looking = world.resolver.lookup(&client, &host, 80, &mut perf);
        // Long enough for the look-up to begin.
        assert!(timeout(Duration::from_micros(200), looking).await.is_err());
    }
    assert_eq!(world.addresses(2, "localhost").await, ["::1", "127.0.0.1"]);
    assert_eq!(world.addresses(2, "second.example").await, ["192.0.2.1"]);
    assert_eq!(world.sizes(), (0, 0, 0));
    world.until("tasks end", |_| tasks() <= before).await;
}

/// 70 streams that waited for silent names delayed others by 9 s.
#[tokio::test]
async fn those_who_wait_for_silent_names_hold_up_no_other_client() {
    let world = World::new(PATIENT, silent_or_found).await;
    let mut waiting = JoinSet::new();
    for i in 0..70 {
        world.start(&mut waiting, 1, format!("silent{i}.example"));
    }
    let limit = Limits::default().lookups_per_client;
    world.until("silent names are asked for", |w| w.server.names().len() == limit).await;
    assert_eq!(world.sizes(), (limit, 70, 1));
    for host in ["localhost", "x.localhost.", "127.0.0.2", "::1", "other.example"] {
        assert!(!world.addresses(2, host).await.is_empty(), "{host}");
    }
    // Its own names that need no server are not in its queue either.
    assert_eq!(world.addresses(1, "mine.localhost").await, ["::1", "127.0.0.1"]);
    // Names that its queue still holds are looked up for who asks for them.
    let mut second = JoinSet::new();
    world.start(&mut second, 2, "silent69.example".to_owned());
    let asked = |w: &World| w.server.names().contains(&"silent69.example.".to_owned());
    world.until("a queued name is asked for", asked).await;
    drop((waiting, second));
    world.until("all have left", |world| world.sizes() == (0, 0, 0)).await;
}

#[tokio::test]
async fn who_leaves_gives_the_place_to_the_next() {
    let world = World::new(PATIENT, silent_or_found).await;
    let limit = Limits::default().lookups_per_client;
    let mut leaving = JoinSet::new();
    for i in 0..limit {
        world.start(&mut leaving, 1, format!("silent{i}.example"));
    }
    world.until("all places are taken", |world| world.sizes().0 == limit).await;
    let mut waiting = JoinSet::new();
    world.start(&mut waiting, 1, "silent-too.example".to_owned());
    world.until("one more waits", |world| world.sizes() == (limit, limit + 1, 1)).await;
    drop(leaving);
    let asked = |w: &World| w.server.names().contains(&"silent-too.example.".to_owned());
    world.until("it is asked for", asked).await;
}

/// Else a name whose server was silent for one kind had addresses of the other kind alone for long.
#[tokio::test]
async fn an_answer_of_which_a_half_is_missing_is_not_kept() {
    let world =
        World::new("options timeout:1 attempts:1", |_| Reply::HalfSilent("192.0.2.1")).await;
    assert_eq!(world.addresses(1, "half.example").await, ["192.0.2.1"]);
    assert_eq!(world.resolver.system.names().await.known.get("half.example"), None);
}

#[tokio::test]
async fn more_clients_than_there_are_places_take_turns() {
    let world = World::new("options timeout:1 attempts:1", silent_or_found).await;
    let mut waiting = JoinSet::new();
    for uid in 0..20 {
        for i in 0..50 {
            world.start(&mut waiting, uid, format!("silent{i}.of{uid}.example"));
        }
    }
    let limit = Limits::default().lookups;
    world.until("all places are taken", |world| world.sizes().0 == limit).await;
    assert_eq!(world.addresses(99, "other.example").await, ["192.0.2.1"]);
    assert!(world.sizes().1 > limit, "others still wait: {:?}", world.sizes());
}

#[tokio::test]
async fn equal_names_are_one_look_up_that_lasts_as_long_as_somebody_waits() {
    let world = World::new("", |_| Reply::Held("192.0.2.7")).await;
    let mut leaving = JoinSet::new();
    for uid in 0..5 {
        world.start(&mut leaving, uid, "Same.example".to_owned());
    }
    world.until("it is asked for", |world| world.server.queries("same.example.") == 2).await;
    let staying = world.addresses(9, "same.EXAMPLE");
    let others = async {
        sleep(Duration::from_millis(20)).await;
        leaving.shutdown().await;
        assert_eq!(world.sizes(), (1, 1, 1));
        world.server.release();
    };
    assert_eq!(tokio::join!(staying, others).0, ["192.0.2.7"]);
    // One query for each kind of address.
    assert_eq!(world.server.queries("same.example."), 2);
}

#[tokio::test]
async fn answers_are_kept_for_their_time() {
    let world = World::new("", |name| {
        if name.starts_with("short") {
            Reply::Addresses(vec!["192.0.2.1".parse().unwrap()], 0)
        } else {
            Reply::addresses(&["192.0.2.1"])
        }
    });
    let world = world.await;
    for _ in 0..3 {
        world.addresses(1, "long.example").await;
        world.addresses(1, "short.example").await;
    }
    assert_eq!(world.server.queries("long.example."), 2);
    assert_eq!(world.server.queries("short.example."), 6);
}

#[tokio::test]
async fn names_that_do_not_exist_are_told_from_servers_that_do_not_answer() {
    let world = World::new("options timeout:1 attempts:1", |name| match name {
        "none.example." => Reply::Code(3),
        "empty.example." => Reply::Code(0),
        "broken.example." => Reply::Code(2),
        _ => Reply::Silence,
    })
    .await;
    for (host, kind, ordinal, text) in [
        ("none.example", FailureKind::UnknownName, 0, "the name has no address"),
        ("empty.example", FailureKind::UnknownName, 0, "the name has no address"),
        ("a..b", FailureKind::UnknownName, 0, "the name has no address"),
        ("broken.example", FailureKind::NoDns, 1, "127.0.0.1: Server Failure"),
        ("silent.example", FailureKind::NoDns, 1, "127.0.0.1: no answer"),
    ] {
        let failure = world.lookup(1, host).await.unwrap_err();
        assert_eq!((failure.kind, failure.ordinal()), (kind, ordinal), "{failure}");
        let start = format!("cannot resolve {host}: ");
        assert!(failure.why.starts_with(&start) && failure.why.contains(text), "{failure}");
    }
}

/// What the client gets with `perf`.
#[tokio::test]
async fn measurements_say_what_became_of_the_name() {
    let world = World::new("options timeout:1 attempts:1", |name| match name {
        "none.example." => Reply::Code(3),
        "good.example." => Reply::addresses(&["192.0.2.1"]),
        _ => Reply::Silence,
    })
    .await;
    for (host, result) in [("good.example", 1), ("silent.example", 2), ("none.example", 3)] {
        let mut perf = Perf::default();
        let _ = world.resolver.lookup(&Identity::User(1), host, 80, &mut perf).await;
        let report = perf.json(None);
        assert!(report.contains(&format!("\"dns_disp\":{result}")), "{host}: {report}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_gives_way_at_once() {
    let world = World::new("", silent_or_found).await;
    world.write("resolv.conf", "nameserver 127.0.0.77\nnameserver 127.0.0.1\n");
    assert_eq!(world.addresses(1, "name.example").await, ["192.0.2.1"]);
    world.write("resolv.conf", "nameserver 127.0.0.77\n");
    sleep(Duration::from_millis(1_100)).await;
    let failure = world.lookup(1, "name.example").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NoDns);
    assert!(failure.why.contains("127.0.0.77: cannot be reached"), "{failure}");
}

/// A server that refuses, as one that has nowhere to ask itself, is not the end of it.
#[tokio::test]
async fn the_next_server_is_asked_if_one_fails() {
    let first = NameServer::start_at("127.0.0.1", 0, |_| Reply::Code(2)).await;
    let second = NameServer::start_at("127.0.0.2", first.port, silent_or_found).await;
    let folder = tempfile::tempdir().unwrap();
    let resolv_conf = folder.path().join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n").unwrap();
    let files = NameFiles { resolv_conf, hosts: folder.path().join("none"), port: first.port };
    let resolver = Resolver::new(files, Limits::default(), descriptors());
    let mut perf = Perf::default();
    let found = resolver.lookup(&Identity::User(1), "name.example", 80, &mut perf).await.unwrap();
    assert_eq!(found, ["192.0.2.1:80".parse().unwrap()]);
    assert_eq!(second.queries("name.example."), 2);
}

#[tokio::test]
async fn search_domains_complete_short_names() {
    let world = World::new("search a.example b.example\noptions ndots:2", |name| match name {
        "host.b.example." | "other.b.example." | "long.host.name." => {
            Reply::addresses(&["192.0.2.1"])
        }
        "other.a.example." => Reply::Code(2),
        _ => Reply::Code(3),
    })
    .await;
    assert_eq!(world.addresses(1, "host").await, ["192.0.2.1"]);
    assert_eq!(world.server.names(), ["host.a.example.", "host.b.example."]);
    assert_eq!(world.addresses(1, "long.host.name").await, ["192.0.2.1"]);
    assert!(world.lookup(1, "whole.").await.is_err());
    assert_eq!(world.server.names()[2..], ["long.host.name.", "whole."]);
    assert_eq!(world.addresses(1, "other").await, ["192.0.2.1"], "one domain's servers fail");
}

#[tokio::test]
async fn the_systems_table_comes_before_servers() {
    let world = World::new("", |_| Reply::addresses(&["192.0.2.1"])).await;
    world.write("hosts", "10.1.2.3 printer printer.lan\n");
    assert_eq!(world.addresses(1, "Printer.LAN").await, ["10.1.2.3"]);
    assert_eq!(world.server.names(), [""; 0]);
    assert_eq!(world.addresses(1, "other").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn changed_files_are_read_again() {
    let world = World::new("", |_| Reply::addresses(&["192.0.2.1"])).await;
    assert_eq!(world.addresses(1, "printer").await, ["192.0.2.1"]);
    world.write("hosts", "10.1.2.3 printer\n");
    let changed = async {
        while world.addresses(1, "printer").await != ["10.1.2.3"] {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, changed).await.unwrap();
}

/// A lost datagram cost 5 s.
#[tokio::test]
async fn a_query_that_got_lost_is_sent_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let world = World::new("options no-aaaa timeout:30 attempts:1", move |_| {
        let first = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        if first { Reply::Silence } else { Reply::addresses(&["192.0.2.1"]) }
    });
    assert_eq!(world.await.addresses(1, "name.example").await, ["192.0.2.1"]);
}

#[tokio::test]
async fn answers_that_are_too_long_for_a_datagram_come_over_tcp() {
    let world = World::new("", |_| Reply::OnlyOverTcp("192.0.2.9")).await;
    assert_eq!(world.addresses(1, "long.example").await, ["192.0.2.9"]);
}

#[test]
fn loopback_is_known_by_name() {
    for name in ["localhost", "localhost.", "a.localhost", "a.b.localhost."] {
        assert!(is_this_machine(name), "{name}");
    }
    for name in ["notlocalhost", "localhost.lan", ""] {
        assert!(!is_this_machine(name), "{name}");
    }
}

#[test]
fn addresses_may_have_a_zone() {
    let lo = zone_index("lo").unwrap();
    assert_eq!(
        literal("fe80::1%lo", 80),
        Some(SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, lo).into())
    );
    assert_eq!(literal("fe80::1%7", 80), Some("[fe80::1%7]:80".parse().unwrap()));
    assert_eq!(literal("fe80::1%no-such-link", 80), None);
    assert_eq!(literal("name", 80), None);
}

#[test]
fn families_take_turns_and_the_first_stays_first() {
    let parse = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let given = parse(&["::1", "::2", "1.1.1.1", "::3", "2.2.2.2"]);
    assert_eq!(alternate(given), parse(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]));
    assert_eq!(alternate(Vec::new()), Vec::<IpAddr>::new());
}
