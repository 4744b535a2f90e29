//! Files, and what they let clients do.

use proptest::prelude::*;
use sspc_wire::smd::{Classes, STREAMTYPE};

use crate::*;

/// A machine with two users and a group.
struct Machine;

impl Names for Machine {
    fn user(&self, name: &str) -> Option<u32> {
        match name {
            "meter" => Some(1001),
            "display" => Some(1002),
            _ => None,
        }
    }

    fn group(&self, name: &str) -> Option<u32> {
        (name == "dialout").then_some(20)
    }
}

fn parse(text: &str) -> Access {
    Access::parse(text, "access.toml", &Machine).unwrap()
}

fn mistakes(text: &str) -> String {
    Access::parse(text, "a.toml", &Machine).unwrap_err().to_string()
}

const SITE: &str = r#"
default = "refuse"

[[rule]]
name = "meter"
user = "meter"
streamtypes = ["meter-*", "time"]
metadata = { path = ["/v1/*"], unit = "kWh" }
streams = 2
bytes_per_second = "100KiB"
requests_per_second = 5
memory = "1MiB"

[[rule]]
name = "screens"
user = [1002, "meter"]
group = "dialout"
unit = "display*.service"
executable = "/usr/bin/*"
streamtypes = "*"
smd = ["interaction", "user1"]

[[rule]]
name = "line 0"
line = "/dev/ttyS0"
streamtypes = ["time"]

[[rule]]
name = "far"
address = ["192.0.2.0/24", "::1"]
certificate = ["sensor-*", "sha256:0101010101010101010101010101010101010101010101010101010101010101"]
streamtypes = ["time"]

[[rule]]
name = "device"
key = "device-3"
streamtypes = ["time"]
"#;

#[test]
fn the_first_rule_that_is_for_a_client_decides() {
    let access = parse(SITE);
    assert_eq!(access.warnings(), []);
    let asks = Asks { groups: true, unit: true, executable: true };
    assert_eq!(access.asks(), asks);
    let rule = |client: Client<'_>| access.rights(&client).rule().map(str::to_owned);
    let meter = Client { uid: Some(1001), ..Client::default() };
    assert_eq!(rule(meter).as_deref(), Some("meter"));
    let display = Client {
        uid: Some(1002),
        gids: &[5, 20],
        unit: Some("display@1.service"),
        executable: Some("/usr/bin/display"),
        ..Client::default()
    };
    assert_eq!(rule(display).as_deref(), Some("screens"));
    // All that a rule asks for has to be so.
    for not_quite in [
        Client { uid: Some(1003), ..display },
        Client { gids: &[5], ..display },
        Client { unit: Some("meter.service"), ..display },
        Client { executable: None, ..display },
    ] {
        assert_eq!(rule(not_quite), None);
    }
    let screens = access.rules().find(|rule| rule.name == "screens").unwrap();
    assert_eq!(screens.mismatch(&display), None);
    assert_eq!(
        screens.mismatch(&Client { gids: &[5], executable: None, ..display }),
        Some("group")
    );
    assert_eq!(screens.mismatch(&Client { executable: None, ..display }), Some("executable"));
    let line = Client { line: Some("/dev/ttyS0"), ..Client::default() };
    assert_eq!(rule(line).as_deref(), Some("line 0"));
    let names = ["sensor-7".to_owned()];
    let certificate = Some(Certificate { names: &names, sha256: [0; 32] });
    let address = Some("::ffff:192.0.2.9".parse().unwrap());
    let far = Client { address, certificate, ..Client::default() };
    assert_eq!(rule(far).as_deref(), Some("far"));
    assert_eq!(rule(Client { certificate: None, ..far }), None);
    assert_eq!(rule(Client { address: None, ..far }), None);
    let by_fingerprint = Some(Certificate { names: &[], sha256: [1; 32] });
    assert_eq!(rule(Client { certificate: by_fingerprint, ..far }).as_deref(), Some("far"));
    let device = Client { key: Some("device-3"), ..Client::default() };
    assert_eq!(rule(device).as_deref(), Some("device"));
    assert_eq!(rule(Client::default()), None);
}

