//! Bytes as text.

use std::fmt::Write;

use jiff::Timestamp;

/// Bytes in a row of hex.
pub(super) const HEX_ROW: usize = 16;

/// Bytes of binary payload in a preview.
const HEX_PREVIEW: usize = 16;

/// Bytes as text, with nothing in it that a terminal would obey.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' => text.push(c),
                c => text.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The start of a body of `total` bytes: in quotes if it is text, in hex if it is not, with a `…`
/// if that is not all.
pub(super) fn preview(kept: &[u8], total: usize, most: usize) -> String {
    let shown = kept.get(..most).unwrap_or(kept);
    if is_text(shown) {
        let more = if shown.len() < total { "…" } else { "" };
        return format!("\"{}\"{more}", escaped(shown));
    }
    let shown = shown.get(..HEX_PREVIEW).unwrap_or(shown);
    let more = if shown.len() < total { " …" } else { "" };
    format!("[{}{more}]", hex(shown))
}

/// Whether most of it can be read.
fn is_text(bytes: &[u8]) -> bool {
    let readable = |c: &char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
    let chunks = bytes.utf8_chunks();
    let good: usize =
        chunks.map(|c| c.valid().chars().filter(readable).map(char::len_utf8).sum::<usize>()).sum();
    good * 4 >= bytes.len() * 3
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

/// `0010  68 65 6c 6c 6f                                    hello`
pub(super) fn hex_row(at: usize, bytes: &[u8]) -> String {
    let printable = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    let text: String = bytes.iter().map(printable).collect();
    format!("{at:04x}  {:<width$}  {text}", hex(bytes), width = HEX_ROW * 3 - 1)
}

/// A time of the wall clock, in µs since 1970: `2026-11-23 01:53:38.987455 UTC`
pub(super) fn wall_clock(unix_us: u64) -> String {
    let time = i64::try_from(unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    match time {
        Some(time) => time.strftime("%Y-%m-%d %H:%M:%S%.6f UTC").to_string(),
        None => "beyond the calendar".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_reaches_the_terminal_as_a_command() {
        let nasty = "a\u{1b}[2J\u{202e}b\r\n'\"ü".as_bytes();
        assert_eq!(escaped(nasty), "a\\u{1b}[2J\\u{202e}b\\r\\n'\\\"ü");
        assert_eq!(escaped(b"\xff\xc3"), "\\xff\\xc3");
    }

    #[test]
    fn a_preview_tells_text_from_binary_and_whether_it_is_all() {
        assert_eq!(preview(b"hello", 5, 48), "\"hello\"");
        assert_eq!(preview(b"hello", 6, 48), "\"hello\"…");
        assert_eq!(preview(b"hello", 5, 4), "\"hell\"…");
        assert_eq!(preview(b"", 0, 48), "\"\"");
        assert_eq!(preview(b"\x89PNG\x00\x01\x02", 7, 48), "[89 50 4e 47 00 01 02]");
        assert_eq!(preview(&[0xaa; 20], 20, 48).len(), "[ …]".len() + 47);
    }

    #[test]
    fn days_are_counted_right() {
        assert_eq!(wall_clock(0), "1970-01-01 00:00:00.000000 UTC");
        assert_eq!(wall_clock(951_782_400_000_000), "2000-02-29 00:00:00.000000 UTC");
        assert_eq!(wall_clock(1_795_398_818_987_455), "2026-11-23 01:53:38.987455 UTC");
        assert_eq!(wall_clock(4_107_542_400_000_001), "2100-03-01 00:00:00.000001 UTC");
        assert_eq!(wall_clock(u64::MAX), "beyond the calendar");
        assert_eq!(wall_clock(i64::MAX as u64), "beyond the calendar");
    }

    #[test]
    fn rows_of_hex_line_up() {
        let whole = hex_row(0, b"0123456789abcde\n");
        let part = hex_row(16, b"hi");
        assert!(whole.ends_with("  0123456789abcde."), "{whole}");
        assert_eq!(part.find("hi"), whole.find("0123456789abcde."), "{part}");
    }
}
