//! The file itself: TOML or JSON, who may read it, and what it may say.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde_json::{Map, Value as Node};
use sspc_proxy::{AwsKeys, ClientCert, DeviceCredentials, OauthClient};

use super::source::{self, Source};
use crate::private_file;

/// What the file says of one credential.
pub(super) struct Entry {
    /// Its name, with dots between its parts.
    pub(super) name: String,
    pub(super) source: Source,
}

/// A credential, and the value's place.
type Place = for<'c> fn(&'c mut DeviceCredentials) -> &'c mut bytes::Bytes;

/// The credentials that are one text.
const TEXTS: [(&str, Place); 10] = [
    ("auth", |all| &mut all.auth),
    ("auth_1", |all| &mut all.more_auth[0]),
    ("auth_2", |all| &mut all.more_auth[1]),
    ("auth_3", |all| &mut all.more_auth[2]),
    ("serial_number", |all| &mut all.serial_number),
    ("firmware_version", |all| &mut all.firmware_version),
    ("device_type", |all| &mut all.device_type),
    ("mqtt_client_id", |all| &mut all.mqtt_client_id),
    ("mqtt_user", |all| &mut all.mqtt_user),
    ("mqtt_password", |all| &mut all.mqtt_password),
];

/// Reads the file, and nothing that it refers to.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    private_file::check(&file, "credentials")?;
    entries(parse(path, &source::text(file)?)?)
}

/// Its tree. JSON by its name or its first character, else TOML.
fn parse(path: &Path, text: &str) -> Result<Map<String, Node>, String> {
    let is_json = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        _ => text.trim_start().starts_with('{'),
    };
    if is_json {
        return serde_json::from_str(text).map_err(|error| match error.classify() {
            // These quote what they found.
            serde_json::error::Category::Data => "it has to be a JSON object".to_owned(),
            _ => error.to_string(),
        });
    }
    // The error's own text shows the line, which may hold a secret.
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        format!("line {line} is not TOML")
    })
}

fn entries(tree: Map<String, Node>) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut add = |name: String, node: &Node| {
        let source = Source::parse(node).map_err(|why| format!("{name}: {why}"))?;
        entries.push(Entry { name, source });
        Ok::<(), String>(())
    };
    for (name, node) in &tree {
        if TEXTS.iter().any(|(known, _)| known == name) {
            add(name.clone(), node)?;
            continue;
        }
        let Some(group) = GROUPS.iter().find(|group| group.name == name) else {
            let texts = TEXTS.iter().map(|(name, _)| *name);
            let known: Vec<&str> = texts.chain(GROUPS.iter().map(|group| group.name)).collect();
            return Err(format!("there is no credential {name:?}; there are {}", known.join(", ")));
        };
        let numbers = node.as_object().ok_or_else(|| group.expected(name))?;
        for (number, node) in numbers {
            let name = format!("{name}.{number}");
            number
                .parse::<u8>()
                .map_err(|_| format!("{name}: {number:?} is not a number up to 255"))?;
            let parts = node.as_object().ok_or_else(|| group.expected(&name))?;
            if let Some(missing) = group.needs.iter().find(|part| !parts.contains_key(**part)) {
                return Err(format!("{name}: `{missing}` is missing"));
            }
            for (part, node) in parts {
                if !group.needs.contains(&&**part) && !group.takes.contains(&&**part) {
                    return Err(format!("{name}: there is no `{part}`; {}", group.parts()));
                }
                add(format!("{name}.{part}"), node)?;
            }
        }
    }
    Ok(entries)
}

/// Credentials that have a number, and several parts.
struct Group {
    name: &'static str,
    needs: &'static [&'static str],
    takes: &'static [&'static str],
    add: fn(&mut DeviceCredentials, u8, &Parts<'_>) -> Result<(), String>,
}

/// The values by their names.
type Parts<'v> = BTreeMap<&'v str, &'v str>;

const GROUPS: [Group; 3] = [CLIENT_CERT, SIGV4, OAUTH2];

const CLIENT_CERT: Group = Group {
    name: "client_cert",
    needs: &["certificate", "key"],
    takes: &[],
    add: |all, number, parts| {
        let part = |name| parts.get(name).copied().unwrap_or_default().as_bytes();
        let cert = ClientCert::from_pem(part("certificate"), part("key"));
        all.client_certs.insert(number, cert.map_err(|error| error.to_string())?);
        Ok(())
    },
};

const SIGV4: Group = Group {
    name: "sigv4",
    needs: &["key_id", "secret_key"],
    takes: &["session_token"],
    add: |all, number, parts| {
        let part = |name| parts.get(name).copied().unwrap_or_default();
        let mut keys = AwsKeys::new(part("key_id"), part("secret_key"));
        keys.session_token = part("session_token").to_owned();
        all.sigv4.insert(number, keys);
        Ok(())
    },
};

const OAUTH2: Group = Group {
    name: "oauth2",
    needs: &["client_id"],
    takes: &["client_secret", "refresh_token"],
    add: |all, number, parts| {
        let part = |name| parts.get(name).copied().unwrap_or_default();
        let mut client = OauthClient::new(part("client_id"));
        client.client_secret = part("client_secret").to_owned();
        client.refresh_token = part("refresh_token").to_owned();
        all.oauth2.insert(number, client);
        Ok(())
    },
};

impl Group {
    fn expected(&self, name: &str) -> String {
        format!("{name}: a table for each number is expected; {}", self.parts())
    }

    fn parts(&self) -> String {
        let needs = self.needs.join(" and ");
        match self.takes {
            [] => format!("there are {needs}"),
            takes => format!("there are {needs}, and at will {}", takes.join(" and ")),
        }
    }
}

/// The credentials of these names and values.
pub(super) fn assemble<'v>(
    values: impl Iterator<Item = (&'v str, &'v str)>,
) -> Result<DeviceCredentials, String> {
    let mut credentials = DeviceCredentials::default();
    let mut numbered: BTreeMap<(&str, u8), Parts<'_>> = BTreeMap::new();
    for (name, value) in values {
        if let Some((_, place)) = TEXTS.iter().find(|(known, _)| *known == name) {
            *place(&mut credentials) = value.to_owned().into();
            continue;
        }
        let mut words = name.splitn(3, '.');
        if let (Some(group), Some(number), Some(part)) = (words.next(), words.next(), words.next())
            && let Ok(number) = number.parse()
        {
            numbered.entry((group, number)).or_default().insert(part, value);
        }
    }
    for ((name, number), parts) in numbered {
        let Some(group) = GROUPS.iter().find(|group| group.name == name) else { continue };
        (group.add)(&mut credentials, number, &parts)
            .map_err(|why| format!("{name}.{number}: {why}"))?;
    }
    Ok(credentials)
}
