//! TLS towards remote peers.
//!
//! Each trust store gets its own client configuration with each client certificate, and with it its own cache of sessions to
//! resume. The process-wide default provider of rustls is left alone, so that programs which embed
//! the proxy can have another.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sspc_policy::TrustStore;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::client_cert::{ClientCert, Presented};
use super::explain::explain;
use super::notes::{NoCertificate, Notes};
use super::route::{Route, Trust};
use super::transport::{Socket, Transport};
use super::verifier::Verifier;
use crate::onward::{Failure, FailureKind};

/// Configurations that are kept; the oldest goes first. Policies have a handful of trust stores,
/// but reloads may bring new ones for ever.
const CONFIGS_MAX: usize = 64;

/// The protocols that a connection offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    /// h2, or http/1.1 where the peer has no h2.
    H2,
    /// h3, over QUIC.
    #[cfg(feature = "http3")]
    H3,
    /// http/1.1 alone, also for websockets.
    H1,
    /// What AWS IoT asks of mqtt on the port of https.
    AwsMqtt,
    /// Nothing.
    Raw,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Alpn::H2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            #[cfg(feature = "http3")]
            Alpn::H3 => vec![b"h3".to_vec()],
            Alpn::H1 => vec![b"http/1.1".to_vec()],
            Alpn::AwsMqtt => vec![b"x-amzn-mqtt-ca".to_vec()],
            Alpn::Raw => Vec::new(),
        }
    }
}

/// Whom a connection trusts, and who it says that it is. Sessions are taken up again by those alone for
/// whom both are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identities {
    trust: Trust,
    client_cert: Option<ClientCert>,
}

/// Makes and keeps the configurations.
#[derive(Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    configs: Mutex<Vec<(Identities, Alpn, Arc<ClientConfig>)>>,
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
        let presented = route.client_cert.as_ref();
        let config = self.config_of(route, trust, alpn).await.map_err(|why| failed(&why))?;
        let name = ServerName::try_from(route.server_name().to_owned())
            .map_err(|_| failed("a certificate cannot be issued for its host name"))?;
        let connector = TlsConnector::from(config);
        match Notes::of(connector.connect(name, socket)).await {
            (Ok(stream), _) => Ok(Transport::Tls(Box::new(stream), presented.cloned())),
            (Err(error), notes) => Err(failed(&explain(&error, notes, presented))),
        }
    }

    /// What a connection of a route offers, trusts and presents.
    pub(super) async fn config_of(
        &self,
        route: &Route,
        trust: &Trust,
        alpn: Alpn,
    ) -> Result<Arc<ClientConfig>, String> {
        let presented = route.client_cert.as_ref();
        if let Some(presented @ Presented { cert: None, .. }) = presented {
            return Err(format!("the policy wants {presented}"));
        }
        let identities = Identities {
            trust: trust.clone(),
            client_cert: presented.and_then(|presented| presented.cert.clone()),
        };
        self.config(&identities, alpn).await
    }

    async fn config(
        &self,
        identities: &Identities,
        alpn: Alpn,
    ) -> Result<Arc<ClientConfig>, String> {
        let find = |configs: &[(Identities, Alpn, Arc<ClientConfig>)]| {
            let mut found = configs.iter().filter(|(i, o, _)| i == identities && *o == alpn);
            found.next().map(|(_, _, config)| Arc::clone(config))
        };
        let kept = find(&self.configs.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(config) = kept {
            return Ok(config);
        }
        let config = Arc::new(self.make(identities, alpn).await?);
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = find(&configs) {
            return Ok(config);
        }
        if configs.len() >= CONFIGS_MAX {
            configs.remove(0);
        }
        configs.push((identities.clone(), alpn, Arc::clone(&config)));
        Ok(config)
    }

    async fn make(&self, identities: &Identities, alpn: Alpn) -> Result<ClientConfig, String> {
        let Identities { trust, client_cert } = identities;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let anchors = match trust {
            Trust::Platform => Arc::clone(self.platform.get_or_try_init(load_platform).await?),
            Trust::Store(store) => Arc::new(anchors(store)?),
        };
        let usual =
            WebPkiServerVerifier::builder_with_provider(anchors, Arc::clone(&self.provider))
                .build()
                .map_err(|error| format!("{trust}: {error}"))?;
        let resolver = match client_cert {
            Some(cert) => cert.resolver(),
            None => NoCertificate::resolver(),
        };
        let mut config = Verifier::new(usual, trust.clone()).configure(builder, resolver);
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
