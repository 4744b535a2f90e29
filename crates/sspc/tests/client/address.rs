//! Where a proxy listens, in words.

use std::path::PathBuf;

use sspc::Address;

#[test]
fn addresses_are_read_and_written() {
    let serial = "serial:/dev/ttyUSB0?baud=2000000&profile=fast";
    for text in ["uds:@proxy.ss.lws", "uds:/run/sspc", "tcp:localhost:7681", "tcp:[::1]:80", serial]
    {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
    }
    assert_eq!("uds:/a b".parse(), Ok(Address::Path(PathBuf::from("/a b"))));
    assert_eq!("tcp:[::1]:80".parse(), Ok(Address::Tcp { host: "::1".into(), port: 80 }));
}

#[test]
fn what_is_no_address_says_what_to_write() {
    for (text, advice) in [
        ("", "write uds:@name, uds:/path, tcp:host:port or serial:/dev/name"),
        ("/run/sspc", "write uds:@name, uds:/path, tcp:host:port or serial:/dev/name"),
        ("udp:host:1", "write uds:@name, uds:/path, tcp:host:port or serial:/dev/name"),
        ("uds:", "a name or path is missing after uds:"),
        ("uds:@", "a name or path is missing after uds:"),
        ("uds:run", "write uds:/path with an absolute path, or uds:@name for an abstract name"),
        ("uds:@a\0", "it holds a NUL byte"),
        ("tcp:host", "the port is missing; write tcp:host:port"),
        ("tcp:host:", "the port must be a number from 1 to 65535"),
        ("tcp:host:0", "the port must be a number from 1 to 65535"),
        ("tcp:host:65536", "the port must be a number from 1 to 65535"),
        ("tcp::80", "the host is missing; write tcp:host:port"),
        ("tcp:::1:80", "write an IPv6 address in brackets: tcp:[::1]:7681"),
    ] {
        let error = text.parse::<Address>().unwrap_err().to_string();
        assert_eq!(error, format!("\"{}\" is no address: {advice}", text.escape_debug()));
    }
    let error = "serial:/dev/x?baud=no".parse::<Address>().unwrap_err().to_string();
    assert_eq!(
        error,
        "\"serial:/dev/x?baud=no\" is no serial line: baud must be a number of bits per second"
    );
    let long = format!("uds:@{}", "x".repeat(108)).parse::<Address>().unwrap_err().to_string();
    assert!(long.ends_with("a Unix socket's name has at most 107 bytes, this one 108"), "{long}");
}
