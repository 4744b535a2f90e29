use std::collections::BTreeSet;

use sspc_access::SystemNames;

use super::*;
use crate::server::tls::Certificate;

fn rules(text: &str) -> AccessRules {
    AccessRules::Rules(Access::parse(text, "access.toml", &SystemNames).unwrap())
}

fn process(uid: u32, is_abstract: bool) -> Peer {
    Peer::Process { pid: None, uid, gid: uid, is_abstract }
}

#[test]
fn without_a_file_abstract_sockets_are_for_the_own_user_and_root() {
    let own = geteuid().as_raw();
    let other = own + 1000;
    let gate = Gate::new(AccessRules::default());
    assert!(gate.open(&process(own, true), "x").is_ok());
    assert!(gate.open(&process(0, true), "x").is_ok());
    assert!(gate.open(&process(other, false), "x").is_ok(), "a file's permissions decide");
    assert!(gate.open(&Peer::Unknown, "x").is_ok());
    let denied = gate.open(&process(other, true), "x").unwrap_err().to_string();
    assert!(denied.contains(&format!("of user {other}: start it with --allow-everyone")));
    gate.set_rules(AccessRules::Everyone);
    assert!(gate.open(&process(other, true), "x").is_ok());
}

#[test]
fn rules_see_the_certificate_of_a_client_over_tls() {
    let text = "default = \"refuse\"\n[[rule]]\nname = \"sensors\"\ncertificate = \"sensor-*\"\n\
                address = \"192.0.2.0/24\"\nstreamtypes = \"*\"\n";
    let gate = Gate::new(rules(text));
    let address = "192.0.2.1:7".parse().unwrap();
    let certified = |name: &str| Peer::Certified {
        address,
        client: Identity::Unknown,
        certificate: Arc::new(Certificate { names: vec![name.to_owned()], sha256: [0; 32] }),
    };
    assert!(gate.open(&certified("sensor-7"), "x").is_ok());
    assert!(gate.open(&certified("pump"), "x").is_err());
    assert!(gate.open(&Peer::Address(address), "x").is_err());
}

const TWO_STREAMS: &str = "default = \"refuse\"\n[[rule]]\nname = \"two\"\nuser = [1, 2]\n\
                           streamtypes = \"*\"\nstreams = 2\nbytes_per_second = 10\nmemory = 100\n";

#[test]
fn each_client_of_a_rule_has_its_quotas_for_itself() {
    let gate = Gate::new(rules(TWO_STREAMS));
    let (one, two) = (process(1, false), process(2, true));
    let first = gate.open(&one, "x").unwrap();
    let second = gate.open(&one, "y").unwrap();
    let denied = gate.open(&one, "x").unwrap_err().to_string();
    assert_eq!(denied, r#"rule "two" (access.toml:2) lets it have 2 streams at a time"#);
    let others = gate.open(&two, "x").unwrap();
    assert!(gate.open(&process(3, false), "x").is_err());
    // Streams of one client share a bucket, others do not.
    let now = Instant::now();
    assert!(first.take_bytes(now, 10).is_zero());
    assert_eq!(second.take_bytes(now, 5), Duration::from_millis(500));
    assert!(others.take_bytes(now, 10).is_zero());
    drop(second);
    let again = gate.open(&one, "x").unwrap();
    assert!(again.take_bytes(now, 0) > Duration::ZERO, "closing and opening pays no debt");
    let share = again.memory().unwrap();
    share.add(100);
    assert!(!first.memory().unwrap().has_room());
    assert!(others.memory().unwrap().has_room());
}

#[test]
fn clients_that_come_and_go_are_forgotten_when_that_makes_no_difference() {
    let text = "default = \"refuse\"\n[[rule]]\nname = \"all\"\nstreamtypes = \"*\"\nrequests_per_second = 1000000\n";
    let gate = Gate::new(rules(text));
    for uid in 0..3 * REMEMBERED_MAX as u32 {
        drop(gate.open(&process(uid, false), "x").unwrap());
    }
    assert!(gate.usage().len() <= REMEMBERED_MAX);
    let kept = gate.open(&process(7, false), "x").unwrap();
    let users: BTreeSet<_> =
        gate.usage().keys().map(|(_, identity)| identity.to_string()).collect();
    assert!(users.contains("user 7"));
    drop(kept);
}

#[test]
fn rules_that_are_replaced_hold_for_streams_that_are_there() {
    let gate = Gate::new(rules(TWO_STREAMS));
    let old = gate.open(&process(1, false), "x").unwrap();
    gate.set_rules(rules(&TWO_STREAMS.replace("bytes_per_second = 10", "bytes_per_second = 20")));
    let new = gate.open(&process(1, false), "x").unwrap();
    let now = Instant::now();
    assert_eq!(old.take_bytes(now, 20), Duration::from_secs(1));
    assert!(new.take_bytes(now, 20).is_zero());
}
