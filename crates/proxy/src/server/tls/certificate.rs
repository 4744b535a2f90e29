//! What a client's certificate says of it.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::onward::connect::names;

/// The certificate that a client has shown, which an authority of `client_ca=` has issued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The common name, if it has one, and its DNS names; the first few of them, cut and with nothing in
    /// them that a log or a terminal would obey.
    pub(crate) names: Vec<String>,
    /// The fingerprint: the hash of the certificate as DER.
    pub(crate) sha256: [u8; 32],
}

impl Certificate {
    pub(crate) fn of(der: &[u8]) -> Self {
        Self { names: names(der), sha256: Sha256::digest(der).into() }
    }

    /// What the client is called by: its first name, else the fingerprint.
    pub(crate) fn id(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.fingerprint())
    }

    /// `sha256:` and 64 hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = "sha256:".to_owned();
        for byte in self.sha256 {
            // A string takes all that is written to it.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn made(common_name: Option<DnValue>, names: &[&str]) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::of(made.der())
    }

    #[test]
    fn a_client_is_called_by_its_names_or_else_by_its_fingerprint() {
        let named = made(Some("sensor-7".into()), &["a.example", "b.example"]);
        assert_eq!(named.names, ["sensor-7", "a.example", "b.example"]);
        assert_eq!(named.id(), "sensor-7");
        let nameless = made(None, &[]);
        assert_eq!(nameless.names, [""; 0]);
        assert_eq!((nameless.id().len(), &nameless.id()[..7]), (7 + 64, "sha256:"));
    }

    #[test]
    fn names_are_few_short_and_harmless() {
        let evil = made(Some("a\nb\u{1b}[31m".into()), &[]);
        assert_eq!(evil.names, ["a\\nb\\u{1b}[31m"]);
        let long = made(Some("x".repeat(5_000).into()), &[]);
        assert!(long.names[0].chars().count() <= 256, "{long:?}");
        let many: Vec<String> = (0..100).map(|number| format!("n{number}.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(made(None, &many).names.len(), 16);
        assert_eq!(Certificate::of(b"no certificate").names, [""; 0]);
    }
}
