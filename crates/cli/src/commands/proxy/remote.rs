//! A policy that comes from a server: fetched, verified, and kept for the next start.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use minisign_verify::{PublicKey, Signature};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sspc_policy::{SOURCE_MAX, Source, TrustStore};
use sspc_proxy::{FetchedPolicy, Handle, PolicyOrigin};

use crate::args::parse_seconds;
use crate::exit::Failure;
use crate::private_file;

/// How soon a fetch that failed is tried again; twice as late after each further one.
const AGAIN: Duration = Duration::from_secs(10);
/// The latest that it is tried again, if the interval is not shorter.
const AGAIN_MAX: Duration = Duration::from_secs(3600);
/// Nobody but the owner may change what is kept.
const OTHERS_WRITE: u32 = 0o022;

/// How policies come from servers.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// Take only policies that are signed with this key: one of minisign's, or a file with it
    ///
    /// The signature is fetched from the policy's own URL with `.minisig` behind its path, as `minisign
    /// -S -m policy.json` makes it. A policy that was signed before the one in use is not taken.
    #[arg(long, value_name = "KEY")]
    policy_key: Option<String>,

    /// Trust these certificates of a PEM file for the policy's URL, not the system's
    ///
    /// An authority's, or the server's own.
    #[arg(long, value_name = "FILE")]
    policy_ca: Option<PathBuf>,

    /// Keep the last good policy of a server here, for a start without it
    ///
    /// By default in `policy.json` in the folder of systemd's StateDirectory=, if the unit has one.
    #[arg(long, value_name = "FILE")]
    policy_cache: Option<PathBuf>,

    /// Seconds from one fetch of the policy to the next
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, default_value = "3600")]
    policy_interval: Duration,
}

/// The same, read and checked.
pub(super) struct Options {
    key: Option<PublicKey>,
    pub(super) trust_store: Option<Arc<TrustStore>>,
    cache: Option<PathBuf>,
    interval: Duration,
}

impl Options {
    pub(super) fn new(args: &RemoteArgs) -> Result<Self, Failure> {
        let key = args.policy_key.as_deref().map(key).transpose()?;
        let trust_store = args.policy_ca.as_deref().map(trust_store).transpose()?;
        let state = || {
            let folders = std::env::var("STATE_DIRECTORY").ok()?;
            Some(Path::new(folders.split(':').next()?).join("policy.json"))
        };
        let cache = args.policy_cache.clone().or_else(state);
        Ok(Self { key, trust_store, cache, interval: args.policy_interval })
    }
}

fn key(text: &str) -> Result<PublicKey, Failure> {
    let file = match fs::read_to_string(text) {
        Ok(file) => file,
        Err(_) => text.to_owned(),
    };
    PublicKey::decode(&file).or_else(|_| PublicKey::from_base64(file.trim())).map_err(|_| {
        Failure::new(format!("--policy-key {text}: neither a key of minisign nor a file with one"))
    })
}

fn trust_store(path: &Path) -> Result<Arc<TrustStore>, Failure> {
    let failed = |why: String| Failure::new(format!("--policy-ca {}: {why}", path.display()));
    let certs = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    let certs: Result<Vec<_>, _> = certs.collect();
    let certs = certs.map_err(|error| failed(error.to_string()))?;
    if certs.is_empty() {
        return Err(failed("it has no certificate in PEM".to_owned()));
    }
    let mut store = TrustStore::default();
    store.name = format!("--policy-ca {}", path.display());
    for cert in certs {
        store.stack.push("certificate".to_owned());
        store.certs.push(Arc::from(&*cert));
    }
    Ok(Arc::new(store))
}

/// A policy that was good, as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Where it is from.
    source: String,
    etag: Option<String>,
    policy: String,
    signature: Option<String>,
}

/// A server that has the policy, and the last good one of it.
pub(super) struct Remote {
    origin: PolicyOrigin,
    options: Arc<Options>,
    pub(super) known: Option<Known>,
    failures: u32,
}

impl Remote {
    /// With what was kept of it.
    pub(super) fn new(origin: PolicyOrigin, options: &Arc<Options>) -> Result<Self, Failure> {
        if options.key.is_none() && !origin.is_secure() {
            return Err(Failure::new(format!(
                "the policy {origin} comes over clear HTTP: without --policy-key anyone on the way could \
                 change it"
            )));
        }
        let mut remote = Self { origin, options: Arc::clone(options), known: None, failures: 0 };
        if let Some(path) = &options.cache {
            match remote.kept(path) {
                Ok(known) => remote.known = known,
                Err(why) => {
                    let path = path.display();
                    tracing::warn!(%path, why, "the policy that was kept is not used");
                }
            }
        }
        Ok(remote)
    }

