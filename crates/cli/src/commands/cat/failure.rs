//! What the client says went wrong, as exit code and text.

use std::io;

use sspc::tokio::Error;
use sspc::{Address, Fault};

use crate::exit::{Exit, Failure};

/// The exit code and the words for what the client says.
pub(super) fn failure(error: Error) -> Failure {
    let exit = match &error {
        Error::NoProxy { .. } | Error::Protocol(Fault::NoAnswer) => Exit::NoProxy,
        Error::Refused { .. } => Exit::Refused,
        Error::TakesNoPayload => Exit::TakesNoPayload,
        _ => Exit::Failure,
    };
    let message = match &error {
        Error::NoProxy { address, source } => no_link(address, source),
        Error::Refused { streamtype, result } => refused(streamtype, *result),
        Error::TakesNoPayload => "this streamtype takes no payload (--data); its policy gives it \
                                  a method or protocol that sends none, such as GET"
            .to_owned(),
        other => other.to_string(),
    };
    Failure::new(message).with_exit(exit)
}

/// What a refusal can mean. On the wire there is no more than that it is one.
fn refused(streamtype: &str, result: u8) -> String {
    let result = if result == 1 { String::new() } else { format!(" with result {result}") };
    format!(
        "the proxy refuses the streamtype {streamtype:?}{result}: its policy does not have it, its \
         access rules do not let this user have it, or the policy has it \
         and asks for something that the proxy does not support, or there is no room for another \
         stream. The proxy's log says which, or, if all channels of a line are in use, the bridge's; \
         `sspc policy explain` tells what a policy means for it"
    )
}

/// Explains why the link to the proxy failed and what to do about it, as far as the client can tell.
fn no_link(address: &Address, error: &io::Error) -> String {
    match (address, error.kind()) {
        // Somebody took the connection.
        (_, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => format!(
            "the proxy at {address} closed the connection before it answered: it turns too many \
             clients away, or a bridge listens there and its line is down; its log says which"
        ),
        (Address::Serial(_) | Address::Network(_), io::ErrorKind::TimedOut)
        | (Address::Network(_), io::ErrorKind::ConnectionRefused) => {
            format!("no proxy at {address}: {error}; is `sspc proxy` running there?")
        }
        (Address::Serial(_) | Address::Network(_), _) => format!("cannot use {address}: {error}"),
        (_, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => format!(
            "no proxy at {address}: {error}; start one with `sspc proxy --listen {address}`, or \
             name another with --proxy"
        ),
        _ => format!("cannot connect to the proxy at {address}: {error}"),
    }
}
