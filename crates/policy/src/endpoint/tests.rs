use super::*;

fn streamtype(endpoint: &str, port: u16, tls: bool) -> StreamType {
    let mut streamtype = StreamType::new("s");
    streamtype.endpoint = Some(endpoint.into());
    streamtype.port = port;
    streamtype.tls = tls;
    streamtype
}

fn resolve(endpoint: &str) -> Result<Target, EndpointError> {
    Target::resolve(&streamtype(endpoint, 8443, true), |_| None)
}

fn with_metadata(value: &str) -> Result<Target, EndpointError> {
    Target::resolve(&streamtype("${endpoint}", 8443, true), |name| {
        (name == "endpoint").then_some(value.as_bytes())
    })
}

fn tcp(host: &str, port: u16, tls: bool, path: Option<&str>) -> Target {
    Target {
        address: Address::Tcp { host: host.into(), port },
        tls,
        path: path.map(str::to_owned),
        host_from_client: false,
    }
}

/// A target that the client chose.
fn chosen(host: &str, port: u16, tls: bool, path: Option<&str>) -> Target {
    Target { host_from_client: true, ..tcp(host, port, tls, path) }
}

#[test]
fn a_plain_host_takes_everything_else_from_the_policy() {
    assert_eq!(resolve("example.com").unwrap(), tcp("example.com", 8443, true, None));
    assert_eq!(resolve("::1").unwrap(), tcp("::1", 8443, true, None));
}

#[test]
fn a_url_overrides_port_and_path_but_never_turns_tls_on() {
    assert_eq!(resolve("http://h").unwrap(), tcp("h", 80, false, Some("/")));
    assert_eq!(resolve("ws://h/a?b=c").unwrap(), tcp("h", 80, false, Some("/a?b=c")));
    assert_eq!(resolve("https://h:1/x").unwrap(), tcp("h", 1, true, Some("/x")));
    assert_eq!(resolve("wss://h").unwrap(), tcp("h", 443, true, Some("/")));
    assert_eq!(resolve("HTTP://h?q").unwrap(), tcp("h", 80, false, Some("/?q")));
    assert_eq!(resolve("mqtt://h").unwrap(), tcp("h", 8443, false, Some("/")));
    assert_eq!(resolve("foo://h").unwrap(), tcp("h", 8443, true, Some("/")));
    assert_eq!(resolve("localhost:5560").unwrap(), tcp("localhost", 5560, true, Some("/")));
    assert_eq!(resolve("http://[::1]:9/a").unwrap(), tcp("::1", 9, false, Some("/a")));
    let clear = Target::resolve(&streamtype("https://h", 1, false), |_| None).unwrap();
    assert_eq!(clear, tcp("h", 443, false, Some("/")));
}

#[test]
fn metadata_can_be_the_whole_url() {
    let target = with_metadata("https://h/a b").unwrap();
    assert_eq!(target, chosen("h", 443, true, Some("/a%20b")));
    // The path is expanded once more, and only once.
    let again = with_metadata("h/${endpoint}x").unwrap();
    assert_eq!(again, chosen("h", 8443, true, Some("/h/${endpoint}xx")));
}

/// A fragment went out as `%23` and what follows (RFC 9110 §7.1: it is not sent).
#[test]
fn fragments_stay_here() {
    assert_eq!(resolve("http://h/a?b#c/d").unwrap(), tcp("h", 80, false, Some("/a?b")));
    assert_eq!(resolve("https://h#c").unwrap(), tcp("h", 443, true, Some("/")));
    assert_eq!(with_metadata("https://h:1/a#b?c").unwrap(), chosen("h", 1, true, Some("/a")));
    assert_eq!(with_metadata("https://h#/a").unwrap(), chosen("h", 443, true, Some("/")));
    // In a value that is not the URL itself, it is data.
    let search = streamtype("http://h/${endpoint}?x", 1, false);
    let target = Target::resolve(&search, |_| Some(b"a#${b".as_slice())).unwrap();
    assert_eq!(target, tcp("h", 80, false, Some("/a%23${b?x")));
    let target = Target::resolve(&search, |_| Some(b"a#b".as_slice())).unwrap();
    assert_eq!(target, tcp("h", 80, false, Some("/a%23b?x")));
    assert_eq!(resolve("+/run/a#b").unwrap().address, Address::UnixPath("/run/a#b".into()));
}

