//! Why a session ends, and whose fault it is.

use std::io;
use std::time::Duration;

use sspc_wire::FrameError;

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
    #[error("the client's fault: {0}")]
    Protocol(#[from] ProtocolError),
}

/// What is added to an error that has said its own; nothing if there is nothing.
fn and(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|suggestion| format!("; {suggestion}")).unwrap_or_default()
}

/// Why a stream is not created although its client did nothing wrong on the wire.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the policy has no streamtype {name:?}{}", and(.suggestion))]
    Unknown {
        name: String,
        /// What [`sspc_policy::suggest`] has to say.
        suggestion: Option<String>,
    },
    #[error("streamtype {name:?} is a server, which this proxy does not offer to clients")]
    Server { name: String },
    #[error("streamtype {name:?} is a local sink, and there is none in this proxy")]
    LocalSink { name: String },
    #[error("streamtype {name:?} uses protocol {protocol}, which this proxy does not speak")]
    Protocol { name: String, protocol: String },
    #[error(
        "the policy gives {key} for streamtype {name:?}, which this proxy does not do yet; \
         it does not connect without"
    )]
    NotDone { name: String, key: &'static str },
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
    #[error("streamtype name of {0} bytes, 31 are the most")]
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
