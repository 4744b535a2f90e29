//! What is wrong with the certificates that a peer presents, in the words of somebody who has to put
//! it right: which of them it is, and what it lacks.
//!
//! rustls has decided by then; nothing here makes a certificate trusted. All names come from the
//! peer: they are shortened and escaped, and so is the whole text bounded.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use x509_cert::der::oid::db::{rfc5912, rfc8410};
use x509_cert::der::{Decode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::Time;

/// As it is, whether or not it follows the rules for new ones.
type Certificate = CertificateInner<Raw>;

/// Most presented certificates that are looked at; honest chains have two or three.
const CERTIFICATES_MAX: usize = 16;
/// Most characters of a name from a certificate.
const NAME_MAX: usize = 80;
/// Most characters of a name that a client counts as; no DNS name is longer.
const DNS_NAME_MAX: usize = 255;
/// Most names of a client that are kept.
const CLIENT_NAMES_MAX: usize = 16;
/// Most names that a certificate is said to be for.
const NAMES_MAX: usize = 4;
/// RSA keys that are taken, bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The certificates of a handshake that failed.
pub(super) struct Chain<'c> {
    pub(super) end_entity: &'c CertificateDer<'c>,
    /// In the order in which the peer sent them.
    pub(super) others: &'c [CertificateDer<'c>],
    /// Those that the policy lists; the platform's need no explanation.
    pub(super) listed: &'c [Arc<[u8]>],
}

/// `notBefore` and `notAfter` of a certificate, seconds since 1970 (RFC 5280 §4.1).
pub(super) fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let cert = Certificate::from_der(der).ok()?;
    let validity = cert.tbs_certificate().validity();
    Some((seconds(validity.not_before), seconds(validity.not_after)))
}

/// Whom a certificate is for, in its own words.
pub(super) fn subject(der: &[u8]) -> Option<String> {
    let cert = Certificate::from_der(der).ok()?;
    Some(name(cert.tbs_certificate().subject()))
}

/// Whom a certificate is for: its common name, if there is one, and its DNS names; the first few.
pub(crate) fn names(der: &[u8]) -> Vec<String> {
    let Ok(cert) = Certificate::from_der(der) else { return Vec::new() };
    let cert = cert.tbs_certificate();
    let common = cert.subject().common_name().ok().flatten();
    let mut names: Vec<String> =
        common.iter().map(|name| shorten_to(&name.value(), DNS_NAME_MAX)).collect();
    if let Ok(Some((_, others))) = cert.get_extension::<SubjectAltName>() {
        let dns = others.0.iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(shorten_to(name.as_str(), DNS_NAME_MAX)),
            _ => None,
        });
        names.extend(dns.take(CLIENT_NAMES_MAX));
    }
    names.dedup();
    names.truncate(CLIENT_NAMES_MAX);
    names
}

fn seconds(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

/// Why a handshake is not signed as it must be with the key of this certificate.
pub(super) fn handshake_fault(der: &[u8]) -> String {
    let parsed = Certificate::from_der(der).ok();
    match parsed.and_then(|cert| key_fault(cert.tbs_certificate().subject_public_key_info())) {
        Some(fault) => format!("the certificate has {fault}"),
        None => "the handshake is not signed with the certificate's key".to_owned(),
    }
}

impl Chain<'_> {
    /// What is wrong, given what rustls found.
    pub(super) fn explain(
        &self,
        error: &CertificateError,
        server_name: &ServerName<'_>,
        now: UnixTime,
        trust: &str,
    ) -> String {
        let Ok(leaf) = Certificate::from_der(self.end_entity) else {
            return in_words(error);
        };
        let others = self.others.iter().take(CERTIFICATES_MAX);
        let others: Vec<Certificate> =
            others.filter_map(|der| Certificate::from_der(der).ok()).collect();
        let path = Path::of(&leaf, &others);
        let now = now.as_secs();
        use CertificateError as E;
        let found = match error {
            E::Expired | E::ExpiredContext { .. } => path.expired(now),
            E::NotValidYet | E::NotValidYetContext { .. } => path.not_valid_yet(now),
            E::NotValidForName | E::NotValidForNameContext { .. } => {
                Some(wrong_name(&leaf, server_name))
            }
            E::UnknownIssuer => path
                .fault(1, self.listed)
                .or_else(|| Some(path.unknown_issuer(self.others.is_empty(), trust))),
            E::BadSignature => path.fault(0, self.listed).or_else(|| Some(path.other_key(trust))),
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Some(
                "the certificate is not for TLS servers: its extended key usage lacks serverAuth"
                    .to_owned(),
            ),
            _ => path.fault(0, self.listed).or_else(|| misused(&leaf, error, trust)),
        };
        found.unwrap_or_else(|| in_words(error))
    }
}

