//! The lines that a process uses as a client: streams of one process share a line.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sspc_address::{LineAddress, NetworkAddress};
use sspc_mux::Role;

use crate::line::{Line, Shared, User};

type KnownLine = (LineAddress, Weak<Shared>, Weak<User>);

/// What there is one of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A port, whatever its settings.
    Port(PathBuf),
    Network(NetworkAddress),
}

impl Place {
    fn of(address: &LineAddress) -> Self {
        match address {
            LineAddress::Serial(address) => Self::Port(address.path.clone()),
            LineAddress::Network(address) => Self::Network(address.clone()),
        }
    }
}

/// The line at this address that this process uses as a client; opens it if nobody uses it. Keep it
/// for as long as it is needed: channels that come and go should not open it each time.
///
/// # Errors
/// As [`Line::open`], and if a port is open with other settings.
pub fn client_line(address: impl Into<LineAddress>) -> io::Result<Line> {
    static LINES: Mutex<Option<HashMap<Place, KnownLine>>> = Mutex::new(None);
    let address = address.into();
    let place = Place::of(&address);
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.get_or_insert_default();
    if let Some((known, shared, user)) = lines.get(&place)
        && let (Some(shared), Some(user)) = (shared.upgrade(), user.upgrade())
    {
        if *known == address {
            return Ok(Line { shared, user });
        }
        let text = format!("this process uses it as {known}");
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    let line = Line::open(&address, Role::Client, |event| tracing::debug!("{event}"))?;
    let known = (address, Arc::downgrade(&line.shared), Arc::downgrade(&line.user));
    lines.insert(place, known);
    Ok(line)
}
