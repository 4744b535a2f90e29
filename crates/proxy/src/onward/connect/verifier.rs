//! Whether a peer's certificate is trusted, and if not, why.
//!
//! WebPKI decides, with two additions. What is wrong is looked up in the certificates and noted for a
//! person; and a certificate that the policy lists itself is trusted as it is: WebPKI takes every
//! listed certificate as an issuer, and refuses one that is marked as an issuer when a server
//! presents it as its own. That is what `openssl req -x509` makes, and what small installations pin.
//! A server may present a listed certificate; its names and its dates are checked as for any other.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme, WantsVerifier,
};

use super::chain::{self, Chain};
use super::notes::Notes;
use super::route::Trust;

/// WebPKI, and listed certificates beside it.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    trust: Trust,
}

impl Verifier {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>, trust: Trust) -> Self {
        Self { inner, trust }
    }

    /// A configuration that uses this verifier, and presents what `client_cert` has.
    pub(super) fn configure(
        self,
        builder: ConfigBuilder<ClientConfig, WantsVerifier>,
        client_cert: Arc<dyn ResolvesClientCert>,
    ) -> ClientConfig {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self))
            .with_client_cert_resolver(client_cert)
    }

    /// The certificates that the policy lists.
    fn listed(&self) -> &[Arc<[u8]>] {
        match &self.trust {
            Trust::Platform => &[],
            Trust::Store(store) => &store.certs,
        }
    }

    fn verify_listed(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (not_before, not_after) =
            chain::validity(end_entity).ok_or(CertificateError::BadEncoding)?;
        let now = now.as_secs();
        if now < not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > not_after {
            return Err(CertificateError::Expired.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    /// Notes why the peer's key did not make this signature.
    fn note_signature<T>(
        &self,
        cert: &CertificateDer<'_>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        if result.is_err() {
            let why = chain::handshake_fault(cert);
            Notes::change(|notes| notes.certificate = Some(why));
        }
        result
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let unlisted_kind = matches!(
            usual,
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_)
            ))
        );
        let listed = unlisted_kind && self.listed().iter().any(|der| **der == **end_entity);
        let result = if listed { self.verify_listed(end_entity, server_name, now) } else { usual };
        if let Err(Error::InvalidCertificate(error)) = &result {
            let chain = Chain { end_entity, others: intermediates, listed: self.listed() };
            let why = chain.explain(error, server_name, now, &self.trust.to_string());
            Notes::change(|notes| notes.certificate = Some(why));
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_signature(cert, self.inner.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_signature(cert, self.inner.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}
