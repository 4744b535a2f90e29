//! What a serial port's driver counted of bytes that came wrong or not at all.
//!
//! Linux shows it in /proc, to root alone, for the UARTs of its serial core: those of PCs and of most
//! boards. Adapters on USB are not among them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, major, minor};
use serial2::SerialPort;

const PROC: &str = "/proc";

/// Errors that a serial port's driver counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortErrors {
    /// Bytes that the UART lost because nobody took those before them in time.
    pub overruns: u64,
    /// Bytes without a stop bit: noise, or another baud rate at the other end.
    pub framing: u64,
    /// Bytes of the wrong parity.
    pub parity: u64,
    /// Breaks: the line was low for longer than a byte.
    pub breaks: u64,
    /// Bytes that the kernel lost because its buffer was full.
    pub buffer_overruns: u64,
}

impl PortErrors {
    /// True if there was none.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self { overruns: 0, framing: 0, parity: 0, breaks: 0, buffer_overruns: 0 })
    }

    fn since(self, before: Self) -> Self {
        Self {
            overruns: self.overruns.saturating_sub(before.overruns),
            framing: self.framing.saturating_sub(before.framing),
            parity: self.parity.saturating_sub(before.parity),
            breaks: self.breaks.saturating_sub(before.breaks),
            buffer_overruns: self.buffer_overruns.saturating_sub(before.buffer_overruns),
        }
    }

    /// A line as `0: uart:16550A port:000003F8 irq:4 tx:9 rx:9 fe:1 oe:3 RTS|DTR`.
    fn parse(line: &str) -> Self {
        let mut errors = Self::default();
        for (name, count) in line.split_whitespace().filter_map(|field| field.split_once(':')) {
            let counter = match name {
                "oe" => &mut errors.overruns,
                "fe" => &mut errors.framing,
                "pe" => &mut errors.parity,
                "brk" => &mut errors.breaks,
                "bo" => &mut errors.buffer_overruns,
                _ => continue,
            };
            *counter = count.parse().unwrap_or_default();
        }
        errors
    }
}

impl fmt::Display for PortErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.overruns, "overrun"),
            (self.framing, "framing error"),
            (self.parity, "parity error"),
            (self.breaks, "break"),
            (self.buffer_overruns, "overrun of the kernel's buffer"),
        ];
        let mut before = "";
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            let (first, rest) = what.split_at(what.find(" of").unwrap_or(what.len()));
            let plural = if count == 1 { "" } else { "s" };
            write!(f, "{before}{count} {first}{plural}{rest}")?;
            before = ", ";
        }
        if before.is_empty() { f.write_str("no errors") } else { Ok(()) }
    }
}

/// Where the kernel shows the counters of a port.
#[derive(Debug)]
pub(crate) struct PortErrorCounters {
    /// The file of the port's driver.
    driver: PathBuf,
    /// How the port's line in it begins.
    prefix: String,
    /// The counters at the last [`PortErrorCounters::mark`].
    marked: PortErrors,
}

impl PortErrorCounters {
    /// `None` if the driver shows none, or not to this process.
    pub(crate) fn of(port: &SerialPort) -> Option<Self> {
        let device = fstat(port).ok()?.st_rdev;
        Self::find(Path::new(PROC), major(device), minor(device))
    }

    fn find(proc: &Path, major: u32, minor: u32) -> Option<Self> {
        let drivers = fs::read_to_string(proc.join("tty/drivers")).ok()?;
        let (name, number) = drivers.lines().find_map(|line| row(line, major, minor))?;
        let counters = Self {
            driver: proc.join("tty/driver").join(name),
            prefix: format!("{number}: "),
            marked: PortErrors::default(),
        };
        counters.read().map(|marked| Self { marked, ..counters })
    }

    fn read(&self) -> Option<PortErrors> {
        let text = fs::read_to_string(&self.driver).ok()?;
        let line = text.lines().find(|line| line.starts_with(&self.prefix))?;
        // The kernel leaves the counters out for all but root, and then these too.
        line.contains(" rx:").then(|| PortErrors::parse(line))
    }

    /// What is counted later is counted from here.
    pub(crate) fn mark(&mut self) {
        self.marked = self.read().unwrap_or(self.marked);
    }

    /// The errors since the last mark.
    pub(crate) fn since_mark(&self) -> PortErrors {
        self.read().map_or_else(PortErrors::default, |errors| errors.since(self.marked))
    }
}

/// The driver's name and the port's number with it, if this row of /proc/tty/drivers is the device's:
/// `serial /dev/ttyS 4 64-95 serial`.
fn row(line: &str, major: u32, minor: u32) -> Option<(&str, u32)> {
    let mut fields = line.split_whitespace();
    let (name, _, of_major, minors) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (first, last) = minors.split_once('-').unwrap_or((minors, minors));
    let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    let is_it = of_major.parse() == Ok(major) && (first..=last).contains(&minor);
    // The name is one of a file in a folder, and no way out of it.
    (is_it && !name.contains('/')).then(|| (name, minor - first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIVERS: &str = "\
/dev/tty             /dev/tty        5       0 system:/dev/tty
serial               /dev/ttyS       4 64-95 serial
usbserial            /dev/ttyUSB   188 0-511 serial
ttyAMA               /dev/ttyAMA   204 64-77 serial
";

    #[test]
    fn the_drivers_counters_are_found_and_counted_from_a_mark() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        fs::create_dir_all(proc.join("tty/driver")).unwrap();
        fs::write(proc.join("tty/drivers"), DRIVERS).unwrap();
        let show = |ports: &str| {
            let text = format!("serinfo:1.0 driver revision:\n{ports}");
            fs::write(proc.join("tty/driver/ttyAMA"), text).unwrap();
        };
        assert!(PortErrorCounters::find(proc, 204, 65).is_none(), "there is no such file");
        show("1: uart:PL011 rev2 mmio:0x3F201000 irq:81\n");
        assert!(PortErrorCounters::find(proc, 204, 65).is_none(), "it is hidden from this user");
        show("0: uart:PL011 tx:1 rx:1 oe:99\n1: uart:PL011 tx:9 rx:8 fe:2 oe:5 RTS|DTR\n");
        let mut counters = PortErrorCounters::find(proc, 204, 65).unwrap();
        assert!(counters.since_mark().is_none());
        show("0: uart:PL011 tx:1 rx:1\n1: uart:PL011 tx:9 rx:99 fe:3 pe:1 brk:4 oe:7 bo:2 RTS\n");
        assert_eq!(
            counters.since_mark().to_string(),
            "2 overruns, 1 framing error, 1 parity error, 4 breaks, 2 overruns of the kernel's buffer"
        );
        counters.mark();
        assert_eq!(counters.since_mark().to_string(), "no errors");
        fs::remove_file(proc.join("tty/driver/ttyAMA")).unwrap();
        counters.mark();
        assert!(counters.since_mark().is_none());
        // No driver has this device; a driver without counters; a driver whose name is not a file name.
        assert!(PortErrorCounters::find(proc, 136, 3).is_none());
        assert!(PortErrorCounters::find(proc, 188, 0).is_none());
        assert!(PortErrorCounters::find(proc, 5, 0).is_none());
    }
}
