//! The signals that a command obeys. A thread of their own takes them, so that nothing that blocks
//! elsewhere, a file, a name, a reader of the output, keeps the program from being ended.

use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::single_threaded;
use crate::exit::{Exit, Failure};

/// What the rest of the program may still do once a second signal says to end now.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Signals that may wait for the command; more of a kind than one ask for nothing new.
const WAITING_MAX: usize = 8;

/// The signals that a command obeys: SIGINT, SIGTERM and perhaps one more. The second that ends the
/// program ends it whatever the command does then.
pub(crate) struct Signals {
    events: mpsc::Receiver<SignalEvent>,
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
    /// Begins to watch those that end the program, and SIGHUP.
    pub(crate) fn watch_reload() -> Result<Self, Failure> {
        Self::watch(Some((SignalKind::hangup(), SignalEvent::Reload)))
    }

    /// Begins to watch those that end the program, and SIGUSR1.
    pub(crate) fn watch_toggle() -> Result<Self, Failure> {
        Self::watch(Some((SignalKind::user_defined1(), SignalEvent::Toggle)))
    }

    fn watch(other: Option<(SignalKind, SignalEvent)>) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel(WAITING_MAX);
        on_thread(other, |mut source| async move {
            let mut ends = 0;
            loop {
                let event = source.next().await;
                let is_end = matches!(event, SignalEvent::End(_));
                // The last places are for those that end the program.
                if is_end || sender.capacity() > 2 {
                    // Fails if the command needs no more signals.
                    let _ = sender.try_send(event);
                }
                if let SignalEvent::End(exit) = event {
                    ends += 1;
                    if ends > 1 {
                        tokio::time::sleep(LAST_WORDS).await;
                        std::process::exit(exit.code().into());
                    }
                }
            }
        })?;
        Ok(Self { events })
    }

    /// The next signal. Cancel safe.
    pub(crate) async fn next(&mut self) -> SignalEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The thread lasts as long as the program.
            None => std::future::pending().await,
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
    let (sender, ended) = oneshot::channel();
    on_thread(None, move |mut source| async move {
        let exit = source.end().await;
        // Fails only when the program ends.
        let _ = sender.send(exit);
        tokio::time::sleep(grace).await;
        std::process::exit(exit.code().into());
    })?;
    Ok(ended)
}

/// Watches signals from now on, and does with them what `watch` says on a thread of their own.
fn on_thread<F: Future<Output = ()>>(
    other: Option<(SignalKind, SignalEvent)>,
    watch: impl FnOnce(Source) -> F + Send + 'static,
) -> Result<(), Failure> {
    let runtime = single_threaded()?;
    let source = {
        let _inside = runtime.enter();
        Source::new(other)?
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(watch(source)))
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    Ok(())
}

/// Where signals come from.
struct Source {
    interrupt: Signal,
    terminate: Signal,
    other: Option<(Signal, SignalEvent)>,
}

impl Source {
    /// In a tokio runtime.
    fn new(other: Option<(SignalKind, SignalEvent)>) -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot watch signals: {error}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            other: match other {
                Some((kind, event)) => Some((watch(kind)?, event)),
                None => None,
            },
        })
    }

    async fn next(&mut self) -> SignalEvent {
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

    async fn end(&mut self) -> Exit {
        loop {
            if let SignalEvent::End(exit) = self.next().await {
                return exit;
            }
        }
    }
}
