//! `tcp:` addresses with TLS: who is served there, who is not, and what strangers can do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sspc_proxy::{Config, ListenAddress, ListenError, Proxy};
use sspc_wire::{Flags, ToProxy};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::*;
use crate::user::PATIENCE;

/// The files of an authority, and of those for whom it signed.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), issuer.pem()).unwrap();
        let this = Self { folder, issuer };
        this.sign("proxy", &["localhost"], |_| {});
        this
    }

    fn sign(&self, name: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.crt")), made.pem()).unwrap();
        let path = self.path(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Where a proxy listens, on a port that is free.
    fn address(&self, more: &str) -> ListenAddress {
        let (cert, key) = (self.path("proxy.crt"), self.path("proxy.key"));
        format!("tcp:127.0.0.1:0?cert={cert}&key={key}{more}").parse().unwrap()
    }

    /// The same for clients that this authority signed for.
    fn address_for_known(&self) -> ListenAddress {
        self.address(&format!("&client_ca={}", self.path("ca")))
    }

    /// Connects, trusting this authority, with the certificate of that name.
    async fn connect(&self, port: u16, name: Option<&str>) -> Option<TlsStream<TcpStream>> {
        let mut anchors = RootCertStore::empty();
        anchors.add(self.issuer.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(anchors);
        let config = match name {
            None => config.with_no_client_auth(),
            Some(name) => {
                let cert = CertificateDer::from_pem_file(self.path(&format!("{name}.crt")));
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key")));
                config.with_client_auth_cert(vec![cert.unwrap()], key.unwrap()).unwrap()
            }
        };
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let host = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(host, socket).await.ok()
    }

    /// A client with a stream.
    async fn stream(&self, port: u16, name: Option<&str>) -> Client<TlsStream<TcpStream>> {
        let mut client = Client::new(self.connect(port, name).await.unwrap());
        client.streamtype("get").await;
        timeout(PATIENCE, client.until("CREATING")).await.unwrap();
        client
    }

    /// Whether a client gets a stream; it may be shut out before or after its side of the handshake.
    async fn is_served(&self, port: u16, name: Option<&str>) -> bool {
        let Some(link) = self.connect(port, name).await else { return false };
        let mut client = Client::new(link);
        // What is written to a link that is being closed may be refused.
        let streamtype = sspc_wire::Streamtype { version: 1, pid: 1, tx_credit: 0, name: b"get" };
        let mut bytes = [0; 64];
        let length = ToProxy::Streamtype(streamtype).encode(&mut bytes).unwrap();
        let _ = client.link.write_all(&bytes[..length]).await;
        while client.heard.states.len() < 2 && timeout(PATIENCE, client.read()).await.unwrap() {}
        client.heard.states.iter().any(|state| state == "CREATING")
    }
}

fn port_of(address: &ListenAddress) -> u16 {
    match address {
        ListenAddress::Tls(address) => address.port,
        other => panic!("{other}"),
    }
}

/// A proxy at this address and at a Unix socket, and the port that it got.
fn serve(address: &ListenAddress, to: u16, change: impl FnOnce(&mut Config)) -> (Serving, u16) {
    let text = format!(
        r#"{{"s": [{{"get": {{"endpoint": "127.0.0.1", "port": {to}, "http_url": "/"}}}}]}}"#
    );
    let mut config = Config::new(policy(&text));
    change(&mut config);
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = Proxy::new(config).unwrap();
    let port = port_of(&proxy.listen(address).unwrap());
    let unix = format!("uds:{}", folder.path().join("ss").display());
    proxy.listen(&unix.parse().unwrap()).unwrap();
    (Serving::run(proxy, folder), port)
}

/// Answers with bytes that differ, more of them than all buffers on the way hold.
fn body() -> Vec<u8> {
    (0..600_000_u32).flat_map(|number| number.to_le_bytes()).collect()
}

async fn origin() -> u16 {
    server(|mut link| async move {
        request(&mut link).await;
        // A client may leave before it has all.
        let _ = link.write_all(&response(200, "", &body())).await;
    })
    .await
}

/// Over links that stay where they were accepted and over some that move to another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_over_tls_get_all_that_others_get() {
    let authority = Authority::new();
    let origin = origin().await;
    let expected = body();
    for threads in [0, 3] {
        let (serving, port) =
            serve(&authority.address(""), origin, |config| config.threads = threads);
        let got = (0..4).map(|_| async {
            let mut client = authority.stream(port, None).await;
            client.send(ToProxy::OnwardConnect).await;
            timeout(4 * PATIENCE, client.until("DISCONNECTED")).await.unwrap();
            client.heard.messages.pop().unwrap()
        });
        for (flags, bytes) in join_all(got).await {
            assert_eq!(flags, Flags::WHOLE);
            assert!(bytes == expected, "{} bytes", bytes.len());
        }
        serving.stop().await;
    }
}

#[tokio::test]
async fn a_client_shows_a_certificate_of_the_right_authority_or_is_not_served() {
    let authority = Authority::new();
    authority.sign("sensor-7", &[], |_| {});
    authority.sign("expired", &[], |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let (serving, port) = serve(&authority.address_for_known(), 1, |_| {});
    // Another's certificate, shown to a proxy that the client trusts.
    let stranger = Authority::new();
    stranger.sign("stranger", &[], |_| {});
    for file in ["stranger.crt", "stranger.key"] {
        fs::copy(stranger.path(file), authority.path(file)).unwrap();
    }
    assert!(!authority.is_served(port, None).await, "without a certificate");
    assert!(!authority.is_served(port, Some("stranger")).await, "of another authority");
    assert!(!authority.is_served(port, Some("expired")).await, "that has expired");
    assert_eq!(serving.handle.counters().sessions_total, 0);
    assert!(authority.is_served(port, Some("sensor-7")).await);
    // Nor is it served by a proxy that it does not trust.
    assert!(stranger.connect(port, Some("stranger")).await.is_none());
    assert_eq!(serving.handle.counters().sessions_total, 1);
}

#[tokio::test]
async fn each_certificate_is_a_client_of_its_own() {
    let authority = Authority::new();
    for name in ["one", "two"] {
        authority.sign(name, &[], |_| {});
    }
    let (_serving, port) = serve(&authority.address_for_known(), 1, |config| {
        config.limits.sessions_per_client = 1;
    });
    let _one = authority.stream(port, Some("one")).await;
    let _two = authority.stream(port, Some("two")).await;
    assert!(!authority.is_served(port, Some("one")).await, "it has one");
    // What has no certificate is told apart by its host alone.
    let (_serving, port) = serve(&authority.address(""), 1, |config| {
        config.limits.sessions_per_client = 1;
    });
    let _first = authority.stream(port, None).await;
    assert!(!authority.is_served(port, Some("two")).await, "the host has one");
}

/// Connects without TLS, says this and waits until the proxy has closed.
async fn shut_out(port: u16, says: &[u8]) {
    let mut link = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = link.write_all(says).await;
    let mut rest = Vec::new();
    // Whether it is closed or reset is all the same.
    let _ = timeout(PATIENCE, link.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_tls_are_few_are_shut_out_and_hold_up_nobody() {
    const PLACES: usize = 16;
    let authority = Authority::new();
    let (serving, port) = serve(&authority.address(""), 1, |config| {
        config.limits.handshakes_per_client = PLACES;
        config.timeouts.handshake = Duration::from_secs(2);
    });
    let mut good = authority.stream(port, None).await;
    // They speak something else, or break off.
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let too_long = [[0x16, 3, 1, 0x40, 0].as_slice(), &[7; 0x4000]].concat();
    for says in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xaa; 64], &too_long, &hello, b""] {
        shut_out(port, says).await;
    }
    // Some say nothing for as long as they may, each in a place of its host; the next ones have none.
    let mut silent = Vec::new();
    while serving.handle.counters().over_limit < 50 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        tokio::task::yield_now().await;
    }
    assert!(silent.len() >= 50 + PLACES);
    // Neither a client that is there nor one at another address notices.
    good.send(ToProxy::OnwardConnect).await;
    timeout(PATIENCE, good.until("UNREACHABLE")).await.unwrap();
    serving.stream("get").await;
    assert_eq!(serving.handle.counters().sessions_total, 2, "no stranger had a session");
    // Their time is over.
    for mut link in silent {
        assert_eq!(timeout(PATIENCE, link.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    }
    assert!(authority.is_served(port, None).await);
}

/// Of `sspc`, which blocks; `sspc cat` is the async one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_blocking_client_sends_and_receives_over_tls() {
    let authority = Authority::new();
    authority.sign("sensor-7", &[], |_| {});
    let echo = server(|mut link| async move {
        let (_, body) = request(&mut link).await;
        link.write_all(&response(200, "", &body)).await.unwrap();
    })
    .await;
    let text = format!(
        r#"{{"s": [{{"post": {{"endpoint": "127.0.0.1", "port": {echo}, "http_url": "/",
            "http_method": "POST"}}}}]}}"#
    );
    let mut proxy = Proxy::new(Config::new(policy(&text))).unwrap();
    let port = port_of(&proxy.listen(&authority.address_for_known()).unwrap());
    let serving = Serving::run(proxy, tempfile::tempdir().unwrap());
    let [ca, cert, key] = ["ca", "sensor-7.crt", "sensor-7.key"].map(|name| authority.path(name));
    let address = format!("tcp:localhost:{port}?ca={ca}&cert={cert}&key={key}");
    let sent = body();
    let expected = sent.clone();
    let exchange = move || {
        let mut stream = sspc::blocking::Stream::open(&address.parse().unwrap(), "post").unwrap();
        stream.send_message(&sent, Some(PATIENCE)).unwrap();
        let mut got = Vec::new();
        while let Some(event) = stream.next(Some(PATIENCE)).unwrap() {
            match event {
                sspc::blocking::Event::Payload { data, .. } => got.extend_from_slice(&data),
                sspc::blocking::Event::State { state: sspc::State::QosAckRemote, .. } => break,
                _ => {}
            }
        }
        stream.close();
        got
    };
    let got = tokio::task::spawn_blocking(exchange).await.unwrap();
    assert!(got == expected, "{} bytes", got.len());
    serving.stop().await;
}

