//! Entries of `auth`: how requests say who sends them.

use crate::endpoint::Target;
use crate::template::Template;
use crate::types::{Auth, Protocol, StreamType};

/// What an entry of `auth` does, by its `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `sigv4`: AWS Signature Version 4.
    Sigv4,
    /// `oauth2_client_credentials`: a token for the client itself (RFC 6749 §4.4).
    ClientCredentials,
    /// `oauth2_refresh_token`: a token for whom the refresh token speaks for (RFC 6749 §6).
    RefreshToken,
    /// Anything else, as in the reference: `http_auth_header` carries the credential of number `blob`.
    Blob,
}

impl AuthMethod {
    /// The types that have a meaning of their own.
    pub(crate) const TYPES: [(&str, AuthMethod); 3] = [
        ("sigv4", AuthMethod::Sigv4),
        ("oauth2_client_credentials", AuthMethod::ClientCredentials),
        ("oauth2_refresh_token", AuthMethod::RefreshToken),
    ];

    /// Whether it asks a server for a token.
    pub fn is_oauth2(self) -> bool {
        matches!(self, AuthMethod::ClientCredentials | AuthMethod::RefreshToken)
    }
}

impl Auth {
    /// What it does.
    pub fn method(&self) -> AuthMethod {
        let found = AuthMethod::TYPES.iter().find(|(name, _)| *name == self.kind);
        found.map_or(AuthMethod::Blob, |(_, method)| *method)
    }

    /// The request for a token, as a streamtype.
    ///
    /// # Errors
    /// `token_endpoint` is not a URL that a secret may be sent to; in words.
    pub fn token_request(&self) -> Result<StreamType, String> {
        let url = self.token_endpoint.as_deref().unwrap_or_default();
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let tls = match scheme.as_deref() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is not an `https:` URL".to_owned()),
        };
        let mut stream = StreamType::new(format!("token of `{}`", self.name));
        stream.endpoint = Some(Template::new(url));
        stream.protocol = Protocol::H1;
        stream.tls = tls;
        stream.http.method = "POST".to_owned();
        stream.http.www_form_urlencoded = true;
        let target = Target::resolve(&stream, |_| None).map_err(|error| error.to_string())?;
        if !tls && !target.is_loopback() {
            return Err("it sends a secret in clear, and not to this machine".to_owned());
        }
        Ok(stream)
    }
}
