//! The policy and the credentials: where they are from, at start and at each reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sspc_policy::Code;
use sspc_proxy::{Handle, PolicyOrigin};

use super::credentials::{self, Refresh};
use super::remote::{Known, Options, Remote};
use crate::exit::Failure;
use crate::policy_files::{self, LoadError, Loaded};

const CUT_OFF_FILE: &str = "the policy is cut off: brackets are still open at its end; is it being \
                            written? `sspc policy check` shows where";

/// Why the policy is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody asked for it.
    Asked,
    /// It is time to ask the server.
    Due,
}

/// Where policy and credentials come from, and what of them is in use.
pub(super) struct Reloader {
    /// A file; `None` for the embedded one, or if it comes from a URL.
    file: Option<PathBuf>,
    url: Option<PolicyOrigin>,
    overlays: Vec<PathBuf>,
    credentials: Option<PathBuf>,
    options: Arc<Options>,
    pub(super) refresh: Refresh,
    remote: Option<Remote>,
}

/// What is to be used from now on: policy and credentials.
pub(super) type Both = (Loaded, credentials::Loaded);

impl Reloader {
    pub(super) fn new(
        policy: Option<&Path>,
        overlays: &[PathBuf],
        credentials: Option<&Path>,
        options: Options,
    ) -> Result<Self, Failure> {
        let url = policy.and_then(policy_files::url);
        let origin = url.map(|url| {
            PolicyOrigin::from_url(url, options.trust_store.clone())
                .map_err(|why| Failure::new(format!("cannot use the policy {url}: {why}")))
        });
        Ok(Self {
            file: policy.filter(|_| url.is_none()).map(Path::to_owned),
            url: origin.transpose()?,
            overlays: overlays.to_vec(),
            credentials: credentials.map(Path::to_owned),
            options: Arc::new(options),
            refresh: Refresh::default(),
            remote: None,
        })
    }

    /// What to begin with; no policy if a server has to be asked for it first.
    pub(super) async fn start(
        &mut self,
    ) -> Result<(Option<Loaded>, credentials::Loaded), LoadError> {
        let credentials = self.load_credentials().await?;
        let file = self.load_file().await?;
        let kept = self.remote.as_ref().and_then(|remote| remote.known.clone());
        let kept = match kept {
            None => None,
            Some(known) => match self.parse(&known).await {
                Ok(loaded) => {
                    let source = known.source().name;
                    tracing::info!(source, "begin with the last good policy");
                    Some(loaded)
                }
                Err(error) => {
                    let why = why(&error);
                    tracing::warn!(why, "the policy that was kept is not used");
                    None
                }
            },
        };
        if let (Some(remote), None) = (&mut self.remote, &kept) {
            remote.known = None;
        }
        Ok((kept.or(file), credentials))
    }

    /// The policy of the server, without which there is none.
    pub(super) async fn fetch_first(&mut self, handle: &Handle) -> Result<Loaded, LoadError> {
        let Some(remote) = &self.remote else {
            return Err(LoadError::Read(Failure::new("there is no policy")));
        };
        let failed = |why: String| {
            LoadError::Read(Failure::new(format!("cannot get the policy {remote}: {why}")))
        };
        let known = remote.fetch(handle).await.map_err(failed)?;
        let known =
            known.ok_or_else(|| failed("the server says that it is unchanged".to_owned()))?;
        let loaded = self.parse(&known).await?;
        self.accept(known).await;
        Ok(loaded)
    }

    /// How long to wait for the first fetch, if there is one.
    pub(super) fn first_wait(&mut self, fetched: bool) -> Option<Duration> {
        let remote = self.remote.as_mut()?;
        Some(if fetched { remote.wait(true) } else { Duration::ZERO })
    }

    /// Reads all again. `None` if nothing is to be changed. With it, how long to wait for the next fetch.
    pub(super) async fn reload(
        &mut self,
        handle: &Handle,
        why: Why,
    ) -> (Result<Option<Both>, LoadError>, Option<Duration>) {
        let mut fetched = true;
        let result = self.read_again(handle, why, &mut fetched).await;
        let wait = self.remote.as_mut().map(|remote| remote.wait(fetched && result.is_ok()));
        (result, wait)
    }

