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
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