#[test]
fn what_could_reach_beyond_the_policy_is_refused() {
    assert_eq!(with_metadata("+/run/secret"), Err(EndpointError::UnixFromMetadata));
    assert_eq!(with_metadata("file:///etc/passwd"), Err(EndpointError::File));
    assert_eq!(with_metadata("FILE:///etc/passwd"), Err(EndpointError::File));
    assert_eq!(with_metadata(""), Err(EndpointError::NoHost));
    assert_eq!(with_metadata("https://"), Err(EndpointError::NoHost));
    assert!(matches!(with_metadata("a\r\nb"), Err(EndpointError::Expand(_))));
    for host in ["a b", "user@h", "https://u:p@h/", "[::1", "[::1]x", "[h]:1", "a%00"] {
        let result = with_metadata(host);
        assert!(
            matches!(result, Err(EndpointError::BadHost(_) | EndpointError::BadPort(_))),
            "{host}: {result:?}"
        );
    }
    for port in ["h:0", "h:", "h:65536", "h:+80", "https://h:8x/"] {
        assert!(matches!(with_metadata(port), Err(EndpointError::BadPort(_))), "{port}");
    }
    let no_port = streamtype("h", 0, false);
    assert_eq!(Target::resolve(&no_port, |_| None), Err(EndpointError::NoPort));
    assert_eq!(Target::resolve(&StreamType::new("s"), |_| None), Err(EndpointError::Missing));
}

#[test]
fn unix_sockets_come_from_the_policy() {
    assert_eq!(resolve("+/run/x").unwrap().address, Address::UnixPath("/run/x".into()));
    assert_eq!(resolve("+@x").unwrap().address, Address::UnixAbstract("x".into()));
    assert_eq!(resolve("+@"), Err(EndpointError::NoHost));
    assert_eq!(resolve("+"), Err(EndpointError::NoHost));
}

#[test]
fn paths_have_exactly_one_leading_slash() {
    for (url, path) in [("", "/"), ("get", "/get"), ("/get", "/get"), ("//g", "/g"), ("?", "/?")] {
        assert_eq!(request_path(url), path);
    }
    let mut st = streamtype("h", 80, false);
    st.http.url = "get?q=${q}".into();
    let target = Target::resolve(&st, |_| None).unwrap();
    let path = path_for(&st, &target, |_| Some(b"a b".as_slice())).unwrap();
    assert_eq!(path, "/get?q=a%20b");
}

#[test]
fn authorities_leave_the_default_port_out() {
    let tcp = |host: &str, port| Address::Tcp { host: host.into(), port };
    assert_eq!(tcp("h", 443).authority(true), "h");
    assert_eq!(tcp("h", 443).authority(false), "h:443");
    assert_eq!(tcp("::1", 80).authority(false), "[::1]");
    assert_eq!(tcp("::1", 81).to_string(), "[::1]:81");
}

/// `bucket` could be a whole URL, and took the credential in clear to another host.
#[test]
fn values_stay_in_their_places() {
    let with = |endpoint: &str, value: &str| {
        Target::resolve(&streamtype(endpoint, 8443, true), |_| Some(value.as_bytes()))
    };
    let refused = |byte| EndpointError::Value { name: "x".into(), byte };
    for byte in 0..=255 {
        let value = [b'a', byte];
        for endpoint in
            ["${x}.s3.example.com", "https://${x}.example.com/a", "e:${x}", "+/run/${x}"]
        {
            let target = Target::resolve(&streamtype(endpoint, 8443, true), |_| Some(&value));
            let stays = byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if stays {
                let is_port = matches!(target, Err(EndpointError::BadPort(_)));
                let is_name = byte == b'.' && endpoint.contains("${x}.");
                assert!(target.is_ok() || is_port || is_name, "{endpoint} {byte}: {target:?}");
            } else {
                assert_eq!(target, Err(refused(byte)), "{endpoint} {byte}");
            }
        }
    }
    let evil = "http://127.0.0.1:19100/x?";
    assert_eq!(with("${x}.s3.example.com", evil), Err(refused(b':')));
    assert_eq!(with("${x}/a", "https://h"), Err(refused(b':')));
    assert_eq!(with("${x}${x}", "h/"), Err(refused(b'/')));
    assert_eq!(with("${x}://h/", "http"), Err(EndpointError::SchemeFromMetadata));
    assert_eq!(with("http${x}://h/", ""), Err(EndpointError::SchemeFromMetadata));
    assert!(matches!(with("a${x}.example.com", "."), Err(EndpointError::BadHost(_))));
    assert!(matches!(with("${x}.example.com", ""), Err(EndpointError::BadHost(_))));
    assert!(matches!(with("${x}.example.com", "a."), Err(EndpointError::BadHost(_))));

    let bound = |host, port, path| Ok(tcp(host, port, true, path));
    assert_eq!(with("${x}.s3.example.com", "b"), bound("b.s3.example.com", 8443, None));
    assert_eq!(with("api${x}.example.com", ""), bound("api.example.com", 8443, None));
    assert_eq!(with("h:${x}", "81"), bound("h", 81, Some("/")));
    assert_eq!(with("https://h/a/${x}", "b?c"), bound("h", 443, Some("/a/b?c")));
    assert_eq!(with("h/${x}", "${x}"), bound("h", 8443, Some("/${x}")));
    assert_eq!(with("https://h/a/${x}", "../b"), Err(ExpandError::DotSegment.into()));
    assert_eq!(with("https://h/a/${x}", "b@:[]//"), bound("h", 443, Some("/a/b@:[]//")));
}

