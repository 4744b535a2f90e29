//! Lines that are served.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sspc_line::{LineEvent, LineMonitor};

use super::view::LineView;
use super::{micros, now};

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    lines: BTreeMap<u64, Seen>,
}

/// What was seen of a line, beside what its monitor shows.
#[derive(Default)]
struct Seen {
    name: String,
    monitor: Option<LineMonitor>,
    up_at: Option<u64>,
    framing: Option<&'static str>,
    last_loss: Option<String>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line begins.
    pub(crate) fn begin(self: &Arc<Self>, name: &str) -> LineWatch {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.lines.insert(id, Seen { name: name.to_owned(), ..Seen::default() });
        LineWatch { id, all: Arc::clone(self) }
    }

    pub(super) fn view(&self) -> Vec<LineView> {
        self.state().lines.values().map(Seen::view).collect()
    }
}

/// Writes what is seen of a line, as long as it is served.
#[derive(Debug)]
pub(crate) struct LineWatch {
    id: u64,
    all: Arc<Lines>,
}

impl LineWatch {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.all.state().lines.get_mut(&self.id) {
            change(seen);
        }
    }

    /// What shows the line's counters.
    pub(crate) fn monitor(&self, monitor: LineMonitor) {
        self.change(|seen| seen.monitor = Some(monitor));
    }

    /// Something happened to the line.
    pub(crate) fn note(&self, event: &LineEvent) {
        match event {
            LineEvent::Up { in_packets, device, .. } => self.change(|seen| {
                seen.up_at = Some(now());
                seen.framing = Some(match (in_packets, device) {
                    (_, Some(_)) => "encrypted",
                    (true, None) => "reliable",
                    (false, None) => "plain",
                });
            }),
            LineEvent::Down { .. } => self.change(|seen| {
                (seen.up_at, seen.framing) = (None, None);
                seen.last_loss = Some(event.to_string());
            }),
            LineEvent::PortLost { .. } | LineEvent::ConnectionLost { .. } => {
                self.change(|seen| seen.last_loss = Some(event.to_string()));
            }
            _ => {}
        }
    }
}

impl Drop for LineWatch {
    fn drop(&mut self) {
        self.all.state().lines.remove(&self.id);
    }
}

impl Seen {
    fn view(&self) -> LineView {
        let status = self.monitor.as_ref().map(LineMonitor::status).unwrap_or_default();
        let device = self.monitor.as_ref().and_then(LineMonitor::device);
        LineView {
            name: self.name.clone(),
            has_port: status.port,
            is_up: status.up,
            up_at: self.up_at.filter(|_| status.up),
            framing: self.framing.filter(|_| status.up),
            device: device.map(|device| device.to_string()),
            round_trip_us: status.round_trip.map(micros),
            channels: status.channels,
            ups: status.ups,
            losses: status.losses,
            last_loss: self.last_loss.clone(),
            bytes_in: status.bytes_in,
            bytes_out: status.bytes_out,
            packets_out: status.packets.packets_out,
            packets_in: status.packets.packets_in,
            packets_resent: status.packets.resent,
            packets_damaged: status.packets.damaged,
        }
    }
}
