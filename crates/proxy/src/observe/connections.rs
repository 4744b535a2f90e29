//! Onward connections that are open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::now;
use super::view::ConnectionView;

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    /// Boxed, since the table has room for twice as many as there are.
    open: Mutex<HashMap<u64, Box<ConnectionView>>>,
}

/// An open connection, as long as it is held.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    all: Arc<Connections>,
}

impl Connection {
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.open().remove(&self.id);
    }
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Box<ConnectionView>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was opened.
    pub(crate) fn opened(
        self: &Arc<Self>,
        endpoint: String,
        address: String,
        tls: bool,
        protocol: &'static str,
        client: Option<String>,
    ) -> Connection {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let opened_at = now();
        let sessions = Vec::new();
        let view =
            ConnectionView { id, endpoint, address, tls, protocol, client, opened_at, sessions };
        self.open().insert(id, Box::new(view));
        Connection { id, all: Arc::clone(self) }
    }

    /// What is spoken on it.
    pub(crate) fn speaks(&self, id: u64, protocol: &'static str) {
        if let Some(connection) = self.open().get_mut(&id) {
            connection.protocol = protocol;
        }
    }

    /// All that are open, the oldest first; without who uses them.
    pub(super) fn view(&self) -> Vec<ConnectionView> {
        let mut all: Vec<_> =
            self.open().values().map(|view| ConnectionView::clone(view)).collect();
        all.sort_by_key(|connection| connection.id);
        all
    }
}
