//! Sizes as text.

/// A number of bytes above 0: `100000`, `64KiB` or `64k`, `1MiB`, `1GiB`; case does not count. `None` if the text
/// is something else, or the number is too large.
pub fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        assert_eq!(parse_size("100000"), Some(100_000));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("64k"), Some(65_536));
        assert_eq!(parse_size("3GiB"), Some(3 << 30));
        for wrong in ["", "0", "KiB", "64 KiB", "64KB", "-1", "+1", "1.5MiB", "99999999999GiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
