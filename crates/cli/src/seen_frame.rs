//! Frames, as the admin side tells them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use sspc_wire::Direction;

use crate::trace::LiveTrace;

/// A frame of a running proxy's stream.
#[derive(Deserialize)]
pub(crate) struct SeenFrame {
    pub(crate) session: u64,
    pub(crate) peer: String,
    pub(crate) streamtype: Option<String>,
    direction: String,
    pub(crate) at_us: u64,
    bytes: String,
    /// Frames that were lost before it.
    pub(crate) missed: u64,
}

/// What an event carries; `None` for one that only shows that the proxy is there.
pub(crate) fn data(event: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(event).ok()?;
    text.lines().find_map(|line| line.strip_prefix("data: "))
}

impl SeenFrame {
    pub(crate) fn parse(data: &str) -> Option<Self> {
        serde_json::from_str(data).ok()
    }

    /// Shows it; what is no hex is left out.
    pub(crate) fn show(&self, live: &mut LiveTrace) -> io::Result<()> {
        let direction = match &*self.direction {
            "to_proxy" => Direction::ToProxy,
            _ => Direction::ToClient,
        };
        match unhex(&self.bytes) {
            Some(bytes) => live.show_frame(self.at_us, self.session, direction, &bytes),
            None => Ok(()),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(digits).collect()
}

/// Lines that are written to be shown elsewhere.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Those that are there, which are taken.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
