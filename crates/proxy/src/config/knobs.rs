//! Limits and timeouts by name, as a command line gives them.
//!
//! [`knobs!`] makes a struct and, of the same lines, the table that [`Knob`]s come from: a field
//! that users cannot set, or that no help lists, does not compile.

use std::time::Duration;

use super::MemoryBound;

/// A limit or a timeout, for those who set them by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Knob {
    /// The field's name.
    pub name: &'static str,
    /// What it does: the field's documentation.
    pub help: String,
    /// The default as [`Limits::set`](crate::Limits::set) and
    /// [`Timeouts::set`](crate::Timeouts::set) take it.
    pub default: String,
}

/// A limit or a timeout cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KnobError {
    /// No limit or timeout has this name.
    #[error("there is no {what} {name:?}{}", .suggestion.as_ref().map(|text| format!("; {text}")).unwrap_or_default())]
    Unknown {
        /// `limit` or `timeout`.
        what: &'static str,
        /// The name.
        name: String,
        /// A name that may be meant.
        suggestion: Option<String>,
    },
    /// The value does not fit.
    #[error("{name}: expected {expected}, not {value:?}")]
    Value {
        /// The name.
        name: &'static str,
        /// What can be given.
        expected: &'static str,
        /// What was given.
        value: String,
    },
}

/// How a knob's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Bytes,
    Memory,
    Time,
}

impl Unit {
    const fn expected(self) -> &'static str {
        match self {
            Unit::Count => "a whole number above 0",
            Unit::Bytes => "a size above 0, such as 100000, 64KiB or 1MiB",
            Unit::Memory => "a size above 0, such as 100MiB, or a part of the memory, such as 25%",
            Unit::Time => "seconds above 0, such as 5 or 0.5",
        }
    }
}

/// What a field may hold.
pub(super) trait Value: Sized {
    fn parse(text: &str, unit: Unit) -> Option<Self>;
    fn show(&self, unit: Unit) -> String;
}

/// A whole number above 0, with a binary suffix if the unit has any.
fn parse_number(text: &str, unit: Unit) -> Option<u64> {
    match unit {
        Unit::Count => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|number| *number > 0 && is_number)
        }
        _ => sspc_access::parse_size(text),
    }
}

fn show_number(number: u64, unit: Unit) -> String {
    let suffixes = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &(u32, _)| number > 0 && number.is_multiple_of(1 << *shift);
    match suffixes.into_iter().find(fits) {
        Some((shift, suffix)) if unit != Unit::Count => format!("{}{suffix}", number >> shift),
        _ => number.to_string(),
    }
}

impl Value for usize {
    fn parse(text: &str, unit: Unit) -> Option<Self> {
        parse_number(text, unit)?.try_into().ok()
    }

    fn show(&self, unit: Unit) -> String {
        show_number(u64::try_from(*self).unwrap_or(u64::MAX), unit)
    }
}

impl Value for u32 {
    fn parse(text: &str, unit: Unit) -> Option<Self> {
        parse_number(text, unit)?.try_into().ok()
    }

    fn show(&self, unit: Unit) -> String {
        show_number((*self).into(), unit)
    }
}

impl Value for MemoryBound {
    fn parse(text: &str, unit: Unit) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(part) => {
                let part = part.parse().ok()?;
                (1..=100).contains(&part).then_some(Self::Percent(part))
            }
            None => Some(Self::Bytes(parse_number(text, unit)?.try_into().ok()?)),
        }
    }

    fn show(&self, unit: Unit) -> String {
        match self {
            Self::Bytes(bytes) => bytes.show(unit),
            Self::Percent(part) => format!("{part}%"),
        }
    }
}

impl Value for Duration {
    fn parse(text: &str, _: Unit) -> Option<Self> {
        let time = Self::try_from_secs_f64(text.parse().ok()?).ok()?;
        (!time.is_zero()).then_some(time)
    }

    fn show(&self, _: Unit) -> String {
        self.as_secs_f64().to_string()
    }
}

pub(super) fn set<V: Value>(
    field: &mut V,
    name: &'static str,
    unit: Unit,
    text: &str,
) -> Result<(), KnobError> {
    match V::parse(text, unit) {
        Some(value) => *field = value,
        None => {
            let (expected, value) = (unit.expected(), text.to_owned());
            return Err(KnobError::Value { name, expected, value });
        }
    }
    Ok(())
}

pub(super) fn unknown(what: &'static str, names: &[&'static str], name: &str) -> KnobError {
    let suggestion = sspc_policy::suggest(name, names.iter().copied());
    KnobError::Unknown { what, name: name.to_owned(), suggestion }
}

