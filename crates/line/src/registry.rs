//! The lines that a process uses as a client: streams of one process share a port's line.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sspc_address::SerialAddress;
use sspc_mux::Role;

use crate::line::{Line, Shared, User};

type KnownLine = (SerialAddress, Weak<Shared>, Weak<User>);

/// The line over this port that this process uses as a client; opens it if nobody uses it. Keep it
/// for as long as it is needed: channels that come and go should not open the port each time.
///
/// # Errors
/// As [`Line::open`], and if the port is open with other settings.
pub fn client_line(address: &SerialAddress) -> io::Result<Line> {
    static LINES: Mutex<Option<HashMap<PathBuf, KnownLine>>> = Mutex::new(None);
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lines.get_or_insert_default();
    if let Some((known, shared, user)) = lines.get(&address.path)
        && let (Some(shared), Some(user)) = (shared.upgrade(), user.upgrade())
    {
        if known == address {
            return Ok(Line { shared, user });
        }
        let text = format!("this process uses it as {known}");
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
    }
    let line = Line::open(address, Role::Client, |event| tracing::debug!("{event}"))?;
    let known = (address.clone(), Arc::downgrade(&line.shared), Arc::downgrade(&line.user));
    lines.insert(address.path.clone(), known);
    Ok(line)
}