/// The presented certificates from the server's own upwards, each followed by its issuer's.
struct Path<'p>(Vec<&'p Certificate>);

impl<'p> Path<'p> {
    fn of(leaf: &'p Certificate, others: &'p [Certificate]) -> Self {
        let mut path = vec![leaf];
        while let Some(&last) = path.last()
            && !is_self_signed(last)
            && path.len() <= others.len()
            && let Some(issuer) = others.iter().find(|cert| is_issuer(cert, last))
        {
            path.push(issuer);
        }
        Self(path)
    }

    /// The certificates from `first` on, and how to call them.
    fn from(&self, first: usize) -> impl Iterator<Item = (&'p Certificate, String)> {
        self.0.iter().enumerate().skip(first).map(|(index, cert)| {
            let what = match index {
                0 => "the certificate".to_owned(),
                _ => format!("the issuer's certificate {}", name(cert.tbs_certificate().subject())),
            };
            (*cert, what)
        })
    }

    fn expired(&self, now: u64) -> Option<String> {
        self.from(0).find_map(|(cert, what)| {
            let ago = now.saturating_sub(seconds(cert.tbs_certificate().validity().not_after));
            (ago > 0).then(|| format!("{what} has expired, {} days ago", ago / 86_400))
        })
    }

    fn not_valid_yet(&self, now: u64) -> Option<String> {
        self.from(0).find_map(|(cert, what)| {
            let ahead = seconds(cert.tbs_certificate().validity().not_before).saturating_sub(now);
            (ahead > 0).then(|| {
                let days = ahead / 86_400;
                format!("{what} is not valid yet, not for {days} days; is the clock right?")
            })
        })
    }

    /// What makes a certificate from `first` on, or the key that signed it, worth nothing.
    fn fault(&self, first: usize, listed: &[Arc<[u8]>]) -> Option<String> {
        for (cert, what) in self.from(first) {
            let version = cert.tbs_certificate().version();
            if version != Version::V3 {
                let version = if version == Version::V1 { 1 } else { 2 };
                return Some(format!(
                    "{what} is of X.509 v{version}, which has no subjectAltName; it must be of v3"
                ));
            }
            // Nobody looks at the signature of what signs itself.
            if let Some(hash) = broken_hash(cert).filter(|_| !is_self_signed(cert)) {
                return Some(format!("{what} is signed with {hash}, which can be forged"));
            }
        }
        for (cert, what) in self.from(1) {
            if let Some(fault) = key_fault(cert.tbs_certificate().subject_public_key_info()) {
                return Some(format!("{what} has {fault}"));
            }
        }
        let last = self.0.last()?;
        listed.iter().find_map(|der| {
            let anchor = Certificate::from_der(der).ok()?;
            let fault = key_fault(anchor.tbs_certificate().subject_public_key_info())
                .filter(|_| is_issuer(&anchor, last))?;
            Some(format!(
                "the issuer's certificate {} has {fault}",
                name(anchor.tbs_certificate().subject())
            ))
        })
    }

