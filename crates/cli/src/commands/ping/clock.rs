//! The wall clock at the other end of a line.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A clock that shows an earlier time, before 2001, was never set.
const PLAUSIBLE: Duration = Duration::from_secs(1_000_000_000);

/// What is known of the peer's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PeerClock {
    /// The peer has not sent it.
    #[default]
    Unknown,
    /// The peer does not know the time.
    Unset,
    /// This many µs ahead of the clock here.
    Ahead(i64),
}

impl PeerClock {
    /// The peer sent its time, which came when the clock here was at `now`, `way` after it was
    /// sent.
    pub(crate) fn from_peer(since_1970: Duration, now: SystemTime, way: Duration) -> Self {
        if since_1970 < PLAUSIBLE {
            return Self::Unset;
        }
        Self::Ahead(micros(since_1970 + way) - micros_of(now))
    }

    /// As text, at a time of the clock here.
    pub(crate) fn at(self, now: SystemTime) -> impl fmt::Display {
        let ahead = match self {
            Self::Unknown => return "peer clock not known yet".to_owned(),
            Self::Unset => return "peer clock not set".to_owned(),
            Self::Ahead(ahead) => ahead,
        };
        let theirs = Timestamp::from_microsecond(micros_of(now).saturating_add(ahead));
        let theirs =
            theirs.map_or_else(|_| "?".to_owned(), |at| at.strftime("%F %T%.3f").to_string());
        let off = match ahead.unsigned_abs() {
            0..1_000_000 => format!("{:+.1} ms", ahead as f64 / 1e3),
            _ => format!("{:+.3} s", ahead as f64 / 1e6),
        };
        format!("peer clock {theirs} ({off})")
    }
}

fn micros_of(time: SystemTime) -> i64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn the_peers_time_is_told_with_how_far_it_is_off() {
        let here = 1_795_414_208_123;
        let clock = |ms| PeerClock::from_peer(Duration::from_millis(ms), at(here), Duration::ZERO);
        let later = at(here + 1000);
        let text = |ms| clock(ms).at(later).to_string();
        assert_eq!(text(here + 2), "peer clock 2026-11-23 06:10:09.125 (+2.0 ms)");
        assert_eq!(text(here - 7000), "peer clock 2026-11-23 06:10:02.123 (-7.000 s)");
        assert_eq!(text(5), "peer clock not set");
        // A peer that sends nonsense.
        assert!(text(u64::MAX).starts_with("peer clock ? (+"));
    }

    #[test]
    fn the_way_is_added() {
        let from_peer =
            PeerClock::from_peer(Duration::from_secs(2_000_000_000), at(2_000_000_000_005), ms(3));
        assert_eq!(from_peer, PeerClock::Ahead(-2000));
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
