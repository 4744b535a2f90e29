//! What happens to a line, and its status.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sspc_arq::Refusal;
use sspc_mux::LinkLoss;

use crate::port_errors::PortErrors;

/// What a line that sends back what is written to it is.
pub(crate) const ECHO: &str = "the line answers with its own bytes (a loopback plug, or TX joined \
                               to RX)";

/// Why nobody is there, as far as an end knows that speaks in packets alone: plain peers send a PING
/// every few seconds, and are not asked.
pub(crate) const NO_PACKETS: &str = "nobody answers in packets at the other end of the line, and this \
                                     end speaks in nothing else";

/// The same of a line over a network, whose other end answers none that it has no key of.
pub(crate) const NO_ANSWER: &str = "nobody answers there: no proxy listens, or it has another key for \
                                    this device, or none";

/// Why a peer is not spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It does not speak in packets, and this end is to speak in nothing else.
    Plain,
    /// Both speak in packets, and have no common way to protect them.
    Packets(Refusal),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => {
                "the peer does not speak in packets, and framing=reliable refuses it: update it, or \
                 use framing=auto"
            }
            Self::Packets(Refusal::PeerEncrypts) => {
                "the peer encrypts, and this end has no keys: give it keys=FILE"
            }
            Self::Packets(Refusal::PeerDoesNot) => {
                "the peer does not encrypt, and this end speaks with none that does not: give the peer \
                 its key, or leave keys= out"
            }
            Self::Packets(Refusal::UnknownId) => {
                "the peer's id is not among the keys of this end: add a line with it to the file of keys"
            }
            Self::Packets(Refusal::WrongKey) => {
                "the peer has another key for its id, or somebody else says to be it: compare the \
                 keys of both ends"
            }
            Self::Packets(Refusal::NoForwardSecrecy) => {
                "the peer does not offer forward secrecy, and this end requires it: update the peer, or \
                 use forward_secrecy=auto"
            }
            Self::Packets(_) => "the peer encrypts in another way than this end",
        })
    }
}

/// What happened to a line. Its channels report their own ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LineEvent {
    /// Bytes pass in both directions.
    Up {
        /// The handshake's round trip.
        round_trip: Duration,
        /// In packets that lose nothing.
        in_packets: bool,
        /// They are encrypted, for the device of this id.
        device: Option<Arc<str>>,
        /// Who learns the device's key later cannot read what was recorded.
        forward_secrecy: bool,
    },
    /// The link is lost and with it all channels.
    Down {
        /// How this was found out.
        why: LinkLoss,
    },
    /// What packets did while the link was up that was just lost. Comes only if it was in packets.
    Packets {
        /// Of this link alone.
        counters: sspc_arq::Counters,
    },
    /// What the driver of the serial port counted while the link was up that was just lost. Comes only
    /// if it counted errors, and shows them to this process.
    PortErrors {
        /// Since the link came up.
        errors: PortErrors,
    },
    /// Nobody is at the other end: the line sends back what this end writes. Comes once, and again
    /// only after there was a peer or silence.
    Echo,
    /// There is a peer, and this end is not to speak with it. Comes once for each reason, and again only
    /// after the link was up.
    Refused {
        /// Why not.
        why: Refused,
    },
    /// A PING was answered.
    RoundTrip {
        /// From the PING to its PONG.
        round_trip: Duration,
    },
    /// The peer's wall clock. A peer that does not know the time sends one of long ago.
    PeerClock {
        /// Since 1970.
        since_1970: Duration,
    },
    /// The port failed or went away; it is opened again as soon as it can be.
    PortLost {
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// The port is there again.
    PortBack,
    /// The connection over the network ended; another one is made as soon as that goes.
    ConnectionLost {
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// There is a connection again.
    ConnectionBack,
    /// A channel was closed because more bytes came on it than its reader took and the line keeps
    /// for it; the others were not held up.
    Overflow {
        /// Its index.
        channel: u8,
        /// What was kept for it, in bytes.
        kept: usize,
    },
}

impl LineEvent {
    /// The event in one word, for logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
            Self::Packets { .. } => "packets",
            Self::PortErrors { .. } => "port_errors",
            Self::Echo => "echo",
            Self::Refused { .. } => "refused",
            Self::RoundTrip { .. } => "round_trip",
            Self::PeerClock { .. } => "peer_clock",
            Self::PortLost { .. } => "port_lost",
            Self::PortBack => "port_back",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::ConnectionBack => "connection_back",
            Self::Overflow { .. } => "overflow",
        }
    }

    /// True if somebody may have to do something about it: programs log these as warnings. A reset
    /// by the peer is one, as noise on the way there makes it do so.
    pub const fn is_fault(&self) -> bool {
        match self {
            // The port is gone, which is said by itself.
            Self::Down { why: LinkLoss::Asked } => false,
            Self::Down { .. }
            | Self::PortErrors { .. }
            | Self::Echo
            | Self::Refused { .. }
            | Self::PortLost { .. }
            | Self::ConnectionLost { .. }
            | Self::Overflow { .. } => true,
            Self::Up { .. }
            | Self::Packets { .. }
            | Self::RoundTrip { .. }
            | Self::PeerClock { .. }
            | Self::PortBack
            | Self::ConnectionBack => false,
        }
    }
}

