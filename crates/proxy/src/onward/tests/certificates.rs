//! What the user reads when a certificate, or TLS itself, is not good enough. The servers are
//! openssl's, since ours refuse to serve the like; the folder has its certificates.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sspc_policy::{Protocol, StreamType, TrustStore};

use super::support::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/onward/tests/certificates");

/// `openssl s_server` with a certificate of the folder.
struct OpenSsl {
    process: Child,
    address: SocketAddr,
    anchor: Vec<u8>,
}

impl OpenSsl {
    fn serve(name: &str, more: &[&str]) -> Self {
        let file = format!("{FOLDER}/{name}.pem");
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", &file, "-key", &file]);
        command.args(["-cipher", "ALL:@SECLEVEL=0"]).args(more);
        // It ends where its input ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("openssl is installed");
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = said.find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok()).unwrap();
        // It must not stop at a full pipe.
        std::thread::spawn(move || said.count());
        let anchor = CertificateDer::from_pem_file(format!("{FOLDER}/{name}.ca.pem")).unwrap();
        Self { process, address, anchor: anchor.to_vec() }
    }

    fn policy(&self) -> StreamType {
        policy(self.address, vec![self.anchor.clone()])
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn policy(address: SocketAddr, anchors: Vec<Vec<u8>>) -> StreamType {
    let mut policy = stream(Protocol::H1, address);
    policy.tls = true;
    let mut store = TrustStore::default();
    store.name = "anchors".to_owned();
    store.stack = anchors.iter().map(|_| "anchor".to_owned()).collect();
    store.certs = anchors.into_iter().map(Arc::from).collect();
    policy.trust_store = Some(Arc::new(store));
    policy
}

/// What a stream's user reads, without the peer's address.
async fn why(policy: &StreamType) -> String {
    let report = run(&onward(), attempt(policy)).await;
    let why = report.failure();
    assert!(why.chars().count() < 1_000 && !why.chars().any(char::is_control), "{why}");
    let prefix = format!("TLS with {}:{}: ", policy.endpoint.as_ref().unwrap(), policy.port);
    why.strip_prefix(&prefix).unwrap_or(why).to_owned()
}

/// They were "wrong host", "BadSignature", and dumps of object identifiers.
#[tokio::test]
async fn certificates_that_lack_something_are_told_so() {
    for (name, expected) in [
        (
            "nosan",
            "the certificate has no subjectAltName, and its common name `nosan` counts for nothing; it \
             has to name 127.0.0.1 there",
        ),
        ("v1", "the certificate is of X.509 v1, which has no subjectAltName; it must be of v3"),
        ("sha1", "the certificate is signed with SHA-1, which can be forged"),
        (
            "short",
            "the certificate has an RSA key of 1024 bits, which is too short; at least 2048 are needed",
        ),
        (
            "short-issuer",
            "the issuer's certificate `short-issuer's issuer` has an RSA key of 1024 bits, which is too \
             short; at least 2048 are needed",
        ),
        (
            "curve",
            "the issuer's certificate `curve's issuer` has an EC key on a curve that is not supported \
             (1.3.132.0.10); P-256, P-384 and P-521 are",
        ),
    ] {
        let server = OpenSsl::serve(name, &[]);
        assert_eq!(why(&server.policy()).await, expected, "{name}");
    }
    // In the older version the key signs something else.
    let server = OpenSsl::serve("short", &["-tls1_2"]);
    assert!(why(&server.policy()).await.contains("an RSA key of 1024 bits"));
}

#[tokio::test]
async fn servers_that_have_nothing_in_common_with_us_are_told_so() {
    let old = "the server speaks neither TLS 1.2 nor 1.3";
    let common = "the server found no cipher suite, curve or signature in common";
    for (name, arguments, expected) in [
        ("nosan", &["-tls1_1"][..], old),
        ("nosan", &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], common),
        ("nosan", &["-tls1_2", "-groups", "brainpoolP256r1"], common),
    ] {
        let server = OpenSsl::serve(name, arguments);
        assert_eq!(why(&server.policy()).await, expected, "{name} {arguments:?}");
    }
}

/// Only the server's alert was told, and with TLS 1.3 a connection that closed.
#[tokio::test]
async fn servers_that_want_a_client_certificate_are_told_apart() {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::serve("good", &["-Verify", "1", version]);
        let why = why(&server.policy()).await;
        let expected =
            "the server demands a client certificate, and this stream has none: `client_cert`";
        assert!(why.contains(expected), "{version}: {why}");
    }
}

/// An issuer, and who issued it.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

