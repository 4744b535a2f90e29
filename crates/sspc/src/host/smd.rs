//! System messages, whatever the API.

use std::vec::Vec;

use sspc_wire::Flags;
use sspc_wire::smd::{Classes, HEADER, Message, TEXT_MAX};

use super::{Error, Options};

/// How many bytes of messages the proxy may be ahead of the application.
const WINDOW: u32 = 16 * 1024;

/// A message of the bus that all clients of a proxy share.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SmdMessage {
    /// What it belongs to.
    pub class: Classes,
    /// When the proxy got it, in µs of its system's monotonic clock.
    pub timestamp_us: u64,
    /// Normally JSON.
    pub text: Vec<u8>,
}

/// The same options for a stream on the bus.
pub(crate) fn options_of(mut options: Options, classes: Classes) -> Options {
    options.config.smd_classes = Some(classes.bits());
    options.config.window = WINDOW;
    options.config.honour_credit = true;
    options
}

/// A message as payload.
pub(crate) fn encode(class: Classes, text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = std::vec![0; HEADER + text.len()];
    // Proxies take the time from their own clock.
    match (Message { class, timestamp_us: 0, text }).encode(&mut bytes) {
        Some(_) => Ok(bytes),
        None => Err(Error::TooLong { length: text.len(), max: TEXT_MAX }),
    }
}

/// Joins what comes of a message in more than one piece.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    bytes: Vec<u8>,
    /// More came of the message than one has.
    is_too_long: bool,
}

impl Joiner {
    /// Takes payload; the message, once it is whole.
    pub(crate) fn add(&mut self, data: &[u8], flags: Flags) -> Option<SmdMessage> {
        if flags.contains(Flags::SOM) {
            self.bytes.clear();
            self.is_too_long = false;
        }
        // Deployed proxies would send no longer ones either.
        self.is_too_long |= self.bytes.len() + data.len() > HEADER + TEXT_MAX;
        if !self.is_too_long {
            self.bytes.extend_from_slice(data);
        }
        if !flags.contains(Flags::EOM) || self.is_too_long {
            return None;
        }
        let message = Message::decode(&self.bytes).map(|message| SmdMessage {
            class: message.class,
            timestamp_us: message.timestamp_us,
            text: message.text.to_vec(),
        });
        self.bytes.clear();
        message
    }
}