    pub(super) fn is_at(&self, origin: &PolicyOrigin) -> bool {
        self.origin.to_string() == origin.to_string()
    }

    fn kept(&self, path: &Path) -> Result<Option<Known>, String> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        let own = rustix::process::geteuid().as_raw();
        if metadata.mode() & OTHERS_WRITE != 0 || ![own, 0].contains(&metadata.uid()) {
            return Err("others than this user can change it".to_owned());
        }
        let mut bytes = Vec::new();
        // What JSON makes of a text takes more room than the text.
        let read = file.take(4 * SOURCE_MAX as u64).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        let known: Known = serde_json::from_slice(&bytes).map_err(|_| "it cannot be read")?;
        if known.source != self.origin.to_string() {
            return Err(format!("it is from {}", known.source));
        }
        self.verify(&known)?;
        Ok(Some(known))
    }

    /// The policy if it is another one than before, verified and not parsed yet.
    pub(super) async fn fetch(&self, handle: &Handle) -> Result<Option<Known>, String> {
        let known = self.known.as_ref();
        let etag = known.and_then(|known| known.etag.as_deref());
        let (policy, etag) = match handle.fetch_policy(&self.origin, etag).await? {
            FetchedPolicy::New { text, etag } => (text, etag),
            _ => return Ok(None),
        };
        if known.is_some_and(|known| known.policy == policy && known.etag == etag) {
            return Ok(None);
        }
        let signature = match &self.options.key {
            Some(_) => Some(handle.fetch_policy_signature(&self.origin).await?),
            None => None,
        };
        let new = Known { source: self.origin.to_string(), etag, policy, signature };
        self.judge(&new)?;
        Ok(Some(new))
    }

    /// Says why this must not take the place of the one in use, if it must not.
    fn judge(&self, new: &Known) -> Result<(), String> {
        self.verify(new)?;
        if let Some(known) = &self.known
            && let Some(before) = signed_at(known)
            && known.policy != new.policy
            && signed_at(new).is_none_or(|now| now < before)
        {
            return Err("it was signed before the one in use".to_owned());
        }
        Ok(())
    }

    fn verify(&self, known: &Known) -> Result<(), String> {
        let Some(key) = &self.options.key else { return Ok(()) };
        let signature = known.signature.as_deref().ok_or("it has no signature")?;
        let signature =
            Signature::decode(signature).map_err(|_| "its signature is not minisign's")?;
        key.verify(known.policy.as_bytes(), &signature, true)
            .map_err(|_| "its signature is not of --policy-key, or not over it".to_owned())
    }

    /// This one is good.
    pub(super) fn accept(&mut self, known: Known) {
        if let Some(path) = &self.options.cache
            && let Err(error) = serde_json::to_vec(&known)
                .map_err(Into::into)
                .and_then(|bytes| private_file::write(path, &bytes))
        {
            tracing::warn!(path = %path.display(), %error, "the policy cannot be kept for the next start");
        }
        self.known = Some(known);
    }

    /// How long to wait for the next fetch.
    pub(super) fn wait(&mut self, fetched: bool) -> Duration {
        let interval = self.options.interval;
        // So that a fleet does not come all at once.
        let jitter = |time: Duration, most: f64| time.mul_f64(1.0 + most * rand::random::<f64>());
        if fetched {
            self.failures = 0;
            return jitter(interval, 0.1);
        }
        let wait = AGAIN.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        jitter(wait.min(AGAIN_MAX).min(interval), 0.3)
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.origin.fmt(f)
    }
}

impl Known {
    pub(super) fn source(&self) -> Source {
        Source::new(&*self.source, &*self.policy)
    }
}

/// When it was signed, as the signature's trusted comment says.
fn signed_at(known: &Known) -> Option<u64> {
    let signature = Signature::decode(known.signature.as_deref()?).ok()?;
    let comment = signature.trusted_comment();
    let words = comment.split(['\t', ' ']);
    words.filter_map(|word| word.strip_prefix("timestamp:")?.parse().ok()).next()
}

#[cfg(test)]
mod tests;
