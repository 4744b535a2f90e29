//! What handles and driver of a stream share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

use ::tokio::sync::Notify;

use crate::host::Error;
use crate::stream::Stream;
use sspc_wire::Instant;

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// The driver has something new to look at.
    pub(super) changed: Notify,
    start: ::tokio::time::Instant,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) stream: Stream<Vec<u8>>,
    /// The message that was cut last.
    pub(super) cut: Option<Cut>,
    /// The application wants the stream closed once what was given to send is sent.
    pub(super) closing: bool,
}

/// A message that is not sent further.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) message: u64,
    /// By the remote peer's verdict; else by the loss of its connection.
    pub(super) answered: bool,
}

impl Cut {
    pub(super) const fn error(self) -> Error {
        if self.answered { Error::Answered } else { Error::Interrupted }
    }
}

impl Inner {
    /// Why this message is not sent further, if it is not.
    pub(super) fn why_cut(&self, message: u64) -> Option<Error> {
        self.cut.filter(|cut| cut.message == message).map(Cut::error)
    }
}

impl Shared {
    pub(super) fn new(stream: Stream<Vec<u8>>) -> Self {
        Self {
            inner: Mutex::new(Inner { stream, cut: None, closing: false }),
            changed: Notify::new(),
            start: ::tokio::time::Instant::now(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // The engine has no moment at which a panic elsewhere could leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the stream and lets the driver see to it.
    pub(super) fn command<T>(&self, command: impl FnOnce(&mut Inner, Instant) -> T) -> T {
        let now = self.now();
        let done = command(&mut self.lock(), now);
        self.changed.notify_one();
        done
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The moment of the runtime's clock.
    pub(super) fn at(&self, moment: Instant) -> ::tokio::time::Instant {
        let since = std::time::Duration::from_micros(moment.as_micros());
        self.start.checked_add(since).unwrap_or(self.start)
    }
}
