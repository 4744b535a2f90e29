//! Each place takes its forms, and writes them as they were written.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use sspc_address::{
    Address, AddressError, Carrier, ClientEnd, LineAddress, LineEnd, ListenAddress, NetworkAddress,
    ProxyEnd, SerialAddress,
};

const SERIAL: [&str; 7] = [
    "serial:/dev/ttyS1?baud=9600&keys=/etc/keys&forward_secrecy=off",
    "serial:/dev/ttyUSB0?baud=115200",
    "serial:/dev/serial/by-id/a b?baud=9600&rtscts=1",
    "serial:/dev/ttyS1?baud=3000000&rtscts=1&profile=fast",
    "serial:/dev/ttyS1?baud=9600&framing=plain",
    "serial:/dev/ttyS1?baud=9600&keys=/etc/sspc/keys",
    "serial:/dev/ttyS1?baud=3000000&profile=fast&framing=reliable",
];
const NETWORK: [&str; 4] = [
    "udp:gateway:7682?keys=/etc/keys&forward_secrecy=required",
    "udp:gateway:7682?keys=/etc/keys",
    "udp:[::1]:7682?keys=/a b",
    "tcp:gateway:1?keys=/etc/keys",
];
const SOCKETS: [&str; 5] =
    ["uds:@proxy.ss.lws", "uds:/run/ss.sock", "uds:/a b", "tcp:localhost:7681", "tcp:[::1]:80"];
const LISTEN: [&str; 7] = [
    "tcp:[::]:7681?tls=off",
    "uds:/run/ss.sock?mode=0600",
    "uds:/run/ss.sock?owner=root",
    "uds:/run/ss.sock?mode=0660&owner=root:users",
    "uds:/run/ss.sock?owner=:users",
    "tcp:localhost:0",
    "tcp:127.0.0.1:0",
];

fn check<A: FromStr<Err = AddressError> + Display>(texts: &[&str]) {
    for text in texts {
        assert_eq!(text.parse::<A>().unwrap().to_string(), *text);
    }
}

#[test]
fn every_form_survives_a_round_trip() {
    check::<SerialAddress>(&SERIAL);
    check::<LineAddress>(&[SERIAL.as_slice(), &NETWORK, &["udp:127.0.0.1:1"]].concat());
    check::<Address>(&[SERIAL.as_slice(), &NETWORK, &SOCKETS].concat());
    check::<ListenAddress>(&[SERIAL.as_slice(), &NETWORK, &SOCKETS, &LISTEN].concat());
    check::<ListenAddress>(&["udp:127.0.0.1:0", "tcp:[::]:0?keys=/k"]);
    check::<ListenAddress>(&[
        "tcp:[::]:7681?cert=/c&key=/k",
        "tcp:a:7681?cert=/a b&key=/k&client_ca=/ca",
    ]);
    check::<Address>(&["tcp:[::1]:7681?ca=/c", "tcp:a:7681?ca=/a b&cert=/c&key=/k"]);
    check::<ProxyEnd>(&[SERIAL.as_slice(), &SOCKETS, &["pty:/tmp/a"]].concat());
    check::<ClientEnd>(&[SERIAL.as_slice(), &SOCKETS, &LISTEN, &["pty:/tmp/a"]].concat());
}

#[test]
fn hosts_have_no_brackets_and_paths_no_options() {
    let tcp = Address::Tcp { host: "::1".into(), port: 80 };
    assert_eq!("tcp:[::1]:80".parse(), Ok(tcp));
    assert_eq!("uds:/a b".parse(), Ok(Address::Path(PathBuf::from("/a b"))));
    assert_eq!("serial:/dev/ttyS0".parse(), Ok(SerialAddress::new("/dev/ttyS0")));
    let udp = NetworkAddress::new(Carrier::Udp, "::1", 80);
    assert_eq!("udp:[::1]:80".parse(), Ok(Address::Network(udp)));
}

#[test]
fn the_ends_of_a_tap_tell_lines_from_sockets() {
    let serial = LineEnd::Serial(SerialAddress::new("/dev/ttyS0"));
    assert_eq!("serial:/dev/ttyS0".parse(), Ok(ClientEnd::Line(serial.clone())));
    assert_eq!("serial:/dev/ttyS0".parse(), Ok(ProxyEnd::Line(serial)));
    assert_eq!("pty:/a".parse(), Ok(ProxyEnd::Line(LineEnd::Pty("/a".into()))));
    assert_eq!("uds:@a".parse(), Ok(ProxyEnd::Connect(Address::Abstract("a".into()))));
    let listen = ListenAddress::Abstract { name: "a".into() };
    assert_eq!("uds:@a".parse(), Ok(ClientEnd::Listen(listen)));
}

#[test]
fn the_well_known_address_is_that_of_deployed_clients() {
    assert_eq!(Address::default().to_string(), "uds:@proxy.ss.lws");
    assert_eq!(ListenAddress::well_known().to_string(), "uds:@proxy.ss.lws");
}
