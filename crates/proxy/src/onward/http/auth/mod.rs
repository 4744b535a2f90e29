//! How requests say who sends them: what `use_auth` puts into their heads.

pub(crate) mod oauth2;
mod sigv4;

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{HeaderName, Method};
use sspc_policy::AuthMethod;

use crate::credentials::DeviceCredentials;
use crate::onward::{Attempt, Failure, FailureKind};

/// What `use_auth` asks of a request. It is for the policy's own server, and no other.
#[derive(Debug)]
pub(crate) enum Authorization {
    /// A signature, made over each head that goes out.
    Sigv4(Box<sigv4::Signer>),
    /// A token, once it is there.
    Bearer { source: Box<oauth2::Source>, token: Option<oauth2::Token> },
}

/// What a request is signed over, beside its headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) method: &'a Method,
    pub(crate) host: &'a [u8],
    /// With its query.
    pub(crate) path: &'a str,
}

impl Authorization {
    /// What the policy asks for; `None` if that is nothing, or a header like others.
    pub(crate) fn of(
        attempt: &Attempt,
        credentials: &DeviceCredentials,
        has_body: bool,
        tls: bool,
    ) -> Result<Option<Self>, Failure> {
        let Some(auth) = &attempt.stream.use_auth else { return Ok(None) };
        let missing = |table: &str| {
            let (name, number) = (&auth.name, auth.blob);
            let why = format!(
                "`use_auth` `{name}` takes `{table}.{number}` of the credentials, which is not there"
            );
            Failure::new(FailureKind::Local, why)
        };
        match auth.method() {
            AuthMethod::Sigv4 => {
                let keys = credentials.sigv4.get(&auth.blob).ok_or_else(|| missing("sigv4"))?;
                let signer = sigv4::Signer::new(attempt, keys.clone(), has_body, tls)?;
                Ok(Some(Self::Sigv4(Box::new(signer))))
            }
            method if method.is_oauth2() => {
                let client = credentials.oauth2.get(&auth.blob).ok_or_else(|| missing("oauth2"))?;
                if method == AuthMethod::RefreshToken && client.refresh_token.is_empty() {
                    return Err(missing("refresh_token of oauth2"));
                }
                let source = oauth2::Source {
                    auth: Arc::clone(auth),
                    client: client.clone(),
                    trust_store: attempt.stream.trust_store.clone(),
                    way_out: attempt.stream.way_out.clone(),
                };
                Ok(Some(Self::Bearer { source: Box::new(source), token: None }))
            }
            _ => Ok(None),
        }
    }

    /// Adds what it has to say to a head that is complete but for this.
    pub(crate) fn apply(&self, line: Line<'_>, headers: &mut HeaderMap) -> Result<(), Failure> {
        match self {
            Self::Sigv4(signer) => signer.sign(line, headers, SystemTime::now()),
            Self::Bearer { token: None, .. } => Ok(()),
            Self::Bearer { token: Some(token), .. } => {
                headers.insert(AUTHORIZATION, token.header.clone());
                Ok(())
            }
        }
    }
}

/// A header's value that is not written into logs or tables of h2.
fn secret(name: &HeaderName, text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let why = format!("the credentials make a value of {name} that has control characters");
        Failure::new(FailureKind::Local, why)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
