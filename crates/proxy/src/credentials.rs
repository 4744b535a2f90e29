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
    /// Certificates and their keys by the numbers that `client_cert` gives.
    pub client_certs: BTreeMap<u8, ClientCert>,
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
            .field("client_certs", &self.client_certs)
            .finish()
    }
}
