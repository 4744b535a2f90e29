//! Files that hold secrets, or what others must not change.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What the rest of the machine may do with a file.
const OTHERS: u32 = 0o077;

/// Says why a file that holds these secrets is not safe from others, if it is not.
pub(crate) fn check(file: &File, secrets: &str) -> Result<(), String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if metadata.mode() & OTHERS != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(format!(
            "its mode is {mode:o}, so others than its owner can read or change the {secrets}: chmod 600"
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        let owner = metadata.uid();
        return Err(format!(
            "it belongs to user {owner}, who may change it: neither this user nor root"
        ));
    }
    Ok(())
}

/// Writes a file that its owner alone may read: beside its place and then into it, so that a half is
/// never there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    // One that is left from a write that was cut off may be another's by now, or open to others.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What lay where a file is written first gave the file its mode, or got what it says.
    #[test]
    fn what_is_written_is_private_whatever_lay_there() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("f"), dir.path().join("f.new"));
        let read = || (fs::read_to_string(&path).unwrap(), path.metadata().unwrap().mode() & 0o777);
        fs::write(&new, "left").unwrap();
        write(&path, b"one").unwrap();
        assert_eq!(read(), ("one".to_owned(), 0o600));
        let other = dir.path().join("other");
        fs::write(&other, "other").unwrap();
        symlink(&other, &new).unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(), ("two".to_owned(), 0o600));
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert!(!new.exists());
    }
}
