//! `client_cert`: what servers get to see of the device, by each protocol that nobody else's server is
//! there for.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use sspc_policy::{Protocol, StreamType};
use sspc_wire::Flags;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::support::*;
use crate::onward::{ClientCert, Onward, TxChunk};

/// A server that talks to devices `a` and `b` alone, and what they have.
struct World {
    server: Arc<Certificate>,
    devices: Arc<[(&'static str, Certificate); 2]>,
    onward: Arc<Onward>,
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in BASE64_STANDARD.encode(der).as_bytes().chunks(64) {
        writeln!(text, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    text + &format!("-----END {label}-----\n")
}

impl World {
    fn new() -> Self {
        let devices = ["a", "b"].map(|name| (name, Certificate::for_names(&[name])));
        let onward = Onward::new(config_with(|config| {
            let mut credentials = crate::DeviceCredentials::default();
            for (number, (_, device)) in (0..).zip(&devices) {
                let certificate = pem("CERTIFICATE", &device.chain[0]);
                let key = pem("PRIVATE KEY", &device.key);
                let known = ClientCert::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
                credentials.client_certs.insert(number, known);
            }
            config.credentials = credentials.into();
        }));
        let server = Arc::new(Certificate::for_names(&["127.0.0.1"]));
        Self { server, devices: Arc::new(devices), onward }
    }

    /// TLS for which a peer has to be one of the devices.
    fn tls(&self, alpn: &str) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for (_, device) in self.devices.iter() {
            roots.add(device.anchor.clone().into()).unwrap();
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let chain = self.server.chain.iter().map(|der| der.clone().into()).collect();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, PrivateKeyDer::Pkcs8(self.server.key.clone().into()))
            .unwrap();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config
    }

    /// Who presented this.
    fn who(devices: &[(&'static str, Certificate)], chain: &[CertificateDer<'_>]) -> &'static str {
        let of = |der: &[u8]| devices.iter().find(|(_, device)| device.chain[0] == der);
        of(&chain[0]).unwrap().0
    }

    /// Hands each connection to a script, with whose it is.
    async fn serve<R>(&self, script: fn(TlsStream<TcpStream>, &'static str) -> R) -> Server
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let acceptor = TlsAcceptor::from(Arc::new(self.tls("http/1.1")));
        let devices = Arc::clone(&self.devices);
        Server::scripted(move |_, socket| {
            let (acceptor, devices) = (acceptor.clone(), Arc::clone(&devices));
            async move {
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let who = Self::who(&*devices, socket.get_ref().1.peer_certificates().unwrap());
                script(socket, who).await;
            }
        })
        .await
    }

    fn policy(&self, protocol: Protocol, address: std::net::SocketAddr) -> StreamType {
        let mut policy = stream(protocol, address);
        (policy.tls, policy.trust_store) = (true, self.server.store());
        policy
    }

    /// Each device is known as itself, and nobody else gets in.
    async fn check(&self, mut policy: StreamType) {
        for (number, name) in [(0, "a"), (1, "b"), (0, "a")] {
            policy.client_cert = Some(number);
            let mut running = self.onward.start(attempt(&policy));
            if policy.protocol == Protocol::Raw {
                let chunk = TxChunk::new(Bytes::from_static(b"?"), Flags::NONE);
                running.body.send(chunk).await.unwrap();
            }
            let report = report(&mut running.events).await;
            assert_eq!(report.text(), name, "{} {number}: {:?}", policy.protocol, report.end);
        }
        policy.client_cert = None;
        let report = run(&self.onward, attempt(&policy)).await;
        let expected =
            "the server demands a client certificate, and this stream has none: `client_cert`";
        assert!(report.failure().contains(expected), "{}", report.failure());
        policy.client_cert = Some(7);
        let report = run(&self.onward, attempt(&policy)).await;
        let expected = "wants client certificate 7, which the credentials do not have";
        assert!(report.failure().contains(expected), "{}", report.failure());
    }
}

#[tokio::test]
async fn raw_streams_present_the_certificate_of_the_policys_number() {
    let world = World::new();
    let server = world
        .serve(|mut socket, who| async move {
            let _ = socket.write_all(who.as_bytes()).await;
            let _ = socket.shutdown().await;
        })
        .await;
    world.check(world.policy(Protocol::Raw, server.address)).await;
}

#[tokio::test]
async fn websockets_present_the_certificate_of_the_policys_number() {
    let world = World::new();
    let server = world
        .serve(|mut socket, who| async move {
            let head = read_head(&mut socket).await;
            let key = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
            });
            let accept = sspc_ws::handshake::accept_key(key.unwrap());
            let answer = format!(
                "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            // A message of one letter, and a close.
            let [letter, ..] = *who.as_bytes() else { return };
            let frames = [0x81, 1, letter, 0x88, 2, 0x03, 0xe8];
            let _ = socket.write_all(&[answer.as_bytes(), &frames].concat()).await;
            let _ = socket.shutdown().await;
        })
        .await;
    world.check(world.policy(Protocol::Ws, server.address)).await;
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn h3_presents_the_certificate_of_the_policys_number() {
    use http::Response;

    use super::h3::{QuicServer, listen_with};

    let world = World::new();
    let endpoint = listen_with(world.tls("h3"), 100);
    let devices = Arc::clone(&world.devices);
    let server = QuicServer::scripted(endpoint, move |connection| {
        let chain = connection.peer_identity().unwrap();
        let chain = chain.downcast::<Vec<CertificateDer<'static>>>().unwrap();
        let who = World::who(&*devices, &chain);
        async move {
            let io = h3_quinn::Connection::new(connection);
            let mut http = h3::server::Connection::<_, Bytes>::new(io).await.unwrap();
            while let Ok(Some(resolver)) = http.accept().await {
                let (_, mut stream) = resolver.resolve_request().await.unwrap();
                stream.send_response(Response::new(())).await.unwrap();
                stream.send_data(Bytes::from_static(who.as_bytes())).await.unwrap();
                stream.finish().await.unwrap();
            }
        }
    });
    world.check(world.policy(Protocol::H3, server.address())).await;
}
