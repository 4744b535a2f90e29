use core::fmt;

use sspc::Instant;

/// The time of day by the proxy, of a device that has no clock of its own for that.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    unix_us: u64,
}

impl WallClock {
    /// What the proxy said, µs since 1970, and when it said it.
    pub const fn new(unix_us: u64, received: Instant) -> Self {
        // What the clock would have shown when the device started.
        Self { unix_us: unix_us.wrapping_sub(received.as_micros()) }
    }

    /// µs since 1970 at some moment.
    pub const fn at(self, now: Instant) -> UnixTime {
        UnixTime(self.unix_us.wrapping_add(now.as_micros()))
    }
}

/// µs since 1970.
#[derive(Clone, Copy, Debug)]
pub struct UnixTime(u64);

/// `2026-11-23 06:47:35 UTC`
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // The calendar repeats every 400 years; they begin on 1 March 0000, so that a leap day is
        // the last day of its year. 719,468 days lie between that day and 1970.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months from March on, 153 days in each five of them.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year + next;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_calendar_is_right() {
        for (seconds, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_795_416_455, "2026-11-23 06:47:35 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(UnixTime(seconds * 1_000_000).to_string(), date);
        }
    }

    #[test]
    fn time_goes_on_after_it_was_told() {
        let wall = WallClock::new(1_795_416_455_000_000, Instant::from_millis(5_000));
        assert_eq!(wall.at(Instant::from_millis(9_000)).to_string(), "2026-11-23 06:47:39 UTC");
    }
}
