//! An authority, and what it signed well and badly.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};

/// The certificates of the nginx fixture, by file name; each has its `.key` beside its `.pem`.
pub(crate) const GOOD: &str = "good";
/// For a host that nobody asks for.
pub(crate) const WRONG_HOST: &str = "wrong-host";
/// Good until 2001.
pub(crate) const EXPIRED: &str = "expired";
/// Signed by itself.
pub(crate) const SELF_SIGNED: &str = "self-signed";

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Writes all certificates into `folder`. Gives the authority's, as policies take it.
pub(crate) fn write(folder: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "end to end authority");
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);

    let sign = |name: &str, params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        save(folder, name, &params.signed_by(&key, &issuer).unwrap(), &key);
    };
    sign(GOOD, for_names(&NAMES));
    sign(WRONG_HOST, for_names(&["other.example"]));
    let mut expired = for_names(&NAMES);
    expired.not_before = date_time_ymd(2000, 1, 1);
    expired.not_after = date_time_ymd(2001, 1, 1);
    sign(EXPIRED, expired);

    let key = KeyPair::generate().unwrap();
    save(folder, SELF_SIGNED, &for_names(&NAMES).self_signed(&key).unwrap(), &key);
    STANDARD.encode(authority.der())
}

fn for_names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn save(folder: &Path, name: &str, certificate: &Certificate, key: &KeyPair) {
    fs::write(folder.join(name).with_extension("pem"), certificate.pem()).unwrap();
    fs::write(folder.join(name).with_extension("key"), key.serialize_pem()).unwrap();
}
