//! Client certificates, as nginx and mosquitto demand them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::support::*;

/// A server that demands certificates of the authority in `ca.pem`.
struct Demanding {
    child: Child,
    port: u16,
    folder: TempDir,
    ca: String,
}

/// An authority, a certificate for the server, and those of two devices and of a stranger.
pub(crate) fn certificates(folder: &Path) -> String {
    let authority = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.self_signed(&key).unwrap();
        (cert, Issuer::new(params, key))
    };
    let (ca, issuer) = authority("fleet authority");
    let (_, other) = authority("other authority");
    fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    for (name, issuer) in
        [("localhost", &issuer), ("device-a", &issuer), ("device-b", &issuer), ("stranger", &other)]
    {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.signed_by(&key, issuer).unwrap();
        fs::write(folder.join(name).with_extension("pem"), cert.pem()).unwrap();
        fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
    }
    STANDARD.encode(ca.der())
}

impl Demanding {
    fn start(program: &str, configuration: impl Fn(&Path, u16) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = certificates(folder.path());
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let file = folder.path().join("conf");
            fs::write(&file, configuration(folder.path(), port)).unwrap();
            let mut command = Command::new(format!("/usr/sbin/{program}"));
            command.arg("-c").arg(&file).stdin(Stdio::null());
            if program == "nginx" {
                command.arg("-p").arg(folder.path()).args(["-e", "error.log"]);
            }
            let log = fs::File::create(folder.path().join("log")).unwrap();
            command.stdout(Stdio::null()).stderr(log);
            let mut child = command.spawn().unwrap();
            let start = Instant::now();
            // Someone else may have got the port.
            while child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(60) {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, folder, ca };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Answers with whom the certificate is for, and the number of the connection.
    fn nginx() -> Self {
        Self::start("nginx", |folder, port| {
            let folder = folder.display();
            format!(
                "daemon off; pid nginx.pid; worker_processes 1; events {{}}
                http {{
                    access_log off;
                    server {{
                        listen 127.0.0.1:{port} ssl http2;
                        ssl_certificate {folder}/localhost.pem;
                        ssl_certificate_key {folder}/localhost.key;
                        ssl_client_certificate {folder}/ca.pem;
                        ssl_verify_client on;
                        location / {{ return 200 '$ssl_client_s_dn $connection\\n'; }}
                        location /away {{ return 302 https://127.0.0.1:{port}/; }}
                    }}
                }}"
            )
        })
    }

    fn mosquitto() -> Self {
        Self::start("mosquitto", |folder, port| {
            let folder = folder.display();
            format!(
                "user root\\nlistener {port} 127.0.0.1\\nallow_anonymous false\\n\
                 certfile {folder}/localhost.pem\\nkeyfile {folder}/localhost.key\\n\
                 cafile {folder}/ca.pem\\nrequire_certificate true\\nuse_identity_as_username true\\n\
                 log_dest stderr\\nlog_type all\\n"
            )
            .replace("\\n", "\n")
        })
    }

    /// Streamtypes with more settings, at this server.
    fn policy(&self, streamtypes: &[(&str, &str)]) -> String {
        let Self { port, ca, .. } = self;
        let all: Vec<String> = (streamtypes.iter())
            .map(|(name, more)| {
                format!(
                    r#"{{"{name}": {{"endpoint": "localhost", "port": {port}, "tls": true,
                    "tls_trust_store": "ca", "opportunistic": true, {more}}}}}"#
                )
            })
            .collect();
        format!(
            r#"{{"certs": [{{"ca": "{ca}"}}], "trust_stores": [{{"name": "ca", "stack": ["ca"]}}],
            "s": [{}]}}"#,
            all.join(",")
        )
    }

    /// Certificate 0 is that of `device-a`, 1 that of `device-b`, 2 a stranger's.
    fn proxy(&self, streamtypes: &[(&str, &str)]) -> Proxy {
        let folder = self.folder.path();
        let file = folder.join("credentials.toml");
        let text: Vec<String> = ["device-a", "device-b", "stranger"]
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let path = folder.join(name);
                format!(
                    "[client_cert.{number}]\ncertificate.file = {:?}\nkey.file = {:?}\n",
                    path.with_extension("pem"),
                    path.with_extension("key")
                )
            })
            .collect();
        fs::write(&file, text.concat()).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.json");
        fs::write(&policy, self.policy(streamtypes)).unwrap();
        let address = random_address();
        let mut command = sspc(&["proxy", "-v", "--listen", &address]);
        command.arg("--credentials").arg(&file).arg("--policy").arg(&policy);
        Proxy::spawn(command, &address, dir)
    }
}

