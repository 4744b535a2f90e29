//! What commands that run until they are ended have in common: the runtime, signals, the sockets
//! to listen at, and the service manager.

mod signals;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use sspc_address::ListenAddress;
use sspc_proxy::{ListenError, WaysOut};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;
pub(crate) use signals::{SignalEvent, Signals, ending_signal};

/// Through which servers connections go out, as the environment has it.
pub(crate) fn ways_out() -> Result<WaysOut, Failure> {
    WaysOut::from_env(|name| std::env::var(name).ok())
        .map_err(|error| Failure::new(error.to_string()))
}

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
