//! What a packet layer counts on hosts.

use core::fmt;

/// What a packet layer has done, from its beginning on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent, of all kinds.
    pub packets_out: u64,
    /// Packets of data that were sent again.
    pub resent: u64,
    /// Packets that came whole.
    pub packets_in: u64,
    /// What came and was no packet: harmed on the line, or not from the peer.
    pub damaged: u64,
    /// Packets of data that had come already.
    pub doubled: u64,
    /// Packets of data that came before their turn.
    pub early: u64,
    /// Sessions begun.
    pub sessions: u64,
    /// The round trip of packets, smoothed, in µs; 0 before the first one.
    pub rtt_us: u32,
}

impl Counters {
    /// What was done since these were read.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            packets_out: self.packets_out.saturating_sub(earlier.packets_out),
            resent: self.resent.saturating_sub(earlier.resent),
            packets_in: self.packets_in.saturating_sub(earlier.packets_in),
            damaged: self.damaged.saturating_sub(earlier.damaged),
            doubled: self.doubled.saturating_sub(earlier.doubled),
            early: self.early.saturating_sub(earlier.early),
            sessions: self.sessions.saturating_sub(earlier.sessions),
            rtt_us: self.rtt_us,
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets_out, resent, packets_in, damaged, rtt_us, .. } = self;
        write!(
            f,
            "{packets_out} packets sent, {resent} of data again; {packets_in} received whole, \
             {damaged} damaged"
        )?;
        if *rtt_us > 0 {
            write!(f, "; round trip {:.3} ms", f64::from(*rtt_us) / 1e3)?;
        }
        Ok(())
    }
}