impl Drop for Demanding {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn servers_get_the_certificate_of_the_policys_number() {
    let server = Demanding::nginx();
    let mut proxy = server.proxy(&[
        ("h1", r#""client_cert": 0"#),
        ("h2", r#""client_cert": 1, "protocol": "h2""#),
        ("h2-a", r#""client_cert": 0, "protocol": "h2""#),
        ("none", r#""protocol": "h2""#),
        ("stranger", r#""client_cert": 2"#),
        ("away", r#""client_cert": 0, "http_url": "away", "allow_redirects": true"#),
        ("missing", r#""client_cert": 7"#),
    ]);
    let said = proxy.wait_for("`client_cert`: it cannot connect");
    assert!(said.contains("missing") && said.contains("`client_cert.7`"), "{said}");
    proxy.wait_for("ready");
    let got = |name: &str| text(&proxy.cat(&[name]).stdout);
    assert!(got("h1").starts_with("CN=device-a "), "{}", got("h1"));
    // Connections are kept for a moment, but not for another certificate.
    let (first, other) = (got("h2"), got("h2-a"));
    assert!(
        first.starts_with("CN=device-b ") && other.starts_with("CN=device-a "),
        "{first}{other}"
    );
    assert_ne!(first.split(' ').nth(1), other.split(' ').nth(1));
    assert_eq!(got("h2"), first, "the same certificate shares");
    assert!(got("none").contains("No required SSL certificate was sent"), "{}", got("none"));
    assert!(got("stranger").contains("SSL certificate error"), "{}", got("stranger"));
    // 127.0.0.1 is another origin; only the trust is the same.
    let away = proxy.cat(&["away"]);
    assert!(!text(&away.stdout).contains("device-a"), "{}", text(&away.stdout));
    assert_exit(&proxy.cat(&["missing"]), 5);
    let said = proxy.wait_for("client certificate 7");
    assert!(said.contains("which the credentials do not have"), "{said}");
}

#[test]
fn brokers_get_it_too_and_their_refusal_names_it() {
    let broker = Demanding::mosquitto();
    let mut proxy = broker.proxy(&[
        (
            "good",
            r#""client_cert": 1, "protocol": "mqtt", "mqtt_topic": "t", "mqtt_subscribe": "t""#,
        ),
        ("bad", r#""client_cert": 2, "protocol": "mqtt", "mqtt_topic": "t", "mqtt_qos": 1"#),
    ]);
    proxy.wait_for("ready");
    let output = proxy.cat_with(&["good", "-d", "-", "-n", "1"], b"hello");
    assert_exit(&output, 0);
    assert_eq!(text(&output.stdout), "hello");
    let log = fs::read_to_string(broker.folder.path().join("log")).unwrap();
    assert!(log.contains("u'device-b'"), "{log}");
    assert_exit(&proxy.cat(&["bad"]), 5);
    let said = proxy.wait_for("client certificate 2 (`stranger`)");
    assert!(said.contains("the server refused"), "{said}");
}

#[test]
fn a_key_of_another_certificate_is_found_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let file = folder.path().join("credentials.json");
    for (certificate, key, why) in [
        (
            read("device-a.pem"),
            read("device-b.key"),
            "the key is not that of certificate `device-a`",
        ),
        (read("device-a.key"), read("device-a.key"), "certificate: there is none"),
        (read("device-a.pem"), read("device-a.pem"), "key: there is none"),
        (
            read("device-a.pem"),
            read("device-a.key").replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            "key: it is encrypted",
        ),
    ] {
        fs::write(
            &file,
            format!(
                r#"{{"client_cert": {{"3": {{"certificate": {certificate:?}, "key": {key:?}}}}}}}"#
            ),
        )
        .unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let output =
            run(&["proxy", "--listen", &random_address(), "--credentials", file.to_str().unwrap()]);
        assert_exit(&output, 1);
        let said = text(&output.stderr);
        assert!(said.contains(&format!("credentials.json: client_cert.3: {why}")), "{said}");
        assert!(!said.contains("MIG"), "{said}");
    }
}
