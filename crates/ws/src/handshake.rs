//! The opening handshake (RFC 6455 §4) as far as it concerns WebSocket: the key and its answer,
//! and the negotiation of permessage-deflate (RFC 7692 §5, §7.1). The HTTP around it is not here.
//!
//! A client offers and checks the answer; a server answers:
//!
//! ```
//! use sspc_ws::handshake::{self, DeflateOffer};
//! use sspc_ws::{DeflateParams, WindowBits};
//!
//! # fn main() -> Result<(), sspc_ws::HandshakeError> {
//! let offer = DeflateOffer::default();
//! let header = offer.to_string();
//! assert_eq!(header, "permessage-deflate; client_max_window_bits");
//!
//! // The server has little memory, and wants small windows in both directions.
//! let small = WindowBits::new(10).unwrap();
//! let wanted = DeflateParams {
//!     server_max_window_bits: small,
//!     client_max_window_bits: small,
//!     ..DeflateParams::default()
//! };
//! let (at_server, response) = handshake::answer(&header, wanted).unwrap();
//!
//! let at_client = handshake::negotiate(Some(&offer), &response)?;
//! assert_eq!(at_client, Some(at_server));
//! # Ok(())
//! # }
//! ```

use core::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::error::HandshakeError;
use crate::params::{DeflateParams, WindowBits};

/// The value of `Sec-WebSocket-Version` (RFC 6455 §4.1).
pub const VERSION: &str = "13";

/// What RFC 6455 §1.3 appends to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const EXTENSION: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// The value of `Sec-WebSocket-Key` (RFC 6455 §4.1) from 16 bytes that the caller drew at random
/// for this connection.
pub fn client_key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The value of `Sec-WebSocket-Accept` that answers `key`, the value of `Sec-WebSocket-Key`
/// without white space around it (RFC 6455 §4.2.2). A server sends it, a client compares with it.
///
/// ```
/// use sspc_ws::handshake::accept_key;
///
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A client's offer of permessage-deflate; [`Display`](fmt::Display) writes it as the value of
/// `Sec-WebSocket-Extensions`.
///
/// The default leaves all to the server, and tells it that it may limit our window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeflateOffer {
    /// Asks the server to compress each message on its own (RFC 7692 §7.1.1.1): a condition.
    pub server_no_context_takeover: bool,
    /// Tells the server that we will compress each message on its own (§7.1.1.2).
    pub client_no_context_takeover: bool,
    /// Asks the server for a window of at most this size (§7.1.2.1): a condition.
    pub server_max_window_bits: Option<WindowBits>,
    /// Tells the server that our window will be at most this size, and that it may make it smaller
    /// still (§7.1.2.2). `None` if it may not.
    pub client_max_window_bits: Option<WindowBits>,
}

impl Default for DeflateOffer {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: None,
            client_max_window_bits: Some(WindowBits::MAX),
        }
    }
}

impl fmt::Display for DeflateOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXTENSION)?;
        if self.server_no_context_takeover {
            write!(f, "; {SERVER_NO_CONTEXT_TAKEOVER}")?;
        }
        if self.client_no_context_takeover {
            write!(f, "; {CLIENT_NO_CONTEXT_TAKEOVER}")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; {SERVER_MAX_WINDOW_BITS}={bits}")?;
        }
        match self.client_max_window_bits {
            // 15 is what the name alone means, and every server understands the name alone.
            Some(WindowBits::MAX) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}"),
            Some(bits) => write!(f, "; {CLIENT_MAX_WINDOW_BITS}={bits}"),
            None => Ok(()),
        }
    }
}

/// The client's side: what the server's answer means for what we offered (`None` if nothing was).
///
/// `response` is the value of `Sec-WebSocket-Extensions` in the server's answer, several such
/// headers joined with commas, or empty if there is none. The result is `None` if the server took
/// no extension: messages are not compressed then.
///
/// # Errors
///
/// The answer has anything that was not offered, is against what was offered as a condition, or is
/// malformed. The connection must be failed (RFC 6455 §4.1, RFC 7692 §7.1).
pub fn negotiate(
    offer: Option<&DeflateOffer>,
    response: &str,
) -> Result<Option<DeflateParams>, HandshakeError> {
    let mut accepted = extensions(response);
    let Some(extension) = accepted.next() else { return Ok(None) };
    let offer = offer.ok_or(HandshakeError::ExtensionNotOffered)?;
    if accepted.next().is_some() {
        return Err(HandshakeError::ExtensionNotOffered);
    }
    let terms = Terms::parse(extension)?.ok_or(HandshakeError::ExtensionNotOffered)?;

    if offer.server_no_context_takeover && !terms.server_no_context_takeover {
        return Err(HandshakeError::Missing(SERVER_NO_CONTEXT_TAKEOVER));
    }
    let server_max_window_bits = match (offer.server_max_window_bits, terms.server_max_window_bits)
    {
        (Some(_), None) => return Err(HandshakeError::Missing(SERVER_MAX_WINDOW_BITS)),
        (Some(offered), Some(bits)) if bits > offered => {
            return Err(HandshakeError::WindowTooLarge(SERVER_MAX_WINDOW_BITS));
        }
        (_, bits) => bits.unwrap_or(WindowBits::MAX),
    };
    let client_max_window_bits = match (offer.client_max_window_bits, terms.client_max_window_bits)
    {
        (_, Some(None)) => return Err(HandshakeError::InvalidValue(CLIENT_MAX_WINDOW_BITS)),
        (None, Some(_)) => return Err(HandshakeError::NotOffered(CLIENT_MAX_WINDOW_BITS)),
        (Some(offered), Some(Some(bits))) if bits > offered => {
            return Err(HandshakeError::WindowTooLarge(CLIENT_MAX_WINDOW_BITS));
        }
        (_, Some(Some(bits))) => bits,
        (offered, None) => offered.unwrap_or(WindowBits::MAX),
    };
    Ok(Some(DeflateParams {
        server_no_context_takeover: terms.server_no_context_takeover,
        // We keep to what we said, though the server need not repeat it.
        client_no_context_takeover: terms.client_no_context_takeover
            || offer.client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    }))
}

