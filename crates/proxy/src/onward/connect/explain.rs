//! What went wrong with TLS, in the words of somebody who has to put it right.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

use super::chain;
use super::notes::Notes;

const NO_CERTIFICATE: &str = "the server demands a client certificate, and this proxy has none";
const OLD: &str = "the server speaks neither TLS 1.2 nor 1.3";
const NOTHING_IN_COMMON: &str = "the server found no cipher suite, curve or signature in common";

/// Why a handshake failed.
pub(super) fn explain(error: &io::Error, notes: Notes) -> String {
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
        Error::AlertReceived(alert) => refused(*alert, notes.asked_for_ours),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => OLD.to_owned(),
        other => other.to_string(),
    }
}

/// An error of an established connection, if TLS has more to say of it than its text.
pub(super) fn later(error: io::Error) -> io::Error {
    match of_rustls(&error) {
        // Servers of TLS 1.3 say so only when the handshake is over for us.
        Some(Error::AlertReceived(alert)) => io::Error::new(error.kind(), refused(*alert, false)),
        _ => error,
    }
}

fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// What a peer's alert means.
fn refused(alert: AlertDescription, asked_for_ours: bool) -> String {
    use AlertDescription as A;
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