pub(super) fn knob<V: Value>(
    name: &'static str,
    unit: Unit,
    documentation: &[&str],
    default: &V,
) -> Knob {
    let lines: Vec<_> = documentation.iter().map(|line| line.trim()).collect();
    Knob { name, help: lines.join(" "), default: default.show(unit) }
}

/// A struct whose fields can be set by name, each with its unit and its default:
/// `pub name: Type = Unit(default),`. The documentation of a field is also its help; the default is
/// added to it.
macro_rules! knobs {
    (
        $(#[$attribute:meta])*
        pub struct $part:ident ($what:literal) {
            $(
                $(#[doc = $documentation:literal])+
                pub $knob:ident: $type:ty = $unit:ident($default:expr),
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $part {
            $(
                $(#[doc = $documentation])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`")]
                pub $knob: $type,
            )+
        }

        impl Default for $part {
            fn default() -> Self {
                Self { $($knob: $default),+ }
            }
        }

        impl $part {
            #[doc = concat!("Sets the ", $what, " of this name to what the text says: a whole number, ")]
            /// a size such as `64KiB`, or seconds.
            ///
            /// # Errors
            /// No knob has this name, or the text is not a value of its kind.
            pub fn set(&mut self, name: &str, text: &str) -> Result<(), $crate::config::KnobError> {
                match name {
                    $(stringify!($knob) => $crate::config::knobs::set(
                        &mut self.$knob,
                        stringify!($knob),
                        $crate::config::knobs::Unit::$unit,
                        text,
                    ),)+
                    _ => {
                        let names = [$(stringify!($knob)),+];
                        Err($crate::config::knobs::unknown($what, &names, name))
                    }
                }
            }

            #[doc = concat!("Every ", $what, ", in the order of the fields.")]
            pub fn knobs() -> Vec<$crate::config::Knob> {
                let default = Self::default();
                vec![$($crate::config::knobs::knob(
                    stringify!($knob),
                    $crate::config::knobs::Unit::$unit,
                    &[$($documentation),+],
                    &default.$knob,
                )),+]
            }
        }
    };
}
pub(super) use knobs;

#[cfg(test)]
mod tests {
    use crate::{Limits, MemoryBound, Timeouts};

    #[test]
    fn values_are_written_in_their_unit() {
        let mut limits = Limits::default();
        limits.set("sessions", "1000").unwrap();
        limits.set("stream_buffer", "1MiB").unwrap();
        limits.set("ahead_buffer", "3k").unwrap();
        assert_eq!(
            (limits.sessions, limits.stream_buffer, limits.ahead_buffer),
            (1000, 1 << 20, 3072)
        );
        for (text, memory) in [
            ("100MiB", MemoryBound::Bytes(100 << 20)),
            ("4096", MemoryBound::Bytes(4096)),
            ("7%", MemoryBound::Percent(7)),
        ] {
            limits.set("memory", text).unwrap();
            assert_eq!(limits.memory, memory);
        }
        let mut timeouts = Timeouts::default();
        timeouts.set("drain", "0.25").unwrap();
        assert_eq!(timeouts.drain.as_millis(), 250);
    }

    #[test]
    fn what_is_no_value_is_named_with_what_would_be() {
        let mut limits = Limits::default();
        for (name, text) in [
            ("sessions", "0"),
            ("sessions", "64KiB"),
            ("sessions", "-1"),
            ("sessions", ""),
            ("stream_buffer", "5GiB"),
            ("stream_buffer", "KiB"),
            ("stream_buffer", "1.5MiB"),
            ("memory", "0%"),
            ("memory", "101%"),
            ("memory", "lots"),
        ] {
            let error = limits.set(name, text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: expected a ")), "{error}");
            assert!(error.ends_with(&format!("{text:?}")), "{error}");
        }
        for text in ["0", "-1", "NaN", "inf", "1e300", "soon"] {
            let error = Timeouts::default().set("flush", text).unwrap_err().to_string();
            assert!(error.starts_with("flush: expected seconds"), "{error}");
        }
        assert_eq!(limits, Limits::default());
        let error = limits.set("session", "1").unwrap_err().to_string();
        assert_eq!(error, "there is no limit \"session\"; did you mean `sessions`?");
    }

    #[test]
    fn a_default_is_shown_as_it_can_be_given() {
        for knob in Limits::knobs() {
            let mut limits = Limits::default();
            limits.set(knob.name, &knob.default).unwrap();
            assert_eq!(limits, Limits::default(), "{knob:?}");
        }
        for knob in Timeouts::knobs() {
            let mut timeouts = Timeouts::default();
            timeouts.set(knob.name, &knob.default).unwrap();
            assert_eq!(timeouts, Timeouts::default(), "{knob:?}");
        }
        let buffer = Limits::knobs().into_iter().find(|knob| knob.name == "stream_buffer").unwrap();
        assert_eq!(buffer.default, "64KiB");
    }
}
