use std::fmt;

/// Whether what was recorded of an encrypted line stays closed to those who learn its key later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ForwardSecrecy {
    /// With a peer that offers it.
    #[default]
    Auto,
    /// Always: a peer that does not offer it is refused.
    Required,
    /// Never.
    Off,
}

impl ForwardSecrecy {
    /// From what stands behind `forward_secrecy=`.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "required" => Some(Self::Required),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// The option behind another one; nothing for the default.
impl fmt::Display for ForwardSecrecy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => Ok(()),
            Self::Required => f.write_str("&forward_secrecy=required"),
            Self::Off => f.write_str("&forward_secrecy=off"),
        }
    }
}