    async fn read_again(
        &mut self,
        handle: &Handle,
        why: Why,
        fetched: &mut bool,
    ) -> Result<Option<Both>, LoadError> {
        let asked = why == Why::Asked;
        let file = if asked { self.load_file().await? } else { None };
        // At start somebody looks at the warning; now a good one would be lost.
        if let Some(file) = &file
            && is_cut_off(file)
        {
            return Err(LoadError::Read(Failure::new(CUT_OFF_FILE)));
        }
        let mut new = None;
        if let Some(remote) = &self.remote {
            match remote.fetch(handle).await {
                Ok(known) => new = known,
                Err(why) => {
                    *fetched = false;
                    // Another cause is a line of its own.
                    tracing::warn!(
                        source = %remote,
                        kind = why,
                        "the policy cannot be fetched and stays as it is"
                    );
                }
            }
        }
        if new.is_none() && !asked {
            return Ok(None);
        }
        let known = new.clone().or_else(|| self.remote.as_ref()?.known.clone());
        let policy = match (&known, file) {
            (Some(known), _) => self.parse(known).await?,
            (None, Some(file)) => file,
            (None, None) => return Ok(None),
        };
        let credentials = self.load_credentials().await?;
        if let Some(new) = new {
            self.accept(new).await;
        }
        Ok(Some((policy, credentials)))
    }

    async fn load_credentials(&self) -> Result<credentials::Loaded, LoadError> {
        let loaded = credentials::load(self.credentials.as_deref(), &self.refresh).await;
        loaded.map_err(LoadError::Read)
    }

    /// The policy of the files, and with it the server that it names; `None` if it comes from a URL.
    async fn load_file(&mut self) -> Result<Option<Loaded>, LoadError> {
        let loaded = match &self.url {
            Some(_) => None,
            None => {
                let (file, overlays) = (self.file.clone(), self.overlays.clone());
                Some(blocking(move || policy_files::load(file.as_deref(), &overlays)).await?)
            }
        };
        let named = loaded.as_ref().and_then(|loaded| PolicyOrigin::of(&loaded.policy));
        let origin = match named {
            Some(origin) => Some(origin.map_err(|why| LoadError::Read(Failure::new(why)))?),
            None => self.url.clone(),
        };
        let Some(origin) = origin else {
            self.remote = None;
            return Ok(loaded);
        };
        if !self.remote.as_ref().is_some_and(|remote| remote.is_at(&origin)) {
            let options = Arc::clone(&self.options);
            let remote = blocking(move || Remote::new(origin, &options).map_err(LoadError::Read));
            self.remote = Some(remote.await?);
        }
        Ok(loaded)
    }

    /// A server's policy with the overlays. Less is taken than of files: nobody looks at it.
    async fn parse(&self, known: &Known) -> Result<Loaded, LoadError> {
        let (source, overlays) = (known.source(), self.overlays.clone());
        let name = source.name.clone();
        let loaded = blocking(move || policy_files::load_over(&source, &overlays)).await?;
        let refuse = |why: &str| Err(LoadError::Read(Failure::new(format!("{name}: {why}"))));
        if is_cut_off(&loaded) {
            return refuse("it is cut off");
        }
        if loaded.policy.streamtypes.is_empty() {
            return refuse("it has no streamtypes");
        }
        Ok(loaded)
    }

    async fn accept(&mut self, known: Known) {
        tracing::info!(source = known.source().name, "a new policy");
        if let Some(remote) = &mut self.remote {
            // A small file, written once for each new policy.
            tokio::task::block_in_place(|| remote.accept(known));
        }
    }
}

/// Whether a document ends too early.
fn is_cut_off(loaded: &Loaded) -> bool {
    loaded.warnings.diagnostics().iter().any(|warning| warning.code == Code::Truncated)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let broken = |error| LoadError::Read(Failure::new(format!("reading failed: {error}")));
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

/// Whether a message of the bus asks for the policy to be fetched.
pub(super) fn is_trigger(text: &[u8]) -> bool {
    let message: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    message.is_some_and(|message| message["trigger"] == "fetch_policy")
}

/// Why a policy cannot be used, in a line; with the details in the log.
pub(super) fn why(error: &LoadError) -> String {
    match error {
        LoadError::Read(failure) => failure.to_string(),
        LoadError::Wrong(report) => {
            for diagnostic in report.diagnostics() {
                tracing::error!("{diagnostic}");
            }
            policy_files::summary(report)
        }
    }
}
