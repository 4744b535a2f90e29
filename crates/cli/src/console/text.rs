//! Numbers and foreign text, as the program prints them.

use std::fmt::Write as _;
use std::time::Duration;

/// `1 error`, `2 errors`
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `512 B`, `1.4 KiB`, `32.0 MiB`, `6.0 GiB`
pub(crate) fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", value / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.1} GiB", value / 1_073_741_824.0),
    }
}

/// `5 s`, `3 min`, `2 h 5 min`, `4 d 1 h`
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min"),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// `85 MiB/s`
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    format!("{:.1} MiB/s", bytes as f64 / 1_048_576.0 / time.as_secs_f64().max(1e-6))
}

/// Text from outside, with nothing in it that a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// Adds a line of a word and what there is to say of it, in columns.
pub(crate) fn labelled(out: &mut String, about: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{about:<12}{}", printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let text = |seconds| age(Duration::from_secs(seconds));
        assert_eq!((text(59), text(60)), ("59 s".to_owned(), "1 min".to_owned()));
        assert_eq!((text(7_500), text(349_200)), ("2 h 5 min".to_owned(), "4 d 1 h".to_owned()));
    }

    #[test]
    fn sizes_and_rates_are_short() {
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_434), "1.4 KiB");
        assert_eq!(size(32 << 20), "32.0 MiB");
        assert_eq!(size(6 << 30), "6.0 GiB");
        assert_eq!(rate(64 << 20, Duration::from_millis(500)), "128.0 MiB/s");
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }
}
