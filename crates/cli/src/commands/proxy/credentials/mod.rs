//! The file of credentials: what the device knows and clients never see.

mod command;
mod document;
mod source;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sspc_policy::{AuthMethod, Policy, StreamType};
use sspc_proxy::{DeviceCredentials, Handle};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::command::Command;
use self::document::Entry;
use self::source::Source;
use crate::exit::Failure;

/// The longest file, and the longest value that it refers to, in bytes.
const LENGTH_MAX: u64 = 64 * 1024;
/// How soon a command that failed runs again, if its lifetime is not shorter.
const AGAIN: Duration = Duration::from_secs(30);

/// Credentials with their values.
pub(super) struct Loaded {
    pub(super) credentials: DeviceCredentials,
    values: Values,
}

/// What the file says, and what it stands for now.
#[derive(Default)]
struct Values(Vec<(Entry, String)>);

impl Values {
    fn assemble(&self) -> Result<DeviceCredentials, String> {
        document::assemble(self.0.iter().map(|(entry, value)| (&*entry.name, &**value)))
    }

    /// What this command printed last.
    fn printed(&self, name: &str, source: &Source) -> Option<&str> {
        let is_it = |entry: &Entry| entry.name == name && entry.source == *source;
        let found = self.0.iter().find(|(entry, _)| is_it(entry));
        found.filter(|_| matches!(source, Source::Command(_))).map(|(_, value)| &**value)
    }
}

/// Reads the file and all that it refers to. A command that fails now is no reason to be without
/// what it printed before.
pub(super) async fn load(path: Option<&Path>, running: &Refresh) -> Result<Loaded, Failure> {
    let Some(path) = path else {
        return Ok(Loaded { credentials: DeviceCredentials::default(), values: Values::default() });
    };
    let failed = |why: String| Failure::new(format!("{}: {why}", path.display()));
    let mut values = Values::default();
    let file = path.to_owned();
    let entries = tokio::task::spawn_blocking(move || document::read(&file)).await;
    for entry in entries.map_err(|error| failed(error.to_string()))?.map_err(failed)? {
        let value = match entry.source.get().await {
            Ok(value) => value,
            Err(why) => {
                let why = format!("{}: {why}", entry.name);
                let known = lock(&running.values);
                let Some(last) = known.printed(&entry.name, &entry.source) else {
                    return Err(failed(why));
                };
                tracing::warn!(why, "the credential stays as it was");
                last.to_owned()
            }
        };
        values.0.push((entry, value));
    }
    let credentials = values.assemble().map_err(failed)?;
    Ok(Loaded { credentials, values })
}

/// Has commands run again when what they printed is over.
#[derive(Default)]
pub(super) struct Refresh {
    values: Arc<Mutex<Values>>,
    /// One for each command; they end with this.
    tasks: JoinSet<()>,
}

impl Refresh {
    /// Gives the proxy these credentials, from now on.
    pub(super) async fn start(&mut self, loaded: Loaded, handle: &Handle) {
        self.tasks.shutdown().await;
        handle.set_credentials(loaded.credentials);
        let commands: Vec<(usize, Command, Duration)> = (loaded.values.0.iter().enumerate())
            .filter_map(|(index, (entry, _))| match &entry.source {
                Source::Command(command) => Some((index, command.clone(), command.lifetime?)),
                _ => None,
            })
            .collect();
        self.values = Arc::new(Mutex::new(loaded.values));
        for (index, command, lifetime) in commands {
            self.tasks.spawn(keep(
                Arc::clone(&self.values),
                index,
                command,
                lifetime,
                handle.clone(),
            ));
        }
    }
}

/// Keeps one value as its command prints it.
async fn keep(
    values: Arc<Mutex<Values>>,
    index: usize,
    command: Command,
    lifetime: Duration,
    handle: Handle,
) {
    let mut wait = lifetime;
    loop {
        sleep(wait).await;
        let printed = Source::Command(command.clone()).get().await;
        let kept = printed.and_then(|value| replace(&values, index, value, &handle));
        wait = match kept {
            Ok(()) => lifetime,
            Err(why) => {
                let name = lock(&values).0.get(index).map(|(entry, _)| entry.name.clone());
                tracing::warn!(
                    name = name.unwrap_or_default(),
                    why,
                    "the credential stays as it was"
                );
                lifetime.min(AGAIN)
            }
        };
    }
}

fn replace(
    values: &Mutex<Values>,
    index: usize,
    value: String,
    handle: &Handle,
) -> Result<(), String> {
    let mut values = lock(values);
    let Some((_, place)) = values.0.get_mut(index) else { return Ok(()) };
    let last = std::mem::replace(place, value);
    match values.assemble() {
        Ok(credentials) => handle.set_credentials(credentials),
        Err(why) => {
            if let Some((_, place)) = values.0.get_mut(index) {
                *place = last;
            }
            return Err(why);
        }
    }
    Ok(())
}

fn lock(values: &Mutex<Values>) -> std::sync::MutexGuard<'_, Values> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
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
    let certs = &credentials.client_certs;
    warn_of_number(policy, "client_cert", "client_cert", |s| {
        s.client_cert.filter(|number| !certs.contains_key(number))
    });
    let auth = |s: &StreamType, is_it: fn(AuthMethod) -> bool| {
        s.use_auth.as_ref().filter(|auth| is_it(auth.method())).map(|auth| auth.blob)
    };
    warn_of_number(policy, "use_auth", "sigv4", |s| {
        auth(s, |method| method == AuthMethod::Sigv4).filter(|n| !credentials.sigv4.contains_key(n))
    });
    warn_of_number(policy, "use_auth", "oauth2", |s| {
        auth(s, AuthMethod::is_oauth2).filter(|n| !credentials.oauth2.contains_key(n))
    });
}

/// Logs which streams cannot connect, as they need a credential of a number that is not there.
fn warn_of_number(
    policy: &Policy,
    key: &str,
    credential: &str,
    missing: impl Fn(&StreamType) -> Option<u8>,
) {
    let mut wanting = policy.streamtypes.values().filter_map(|s| Some((&s.name, missing(s)?)));
    if let Some((streamtype, number)) = wanting.next() {
        tracing::warn!(
            streamtype,
            more = wanting.count(),
            "`{key}`: it cannot connect, as --credentials gives no `{credential}.{number}`"
        );
    }
}
