//! Where a capture goes, as command lines say it: `FILE[,SIZE]`.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use sspc_capture::{CaptureFile, RING_MIN};

use crate::exit::Failure;

/// A capture's file, and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaptureTo {
    pub(crate) path: PathBuf,
    /// Bytes, together with the older half.
    pub(crate) max: Option<u64>,
}

impl FromStr for CaptureTo {
    type Err = String;

    /// What follows the last comma is a size if it begins with a digit.
    fn from_str(text: &str) -> Result<Self, String> {
        let size = text
            .rsplit_once(',')
            .filter(|(_, size)| size.starts_with(|c: char| c.is_ascii_digit()));
        let Some((path, size)) = size else {
            return Ok(Self { path: text.into(), max: None });
        };
        match sspc_access::parse_size(size) {
            Some(max) if max >= RING_MIN => Ok(Self { path: path.into(), max: Some(max) }),
            Some(_) => Err(format!("the size is {size}; expected {} KiB or more", RING_MIN >> 10)),
            None => Err(format!("the size is {size:?}; expected bytes, such as 10000000 or 64MiB")),
        }
    }
}

impl CaptureTo {
    /// Begins the file.
    pub(crate) fn create(&self) -> Result<CaptureFile, Failure> {
        CaptureFile::create(&self.path, self.max).map_err(|error| self.failure(&error))
    }

    /// It cannot be written.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write the capture {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_what_begins_with_a_digit_behind_the_last_comma() {
        let parse = |text: &str| text.parse::<CaptureTo>();
        let to = |path: &str, max| Ok(CaptureTo { path: path.into(), max });
        assert_eq!(parse("x.pcapng"), to("x.pcapng", None));
        assert_eq!(parse("x,y.pcapng"), to("x,y.pcapng", None));
        assert_eq!(parse("x,y.pcapng,1MiB"), to("x,y.pcapng", Some(1 << 20)));
        assert_eq!(parse("x,524288"), to("x", Some(524_288)));
        for wrong in ["x,524287", "x,5%", "x,1.5MiB", "x,0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