    fn unknown_issuer(&self, alone: bool, trust: &str) -> String {
        let Some(&last) = self.0.last() else { return "there is no certificate".to_owned() };
        match (is_self_signed(last), self.0.len()) {
            (true, 1) => {
                format!("self-signed: the certificate vouches for itself, and is not in {trust}")
            }
            (true, _) => format!(
                "unknown issuer: the chain ends in {}, which is not in {trust}",
                name(last.tbs_certificate().subject())
            ),
            (false, _) => {
                let sent = if alone { "only its own certificate" } else { "a chain without it" };
                format!(
                    "unknown issuer: {} is not in {trust}; if it is an intermediate, the server has to \
                     send its certificate, and sent {sent}",
                    name(last.tbs_certificate().issuer())
                )
            }
        }
    }

    fn other_key(&self, trust: &str) -> String {
        let issuer =
            self.0.last().map(|last| name(last.tbs_certificate().issuer())).unwrap_or_default();
        format!(
            "a certificate is not signed with the key of its issuer: {issuer} in {trust} may be another \
             one of the same name"
        )
    }
}

fn is_self_signed(cert: &Certificate) -> bool {
    is_issuer(cert, cert)
}

fn is_issuer(issuer: &Certificate, of: &Certificate) -> bool {
    issuer.tbs_certificate().subject() == of.tbs_certificate().issuer()
}

fn wrong_name(leaf: &Certificate, server_name: &ServerName<'_>) -> String {
    let wanted = server_name.to_str();
    let all = match leaf.tbs_certificate().get_extension::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names,
        Ok(None) => {
            return format!(
                "the certificate has no subjectAltName, and its common name {} counts for nothing; it \
                 has to name {wanted} there",
                name(leaf.tbs_certificate().subject())
            );
        }
        Err(_) => Vec::new(),
    };
    let known: Vec<String> = all.iter().filter_map(server_name_of).take(NAMES_MAX).collect();
    let more = if all.len() > known.len() { ", …" } else { "" };
    match known.is_empty() {
        true => format!("wrong host: the certificate is not for {wanted}, nor for any host"),
        false => format!(
            "wrong host: the certificate is not for {wanted} but for {}{more}",
            known.join(", ")
        ),
    }
}

/// A name that servers are called by.
fn server_name_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(shorten(name.as_str())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let address = match bytes.len() {
                4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            };
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A certificate in a place that is not its own.
fn misused(leaf: &Certificate, error: &CertificateError, trust: &str) -> Option<String> {
    // The library's own errors have no names here but in their text.
    let text = format!("{error:?}");
    let issuer = name(leaf.tbs_certificate().issuer());
    if text.contains("CaUsedAsEndEntity") {
        return Some(match is_self_signed(leaf) {
            true => {
                format!("self-signed: the certificate is an issuer's own, and not in {trust}")
            }
            false => "the server presents an issuer's certificate as its own".to_owned(),
        });
    }
    if text.contains("EndEntityUsedAsCa") {
        return Some(format!("the certificate's issuer {issuer} is not allowed to issue any"));
    }
    if text.contains("PathLenConstraintViolated") {
        return Some("there are more issuers in the chain than one of them allows".to_owned());
    }
    if text.contains("NameConstraintViolation") {
        return Some("an issuer in the chain is not allowed to vouch for this name".to_owned());
    }
    if text.contains("SignatureAlgorithm") {
        let algorithm = leaf.signature_algorithm().oid.to_string();
        return Some(format!(
            "the certificate or its issuer's has a signature of a kind that is not supported ({})",
            shorten(&algorithm)
        ));
    }
    None
}

/// What can be said without looking at the certificates.
pub(crate) fn in_words(error: &CertificateError) -> String {
    use CertificateError as E;
    let words = match error {
        E::BadEncoding => "the certificate is not readable",
        E::Expired | E::ExpiredContext { .. } => "the certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "the certificate is not valid yet",
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "wrong host: the certificate is for another name"
        }
        E::Revoked => "the certificate is revoked",
        E::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not known here"
        }
        other => return format!("bad certificate: {}", shorten(&other.to_string())),
    };
    words.to_owned()
}

/// The hash of a signature if it is not one any more.
fn broken_hash(cert: &Certificate) -> Option<&'static str> {
    match cert.signature_algorithm().oid.to_string().as_str() {
        // RSA (both), ECDSA and DSA (both).
        "1.2.840.113549.1.1.5"
        | "1.3.14.3.2.29"
        | "1.2.840.10045.4.1"
        | "1.2.840.10040.4.3"
        | "1.3.14.3.2.27" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" => Some("MD5"),
        "1.2.840.113549.1.1.2" => Some("MD2"),
        _ => None,
    }
}