/// A session over TLS ends when its client goes, with or without a word.
#[tokio::test]
async fn a_client_that_goes_ends_its_session() {
    let authority = Authority::new();
    let (serving, port) = serve(&authority.address(""), 1, |_| {});
    let mut polite = authority.stream(port, None).await;
    let rude = authority.stream(port, None).await;
    assert_eq!(serving.handle.counters().sessions_open, 2);
    polite.link.shutdown().await.unwrap();
    drop((polite, rude.link.into_inner().0));
    let gone = async {
        while serving.handle.counters().sessions_open > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

fn listen(address: &ListenAddress) -> Result<ListenAddress, ListenError> {
    let mut proxy = Proxy::new(Config::new(sspc_policy::Policy::builtin())).unwrap();
    proxy.listen(address)
}

#[tokio::test]
async fn other_machines_are_not_served_without_tls_unless_asked() {
    for text in ["tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:192.0.2.1:0", "tcp:[2001:db8::1]:0"] {
        let refused = listen(&text.parse().unwrap()).unwrap_err();
        assert!(matches!(refused, ListenError::NeedsTls { .. }), "{refused}");
        let advice = "cannot listen at tcp:";
        assert!(refused.to_string().starts_with(advice), "{refused}");
        for option in ["?cert=/path&key=/path", "127.0.0.1", "?tls=off"] {
            assert!(refused.to_string().contains(option), "{refused}");
        }
    }
    // It is asked for, but no address of this machine.
    let other = listen(&"tcp:192.0.2.1:0?tls=off".parse().unwrap()).unwrap_err();
    assert!(matches!(other, ListenError::System { action: "bind", .. }), "{other}");
    let local = listen(&"tcp:127.0.0.1:0?tls=off".parse().unwrap()).unwrap();
    assert!(local.to_string().ends_with("?tls=off"), "{local}");
}

#[tokio::test]
async fn files_that_are_wrong_are_named() {
    let authority = Authority::new();
    authority.sign("other", &[], |_| {});
    let why = |address: &ListenAddress| match listen(address) {
        Err(ListenError::Tls { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    let told = |cert: &str, key: &str, more: &str| {
        let (cert, key) = (authority.path(cert), authority.path(key));
        why(&format!("tcp:127.0.0.1:0?cert={cert}&key={key}{more}").parse().unwrap())
    };
    let missing = told("nothing", "proxy.key", "");
    assert!(missing.starts_with(&authority.path("nothing")), "{missing}");
    let mixed_up = told("proxy.key", "proxy.key", "");
    assert!(
        mixed_up.contains("proxy.key: there is none; PEM with `BEGIN CERTIFICATE`"),
        "{mixed_up}"
    );
    let mixed_up = told("proxy.crt", "proxy.crt", "");
    assert!(mixed_up.contains("every user may read this key"), "{mixed_up}");
    let mismatch = told("proxy.crt", "other.key", "");
    assert!(
        mismatch.ends_with("other.key: the key is not that of certificate `proxy`"),
        "{mismatch}"
    );
    let no_ca = why(&authority.address(&format!("&client_ca={}", authority.path("proxy.key"))));
    assert!(no_ca.contains("proxy.key: there is no certificate; PEM"), "{no_ca}");
    fs::set_permissions(Path::new(&authority.path("proxy.key")), Permissions::from_mode(0o644))
        .unwrap();
    let open = why(&authority.address(""));
    assert!(
        open.ends_with("every user may read this key; take that right from them (chmod o=)"),
        "{open}"
    );
}
