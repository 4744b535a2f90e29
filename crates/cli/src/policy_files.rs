//! Reading policies from files, for every command that takes one.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sspc_policy::{Parsed, Policy, Report, SOURCE_MAX, Source};
use sspc_proxy::{Config, FetchedPolicy, PolicyOrigin, Proxy};

use crate::console::{Console, count};
use crate::exit::Failure;
use crate::service;

/// A policy that can be used.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    /// What its author should look at.
    pub(crate) warnings: Report,
    /// What the reference would do otherwise.
    pub(crate) differences: Report,
}

impl Loaded {
    /// A policy that has nothing.
    pub(crate) fn nothing() -> Self {
        let (warnings, differences) = (Report::default(), Report::default());
        Self { policy: Policy::default(), warnings, differences }
    }
}

impl From<Parsed> for Loaded {
    fn from(parsed: Parsed) -> Self {
        let Parsed { policy, warnings, differences, .. } = parsed;
        Self { policy, warnings, differences }
    }
}

/// Why there is no policy.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// A file cannot be read.
    Read(Failure),
    /// The policy is wrong.
    Wrong(Report),
}

/// Reads a policy, or takes the embedded default, and applies overlays.
pub(crate) fn load(policy: Option<&Path>, overlays: &[PathBuf]) -> Result<Loaded, LoadError> {
    let overlays = overlays.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
    let overlays = overlays.map_err(LoadError::Read)?;
    match policy {
        Some(path) => {
            let base = match url(path) {
                Some(url) => fetch(url),
                None => read(path),
            };
            let base = base.map_err(LoadError::Read)?;
            Policy::parse_layers(&base, &overlays).map(Loaded::from).map_err(LoadError::Wrong)
        }
        None => builtin(&overlays).map_err(LoadError::Wrong),
    }
}

/// Applies overlays to a policy that is here already.
pub(crate) fn load_over(base: &Source, overlays: &[PathBuf]) -> Result<Loaded, LoadError> {
    let overlays = overlays.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>();
    let overlays = overlays.map_err(LoadError::Read)?;
    Policy::parse_layers(base, &overlays).map(Loaded::from).map_err(LoadError::Wrong)
}

fn builtin(overlays: &[Source]) -> Result<Loaded, Report> {
    let (warnings, differences) = (Report::default(), Report::default());
    let base = Loaded { policy: Policy::builtin(), warnings, differences };
    overlays.iter().try_fold(base, |below, overlay| {
        let parsed = below.policy.with_overlay(overlay)?;
        for warning in below.warnings.diagnostics() {
            tracing::warn!("{warning}");
        }
        Ok(parsed.into())
    })
}

/// Shows what is wrong, and gives the line that sums it up.
pub(crate) fn refuse(error: LoadError, console: Console) -> Failure {
    match error {
        LoadError::Read(failure) => failure,
        LoadError::Wrong(report) => {
            console.diagnose(&report);
            Failure::new(summary(&report))
        }
    }
}

/// `the policy has 2 errors and 1 warning`
pub(crate) fn summary(report: &Report) -> String {
    let errors = count(report.errors().count(), "error");
    match report.warnings().count() {
        0 => format!("the policy has {errors}"),
        warnings => format!("the policy has {errors} and {}", count(warnings, "warning")),
    }
}

/// The URL, if it is no file.
pub(crate) fn url(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.starts_with("https://") || text.starts_with("http://"))
}

/// Gets a policy from a server, as a proxy does.
fn fetch(url: &str) -> Result<Source, Failure> {
    let failed = |why: String| Failure::new(format!("cannot get the policy {url}: {why}"));
    let origin = PolicyOrigin::from_url(url, None).map_err(failed)?;
    let mut config = Config::new(Policy::default());
    config.ways_out = service::ways_out()?;
    service::single_threaded()?.block_on(async {
        let proxy = Proxy::new(config).map_err(|error| failed(error.to_string()))?;
        match proxy.handle().fetch_policy(&origin, None).await.map_err(failed)? {
            FetchedPolicy::New { text, .. } => Ok(Source::new(url, text)),
            _ => Err(failed("the server says that it is unchanged".to_owned())),
        }
    })
}

/// A file's name, as it is shown.
pub(crate) fn name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn read(path: &Path) -> Result<Source, Failure> {
    let cannot =
        |error: io::Error| Failure::new(format!("cannot read the policy {}: {error}", name(path)));
    if !is_stdin(path) {
        return Source::read(path).map_err(cannot);
    }
    let mut text = String::new();
    // One byte more than allowed, so that too much is noticed.
    let read = io::stdin().lock().take(SOURCE_MAX as u64 + 1).read_to_string(&mut text);
    match read.map_err(cannot)? {
        length if length > SOURCE_MAX => {
            Err(cannot(io::Error::other(format!("larger than {} MiB", SOURCE_MAX >> 20))))
        }
        _ => Ok(Source::new(name(path), text)),
    }
}