#[test]
fn whose_the_host_is_shows_at_its_end() {
    let from_client = |endpoint: &str| {
        let target = Target::resolve(&streamtype(endpoint, 1, false), |_| Some(b"1"));
        target.unwrap_or_else(|error| panic!("{endpoint}: {error}")).host_from_client
    };
    for endpoint in [
        "${x}",
        "s3.${x}",
        "https://${x}/",
        "${x}.com",
        "${x}.com.",
        "${x}example.com",
        "a${x}",
        "${a}.example.${b}",
        "${x}:80",
        "${x}:${y}",
        "10.0.0.${x}",
        "${x}.0.0.1",
        "::${x}",
        "http://[::${x}]/",
        "http://[${x}::7:8]:1/",
        "${a}${b}.lan",
    ] {
        assert!(from_client(endpoint), "{endpoint}");
    }
    for endpoint in [
        "${x}.example.com",
        "http://${x}.s3.example.com./",
        "h:${x}",
        "http://h/${x}",
        "h?${x}",
        "${a}.s3-${b}.example.com:${c}/${d}",
        "[::1]:${x}",
        "+/run/${x}",
        "+@${x}",
        "e",
        "127.0.0.1",
    ] {
        assert!(!from_client(endpoint), "{endpoint}");
    }
}

#[test]
fn metadata_raises_tls_and_never_lowers_it() {
    let with = |tls, allow_clear, value: &str| {
        let mut streamtype = streamtype("${x}", 8443, tls);
        streamtype.allow_clear = allow_clear;
        Target::resolve(&streamtype, |_| Some(value.as_bytes())).map(|target| target.tls)
    };
    for scheme in ["http", "ws", "mqtt", "HTTP"] {
        let url = format!("{scheme}://h/");
        let lowers = EndpointError::LowersTls(scheme.to_ascii_lowercase());
        assert_eq!(with(true, false, &url), Err(lowers));
        assert_eq!(with(true, true, &url), Ok(false));
        assert_eq!(with(false, false, &url), Ok(false));
    }
    for url in ["https://h/", "wss://h/", "mqtts://h/", "HTTPS://h/"] {
        assert_eq!(with(false, false, url), Ok(true), "{url}");
        assert_eq!(with(true, true, url), Ok(true), "{url}");
    }
    for text in ["h", "h:1", "h/a", "foo://h"] {
        assert_eq!(with(false, true, text), Ok(false), "{text}");
        assert_eq!(with(true, true, text), Ok(true), "{text}");
    }
}

#[test]
fn values_do_not_leave_the_folder_of_a_socket() {
    let with = |endpoint: &str, value: &str| {
        Target::resolve(&streamtype(endpoint, 0, false), |_| Some(value.as_bytes()))
            .map(|target| target.address)
    };
    let refused = |byte| EndpointError::Value { name: "x".into(), byte };
    assert_eq!(with("+/run/${x}.sock", "a"), Ok(Address::UnixPath("/run/a.sock".into())));
    assert_eq!(with("+/run/${x}", "../docker"), Err(refused(b'/')));
    assert_eq!(with("+/run/${x}/sock", ".."), Err(ExpandError::DotSegment.into()));
    assert_eq!(with("+/run/.${x}/sock", "."), Err(ExpandError::DotSegment.into()));
    assert_eq!(with("+${x}", "@name"), Err(refused(b'@')));
    assert_eq!(with("+@${x}", "name"), Ok(Address::UnixAbstract("name".into())));
    assert_eq!(with("+../${x}", "name"), Ok(Address::UnixPath("../name".into())));
    // It became an abstract name.
    assert_eq!(with("+${x}@name", ""), Ok(Address::UnixPath("@name".into())));
}
