//! Serial ports: raw, 8N1, for one process alone.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, fstat, major};
use rustix::io::Errno;
use rustix::termios::ioctl_tiocexcl;
use serial2::{CharSize, FlowControl, Parity, SerialPort, Settings, StopBits};
use sspc_address::SerialAddress;

/// How long a port may still be held by who just closed it.
const LOCK_LIMIT: Duration = Duration::from_millis(500);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Opens a port, for this process alone and without a mux on it. Reading and writing never wait.
///
/// # Errors
/// The port is not there, is in use, is not a serial port, or does not take the settings.
pub fn open_port(address: &SerialAddress) -> io::Result<OwnedFd> {
    open(address).map(OwnedFd::from)
}

/// Opens the port. Reads and writes of its descriptor do not block.
pub(crate) fn open(address: &SerialAddress) -> io::Result<SerialPort> {
    let until = Instant::now() + LOCK_LIMIT;
    loop {
        match try_open(address) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                sleep(LOCK_PAUSE);
            }
            done => return done,
        }
    }
}

fn try_open(address: &SerialAddress) -> io::Result<SerialPort> {
    let settings = |mut settings: Settings| {
        settings.set_raw();
        settings.set_baud_rate(address.baud)?;
        settings.set_char_size(CharSize::Bits8);
        settings.set_parity(Parity::None);
        settings.set_stop_bits(StopBits::One);
        settings.set_flow_control(match address.rtscts {
            true => FlowControl::RtsCts,
            false => FlowControl::None,
        });
        Ok(settings)
    };
    let port = SerialPort::open(&address.path, settings).map_err(explain)?;
    // Among those who ask, and then by force: root may pass the second.
    match flock(&port, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Err(explain(Errno::BUSY.into())),
        Err(error) => return Err(explain(error.into())),
        Ok(()) => {}
    }
    // A pseudo-terminal keeps this after it was closed: nobody but root could open it again.
    if !is_pty(&port) {
        ioctl_tiocexcl(&port).map_err(|error| explain(error.into()))?;
    }
    Ok(port)
}

/// Whether it is a pseudo-terminal's side for programs.
fn is_pty(port: &SerialPort) -> bool {
    const MAJORS: RangeInclusive<u32> = 136..=143;
    fstat(port).is_ok_and(|found| MAJORS.contains(&major(found.st_rdev)))
}

/// Says what to do about it.
fn explain(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => "is the adapter plugged in?",
        Some(Errno::ACCESS | Errno::PERM) => "is this user in the device's group, often dialout?",
        Some(Errno::BUSY) => "another process uses it",
        Some(Errno::NOTTY | Errno::INVAL) => {
            "it is not a serial port, or does not take the settings"
        }
        _ => return error,
    };
    let kind = match error.kind() {
        io::ErrorKind::NotFound => io::ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        io::ErrorKind::ResourceBusy => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::InvalidInput,
    };
    io::Error::new(kind, format!("{error}; {hint}"))
}
