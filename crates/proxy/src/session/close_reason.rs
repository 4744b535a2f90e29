//! Why a session ends, and whose fault it is.

use std::fmt;
use std::io;
use std::time::Duration;

use sspc_policy::Undone;
use sspc_wire::FrameError;

use sspc_access::Denial;

use crate::access::Denied;
use crate::descriptors::REMEDY;
use crate::identity::Identity;

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseReason {
    /// The ordinary end.
    #[error("the client closed the link")]
    Closed,
    #[error("the client is done with the stream")]
    Destroyed,
    #[error("the link failed: {0}")]
    Link(#[from] io::Error),
    #[error("the proxy shuts down")]
    Shutdown,
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Behind CREATE_RESULT.
    #[error("denied: {0}")]
    Denied(#[from] Denial),
    #[error("the client's fault: {0}")]
    Protocol(#[from] ProtocolError),
}

impl CloseReason {
    /// In one word, for logs: what is of one kind may be summed up.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Destroyed => "destroyed",
            Self::Link(_) => "link",
            Self::Shutdown => "shutdown",
            Self::Refused(Refusal::Excess(_)) => "over_limit",
            Self::Refused(Refusal::Unknown { .. }) => "unknown_streamtype",
            Self::Refused(Refusal::Denied(_)) | Self::Denied(_) => "denied",
            Self::Refused(_) => "not_supported",
            Self::Protocol(_) => "protocol",
        }
    }
}

/// What is added to an error that has said its own; nothing if there is nothing.
fn and(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|suggestion| format!("; {suggestion}")).unwrap_or_default()
}

/// Why a stream is not created although its client did nothing wrong on the wire.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Excess(Excess),
    #[error("the policy has no streamtype {name:?}{}", and(.suggestion))]
    Unknown {
        name: String,
        /// What [`sspc_policy::suggest`] has to say.
        suggestion: Option<String>,
    },
    #[error("the policy has streamtype {name:?}, but {undone} has no meaning behind a proxy: {}", undone.why)]
    NotBehindProxy { name: String, undone: Undone },
    #[error("streamtype {name:?} uses protocol {protocol}, which this proxy is built without")]
    Protocol { name: String, protocol: String },
    #[error("{0}")]
    Denied(Denied),
    #[error("this proxy distributes no system messages: it runs with --no-smd")]
    NoSmd,
}

/// Which limit leaves no place for a client's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// The client whose limit it is; `None` if it is that of all.
    pub(crate) client: Option<Identity>,
    pub(crate) limit: usize,
    /// How many descriptors the process may open, if they set the limit.
    pub(crate) descriptors: Option<usize>,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, limit, descriptors } = self;
        let option = match client {
            Some(client) => {
                write!(f, "{client} has all the sessions that it may have: {limit}")?;
                "sessions_per_client"
            }
            None => {
                write!(f, "all sessions are taken: {limit}")?;
                "sessions"
            }
        };
        match descriptors {
            Some(open) => {
                write!(f, ", no more fit in {open} descriptors; {REMEDY}")
            }
            None => write!(f, "; --limit {option}=N raises that"),
        }
    }
}

/// What a client must not send.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("no STREAMTYPE within {0:?}")]
    NoStreamtype(Duration),
    #[error("{frame} before STREAMTYPE")]
    BeforeStreamtype { frame: &'static str },
    #[error("protocol version {0}, this proxy speaks version 1")]
    Version(u8),
    #[error("streamtype name of {0} bytes is too long: at most 31 are allowed")]
    NameLength(usize),
    #[error("a second STREAMTYPE on one link")]
    SecondStreamtype,
    #[error("streamtype {streamtype:?} declares no metadata {name:?}")]
    UndeclaredMetadata { streamtype: String, name: String },
    #[error("metadata {name:?} of streamtype {streamtype:?} has an empty value")]
    EmptyMetadata { streamtype: String, name: String },
    #[error("a PERF frame without a body")]
    EmptyPerf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_what_raises_it() {
        let text = |client, descriptors| Excess { client, limit: 4, descriptors }.to_string();
        assert_eq!(text(None, None), "all sessions are taken: 4; --limit sessions=N raises that");
        assert_eq!(
            text(Some(Identity::User(7)), None),
            "user 7 has all the sessions that it may have: 4; \
             --limit sessions_per_client=N raises that"
        );
        assert_eq!(
            text(None, Some(64)),
            "all sessions are taken: 4, no more fit in 64 descriptors; raise the process's limit of \
             open files (ulimit -Hn, or LimitNOFILE= of its systemd unit)"
        );
    }

    #[test]
    fn unknown_names_come_with_what_may_be_meant() {
        let unknown = |suggestion| Refusal::Unknown { name: "tset".to_owned(), suggestion };
        assert_eq!(unknown(None).to_string(), "the policy has no streamtype \"tset\"");
        let suggestion = sspc_policy::suggest("tset", ["test", "other"]);
        assert_eq!(
            unknown(suggestion).to_string(),
            "the policy has no streamtype \"tset\"; did you mean `test`?"
        );
    }
}
