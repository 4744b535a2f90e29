//! What commands that run until they are ended have in common: the runtime, signals, the sockets
//! to listen at, and the service manager.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use sspc_address::ListenAddress;
use sspc_proxy::ListenError;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::exit::{Exit, Failure};

/// A runtime for one thread, this one.
pub(crate) fn single_threaded() -> Result<Runtime, Failure> {
    start(&mut Builder::new_current_thread())
}

/// A runtime with this many threads, or one for each processor.
pub(crate) fn multi_threaded(threads: Option<usize>) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    start(&mut builder)
}

fn start(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| Failure::new(format!("cannot start: {error}")))
}

/// Lets the process open as many descriptors as an administrator allows: services often begin with
/// fewer, for the sake of programs that use `select`.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    match raised {
        Ok(()) => tracing::debug!(?current, ?maximum, "raised the limit of open files"),
        Err(error) => {
            tracing::warn!(?current, ?maximum, %error, "cannot raise the limit of open files")
        }
    }
}

/// How many more descriptors the process may open, with some set aside for what is not counted.
pub(crate) fn descriptors_left() -> usize {
    const SET_ASIDE: usize = 16;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(SET_ASIDE, Iterator::count);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(open + SET_ASIDE)
}

/// The signals that a command obeys: SIGINT, SIGTERM and perhaps one more.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    other: Option<(Signal, SignalEvent)>,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SignalEvent {
    /// To end; with the exit code for not having ended in order.
    End(Exit),
    /// SIGHUP: to read the configuration again.
    Reload,
    /// SIGUSR1: to switch something on or off.
    Toggle,
}

impl Signals {
    /// Begins to watch those that end the program, in a tokio runtime.
    pub(crate) fn watch() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            other: None,
        })
    }

    /// The same, and SIGHUP.
    pub(crate) fn watch_reload() -> Result<Self, Failure> {
        let reload = watch(SignalKind::hangup())?;
        Ok(Self { other: Some((reload, SignalEvent::Reload)), ..Self::watch()? })
    }

    /// The same, and SIGUSR1.
    pub(crate) fn watch_toggle() -> Result<Self, Failure> {
        let toggle = watch(SignalKind::user_defined1())?;
        Ok(Self { other: Some((toggle, SignalEvent::Toggle)), ..Self::watch()? })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalEvent {
        let other = async {
            match &mut self.other {
                Some((signal, event)) => {
                    signal.recv().await;
                    *event
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalEvent::End(Exit::Interrupted),
            _ = self.terminate.recv() => SignalEvent::End(Exit::Terminated),
            event = other => event,
        }
    }

    /// The next signal that ends the program, and its exit code. Cancel safe.
    pub(crate) async fn end(&mut self) -> Exit {
        loop {
            if let SignalEvent::End(exit) = self.next().await {
                return exit;
            }
        }
    }
}

/// Gives the exit code of the first signal that ends the program. A program that still runs `grace`
/// later, because a reader of its output does not read, is ended with that code.
pub(crate) fn ending_signal(grace: Duration) -> Result<oneshot::Receiver<Exit>, Failure> {
    let runtime = single_threaded()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::watch()?
    };
    let (sender, ended) = oneshot::channel();
    let watch = move || {
        runtime.block_on(async {
            let exit = signals.end().await;
            // Fails only when the program ends.
            let _ = sender.send(exit);
            tokio::time::sleep(grace).await;
            std::process::exit(exit.code().into());
        });
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    Ok(ended)
}

fn watch(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::new(format!("cannot watch signals: {error}")))
}

/// Where a service listens.
pub(crate) struct ListenSockets {
    /// Sockets that listen already.
    pub(crate) passed: Vec<Passed>,
    /// Addresses to be bound.
    pub(crate) addresses: Vec<ListenAddress>,
}

/// A socket that a service manager passed.
pub(crate) enum Passed {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// The sockets that a service manager passed, and the addresses of `--listen`; the default one if
/// there are neither.
pub(crate) fn listen_sockets(
    listen: &[ListenAddress],
    passed: ListenFd,
) -> Result<ListenSockets, Failure> {
    let mut addresses = listen.to_vec();
    if passed.len() == 0 && addresses.is_empty() {
        addresses.push(ListenAddress::well_known());
    }
    Ok(ListenSockets { passed: passed_sockets(passed)?, addresses })
}

/// Why an address cannot be listened at, and what to do about it.
pub(crate) fn cannot_listen(error: &ListenError) -> Failure {
    match error {
        ListenError::InUse { .. } => {
            Failure::new(format!("{error}; end that one, or choose another with --listen"))
        }
        _ => Failure::new(error.to_string()),
    }
}

/// Takes the sockets that a service manager passed.
fn passed_sockets(mut passed: ListenFd) -> Result<Vec<Passed>, Failure> {
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        match passed.take_unix_listener(index) {
            Ok(Some(socket)) => sockets.push(Passed::Unix(socket)),
            Ok(None) => {}
            // It is put back if it is of another kind.
            Err(_) => match passed.take_tcp_listener(index) {
                Ok(Some(socket)) => sockets.push(Passed::Tcp(socket)),
                Ok(None) => {}
                Err(error) => {
                    return Err(Failure::new(format!(
                        "passed socket number {index} cannot be used: {error}; pass Unix or TCP \
                         sockets of type stream"
                    )));
                }
            },
        }
    }
    Ok(sockets)
}

/// Tells the service manager, if there is one.
pub(crate) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