impl fmt::Display for LineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| time.as_secs_f64() * 1e3;
        match self {
            Self::Up { round_trip, in_packets, device, forward_secrecy } => {
                let how = if *in_packets { "in packets that lose nothing" } else { "plain" };
                write!(f, "link up, round trip {:.3} ms, {how}", ms(round_trip))?;
                if let Some(device) = device {
                    write!(f, ", encrypted for {:?}", &**device)?;
                }
                match forward_secrecy {
                    true => f.write_str(" with forward secrecy"),
                    false => Ok(()),
                }
            }
            Self::Down { why } => write!(f, "link down: {why}{}", cause(*why)),
            Self::Packets { counters } => write!(f, "until then {counters}"),
            Self::PortErrors { errors } => write!(f, "until then the port counted {errors}"),
            Self::Echo => write!(f, "no peer: {ECHO}"),
            Self::Refused { why } => why.fmt(f),
            Self::RoundTrip { round_trip } => write!(f, "round trip {:.3} ms", ms(round_trip)),
            Self::PeerClock { since_1970 } => {
                write!(f, "the peer's clock: {:.3} s since 1970", since_1970.as_secs_f64())
            }
            Self::PortLost { error } => {
                write!(f, "the port is lost: {error}; it is opened again when it is back")
            }
            Self::PortBack => f.write_str("the port is back"),
            Self::ConnectionLost { error } => {
                write!(f, "the connection is lost: {error}; another one is made when that goes")
            }
            Self::ConnectionBack => f.write_str("there is a connection again"),
            Self::Overflow { channel, kept } => write!(
                f,
                "channel {channel} was closed: its reader is {kept} bytes behind, and it does not \
                 honour credit"
            ),
        }
    }
}

/// What may be behind a loss, where that is not all there is to say.
const fn cause(why: LinkLoss) -> &'static str {
    match why {
        LinkLoss::Framing => " (bytes were lost or changed on the line)",
        LinkLoss::PeerReset => " (it restarted, or bytes to it were lost or changed on the line)",
        _ => "",
    }
}

/// How a line is, and what happened to it so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The link is up.
    pub up: bool,
    /// The port, or the connection, is there.
    pub port: bool,
    /// The line sends back what this end writes: there is no peer.
    pub echo: bool,
    /// The link is up in packets that lose nothing.
    pub in_packets: bool,
    /// There is a peer, which is refused for this reason.
    pub refused: Option<Refused>,
    /// What the packet layer has done so far.
    pub packets: sspc_arq::Counters,
    /// The last round trip.
    pub round_trip: Option<Duration>,
    /// How often the link came up.
    pub ups: u64,
    /// How often the link was lost.
    pub losses: u64,
    /// How often it was lost because what came was no frame.
    pub framing_losses: u64,
    /// Channels open or being opened.
    pub channels: usize,
    /// Bytes read from the port.
    pub bytes_in: u64,
    /// Bytes given to the port.
    pub bytes_out: u64,
}