/// What makes a key useless; continues "the certificate has".
fn key_fault(key: &SubjectPublicKeyInfoOwned) -> Option<String> {
    const CURVES: [ObjectIdentifier; 3] =
        [rfc5912::SECP_256_R_1, rfc5912::SECP_384_R_1, rfc5912::SECP_521_R_1];
    match key.algorithm.oid {
        rfc5912::RSA_ENCRYPTION => match rsa_bits(key.subject_public_key.raw_bytes()) {
            None => Some("an RSA key that is not readable".to_owned()),
            Some(bits) if bits < *RSA_BITS.start() => Some(format!(
                "an RSA key of {bits} bits, which is too short; at least {} are needed",
                RSA_BITS.start()
            )),
            Some(bits) if bits > *RSA_BITS.end() => {
                Some(format!("an RSA key of {bits} bits; at most {} can be used", RSA_BITS.end()))
            }
            Some(_) => None,
        },
        rfc5912::ID_EC_PUBLIC_KEY => {
            let parameters = key.algorithm.parameters.as_ref();
            match parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok()) {
                None => Some("an EC key without a named curve".to_owned()),
                Some(curve) if CURVES.contains(&curve) => None,
                Some(curve) => Some(format!(
                    "an EC key on a curve that is not supported ({}); P-256, P-384 and P-521 are",
                    shorten(&curve.to_string())
                )),
            }
        }
        rfc8410::ID_ED_25519 => None,
        other => Some(format!(
            "a key of a kind that is not supported ({}); RSA, ECDSA and Ed25519 are",
            shorten(&other.to_string())
        )),
    }
}

/// The length of an RSA key (RFC 8017 §A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let key = AnyRef::from_der(der).ok()?;
    let mut fields = SliceReader::new(key.value()).ok()?;
    let modulus = fields.decode::<UintRef<'_>>().ok()?;
    let unused = modulus.as_bytes().first().map_or(0, |byte| byte.leading_zeros() as usize);
    Some(modulus.as_bytes().len() * 8 - unused)
}

/// The common name in backticks, else all of the name.
fn name(name: &Name) -> String {
    let common = name.common_name().ok().flatten();
    match common {
        Some(common) => format!("`{}`", shorten(&common.value())),
        None => format!("`{}`", shorten(&name.to_string())),
    }
}

/// Not much of it, and nothing a terminal or a log would obey.
fn shorten(text: &str) -> String {
    shorten_to(text, NAME_MAX)
}

fn shorten_to(text: &str, max: usize) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    for c in chars.by_ref().take(max) {
        match c {
            '\'' | '"' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate() -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2060, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn validity_is_read_from_real_certificates() {
        let der = certificate();
        let day = 86_400;
        assert_eq!(validity(&der), Some((10_956 * day, 32_872 * day)));
        for end in 0..der.len() {
            assert_eq!(validity(&der[..end]), None);
        }
    }

    proptest! {
        /// The bytes are the peer's.
        #[test]
        fn nothing_a_peer_sends_is_more_than_unreadable(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut der = certificate();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            let fault = handshake_fault(&der);
            prop_assert!(!fault.is_empty());
            let der = CertificateDer::from(der);
            let chain = Chain { end_entity: &der, others: &[der.clone(), der.clone()], listed: &[] };
            let name = ServerName::try_from("a").unwrap();
            for error in [
                CertificateError::Expired,
                CertificateError::NotValidYet,
                CertificateError::NotValidForName,
                CertificateError::UnknownIssuer,
                CertificateError::BadSignature,
                CertificateError::ApplicationVerificationFailure,
            ] {
                let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1 << 40));
                let why = chain.explain(&error, &name, now, "the store");
                prop_assert!(!why.is_empty() && why.chars().count() < 1_000, "{why}");
            }
        }
    }
}
