//! `sspc proxy`: everything is checked first, then served, then drained.

use std::path::PathBuf;
use std::sync::Arc;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use sspc_policy::Report;
use sspc_proxy::{Config, Handle, ListenError, Proxy};
use tokio::sync::oneshot;

use crate::args::{DEFAULT_ADDRESS, ProxyArgs};
use crate::exit::{Exit, Failure};
use crate::log::Voice;
use crate::policy::{self, LoadError, Loaded};
use crate::service::{self, Passed, Signals, Told, notify};
use crate::terminal::count;

/// Runs the command to its end. To be called before there are threads: what a service manager
/// passes is taken out of the environment.
pub(crate) fn run(args: &ProxyArgs, voice: Voice) -> Result<Exit, Failure> {
    let passed = ListenFd::from_env();
    let source = PolicySource { policy: args.policy.clone(), overlays: args.overlays.clone() };
    let parsed = source.load().map_err(|error| policy::refuse(error, voice))?;
    log_warnings(&parsed.warnings);

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let _inside = runtime.enter();
    let streamtypes = parsed.policy.streamtypes.len();
    let mut config = Config::new(parsed.policy);
    config.timeouts.drain = args.grace;
    let mut proxy = Proxy::new(config).map_err(|error| Failure::new(error.to_string()))?;
    listen(&mut proxy, args, passed)?;
    let exit = runtime.block_on(serve(proxy, streamtypes, source, voice))?;
    // What is left has had its time.
    runtime.shutdown_background();
    Ok(exit)
}

/// Where the policy comes from, now and at each reload.
struct PolicySource {
    policy: Option<PathBuf>,
    overlays: Vec<PathBuf>,
}

impl PolicySource {
    fn load(&self) -> Result<Loaded, LoadError> {
        policy::load(self.policy.as_deref(), &self.overlays)
    }
}

fn listen(proxy: &mut Proxy, args: &ProxyArgs, passed: ListenFd) -> Result<(), Failure> {
    let mut addresses = args.listen.clone();
    if passed.len() == 0 && addresses.is_empty() {
        let default = DEFAULT_ADDRESS.parse();
        addresses.push(default.map_err(|error| Failure::new(format!("{error}")))?);
    }
    adopt(proxy, passed)?;
    for address in &addresses {
        proxy.listen(address).map_err(|error| match &error {
            ListenError::InUse { .. } => {
                Failure::new(format!("{error}; end that one, or choose another with --listen"))
            }
            _ => Failure::new(error.to_string()),
        })?;
    }
    Ok(())
}

/// Takes over the sockets that a service manager passed, Unix or TCP.
fn adopt(proxy: &mut Proxy, passed: ListenFd) -> Result<(), Failure> {
    for socket in service::passed_sockets(passed)? {
        let adopted = match socket {
            Passed::Unix(socket) => proxy.adopt_unix(socket),
            Passed::Tcp(socket) => proxy.adopt_tcp(socket),
        };
        adopted.map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(())
}

/// Serves until a signal ends it.
async fn serve(
    proxy: Proxy,
    streamtypes: usize,
    source: PolicySource,
    voice: Voice,
) -> Result<Exit, Failure> {
    // Before anybody is told that we are ready: whoever knows may send a signal.
    let mut signals = Signals::watch()?;
    let source = Arc::new(source);
    let handle = proxy.handle();
    let addresses: Vec<_> = proxy.addresses().map(ToString::to_string).collect();
    let status =
        format!("{}, listening on {}", count(streamtypes, "streamtype"), addresses.join(", "));
    let (stop, stopped) = oneshot::channel();
    let running = proxy.run(async {
        let _ = stopped.await;
    });
    tokio::pin!(running);

    voice.say(&format!("sspc proxy: ready: {status}"));
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    loop {
        tokio::select! {
            () = &mut running => return Err(Failure::new("the proxy ended by itself")),
            signal = signals.next() => match signal {
                Told::Reload => reload(&handle, &source, voice).await,
                Told::End(how) => {
                    tracing::info!(?how, "stopping");
                    break;
                }
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    // The receiver waits in `running`.
    let _ = stop.send(());
    loop {
        tokio::select! {
            () = &mut running => return Ok(Exit::Ok),
            signal = signals.next() => if let Told::End(exit) = signal {
                return Ok(exit);
            }
        }
    }
}

/// Reads the policy again; keeps the old one if the new one is wrong.
async fn reload(handle: &Handle, source: &Arc<PolicySource>, voice: Voice) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "cannot read the clock for the service manager"),
    }
    let reading = Arc::clone(source);
    let loaded = tokio::task::spawn_blocking(move || reading.load()).await;
    match loaded {
        Ok(Ok(parsed)) => {
            log_warnings(&parsed.warnings);
            let streamtypes = count(parsed.policy.streamtypes.len(), "streamtype");
            handle.reload(parsed.policy);
            voice.say(&format!("sspc proxy: reloaded: {streamtypes}"));
        }
        Ok(Err(error)) => keep(&error, voice),
        Err(error) => tracing::error!(%error, "reading the policy failed"),
    }
    notify(&[NotifyState::Ready]);
}

fn keep(error: &LoadError, voice: Voice) {
    let why = match error {
        LoadError::Read(failure) => failure.to_string(),
        LoadError::Wrong(report) => {
            for diagnostic in report.diagnostics() {
                tracing::error!("{diagnostic}");
            }
            policy::summary(report)
        }
    };
    voice.say(&format!("sspc proxy: not reloaded, the old policy stays: {why}"));
}

fn log_warnings(warnings: &Report) {
    for warning in warnings.diagnostics() {
        tracing::warn!("{warning}");
    }
}
