//! Traces across programs: W3C Trace Context, level 1.

use std::fmt;

/// The header that carries a [`TraceContext`].
pub(crate) const HEADER: &str = "traceparent";

/// Whether somebody records the trace.
const SAMPLED: u8 = 1;

/// Which trace a request belongs to, and which span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: u128,
    pub(crate) span: u64,
    pub(crate) flags: u8,
}

impl TraceContext {
    /// A trace that begins here.
    pub(crate) fn fresh(is_recorded: bool) -> Self {
        let flags = if is_recorded { SAMPLED } else { 0 };
        // 0 stands for no trace and no span.
        Self { trace: rand::random::<u128>().max(1), span: fresh_span(), flags }
    }

    /// A span of ours within the same trace.
    pub(crate) fn child(self, is_recorded: bool) -> Self {
        let flags = if is_recorded { self.flags | SAMPLED } else { self.flags };
        Self { span: fresh_span(), flags, ..self }
    }

    /// What a header says; `None` if it says nothing valid. Later versions begin in the same way.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(5, '-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let is_over = parts.next().is_none();
        let is_valid = version != 0xff && (is_over || version > 0) && trace != 0 && span != 0;
        is_valid.then_some(Self { trace, span, flags: flags & SAMPLED })
    }
}

fn fresh_span() -> u64 {
    rand::random::<u64>().max(1)
}

/// So many lower-case digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let is_right = text.len() == digits && text.bytes().all(is_hex);
    u128::from_str_radix(text, 16).ok().filter(|_| is_right)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_says_the_same_after_it_is_parsed() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.span, 0xb7ad_6b71_6920_3331);
        assert_eq!(context.to_string(), EXAMPLE);
        let child = context.child(false);
        assert_eq!((child.trace, child.flags), (context.trace, 1));
        assert_ne!(child.span, context.span);
    }

    #[test]
    fn a_later_version_may_go_on_and_this_one_may_not() {
        let later = format!("cc{}-what-comes", &EXAMPLE[2..]);
        assert_eq!(TraceContext::parse(&later), TraceContext::parse(EXAMPLE));
        for wrong in [
            format!("{EXAMPLE}-00"),
            format!("ff{}", &EXAMPLE[2..]),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replace("b7ad6b7169203331", "0000000000000000"),
            EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            EXAMPLE.replace("-01", ""),
            EXAMPLE.replace("0af7", "+af7"),
            String::new(),
        ] {
            assert_eq!(TraceContext::parse(&wrong), None, "{wrong}");
        }
    }
}
