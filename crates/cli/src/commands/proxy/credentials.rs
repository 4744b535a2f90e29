//! The file of credentials: what the device knows and clients never see.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sspc_policy::{Policy, StreamType};
use sspc_proxy::DeviceCredentials;

use crate::exit::Failure;

/// The longest file, and the longest value of a file that it names, in bytes.
const LENGTH_MAX: u64 = 64 * 1024;
/// Others than the owner may do nothing with it.
const OTHERS: u32 = 0o077;

/// A value, or where it is.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, {\"file\": PATH}, {\"env\": NAME} or {\"credential\": NAME}"
)]
enum Value {
    Text(String),
    Elsewhere(Elsewhere),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Elsewhere {
    /// What the file holds, without the newline at its end.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// What the service manager passes under this name, as `LoadCredential=` of systemd does.
    Credential(String),
}

/// Reads the file.
pub(super) fn load(path: &Path) -> Result<DeviceCredentials, Failure> {
    let failed = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if metadata.permissions().mode() & OTHERS != 0 {
        let mode = metadata.permissions().mode() & 0o777;
        return Err(failed(format!(
            "its mode is {mode:o}, so others than its owner can read or change the credentials: chmod 600"
        )));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        let owner = metadata.uid();
        return Err(failed(format!(
            "it belongs to user {owner}, who may change it: neither this user nor root"
        )));
    }
    let text = text(file).map_err(&failed)?;
    let values: BTreeMap<String, Value> =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let mut credentials = DeviceCredentials::default();
    for (name, value) in values {
        let place = match name.as_str() {
            "auth" => &mut credentials.auth,
            "serial_number" => &mut credentials.serial_number,
            "firmware_version" => &mut credentials.firmware_version,
            "device_type" => &mut credentials.device_type,
            "mqtt_client_id" => &mut credentials.mqtt_client_id,
            "mqtt_user" => &mut credentials.mqtt_user,
            "mqtt_password" => &mut credentials.mqtt_password,
            _ => {
                return Err(failed(format!(
                    "there is no credential {name:?}; there are auth, serial_number, \
                     firmware_version, device_type, mqtt_client_id, mqtt_user and mqtt_password"
                )));
            }
        };
        let value = get(value).map_err(|why| failed(format!("{name}: {why}")))?;
        if value.is_empty() {
            return Err(failed(format!("{name} is empty; leave it out if there is none")));
        }
        *place = value.into();
    }
    Ok(credentials)
}

/// Logs which headers the policy wants and the credentials have no value for, once each.
pub(super) fn warn_of_missing(policy: &Policy, credentials: &DeviceCredentials) {
    type Header = fn(&StreamType) -> &Option<String>;
    let keys: [(&str, &str, &[u8], Header); 4] = [
        ("http_auth_header", "auth", &credentials.auth, |s| &s.http.auth_header),
        ("http_dsn_header", "serial_number", &credentials.serial_number, |s| &s.http.dsn_header),
        ("http_fwv_header", "firmware_version", &credentials.firmware_version, |s| {
            &s.http.fwv_header
        }),
        ("http_devtype_header", "device_type", &credentials.device_type, |s| {
            &s.http.devtype_header
        }),
    ];
    for (key, name, value, header) in keys {
        let mut wanting = policy.streamtypes.values().filter(|s| header(s).is_some());
        if let Some(first) = wanting.next().filter(|_| value.is_empty()) {
            tracing::warn!(
                streamtype = first.name,
                more = wanting.count(),
                "`{key}`: the header is left out, as --credentials gives no `{name}`"
            );
        }
    }
}

fn get(value: Value) -> Result<String, String> {
    let path = match value {
        Value::Text(text) => return Ok(text),
        Value::Elsewhere(Elsewhere::Env(name)) => {
            return std::env::var(&name).map_err(|error| format!("{name}: {error}"));
        }
        Value::Elsewhere(Elsewhere::File(path)) => path,
        Value::Elsewhere(Elsewhere::Credential(name)) => {
            if name.contains('/') {
                return Err(format!("{name:?} is not a name"));
            }
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or("the service manager passes no credentials: LoadCredential= in the unit")?;
            Path::new(&folder).join(name)
        }
    };
    let failed = |why: String| format!("{}: {why}", path.display());
    let file = File::open(&path).map_err(|error| failed(error.to_string()))?;
    let mut text = text(file).map_err(failed)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

fn text(file: File) -> Result<String, String> {
    let mut text = String::new();
    let read = file.take(LENGTH_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > LENGTH_MAX {
        return Err(format!("it is longer than {LENGTH_MAX} bytes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn loaded(text: &str, mode: u32) -> Result<DeviceCredentials, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        fs::write(&file, text.replace("HERE", folder.path().to_str().unwrap())).unwrap();
        fs::write(folder.path().join("token"), "from the file\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        load(&file).map_err(|failure| {
            failure.to_string().replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn values_stand_in_the_file_or_where_it_says() {
        let text = r#"{"auth": {"file": "HERE/token"}, "serial_number": "77",
            "mqtt_user": {"env": "CARGO_MANIFEST_DIR"}}"#;
        let credentials = loaded(text, 0o600).unwrap();
        assert_eq!(credentials.auth, "from the file");
        assert_eq!(credentials.serial_number, "77");
        assert_eq!(credentials.mqtt_user, std::env::var("CARGO_MANIFEST_DIR").unwrap());
        assert!(credentials.mqtt_password.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_shown() {
        for (text, mode, why) in [
            ("{}", 0o640, "c.json: its mode is 640, so others than its owner"),
            ("{}", 0o602, "c.json: its mode is 602"),
            (
                r#"{"token": "secret"}"#,
                0o600,
                "c.json: there is no credential \"token\"; there are auth,",
            ),
            (r#"{"auth": ""}"#, 0o600, "c.json: auth is empty"),
            (r#"{"auth": {"file": "HERE/none"}}"#, 0o600, "c.json: auth: none: No such file"),
            (
                r#"{"auth": {"env": "NO_SUCH_"}}"#,
                0o600,
                "c.json: auth: NO_SUCH_: environment variable not",
            ),
            (r#"{"auth": {"credential": "../x"}}"#, 0o600, "c.json: auth: \"../x\" is not a name"),
            (r#"{"auth": {"what": "secret"}}"#, 0o600, "c.json: expected a text, {\"file\": PATH}"),
            (r#"{"auth": "secret""#, 0o600, "c.json: EOF while parsing"),
        ] {
            let error = loaded(text, mode).unwrap_err();
            assert!(error.starts_with(why) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
