//! How long a USB adapter holds bytes back in the hope of more.
//!
//! FTDI's chips do so for 16 ms unless they are set otherwise, which is more than all else together in
//! the round trip of a fast line. Their driver has the time as a file in sysfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SYSFS: &str = "/sys";

/// Has a port's adapter pass bytes on after a millisecond, if it has such a time.
///
/// # Errors
/// It holds bytes back and may not be told otherwise. The text says what to do.
pub(crate) fn lower(port: &Path) -> io::Result<()> {
    lower_in(Path::new(SYSFS), port)
}

fn lower_in(sysfs: &Path, port: &Path) -> io::Result<()> {
    let Some(timer) = timer(sysfs, port) else { return Ok(()) };
    let Ok(text) = fs::read_to_string(&timer) else { return Ok(()) };
    let Some(ms) = text.trim().parse().ok().filter(|ms: &u32| *ms > 1) else { return Ok(()) };
    fs::write(&timer, "1").map_err(|error| {
        let text = format!(
            "the adapter holds what comes back for up to {ms} ms: {error}; as root, write 1 to {}",
            timer.display()
        );
        io::Error::new(error.kind(), text)
    })
}

/// The file with the time, which only ports have whose driver knows one. The port may be named by a
/// link, as those in /dev/serial/by-id are.
fn timer(sysfs: &Path, port: &Path) -> Option<PathBuf> {
    let port = fs::canonicalize(port).ok()?;
    Some(sysfs.join("class/tty").join(port.file_name()?).join("device/latency_timer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_adapter_that_holds_bytes_back_is_told_not_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let lower = |port: &Path| lower_in(folder.path(), port);
        fs::write(at("ttyUSB7"), "").unwrap();
        symlink(at("ttyUSB7"), at("by-id")).unwrap();
        // No driver with such a time, and none with a port of this name.
        lower(&at("ttyUSB7")).unwrap();
        lower(&at("ttyUSB8")).unwrap();

        let device = at("class/tty/ttyUSB7/device");
        let timer = device.join("latency_timer");
        fs::create_dir_all(device).unwrap();
        for (port, before, after) in [
            ("ttyUSB7", "16\n", "1"),
            ("by-id", "16\n", "1"),
            ("by-id", "1\n", "1\n"),
            ("by-id", "?", "?"),
        ] {
            fs::write(&timer, before).unwrap();
            lower(&at(port)).unwrap();
            assert_eq!(fs::read_to_string(&timer).unwrap(), after);
        }
    }
}
