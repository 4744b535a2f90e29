//! From the files of an address to what serves TLS.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::OFlag;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};
use sspc_address::TlsListenAddress;
use tracing::warn;

use crate::onward::{ClientCert, ClientCertError};

/// Most bytes of a file.
const FILE_MAX: u64 = 1024 * 1024;

/// Who may read a private key: its owner and its group.
const EVERYONE: u32 = 0o007;

/// Reads the files.
///
/// # Errors
/// What is wrong with which of them.
pub(in crate::server) fn load(address: &TlsListenAddress) -> Result<Arc<ServerConfig>, String> {
    let (cert, key) = (&address.identity.cert, &address.identity.key);
    let in_file = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let own =
        ClientCert::from_pem(&read(cert, false)?, &read(key, true)?).map_err(
            |error| match &error {
                ClientCertError::Certificate(why) => in_file(cert, why),
                ClientCertError::Key(why) => in_file(key, why),
                ClientCertError::Mismatch(_) => in_file(key, &error),
            },
        )?;
    if own.has_expired() {
        warn!("{}: the certificate has expired, and clients will refuse it", cert.display());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &address.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let anchors = Arc::new(anchors(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(anchors, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| in_file(path, &error))?)
        }
    };
    let resolver = SingleCertAndKey::from(own.certified_key());
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    if address.client_ca.is_some() {
        // A session that is taken up again would not be asked for a certificate, which may have expired.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// The certificates of a file, each of which may issue clients'.
fn anchors(path: &Path) -> Result<RootCertStore, String> {
    let failed = |why: &str| format!("{}: {why}", path.display());
    let mut anchors = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(path, false)?) {
        let certificate = certificate.map_err(|_| failed("its PEM cannot be read"))?;
        anchors.add(certificate).map_err(|error| failed(&error.to_string()))?;
    }
    match anchors.is_empty() {
        true => Err(failed("there is no certificate; PEM with `BEGIN CERTIFICATE` is expected")),
        false => Ok(anchors),
    }
}

fn read(path: &Path, is_secret: bool) -> Result<Vec<u8>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    // A pipe is refused below, and not waited for.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(failed(&"it is not a file"));
    }
    if is_secret && metadata.mode() & EVERYONE != 0 {
        return Err(failed(&"every user may read this key; take that right from them (chmod o=)"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    match bytes.len() as u64 > FILE_MAX {
        true => Err(failed(&format!("it is longer than {FILE_MAX} bytes"))),
        false => Ok(bytes),
    }
}
