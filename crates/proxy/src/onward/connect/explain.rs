//! What went wrong with TLS, in the words of somebody who has to put it right.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::chain;
use super::client_cert::Presented;
use super::notes::Notes;

const NO_CERTIFICATE: &str = "the server demands a client certificate, and this stream has none: \
                              `client_cert`";
const OLD: &str = "the server speaks neither TLS 1.2 nor 1.3";
const NOTHING_IN_COMMON: &str = "the server found no cipher suite, curve or signature in common";

/// Why a handshake failed.
pub(super) fn explain(error: &io::Error, notes: Notes, presented: Option<&Presented>) -> String {
    let Some(tls) = of_rustls(error) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "the peer closed during the handshake".to_owned(),
            _ => error.to_string(),
        };
    };
    match tls {
        Error::InvalidCertificate(error) => {
            notes.certificate.unwrap_or_else(|| chain::in_words(error))
        }
        Error::InvalidMessage(_) => format!("the peer does not speak TLS here ({tls})"),
        Error::AlertReceived(alert) => refused(*alert, notes.asked_for_ours, presented),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => OLD.to_owned(),
        other => other.to_string(),
    }
}

/// An error of an established connection, if TLS has more to say of it than its text.
pub(super) fn later(error: io::Error, presented: Option<&Presented>) -> io::Error {
    match of_rustls(&error) {
        // Servers of TLS 1.3 say so only when the handshake is over for us.
        Some(Error::AlertReceived(alert)) => {
            io::Error::new(error.kind(), refused(*alert, presented.is_some(), presented))
        }
        _ => error,
    }
}

fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// What a peer's alert means.
pub(super) fn refused(
    alert: AlertDescription,
    asked_for_ours: bool,
    presented: Option<&Presented>,
) -> String {
    use AlertDescription as A;
    if let Some(presented) = presented.filter(|_| asked_for_ours) {
        let why = match alert {
            A::HandshakeFailure
            | A::BadCertificate
            | A::CertificateUnknown
            | A::AccessDenied
            | A::DecryptError => "",
            A::UnknownCA => ": it does not know who signed it",
            A::CertificateExpired => ": it has expired",
            A::CertificateRevoked => ": it was revoked",
            A::UnsupportedCertificate => {
                ": it is not for TLS clients, or of a kind it does not know"
            }
            A::CertificateRequired => ", and demands one",
            other => return format!("the peer refused: {other:?}"),
        };
        return format!("the server refused {presented}{why}");
    }
    match alert {
        A::CertificateRequired => NO_CERTIFICATE.to_owned(),
        A::HandshakeFailure | A::BadCertificate | A::NoCertificate | A::AccessDenied
            if asked_for_ours =>
        {
            NO_CERTIFICATE.to_owned()
        }
        A::HandshakeFailure | A::InsufficientSecurity => NOTHING_IN_COMMON.to_owned(),
        A::ProtocolVersion => OLD.to_owned(),
        A::UnrecognisedName => "the server does not know its host name".to_owned(),
        A::NoApplicationProtocol => "the server does not speak the stream's protocol".to_owned(),
        other => format!("the peer refused: {other:?}"),
    }
}
