//! What the system says about names: its name servers and its own table.
//!
//! The files are read when the first name is looked up, and again when they have changed; never on
//! a thread that streams run on.

use std::fs::{self, Metadata};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RecordType};
use resolv_conf::ScopedIp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::dns::{Dns, Server};
use super::hosts::Hosts;
use super::known::Known;

/// How often it is looked whether the files have changed.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The longest and the most that `resolv.conf` can ask for, as in the system's own resolver.
const TIMEOUT_MAX: u32 = 30;
const ATTEMPTS_MAX: u32 = 5;
const NDOTS_MAX: u32 = 15;

/// Where the system says how names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameFiles {
    pub(crate) resolv_conf: PathBuf,
    pub(crate) hosts: PathBuf,
    /// Where name servers listen; the file cannot say it.
    pub(crate) port: u16,
}

impl Default for NameFiles {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), port: 53 }
    }
}

/// The files as they were when last looked at.
pub(super) struct Names {
    pub(super) hosts: Hosts,
    pub(super) dns: Dns,
    /// What was found by these settings, and holds no longer than they do.
    pub(super) known: Known,
}

pub(super) struct System {
    files: NameFiles,
    latest: Mutex<Option<Latest>>,
}

struct Latest {
    names: Arc<Names>,
    stamps: Stamps,
    checked: Instant,
}

impl System {
    pub(super) fn new(files: NameFiles) -> Self {
        Self { files, latest: Mutex::new(None) }
    }

    /// What the files say now, or said a moment ago.
    pub(super) async fn names(&self) -> Arc<Names> {
        let mut latest = self.latest.lock().await;
        if let Some(latest) = latest.as_ref().filter(|l| l.checked.elapsed() < CHECK_EVERY) {
            return Arc::clone(&latest.names);
        }
        let files = self.files.clone();
        let stamps = latest.as_ref().map(|latest| latest.stamps.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let now = Stamps::of(&files);
            (stamps.as_ref() != Some(&now)).then(|| (now, Names::read(&files)))
        });
        // The task fails only if the runtime ends.
        let read = reading.await.unwrap_or_default();
        let checked = Instant::now();
        match (read, latest.as_mut()) {
            (None, Some(latest)) => {
                latest.checked = checked;
                Arc::clone(&latest.names)
            }
            (read, _) => {
                let (stamps, names) = read
                    .unwrap_or_else(|| (Stamps::default(), Names::new(&[], &[], self.files.port)));
                let names = Arc::new(names);
                *latest = Some(Latest { names: Arc::clone(&names), stamps, checked });
                names
            }
        }
    }
}

/// What tells that a file has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamps {
    resolv_conf: Option<Stamp>,
    hosts: Option<Stamp>,
}

/// Device, file, length, and when it was written.
type Stamp = (u64, u64, u64, i64, i64);

impl Stamps {
    fn of(files: &NameFiles) -> Self {
        let stamp = |path: &Path| {
            let of = |file: Metadata| {
                (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec())
            };
            fs::metadata(path).ok().map(of)
        };
        Self { resolv_conf: stamp(&files.resolv_conf), hosts: stamp(&files.hosts) }
    }
}

impl Names {
    /// Reads the files; one that cannot be read counts as empty.
    fn read(files: &NameFiles) -> Self {
        let read = |path: &Path| {
            fs::read(path).unwrap_or_else(|error| {
                tracing::debug!(path = %path.display(), %error, "taken for an empty file");
                Vec::new()
            })
        };
        Self::new(&read(&files.resolv_conf), &read(&files.hosts), files.port)
    }

    fn new(resolv_conf: &[u8], hosts: &[u8], port: u16) -> Self {
        Self {
            hosts: Hosts::parse(&String::from_utf8_lossy(hosts)),
            dns: dns(resolv_conf, port),
            known: Known::default(),
        }
    }
}

/// Reads `resolv.conf`; without servers in it, they are on this machine.
fn dns(resolv_conf: &[u8], port: u16) -> Dns {
    let (mut config, errors) = resolv_conf::Config::parse_with_errors(resolv_conf);
    for error in errors {
        tracing::debug!(%error, "a line of resolv.conf is left out");
    }
    config.glibc_normalize();
    let timeout = Duration::from_secs(config.timeout.clamp(1, TIMEOUT_MAX).into());
    let server = |server: ScopedIp| {
        let (ip, scope) = match server {
            ScopedIp::V4(ip) => (IpAddr::V4(ip), 0),
            ScopedIp::V6(ip, zone) => {
                (IpAddr::V6(ip), zone.as_deref().and_then(super::zone_index).unwrap_or(0))
            }
        };
        Server::new(ip, scope, port, timeout, config.edns0, config.use_vc)
            .inspect_err(|error| tracing::warn!(%ip, %error, "name server left out"))
            .ok()
    };
    let search = config.get_last_search_or_domain().filter(|domain| *domain != "--");
    Dns {
        servers: config.get_nameservers_or_local().into_iter().filter_map(server).collect(),
        search: search.filter_map(|domain| Name::from_str_relaxed(domain).ok()).collect(),
        ndots: config.ndots.min(NDOTS_MAX) as usize,
        attempts: config.attempts.clamp(1, ATTEMPTS_MAX) as usize,
        kinds: if config.no_aaaa { &[RecordType::A] } else { &[RecordType::AAAA, RecordType::A] },
    }
}
