use std::error::Error;
use std::fmt;
use std::io;

use crate::network::Carrier;
use crate::place::Place;
use crate::serial::BAUD_FAST_MIN;

/// The longest name or path of a Unix socket, in bytes.
pub(crate) const UNIX_NAME_MAX: usize = 107;

/// A text is not an address that its place accepts. Says what is wrong and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    pub(crate) text: String,
    pub(crate) place: Place,
    pub(crate) mistake: Mistake,
}

/// What is wrong. Each has one text, wherever the address is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// It begins like none of the kinds that the place accepts.
    Kind,
    /// Nothing stands behind `uds:` or `uds:@`.
    NoName,
    RelativeSocket,
    RelativeDevice,
    RelativePty,
    NameTooLong {
        length: usize,
    },
    Nul,
    AbstractOptions,
    /// Mode and owner of a socket that others made.
    NotTheListener,
    PathOption {
        option: String,
    },
    Mode,
    Owner,
    NoPort {
        carrier: Carrier,
    },
    Port {
        least: u16,
    },
    Brackets {
        carrier: Carrier,
    },
    NoHost {
        carrier: Carrier,
    },
    Baud,
    RtsCts,
    Profile,
    Framing,
    /// A file's path is relative.
    FilePath {
        option: &'static str,
    },
    PlainKeys,
    Secrecy,
    SecrecyWithoutKeys,
    /// A tap passes encrypted bytes as they are.
    KeysOfTap,
    TlsOfTap,
    /// `tls=` something else than off.
    Tls,
    /// `tls=off` with what turns encryption on.
    TlsOffAndOn,
    TlsOffOfClient,
    /// Of `cert=` and `key=` one is missing.
    CertAndKey,
    /// A client that shows a certificate and trusts none.
    CertWithoutCa,
    /// `client_ca=` without a certificate of the proxy's own.
    ClientCaAlone,
    CaOfListener,
    ClientCaOfClient,
    KeysAndTls,
    /// Plain TCP has a connection for each stream, and no line.
    PlainTcp,
    NetworkOption {
        carrier: Carrier,
        option: String,
    },
    SerialOption {
        option: String,
    },
    TooSlow {
        baud: u32,
    },
    /// Nothing that an admin side could be reached at by HTTP.
    Http,
    /// The admin side is for this machine alone.
    NotLoopback,
    /// The admin socket's mode cannot be chosen.
    AdminMode,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a valid {}: ", self.text.escape_debug(), self.place.name())?;
        match &self.mistake {
            Mistake::Kind => write!(f, "write {}", self.place.forms()),
            Mistake::NoName => f.write_str("a name or path is missing after uds:"),
            Mistake::RelativeSocket => f.write_str(
                "write uds:/path with an absolute path, or uds:@name for an abstract name",
            ),
            Mistake::RelativeDevice => {
                f.write_str("write the device with its whole path, such as serial:/dev/ttyUSB0")
            }
            Mistake::RelativePty => {
                f.write_str("write pty: with an absolute path, such as pty:/tmp/device")
            }
            Mistake::NameTooLong { length } => write!(
                f,
                "the name or path of a Unix socket has at most {UNIX_NAME_MAX} bytes, this one has \
                 {length}"
            ),
            Mistake::Nul => f.write_str("it contains a NUL byte"),
            Mistake::AbstractOptions => f.write_str(
                "an abstract socket has no mode and no owner: every user of the machine may connect",
            ),
            Mistake::NotTheListener => {
                f.write_str("mode and owner are set where the proxy listens, not by its clients")
            }
            Mistake::PathOption { option } => write!(
                f,
                "\"{}\" is not an option of a path; there are mode=0660 and owner=user:group",
                option.escape_debug()
            ),
            Mistake::Mode => f.write_str("mode must be an octal number up to 0777"),
            Mistake::Owner => {
                f.write_str("owner must name a user, a group or both: owner=user:group")
            }
            Mistake::NoPort { carrier } => {
                write!(f, "the port is missing; write {}:host:port", carrier.word())
            }
            Mistake::Port { least } => {
                write!(f, "the port must be a number from {least} to {}", u16::MAX)
            }
            Mistake::Brackets { carrier } => write!(
                f,
                "write an IPv6 address in brackets, such as {}:[::1]:7681",
                carrier.word()
            ),
            Mistake::NoHost { carrier } => {
                write!(f, "the host is missing; write {}:host:port", carrier.word())
            }
            Mistake::Secrecy => f.write_str("forward_secrecy must be auto, required or off"),
            Mistake::SecrecyWithoutKeys => {
                f.write_str("forward_secrecy= is for encrypted lines; add keys=/path")
            }
            Mistake::KeysOfTap => f.write_str("a tap passes bytes on and takes no keys"),
            Mistake::PlainTcp => f.write_str(
                "tcp: is a line only with keys; write tcp:host:port?keys=/path",
            ),
            Mistake::TlsOfTap => f.write_str("a tap passes bytes on and has no TLS of its own"),
            Mistake::Tls => f.write_str("tls= takes the word off alone; TLS itself is cert= and key="),
            Mistake::TlsOffAndOn => {
                f.write_str("tls=off is for an address without encryption; leave it out")
            }
            Mistake::TlsOffOfClient => f.write_str(
                "tls=off is for where the proxy listens; a client without ca= uses no TLS",
            ),
            Mistake::CertAndKey => f.write_str(
                "cert= and key= go together: write cert=/path&key=/path",
            ),
            Mistake::CertWithoutCa => f.write_str(
                "add ca=/path, a file with the certificate that issued the proxy's",
            ),
            Mistake::ClientCaAlone => f.write_str(
                "client_ca= is for TLS, and the proxy needs a certificate for that: add \
                 cert=/path&key=/path",
            ),
            Mistake::CaOfListener => f.write_str(
                "ca= is for clients; a proxy that asks clients for certificates has client_ca=/path",
            ),
            Mistake::ClientCaOfClient => f.write_str(
                "client_ca= is for where the proxy listens; a client trusts ca=/path",
            ),
            Mistake::KeysAndTls => f.write_str(
                "keys= encrypts a line by itself; leave either keys= or the options of TLS out",
            ),
            Mistake::NetworkOption { carrier, option } => {
                let option = option.escape_debug();
                write!(f, "\"{option}\" is not an option of {}:; ", carrier.word())?;
                f.write_str(self.place.options(*carrier))
            }
            Mistake::Baud => f.write_str("baud must be a number of bits per second"),
            Mistake::RtsCts => f.write_str("rtscts must be 0 or 1"),
            Mistake::Profile => f.write_str("profile must be default or fast"),
            Mistake::Framing => f.write_str("framing must be auto, plain or reliable"),
            Mistake::FilePath { option } => {
                write!(f, "write {option}= with the file's whole path")
            }
            Mistake::PlainKeys => f.write_str(
                "keys= encrypts packets, and framing=plain has none: leave one of the two out",
            ),
            Mistake::SerialOption { option } => write!(
                f,
                "\"{}\" is not an option of a serial line; there are baud=, rtscts=, profile=, \
                 framing=, keys= and forward_secrecy=",
                option.escape_debug()
            ),
            Mistake::Http => f.write_str("write http:127.0.0.1:9090, with a loopback address and a port"),
            Mistake::NotLoopback => f.write_str(
                "the admin side asks nobody who they are, so it listens at loopback addresses only, such \
                 as http:127.0.0.1:9090; for others put a web server with passwords in front of it",
            ),
            Mistake::AdminMode => f.write_str(
                "an admin socket always has mode 0600, for root and the proxy's own user",
            ),
            Mistake::TooSlow { baud } => write!(
                f,
                "profile=fast needs {BAUD_FAST_MIN} baud or more, and this line has {baud}; add \
                 baud=2000000 if it can do that, or leave the profile out"
            ),
        }
    }
}

impl AddressError {
    /// The address is not of a kind that the place accepts.
    pub(crate) fn kind(text: &str, place: Place) -> Self {
        Self { text: text.into(), place, mistake: Mistake::Kind }
    }
}

impl Error for AddressError {}

impl From<AddressError> for io::Error {
    fn from(error: AddressError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
