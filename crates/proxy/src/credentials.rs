//! What the device knows and clients never see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::onward::ClientCert;

/// Values of the device that policies refer to by header names or by number, or that brokers ask for;
/// clients never see them. Empty ones are not set.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceCredentials {
    /// For `http_auth_header`, behind the preamble: the credential.
    pub auth: Bytes,
    /// For `http_dsn_header`: the device's serial number.
    pub serial_number: Bytes,
    /// For `http_fwv_header`: the firmware's version.
    pub firmware_version: Bytes,
    /// For `http_devtype_header`: the device's type.
    pub device_type: Bytes,
    /// The client id for mqtt brokers; each connection has a random one if it is empty.
    pub mqtt_client_id: Bytes,
    /// The user's name for mqtt brokers.
    pub mqtt_user: Bytes,
    /// The password for mqtt brokers; sent only with a user's name.
    pub mqtt_password: Bytes,
    /// Credentials for `http_auth_header` of streams whose `use_auth` has a `blob` of 1 to 3.
    pub more_auth: [Bytes; 3],
    /// Keys for `auth` entries of type `sigv4`, by their `blob`.
    pub sigv4: BTreeMap<u8, AwsKeys>,
    /// Clients for `auth` entries of an OAuth 2 type, by their `blob`.
    pub oauth2: BTreeMap<u8, OauthClient>,
    /// Certificates and their keys by the numbers that `client_cert` gives.
    pub client_certs: BTreeMap<u8, ClientCert>,
}

impl DeviceCredentials {
    /// The credential of this number for `http_auth_header`; empty if there is none.
    pub(crate) fn auth_blob(&self, number: u8) -> &[u8] {
        match usize::from(number).checked_sub(1) {
            None => &self.auth,
            Some(index) => self.more_auth.get(index).map_or(&[], |auth| auth),
        }
    }
}

/// Keys of AWS.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AwsKeys {
    /// The access key's id.
    pub key_id: String,
    /// The secret access key.
    pub secret_key: String,
    /// The session token of temporary keys; empty if there is none.
    pub session_token: String,
}

impl AwsKeys {
    /// Keys that are not temporary.
    pub fn new(key_id: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { key_id: key_id.into(), secret_key: secret_key.into(), session_token: String::new() }
    }
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKeys").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A client of an OAuth 2 server.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OauthClient {
    /// The client's identifier.
    pub client_id: String,
    /// Its secret; empty if it has none.
    pub client_secret: String,
    /// For `oauth2_refresh_token`: the refresh token.
    pub refresh_token: String,
}

impl OauthClient {
    /// A client without a secret and a refresh token.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self { client_id: client_id.into(), ..Self::default() }
    }
}

impl fmt::Debug for OauthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthClient").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Credentials that may be replaced while they are used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials(Arc<Mutex<Arc<DeviceCredentials>>>);

impl Credentials {
    /// As they are now.
    pub(crate) fn get(&self) -> Arc<DeviceCredentials> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(crate) fn change(&self, change: impl FnOnce(&mut DeviceCredentials)) {
        let mut credentials = DeviceCredentials::clone(&self.get());
        change(&mut credentials);
        self.set(credentials);
    }

    pub(crate) fn set(&self, credentials: DeviceCredentials) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(credentials);
    }
}

impl From<DeviceCredentials> for Credentials {
    fn from(credentials: DeviceCredentials) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(credentials))))
    }
}

/// Sizes and names only: these are secrets.
impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCredentials")
            .field("auth", &self.auth.len())
            .field("serial_number", &self.serial_number.len())
            .field("firmware_version", &self.firmware_version.len())
            .field("device_type", &self.device_type.len())
            .field("mqtt_client_id", &self.mqtt_client_id.len())
            .field("mqtt_user", &self.mqtt_user.len())
            .field("mqtt_password", &self.mqtt_password.len())
            .field("more_auth", &self.more_auth.each_ref().map(|auth| auth.len()))
            .field("sigv4", &self.sigv4)
            .field("oauth2", &self.oauth2)
            .field("client_certs", &self.client_certs)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_written() {
        let mut all = DeviceCredentials { auth: "secret".into(), ..DeviceCredentials::default() };
        all.more_auth[2] = "secret".into();
        all.mqtt_password = "secret".into();
        all.serial_number = "secret".into();
        let mut keys = AwsKeys::new("AKID", "secret");
        keys.session_token = "secret".to_owned();
        all.sigv4.insert(0, keys);
        let mut client = OauthClient::new("me");
        (client.client_secret, client.refresh_token) = ("secret".to_owned(), "secret".to_owned());
        all.oauth2.insert(0, client);
        let text = format!("{all:?}");
        assert!(!text.replace("client_secret", "").contains("secret"), "{text}");
        assert!(text.contains("AKID") && text.contains("\"me\""), "{text}");
    }
}
