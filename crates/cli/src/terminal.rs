//! Colours, where there is a terminal that wants them.

use std::fmt;
use std::io::IsTerminal;
use std::time::Duration;

/// Whether to colour what goes to a stream (<https://no-color.org>).
pub(crate) fn wants_color(stream: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    stream.is_terminal() && !set("NO_COLOR") && !dumb
}

/// The few styles in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Good,
    Bad,
    State,
}

/// Paints, or not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Painter {
    pub(crate) color: bool,
}

impl Painter {
    pub(crate) fn paint<T: fmt::Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { text, style: self.color.then_some(style) }
    }
}

/// A text in its style; width and alignment apply to the text alone.
pub(crate) struct Painted<T> {
    text: T,
    style: Option<Style>,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(style) = self.style else { return self.text.fmt(f) };
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "31",
            Style::State => "36",
        };
        write!(f, "\x1b[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

/// `1 error`, `2 errors`
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `512 B`, `1.4 KiB`, `32.0 MiB`
pub(crate) fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", value / 1_024.0),
        _ => format!("{:.1} MiB", value / 1_048_576.0),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_short() {
        assert_eq!(size(1_023), "1023 B");
        assert_eq!(size(1_434), "1.4 KiB");
        assert_eq!(size(32 << 20), "32.0 MiB");
        assert_eq!(rate(64 << 20, Duration::from_millis(500)), "128.0 MiB/s");
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        assert_eq!(printable("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
    }

    #[test]
    fn alignment_does_not_count_colours() {
        let plain = format!("{:>6}|", Painter { color: false }.paint(Style::Good, "ok"));
        let color = format!("{:>6}|", Painter { color: true }.paint(Style::Good, "ok"));
        assert_eq!(plain, "    ok|");
        assert_eq!(color, "\x1b[32m    ok\x1b[0m|");
    }
}
