//! Each mistake in an address has the same message in every command and API.

use std::str::FromStr;

use sspc_address::{
    Address, AddressError, ClientEnd, LineAddress, ListenAddress, ProxyEnd, SerialAddress,
};

/// What a place calls its addresses, and what it says of a wrong one.
type Place = (&'static str, fn(&str) -> Option<AddressError>);

fn error<A: FromStr<Err = AddressError>>(text: &str) -> Option<AddressError> {
    text.parse::<A>().err()
}

const CONNECT: Place = ("proxy address", error::<Address>);
const LISTEN: Place = ("listen address", error::<ListenAddress>);
const SERIAL: Place = ("serial address", error::<SerialAddress>);
const LINE: Place = ("line", error::<LineAddress>);
const CLIENT_END: Place = ("end of a tap", error::<ClientEnd>);
const PROXY_END: Place = ("end of a tap", error::<ProxyEnd>);
const SOCKETS: [Place; 4] = [CONNECT, LISTEN, CLIENT_END, PROXY_END];
const LISTENING: [Place; 2] = [LISTEN, CLIENT_END];
const CONNECTING: [Place; 2] = [CONNECT, PROXY_END];
const ALL: [Place; 5] = [CONNECT, LISTEN, SERIAL, CLIENT_END, PROXY_END];

fn check(places: &[Place], mistakes: &[(&str, &str)]) {
    for (text, advice) in mistakes {
        for (name, error) in places {
            let told = error(text).unwrap_or_else(|| panic!("{text:?} is a valid {name}"));
            let expected = format!("\"{}\" is not a valid {name}: {advice}", text.escape_debug());
            assert_eq!(told.to_string(), expected);
        }
    }
}

#[test]
fn what_begins_like_no_kind_says_what_to_write() {
    let sockets = "write uds:@name, uds:/path, tcp:host:port, serial:/dev/name or udp:host:port";
    let wrong = ["", "uds", "/run/sspc", "quic:host:1", "pty:/tmp/a"];
    check(&[CONNECT, LISTEN], &wrong.map(|text| (text, sockets)));
    let serial = "write serial:/dev/ttyUSB0?baud=2000000&rtscts=1&profile=fast";
    check(&[SERIAL], &["uds:/x", "/dev/ttyUSB0", "tcp:a:1", "udp:a:1"].map(|text| (text, serial)));
    let ends = "write pty:/path, serial:/dev/name, uds:@name, uds:/path or tcp:host:port";
    check(&[CLIENT_END, PROXY_END], &["", "pty", "udp:x", "/dev/x"].map(|text| (text, ends)));
}

#[test]
fn lines_over_a_network() {
    let line = "write serial:/dev/name, udp:host:port?keys=/path or tcp:host:port?keys=/path";
    check(&[LINE], &["", "uds:/x", "pty:/x"].map(|text| (text, line)));
    check(
        &[CONNECT, LISTEN, LINE],
        &[
            ("udp:host", "the port is missing; write udp:host:port"),
            ("udp::1", "the host is missing; write udp:host:port"),
            ("udp:::1:1", "write an IPv6 address in brackets, such as udp:[::1]:7681"),
            ("udp:a:1?keys=k", "write keys= with the file's whole path"),
            ("tcp:a:1?keys=", "write keys= with the file's whole path"),
            (
                "udp:a:1?baud=9600",
                "\"baud=9600\" is not an option of udp:; there are keys= and forward_secrecy=",
            ),
            (
                "udp:a:1?cert=/c&key=/k",
                "\"cert=/c\" is not an option of udp:; there are keys= and forward_secrecy=",
            ),
            (
                "udp:a:1?keys=/k&forward_secrecy=yes",
                "forward_secrecy must be auto, required or off",
            ),
            (
                "udp:a:1?forward_secrecy=off",
                "forward_secrecy= is for encrypted lines; add keys=/path",
            ),
        ],
    );
    check(&[LINE], &[("tcp:a:1", "tcp: is a line only with keys; write tcp:host:port?keys=/path")]);
    check(
        &[CLIENT_END, PROXY_END],
        &[("tcp:a:1?keys=/k", "a tap passes bytes on and takes no keys")],
    );
}

#[test]
fn tls_over_tcp() {
    let pair = "cert= and key= go together: write cert=/path&key=/path";
    let keys = "keys= encrypts a line by itself; leave either keys= or the options of TLS out";
    check(
        &[CONNECT, LISTEN],
        &[
            ("tcp:a:1?cert=c", "write cert= with the file's whole path"),
            ("tcp:a:1?cert=/c&key=", "write key= with the file's whole path"),
            ("tcp:a:1?cert=/c", pair),
            ("tcp:a:1?key=/k", pair),
            ("tcp:a:1?cert=/c&key=/k&keys=/k", keys),
        ],
    );
    let off = "tls=off is for an address without encryption; leave it out";
    check(
        &[LISTEN],
        &[
            (
                "tcp:a:1?x",
                "\"x\" is not an option of tcp:; there are cert=, key= and client_ca= for TLS, \
                 tls=off, and keys= and forward_secrecy= for a line",
            ),
            (
                "tcp:a:1?ca=/c",
                "ca= is for clients; a proxy that asks clients for certificates has client_ca=/path",
            ),
            (
                "tcp:a:1?client_ca=/c",
                "client_ca= is for TLS, and the proxy needs a certificate for that: add \
                 cert=/path&key=/path",
            ),
            ("tcp:a:1?client_ca=c", "write client_ca= with the file's whole path"),
            ("tcp:a:1?tls=on", "tls= takes the word off alone; TLS itself is cert= and key="),
            ("tcp:a:1?tls=off&cert=/c&key=/k", off),
            ("tcp:a:1?tls=off&keys=/k", off),
        ],
    );
    check(
        &[CONNECT],
        &[
            (
                "tcp:a:1?x=1",
                "\"x=1\" is not an option of tcp:; there are ca=, cert= and key= for TLS, and \
                 keys= and forward_secrecy= for a line",
            ),
            ("tcp:a:1?ca=c", "write ca= with the file's whole path"),
            (
                "tcp:a:1?cert=/c&key=/k",
                "add ca=/path, a file with the certificate that issued the proxy's",
            ),
            (
                "tcp:a:1?client_ca=/c",
                "client_ca= is for where the proxy listens; a client trusts ca=/path",
            ),
            (
                "tcp:a:1?tls=off",
                "tls=off is for where the proxy listens; a client without ca= uses no TLS",
            ),
        ],
    );
    check(
        &[LINE],
        &[(
            "tcp:a:1?ca=/c",
            "\"ca=/c\" is not an option of tcp:; there are keys= and forward_secrecy=",
        )],
    );
    let tap = "a tap passes bytes on and has no TLS of its own";
    check(&[CLIENT_END, PROXY_END], &[("tcp:a:1?cert=/c&key=/k", tap), ("tcp:a:1?ca=/c", tap)]);
    let none = "\"x\" is not an option of tcp:; there are none";
    check(&[PROXY_END], &[("tcp:a:1?x", none)]);
}

#[test]
fn names_of_unix_sockets() {
    let relative = "write uds:/path with an absolute path, or uds:@name for an abstract name";
    check(
        &SOCKETS,
        &[
            ("uds:", "a name or path is missing after uds:"),
            ("uds:@", "a name or path is missing after uds:"),
            ("uds:run", relative),
            ("uds:@a\0", "it contains a NUL byte"),
            ("uds:/a\0", "it contains a NUL byte"),
            (
                "uds:@name?mode=0600",
                "an abstract socket has no mode and no owner: every user of the machine may connect",
            ),
            (
                "uds:/a?colour=red",
                "\"colour=red\" is not an option of a path; there are mode=0660 and \
                 owner=user:group",
            ),
        ],
    );
    let long = "the name or path of a Unix socket has at most 107 bytes, this one has 108";
    let [name, path] = ["@", "/"].map(|first| format!("uds:{first}{}", "x".repeat(107)));
    check(&SOCKETS, &[(&format!("{name}x"), long), (&path, long)]);
}

#[test]
fn mode_and_owner_belong_to_the_listener() {
    check(
        &LISTENING,
        &[
            ("uds:/a?mode=999", "mode must be an octal number up to 0777"),
            ("uds:/a?mode=1000", "mode must be an octal number up to 0777"),
            ("uds:/a?owner=:", "owner must name a user, a group or both: owner=user:group"),
        ],
    );
    let told = "mode and owner are set where the proxy listens, not by its clients";
    check(&CONNECTING, &[("uds:/a?mode=0660", told), ("uds:/a?owner=root", told)]);
}

#[test]
fn hosts_and_ports() {
    check(
        &SOCKETS,
        &[
            ("tcp:host", "the port is missing; write tcp:host:port"),
            ("tcp::80", "the host is missing; write tcp:host:port"),
            ("tcp:[]:80", "the host is missing; write tcp:host:port"),
            ("tcp:::1:80", "write an IPv6 address in brackets, such as tcp:[::1]:7681"),
            ("tcp:[::1:80", "write an IPv6 address in brackets, such as tcp:[::1]:7681"),
        ],
    );
    let ports = ["tcp:host:", "tcp:host:http", "tcp:host:65536"];
    let listen = "the port must be a number from 0 to 65535";
    check(&LISTENING, &ports.map(|text| (text, listen)));
    let connect = "the port must be a number from 1 to 65535";
    check(&CONNECTING, &[ports[0], ports[1], ports[2], "tcp:host:0"].map(|text| (text, connect)));
}

#[test]
fn serial_lines() {
    check(
        &ALL,
        &[
            ("serial:ttyUSB0", "write the device with its whole path, such as serial:/dev/ttyUSB0"),
            ("serial:/dev/x\0", "it contains a NUL byte"),
            ("serial:/dev/x?baud=fast", "baud must be a number of bits per second"),
            ("serial:/dev/x?baud=0", "baud must be a number of bits per second"),
            ("serial:/dev/x?rtscts=yes", "rtscts must be 0 or 1"),
            ("serial:/dev/x?profile=quick", "profile must be default or fast"),
            ("serial:/dev/x?keys=keys", "write keys= with the file's whole path"),
            (
                "serial:/dev/x?keys=/k&framing=plain",
                "keys= encrypts packets, and framing=plain has none: leave one of the two out",
            ),
            ("serial:/dev/x?framing=none", "framing must be auto, plain or reliable"),
            (
                "serial:/dev/x?parity=even",
                "\"parity=even\" is not an option of a serial line; there are baud=, rtscts=, \
                 profile=, framing=, keys= and forward_secrecy=",
            ),
            (
                "serial:/dev/x?profile=fast",
                "profile=fast needs 1000000 baud or more, and this line has 115200; add \
                 baud=2000000 if it can do that, or leave the profile out",
            ),
        ],
    );
}

#[test]
fn pseudo_terminals() {
    let relative = "write pty: with an absolute path, such as pty:/tmp/device";
    check(&[CLIENT_END, PROXY_END], &[("pty:", relative), ("pty:device", relative)]);
}
