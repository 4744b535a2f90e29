//! TLS towards remote peers.
//!
//! Each trust store gets its own client configuration, and with it its own cache of sessions to
//! resume. The process-wide default provider of rustls is left alone, so that programs which embed
//! the proxy can have another.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sspc_policy::TrustStore;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::pinned::{self, Pinned};
use super::route::{Route, Trust};
use super::transport::{Socket, Transport};
use crate::onward::{Failure, FailureKind};

/// Configurations that are kept; the oldest goes first. Policies have a handful of trust stores,
/// but reloads may bring new ones for ever.
const CONFIGS_MAX: usize = 64;

/// The protocols that a connection offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// h2, or http/1.1 where the peer has no h2.
    H2,
    /// http/1.1 alone, also for websockets.
    H1,
    /// Nothing.
    Raw,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::H2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::H1 => vec![b"http/1.1".to_vec()],
            Alpn::Raw => Vec::new(),
        }
    }
}

/// Makes and keeps the configurations.
#[derive(Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    configs: Mutex<Vec<(Trust, Alpn, Arc<ClientConfig>)>>,
    platform: OnceCell<Arc<RootCertStore>>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            configs: Mutex::default(),
            platform: OnceCell::new(),
        }
    }

    /// Encrypts a fresh connection; the caller limits the time.
    pub(crate) async fn handshake(
        &self,
        socket: Socket,
        route: &Route,
        trust: &Trust,
        alpn: Alpn,
    ) -> Result<Transport, Failure> {
        let failed =
            |what: &str| Failure::new(FailureKind::Tls, format!("TLS with {route}: {what}"));
        let config = self.config(trust, alpn).await.map_err(|why| failed(&why))?;
        let name = ServerName::try_from(route.server_name().to_owned())
            .map_err(|_| failed("a certificate cannot be issued for its host name"))?;
        match TlsConnector::from(config).connect(name, socket).await {
            Ok(stream) => Ok(Transport::Tls(Box::new(stream))),
            Err(error) => Err(failed(&explain(&error, trust))),
        }
    }

    async fn config(&self, trust: &Trust, alpn: Alpn) -> Result<Arc<ClientConfig>, String> {
        let find = |configs: &[(Trust, Alpn, Arc<ClientConfig>)]| {
            let mut found = configs.iter().filter(|(t, o, _)| t == trust && *o == alpn);
            found.next().map(|(_, _, config)| Arc::clone(config))
        };
        let kept = find(&self.configs.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(config) = kept {
            return Ok(config);
        }
        let config = Arc::new(self.make(trust, alpn).await?);
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = find(&configs) {
            return Ok(config);
        }
        if configs.len() >= CONFIGS_MAX {
            configs.remove(0);
        }
        configs.push((trust.clone(), alpn, Arc::clone(&config)));
        Ok(config)
    }

    async fn make(&self, trust: &Trust, alpn: Alpn) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = match trust {
            Trust::Platform => {
                let roots = self.platform.get_or_try_init(load_platform).await?;
                builder.with_root_certificates(Arc::clone(roots)).with_no_client_auth()
            }
            Trust::Store(store) => {
                let inner = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(anchors(store)?),
                    Arc::clone(&self.provider),
                )
                .build()
                .map_err(|error| format!("{trust}: {error}"))?;
                let verifier = Arc::new(Pinned::new(inner, &store.certs));
                pinned::verify_with(builder, verifier)
            }
        };
        config.alpn_protocols = alpn.protocols();
        Ok(config)
    }
}

fn anchors(store: &TrustStore) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (i, der) in store.certs.iter().enumerate() {
        let name = store.stack.get(i).map_or("?", String::as_str);
        roots.add(CertificateDer::from(&**der)).map_err(|error| {
            format!("certificate `{name}` of trust store `{}`: {error}", store.name)
        })?;
    }
    Ok(roots)
}

/// Reads the system's certificates; once, when the first stream needs them.
async fn load_platform() -> Result<Arc<RootCertStore>, String> {
    let loaded = tokio::task::spawn_blocking(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "the system's trust store");
        }
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "loaded the system's trust store");
        roots
    })
    .await
    .map_err(|error| error.to_string())?;
    if loaded.is_empty() {
        return Err("the system has no trust store; name one in the policy".to_owned());
    }
    Ok(Arc::new(loaded))
}

/// What went wrong, in the words of somebody who has to put it right.
fn explain(error: &io::Error, trust: &Trust) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "the peer closed during the handshake".to_owned(),
            _ => error.to_string(),
        };
    };
    match tls {
        rustls::Error::InvalidCertificate(certificate) => explain_certificate(certificate, trust),
        rustls::Error::InvalidMessage(_) => format!("the peer does not speak TLS here ({tls})"),
        rustls::Error::AlertReceived(alert) => format!("the peer refused: {alert:?}"),
        other => other.to_string(),
    }
}

fn explain_certificate(error: &CertificateError, trust: &Trust) -> String {
    use CertificateError as E;
    match error {
        E::Expired => "the certificate has expired".to_owned(),
        E::ExpiredContext { time, not_after } => format!(
            "the certificate has expired {} days ago",
            time.as_secs().saturating_sub(not_after.as_secs()) / 86_400
        ),
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the certificate is not valid yet; is the clock right?".to_owned()
        }
        E::UnknownIssuer => {
            format!("unknown issuer: nothing in {trust} vouches for the certificate")
        }
        E::NotValidForName => "wrong host: the certificate is for another name".to_owned(),
        E::NotValidForNameContext { expected, presented } => {
            let mut text = format!("wrong host: the certificate is not for {}", expected.to_str());
            for (i, name) in presented.iter().take(4).enumerate() {
                let separator = if i == 0 { " but for " } else { ", " };
                // The library writes `DnsName("example.com")`.
                let name = name.split('"').nth(1).unwrap_or(name);
                // Names come from the peer; logs are not to be written by it.
                let _ = write!(text, "{separator}{}", name.escape_debug());
            }
            text
        }
        E::Revoked => "the certificate is revoked".to_owned(),
        // The library's own error has no name here but in its text.
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            format!("self-signed: the certificate is an issuer's own, and not in {trust}")
        }
        other => format!("bad certificate: {other}"),
    }
}
