//! Text of the policy in messages.

/// Most characters of offending text that a message quotes.
const QUOTE_MAX: usize = 60;

/// User text in a message: in backticks, one line, not too long, nothing a terminal would obey.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", shorten(text))
}

/// At most so much of it, with nothing a terminal would obey.
pub(crate) fn shorten(text: &str) -> String {
    let mut chars = text.chars();
    let mut out: String = chars
        .by_ref()
        .take(QUOTE_MAX)
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}
