//! What the commands that serve have in common: signals, and the service manager.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// The signals that a service obeys.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reload: Signal,
}

/// What a signal tells.
pub(crate) enum Told {
    /// To end; with the exit code for not having ended in order.
    End(Exit),
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Begins to watch, in a tokio runtime.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot watch signals: {error}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            reload: watch(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End(Exit::Interrupted),
            _ = self.terminate.recv() => Told::End(Exit::Terminated),
            _ = self.reload.recv() => Told::Reload,
        }
    }
}

/// A socket that a service manager passed.
pub(crate) enum Passed {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Takes the sockets that a service manager passed.
pub(crate) fn passed_sockets(mut passed: ListenFd) -> Result<Vec<Passed>, Failure> {
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
                        "passed socket number {index} is of no use: {error}; pass Unix or TCP \
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
