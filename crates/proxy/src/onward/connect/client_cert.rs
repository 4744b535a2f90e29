//! Certificates that the proxy presents to servers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sspc_policy::StreamType;
use thiserror::Error;

use super::chain;
use super::notes::Notes;
use crate::credentials::DeviceCredentials;

/// Certificates of a chain; real ones have two or three.
const CHAIN_MAX: usize = 16;

/// A certificate of the device, those above it, and its key.
#[derive(Clone)]
pub struct ClientCert {
    key: Arc<CertifiedKey>,
    /// Whom it is for, as it says itself.
    name: Arc<str>,
}

/// Why there is no such certificate. The texts never hold a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientCertError {
    /// There is none, or what is there cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// There is none, or what is there cannot be read or used.
    #[error("key: {0}")]
    Key(String),
    /// The two do not belong together.
    #[error("the key is not that of certificate {0}")]
    Mismatch(String),
}

impl ClientCert {
    /// From PEM: the device's own certificate, those above it behind it, and the key, which is not
    /// encrypted.
    ///
    /// # Errors
    /// See [`ClientCertError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, ClientCertError> {
        let certificate = |why: &str| ClientCertError::Certificate(why.to_owned());
        let chain: Result<Vec<_>, PemError> =
            CertificateDer::pem_slice_iter(certificates).take(CHAIN_MAX + 1).collect();
        let chain = chain.map_err(|error| certificate(pem_fault(&error)))?;
        if chain.len() > CHAIN_MAX {
            return Err(certificate("there are too many"));
        }
        let Some(own) = chain.first() else {
            return Err(certificate("there is none; PEM with `BEGIN CERTIFICATE` is expected"));
        };
        let name = chain::subject(own)
            .ok_or_else(|| certificate("what it holds is not an X.509 certificate"))?;
        let is_encrypted = key.windows(20).any(|part| part == b"BEGIN ENCRYPTED PRIV");
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            ClientCertError::Key(match error {
                _ if is_encrypted => {
                    "it is encrypted, and nobody is here to type a password".into()
                }
                PemError::NoItemsFound => {
                    "there is none; PEM with `BEGIN PRIVATE KEY` is expected".into()
                }
                error => pem_fault(&error).to_owned(),
            })
        })?;
        let provider = aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => ClientCertError::Mismatch(name.clone()),
            error => ClientCertError::Key(error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), name: name.into() })
    }

    /// The certificates and their key, for a server.
    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// What it is presented with.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Presenting(Arc::clone(&self.key)))
    }

    /// Whether clients and servers refuse it by now.
    pub(crate) fn has_expired(&self) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let end = self.key.end_entity_cert().ok().and_then(|own| chain::validity(own));
        match (now, end) {
            (Ok(now), Some((_, end))) => now.as_secs() > end,
            _ => false,
        }
    }
}

/// What may be said of it: keys never.
fn pem_fault(error: &PemError) -> &'static str {
    match error {
        PemError::NoItemsFound => "there is none",
        PemError::MissingSectionEnd { .. } => "its PEM is cut off",
        _ => "its PEM cannot be read",
    }
}

/// Certificates are public, and each has one key.
impl PartialEq for ClientCert {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for ClientCert {}

impl Hash for ClientCert {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.cert.first().map(|own| &**own).hash(state);
    }
}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCert").field(&self.name).finish()
    }
}

/// The certificate that a stream's policy wants to be presented.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Presented {
    pub(crate) number: u8,
    /// `None` if the credentials have none of this number.
    pub(crate) cert: Option<ClientCert>,
}

impl Presented {
    pub(crate) fn of(stream: &StreamType, credentials: &DeviceCredentials) -> Option<Self> {
        let number = stream.client_cert?;
        Some(Self { number, cert: credentials.client_certs.get(&number).cloned() })
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client certificate {}", self.number)?;
        match &self.cert {
            None => f.write_str(", which the credentials do not have"),
            Some(cert) => {
                let expired = if cert.has_expired() { ", which has expired" } else { "" };
                write!(f, " ({}{expired})", cert.name)
            }
        }
    }
}

/// Presents a certificate, and notes that one was asked for.
#[derive(Debug)]
struct Presenting(Arc<CertifiedKey>);

impl ResolvesClientCert for Presenting {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Notes::change(|notes| notes.asked_for_ours = true);
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
