//! What a line's bytes go over: a serial port, or a socket.

use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use serial2::SerialPort;
use sspc_address::{Carrier, LineAddress, Profile};

use crate::network::{connect_tcp, connect_udp, is_lost_datagram};
use crate::port_errors::PortErrorCounters;
use crate::{latency, port};

/// What a line's bytes go over. Reading and writing do not block.
#[derive(Debug)]
pub(crate) enum Wire {
    Serial(SerialPort),
    Tcp(TcpStream),
    /// Each read is a datagram, and each write.
    Udp(UdpSocket),
}

impl Wire {
    pub(crate) fn open(address: &LineAddress) -> io::Result<Self> {
        match address {
            LineAddress::Serial(address) => port::open(address).map(Self::Serial),
            LineAddress::Network(address) => match address.carrier {
                Carrier::Tcp => connect_tcp(address).map(Self::Tcp),
                Carrier::Udp => connect_udp(address).map(Self::Udp),
            },
        }
    }

    /// What the driver of a serial port counts, if it does.
    pub(crate) fn error_counters(&self) -> Option<PortErrorCounters> {
        match self {
            Self::Serial(port) => PortErrorCounters::of(port),
            Self::Tcp(_) | Self::Udp(_) => None,
        }
    }

    /// Writes what goes; `None` if nothing does.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        match rustix::io::write(self, bytes) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) if self.is_udp() && is_lost_datagram(error) => Ok(Some(bytes.len())),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what there is.
    pub(crate) fn read(&self, input: &mut [u8]) -> io::Result<usize> {
        match rustix::io::read(self, input) {
            Ok(0) if !self.is_udp() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"))
            }
            Ok(length) => Ok(length),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) if self.is_udp() && is_lost_datagram(error) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    const fn is_udp(&self) -> bool {
        matches!(self, Self::Udp(_))
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Serial(port) => port.as_fd(),
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
        }
    }
}

/// The rate of a serial port, which alone does not say when it has enough.
pub(crate) const fn baud(address: &LineAddress) -> Option<u32> {
    match address {
        LineAddress::Serial(address) => Some(address.baud),
        LineAddress::Network(_) => None,
    }
}

/// Does what `profile=fast` needs of a port's adapter.
pub(crate) fn lower_latency(address: &LineAddress) -> io::Result<()> {
    match address {
        LineAddress::Serial(address) if address.profile == Profile::Fast => {
            latency::lower(&address.path)
        }
        _ => Ok(()),
    }
}
