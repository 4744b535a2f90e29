use core::fmt;

use sspc_wire::limits::STREAMTYPE_NAME_MAX;

/// The name of a streamtype in the proxy's policy: 1 to 31 bytes, no NUL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; STREAMTYPE_NAME_MAX],
    len: u8,
}

impl Name {
    /// Of what is no stream.
    pub(crate) const NONE: Self = Self { bytes: [0; STREAMTYPE_NAME_MAX], len: 0 };

    /// The name, checked.
    ///
    /// # Errors
    /// It is empty, longer than 31 bytes or holds a NUL byte.
    pub const fn new(name: &str) -> Result<Self, NameError> {
        let name = name.as_bytes();
        if let Err(error) = check_name(name, STREAMTYPE_NAME_MAX) {
            return Err(error);
        }
        let mut checked = Self { len: name.len() as u8, ..Self::NONE };
        let mut at = 0;
        // The second condition always holds; it spares devices the check of the index.
        while at < name.len() && at < checked.bytes.len() {
            checked.bytes[at] = name[at];
            at += 1;
        }
        Ok(checked)
    }

    /// The name, from a literal; in a `const` or `static` a wrong one does not compile.
    ///
    /// # Panics
    /// [`Name::new`] would refuse it.
    pub const fn literal(name: &'static str) -> Self {
        match Self::new(name) {
            Ok(name) => name,
            Err(_) => panic!("a streamtype has 1 to 31 bytes, none of them NUL"),
        }
    }

    /// The name's bytes.
    // Several callers: a call is shorter than what it does.
    #[inline(never)]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(usize::from(self.len).min(STREAMTYPE_NAME_MAX)).0
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A name that no proxy takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// It has no bytes.
    Empty,
    /// It is longer than deployed proxies take.
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most that is taken.
        max: usize,
    },
    /// It holds a NUL byte.
    Nul,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::TooLong { length, max } => {
                write!(f, "the name has {length} bytes, of {max} that a proxy takes")
            }
            Self::Nul => f.write_str("the name holds a NUL byte"),
        }
    }
}

impl core::error::Error for NameError {}

/// Checks a name of the wire against its limit.
pub(crate) const fn check_name(name: &[u8], max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong { length: name.len(), max });
    }
    let mut at = 0;
    while at < name.len() {
        if name[at] == 0 {
            return Err(NameError::Nul);
        }
        at += 1;
    }
    Ok(())
}