/// The server's side: takes the first offer of permessage-deflate that is well formed, as near to
/// `wanted` as it allows. Gives the terms and the value of `Sec-WebSocket-Extensions` to answer
/// with; `None` if there is no such offer, and then no such header is sent.
///
/// `offers` is the value of the client's `Sec-WebSocket-Extensions`, several such headers joined
/// with commas.
///
/// Two things of `wanted` depend on the client: its window can only be limited if it offers
/// `client_max_window_bits`, and a window of 8 bits is answered only to a client that names 8 bits
/// itself (otherwise 9 are), because some clients refuse it and it saves them next to nothing.
pub fn answer(offers: &str, wanted: DeflateParams) -> Option<(DeflateParams, String)> {
    // A malformed offer is declined, it does not spoil the others (RFC 7692 §7.1).
    let offer = extensions(offers).find_map(|extension| Terms::parse(extension).ok().flatten())?;
    let limit = |offered: Option<WindowBits>, wanted: WindowBits| {
        offered.unwrap_or(WindowBits::MAX).min(wanted.max(WindowBits::COMMON_MIN))
    };
    let params = DeflateParams {
        server_no_context_takeover: wanted.server_no_context_takeover
            || offer.server_no_context_takeover,
        client_no_context_takeover: wanted.client_no_context_takeover
            || offer.client_no_context_takeover,
        server_max_window_bits: limit(offer.server_max_window_bits, wanted.server_max_window_bits),
        client_max_window_bits: match offer.client_max_window_bits {
            Some(offered) => limit(offered, wanted.client_max_window_bits),
            None => WindowBits::MAX,
        },
    };
    let accepted = DeflateOffer {
        server_no_context_takeover: params.server_no_context_takeover,
        client_no_context_takeover: params.client_no_context_takeover,
        // What was asked for must be confirmed, even if it is what holds anyway.
        server_max_window_bits: (offer.server_max_window_bits.is_some()
            || params.server_max_window_bits < WindowBits::MAX)
            .then_some(params.server_max_window_bits),
        client_max_window_bits: (params.client_max_window_bits < WindowBits::MAX)
            .then_some(params.client_max_window_bits),
    };
    Some((params, accepted.to_string()))
}

/// The parameters of one permessage-deflate, offered or accepted.
#[derive(Debug, Default)]
struct Terms {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    /// In an offer it may stand without a value.
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Terms {
    /// `None` if it is another extension.
    fn parse(extension: &str) -> Result<Option<Self>, HandshakeError> {
        let mut parts = extension.split(';').map(trim);
        if parts.next() != Some(EXTENSION) {
            return Ok(None);
        }
        let mut terms = Self::default();
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (trim(name), Some(unquote(trim(value)))),
                None => (part, None),
            };
            terms.set(name, value)?;
        }
        Ok(Some(terms))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), HandshakeError> {
        match name {
            SERVER_NO_CONTEXT_TAKEOVER => {
                set_flag(&mut self.server_no_context_takeover, SERVER_NO_CONTEXT_TAKEOVER, value)
            }
            CLIENT_NO_CONTEXT_TAKEOVER => {
                set_flag(&mut self.client_no_context_takeover, CLIENT_NO_CONTEXT_TAKEOVER, value)
            }
            SERVER_MAX_WINDOW_BITS => {
                let bits = value
                    .and_then(WindowBits::parse)
                    .ok_or(HandshakeError::InvalidValue(SERVER_MAX_WINDOW_BITS))?;
                set_once(&mut self.server_max_window_bits, SERVER_MAX_WINDOW_BITS, bits)
            }
            CLIENT_MAX_WINDOW_BITS => {
                let bits = value
                    .map(|value| {
                        WindowBits::parse(value)
                            .ok_or(HandshakeError::InvalidValue(CLIENT_MAX_WINDOW_BITS))
                    })
                    .transpose()?;
                set_once(&mut self.client_max_window_bits, CLIENT_MAX_WINDOW_BITS, bits)
            }
            _ => Err(HandshakeError::UnknownParameter),
        }
    }
}

fn set_flag(
    flag: &mut bool,
    name: &'static str,
    value: Option<&str>,
) -> Result<(), HandshakeError> {
    if value.is_some() {
        return Err(HandshakeError::InvalidValue(name));
    }
    match core::mem::replace(flag, true) {
        true => Err(HandshakeError::Duplicate(name)),
        false => Ok(()),
    }
}

fn set_once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), HandshakeError> {
    match place.replace(value) {
        Some(_) => Err(HandshakeError::Duplicate(name)),
        None => Ok(()),
    }
}

/// The extensions of a header's value. A quoted value is a token in quotes (RFC 6455 §9.1), so a
/// comma or semicolon always separates.
fn extensions(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(trim).filter(|extension| !extension.is_empty())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}