#[test]
fn what_a_rule_does_not_give_is_denied_with_its_name_and_place() {
    let access = parse(SITE);
    let meter = access.rights(&Client { uid: Some(1001), ..Client::default() });
    assert_eq!(meter.may_open("meter-7"), Ok(()));
    assert_eq!(meter.may_set("path", b"/v1/x"), Ok(()));
    assert_eq!(meter.may_set("unit", b"kWh"), Ok(()));
    let says = |denied: Result<(), Denial>, text: &str| {
        let denial = denied.unwrap_err();
        assert_eq!(denial.rule(), Some("meter"));
        assert_eq!(denial.to_string(), format!("rule \"meter\" (access.toml:4) {text}"));
    };
    says(
        meter.may_open("door"),
        r#"does not let it open streamtype "door": its streamtypes are "meter-*", "time""#,
    );
    says(
        meter.may_set("path", b"/v2/token=secret"),
        r#"does not let it set metadata "path" to that: it may be "/v1/*""#,
    );
    says(meter.may_set("host", b"x"), r#"does not let it set metadata "host""#);
    says(meter.may_open(STREAMTYPE), "lets it exchange no system messages; see `smd`");
    says(Err(meter.too_many_streams(2)), "lets it have 2 streams at a time");
    let quotas = meter.quotas();
    assert_eq!(quotas.streams, Some(2));
    assert_eq!(quotas.memory, Some(1 << 20));
    let rate = |per_second| Some(Rate { per_second, burst: per_second });
    assert_eq!(quotas.bytes_per_second, rate(102_400));
    assert_eq!(quotas.requests_per_second, rate(5));

    let nobody = access.rights(&Client::default());
    let denial = nobody.may_open("time").unwrap_err();
    let text = "no rule of access.toml is for this client, and its default is \"refuse\"";
    assert_eq!((denial.rule(), denial.to_string().as_str()), (None, text));
    assert_eq!(nobody.smd(), Classes::NONE);

    let display = Client {
        uid: Some(1002),
        gids: &[20],
        unit: Some("display.service"),
        executable: Some("/usr/bin/x"),
        ..Client::default()
    };
    let display = access.rights(&display);
    assert_eq!(display.may_open(STREAMTYPE), Ok(()));
    assert_eq!(display.smd(), Classes::INTERACTION | Classes::user(1).unwrap());
    assert_eq!(display.may_set("anything", b"\xff"), Ok(()));
}

#[test]
fn where_everybody_may_do_everything_nobody_is_asked() {
    for access in [Access::everyone(), parse("default = \"allow\"")] {
        let rights = access.rights(&Client::default());
        assert_eq!((rights.may_open("x"), rights.may_open(STREAMTYPE)), (Ok(()), Ok(())));
        assert_eq!(rights.quotas(), Quotas::default());
        assert_eq!(access.asks(), Asks::default());
    }
}

/// The notation was dropped: `0o1751` was user 1751, and another user had its rights.
#[test]
fn numbers_mean_the_same_in_every_notation() {
    let access = parse(
        "default = \"refuse\"\n[[rule]]\nname = \"a\"\nuser = [0o1751, 1_002]\ngroup = 0x14\n\
         streams = 0b11\nbytes_per_second = 0x1_0\n",
    );
    let client = Client { gids: &[20], ..Client::default() };
    for uid in [1001, 1002] {
        assert_eq!(access.rights(&Client { uid: Some(uid), ..client }).rule(), Some("a"), "{uid}");
    }
    let rights = access.rights(&Client { uid: Some(1001), ..client });
    assert_eq!(rights.quotas().streams, Some(3));
    assert_eq!(rights.quotas().bytes_per_second, Some(Rate { per_second: 16, burst: 16 }));
    assert_eq!(access.rights(&Client { uid: Some(1751), ..client }).rule(), None);
    let wrong =
        mistakes("default = \"refuse\"\n[[rule]]\nname = \"a\"\nuser = [-1, 0x1_0000_0000]");
    assert_eq!(
        wrong,
        "a.toml:4: `user` is -1; expected a name or a number\n\
         a.toml:4: `user` is 0x100000000; expected a name or a number"
    );
}

/// Clients are looked at by their IPv4 addresses, so no client was in such a network.
#[test]
fn networks_of_ipv4_in_ipv6_notation_are_those_of_ipv4() {
    let access = parse(
        "default = \"refuse\"\n[[rule]]\nname = \"v4\"\n\
         address = [\"::ffff:192.0.2.0/120\", \"::ffff:198.51.100.7\"]\n\
         [[rule]]\nname = \"v6\"\naddress = \"::/0\"\n",
    );
    for (address, rule) in [
        ("192.0.2.9", Some("v4")),
        ("::ffff:192.0.2.9", Some("v4")),
        ("198.51.100.7", Some("v4")),
        ("198.51.100.8", None),
        ("2001:db8::1", Some("v6")),
    ] {
        let address = Some(address.parse().unwrap());
        assert_eq!(access.rights(&Client { address, ..Client::default() }).rule(), rule);
    }
}

#[test]
fn every_mistake_is_told_with_its_line_and_what_to_do() {
    let text = r#"defualt = "refuse"
[[rule]]
name = "a"
user = "nobody-here"
uzer = 5
address = "192.0.2.0/40"
certificate = "sha256:00"

[[rule]]
# a comment
name = "a"
smd = ["talk"]
streams = 0
memory = "1 MB"
burst_bytes = 5
unit = []
[[rule]]
streamtypes = 7
metadata = ["path"]
"#;
    assert_eq!(
        mistakes(text).lines().collect::<Vec<_>>(),
        [
            "a.toml:1: there is no key `defualt` here; did you mean `default`?",
            "a.toml:1: `default` is missing: what becomes of clients that no rule is for; write default = \"refuse\" at the top, or default = \"allow\"",
            "a.toml:4: this machine has no user \"nobody-here\"; name another one, or give its number",
            "a.toml:5: there is no key `uzer` here; did you mean `user`?",
            "a.toml:6: `address` is \"192.0.2.0/40\"; expected an address or a network, such as \"192.0.2.0/24\"",
            "a.toml:7: `certificate` is \"sha256:00\"; expected a name of the certificate, or \"sha256:\" and 64 hex digits",
            "a.toml:9: two rules are called \"a\"; the other one is in line 2",
            "a.toml:12: `smd` is \"talk\"; expected classes such as \"interaction\", \"network\", \"user0\" or \"all\"",
            "a.toml:13: `streams` is 0; expected a number above 0",
            "a.toml:14: `memory` is \"1 MB\"; expected bytes, such as 100000, \"64KiB\" or \"1MiB\"",
            "a.toml:15: `burst_bytes` means nothing without `bytes_per_second`",
            "a.toml:16: `unit` is an empty list; leave it out if it does not matter",
            "a.toml:17: a rule has no `name`; write name = \"…\": log lines call it that",
            "a.toml:18: `streamtypes` is 7; expected a text, which may have `*` in it, or a list of such",
            "a.toml:19: `metadata` is of type array; expected names with the values that each may have, such as { path = [\"/v1/*\"] }",
        ]
    );
    let broken = mistakes("default = \"refuse\"\n[[rule]\n");
    assert!(broken.starts_with("a.toml:2: this is not TOML: "), "{broken}");
}

#[test]
fn a_rule_that_is_never_reached_is_told() {
    let access = parse(
        "default = \"refuse\"\n[[rule]]\nname = \"all\"\nuser = [1, 2]\n[[rule]]\nname = \"one\"\nuser = 1\nunit = \"x\"\n[[rule]]\nname = \"other\"\nuser = 3\n",
    );
    let told: Vec<String> = access.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "access.toml:5: rule \"one\" is never used: rule \"all\" in line 2 is for all of its clients; put the more special rule first"
        ]
    );
}

