//! What the demo prints: 80 columns, colours only on a terminal.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::console::{self, Painted, Painter, Style};
use crate::exit::Failure;

/// stdout, until it fails.
pub(super) struct DemoOutput {
    painter: Painter,
    result: io::Result<()>,
}

impl DemoOutput {
    pub(super) fn new() -> Self {
        let color = console::wants_color(&io::stdout());
        Self { painter: Painter { color }, result: Ok(()) }
    }

    /// One line; nothing after a failure.
    pub(super) fn line(&mut self, line: &str) {
        if self.result.is_ok() {
            let mut out = io::stdout().lock();
            self.result = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }

    pub(super) fn paint<T: fmt::Display>(&self, style: Style, text: T) -> Painted<T> {
        self.painter.paint(style, text)
    }

    /// Whether everything could be shown.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.result.map_err(|error| Failure::stdout(&error))
    }
}

/// `0.4 ms`, `12 ms`, `1.25 s`
pub(super) fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// `200,000`
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_micros(420)), "0.4 ms");
        assert_eq!(time(Duration::from_millis(12)), "12 ms");
        assert_eq!(time(Duration::from_millis(1_250)), "1.25 s");
    }

    #[test]
    fn digits_are_in_groups_of_three() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(200_000), "200,000");
        assert_eq!(grouped(1_000_042), "1,000,042");
    }
}