fn made(name: &str, by: Option<&Made>, change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let cert = match by {
        Some(by) => {
            let issuer = Issuer::from_params(&by.params, &by.key);
            params.signed_by(&key, &issuer).unwrap()
        }
        None => params.self_signed(&key).unwrap(),
    };
    Made { params, key, der: cert.der().to_vec() }
}

fn leaf(names: &[&str]) -> impl FnOnce(&mut CertificateParams) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    move |params| {
        params.is_ca = IsCa::NoCa;
        params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
    }
}

/// What is read of a server that presents the first one's certificate and then the others.
async fn why_chain(chain: &[&Made], anchors: &[&Made]) -> String {
    let certificate = Certificate {
        chain: chain.iter().map(|made| made.der.clone()).collect(),
        key: chain[0].key.serialize_der(),
        anchor: Vec::new(),
    };
    let answer = |_| async { http::Response::new(full("")) };
    let server = Server::https(&certificate, &[], answer).await;
    why(&policy(server.address, anchors.iter().map(|made| made.der.clone()).collect())).await
}

#[tokio::test]
async fn the_certificate_of_a_chain_that_is_wrong_is_named() {
    let root = made("the root", None, |_| {});
    let other = made("the root", None, |_| {});
    let between = made("the middle", Some(&root), |_| {});
    let server = made("server", Some(&between), leaf(&["127.0.0.1"]));

    assert_eq!(
        why_chain(&[&server], &[&root]).await,
        "unknown issuer: `the middle` is not in trust store `anchors`; if it is an intermediate, the \
         server has to send its certificate, and sent only its own certificate"
    );
    let stranger = made("a stranger", None, |_| {});
    assert_eq!(
        why_chain(&[&server, &between, &root], &[&stranger]).await,
        "unknown issuer: the chain ends in `the root`, which is not in trust store `anchors`"
    );
    assert_eq!(
        why_chain(&[&server, &between], &[&other]).await,
        "a certificate is not signed with the key of its issuer: `the root` in trust store `anchors` \
         may be another one of the same name"
    );
    let alone = made("alone", None, leaf(&["127.0.0.1"]));
    assert_eq!(
        why_chain(&[&alone], &[&root]).await,
        "self-signed: the certificate vouches for itself, and is not in trust store `anchors`"
    );

    let past = made("the past", Some(&root), |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = made("server", Some(&past), leaf(&["127.0.0.1"]));
    let why = why_chain(&[&server, &past], &[&root]).await;
    assert!(why.starts_with("the issuer's certificate `the past` has expired, "), "{why}");
    let future = made("the future", Some(&root), |params| {
        params.not_before = rcgen::date_time_ymd(2901, 1, 1);
        params.not_after = rcgen::date_time_ymd(2902, 1, 1);
    });
    let server = made("server", Some(&future), leaf(&["127.0.0.1"]));
    let why = why_chain(&[&server, &future], &[&root]).await;
    assert!(why.starts_with("the issuer's certificate `the future` is not valid yet"), "{why}");

    let client = made("client", Some(&root), |params| {
        leaf(&["127.0.0.1"])(params);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(
        why_chain(&[&client], &[&root]).await,
        "the certificate is not for TLS servers: its extended key usage lacks serverAuth"
    );
    let not_issuer = made("no issuer", Some(&root), |params| params.is_ca = IsCa::ExplicitNoCa);
    let server = made("server", Some(&not_issuer), leaf(&["127.0.0.1"]));
    assert_eq!(
        why_chain(&[&server, &not_issuer], &[&root]).await,
        "the certificate's issuer `no issuer` is not allowed to issue any"
    );
}

/// Names come from the peer: they could write to the terminal that shows the log, and fill it.
#[tokio::test]
async fn names_of_certificates_are_short_and_harmless() {
    let evil = format!("\u{1b}[2J\n{}", "x".repeat(5_000));
    let root = made(&evil, None, |_| {});
    let between = made(&format!("{evil}1"), Some(&root), |_| {});
    let server = made(&format!("{evil}2"), Some(&between), leaf(&[]));
    let anchor = made("the root", None, |_| {});
    // `why` itself looks for what must not be there.
    let text = why_chain(&[&server], &[&anchor]).await;
    assert!(text.starts_with("unknown issuer: `\\u{1b}[2J\\nxxx"), "{text}");
    assert!(why_chain(&[&server, &between], &[&root]).await.contains("no subjectAltName"));
    let names: Vec<String> =
        (0..200).map(|n| format!("{n}{}.example.com", "x".repeat(50))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = made("server", Some(&root), leaf(&names));
    let text = why_chain(&[&server], &[&root]).await;
    assert!(
        text.starts_with("wrong host: the certificate is not for 127.0.0.1 but for 0xxx"),
        "{text}"
    );
    assert!(text.ends_with(".example.com, …"), "{text}");
}