#[test]
fn a_denial_of_a_long_name_is_short() {
    let access = parse(SITE);
    let meter = access.rights(&Client { uid: Some(1001), ..Client::default() });
    let denial = meter.may_open(&"é\n".repeat(1_000)).unwrap_err().to_string();
    assert!(denial.len() < 300 && !denial.contains('\n'), "{denial}");
}

#[test]
fn a_denial_by_long_patterns_is_short() {
    let patterns = vec![format!("{:?}", "é".repeat(1_000)); 100].join(", ");
    let access = parse(&format!(
        "default = \"refuse\"\n[[rule]]\nname = \"long\"\nstreamtypes = [{patterns}]\n"
    ));
    let denial = access.rights(&Client::default()).may_open("x").unwrap_err().to_string();
    assert!(denial.len() < 1_000 && denial.ends_with("… and others"), "{denial}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_with_a_reason(text in any::<String>()) {
        if let Err(mistakes) = Access::parse(&text, "a.toml", &Machine) {
            prop_assert!(!mistakes.0.is_empty());
        }
    }

    #[test]
    fn damaged_files_are_read_or_refused_with_a_line(
        at in any::<prop::sample::Index>(),
        put in prop::sample::select(vec!["", "\"", "[", "]]", "=", "\n", "#", "é", "0"]),
    ) {
        let mut chars: Vec<char> = SITE.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..=at, put.chars());
        let text: String = chars.into_iter().collect();
        if let Err(Mistakes(mistakes)) = Access::parse(&text, "a.toml", &Machine) {
            let lines = text.lines().count() + 1;
            prop_assert!(mistakes.iter().all(|mistake| (1..=lines).contains(&mistake.line)));
        }
    }
}
