//! A file, or two that are one ring.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::block::{self, CapturedFrame, Source};

/// The least bytes that the files of a ring may have together: some of the longest frames fit each half.
pub const RING_MIN: u64 = 512 * 1024;

/// Sources that are known by number at a time. A source that is forgotten becomes a second interface.
const SOURCES_MAX: usize = 4096;

/// Bytes that are written together.
const WRITE_SIZE: usize = 64 * 1024;

/// A capture that is being written.
///
/// With a bound it is a ring of two files, which never have more bytes together: when the file is half as
/// long, it takes the place of the [older one](Self::older_path), and a new one begins. Each is complete by
/// itself; between the bound and half of it, the newest frames are there. Readers see whole blocks once
/// [`flush`](Self::flush) was called.
#[derive(Debug)]
pub struct CaptureFile {
    path: PathBuf,
    /// Of each half, if there is a bound.
    half: Option<u64>,
    file: File,
    /// What is to be written: whole blocks.
    buffer: Vec<u8>,
    /// Bytes of the file, with those in the buffer.
    length: u64,
    /// By name and description.
    sources: HashMap<(Box<str>, Box<str>), u32>,
    /// Interfaces that the file has.
    interfaces: u32,
}

impl CaptureFile {
    /// Begins a capture that has so many bytes at the most, or any number. What lay there is replaced, the
    /// older half of a ring too; captures hold secrets, so only their owner can read them.
    ///
    /// A pipe or a device is written to as it is, without a bound.
    ///
    /// # Errors
    /// The file cannot be made, the bound is below [`RING_MIN`], or the path is a symbolic link to a file.
    pub fn create(path: &Path, max: Option<u64>) -> io::Result<Self> {
        if max.is_some_and(|max| max < RING_MIN) {
            let text = format!("a capture cannot be bounded to less than {} KiB", RING_MIN >> 10);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (file, is_stored) = open(path)?;
        let mut capture = Self {
            path: path.to_owned(),
            half: max.filter(|_| is_stored).map(|max| max / 2),
            file,
            buffer: Vec::new(),
            length: 0,
            sources: HashMap::new(),
            interfaces: 0,
        };
        if capture.half.is_some() {
            remove(&capture.older_path())?;
        }
        capture.begin();
        capture.flush()?;
        Ok(capture)
    }

    /// Where the older half of a ring is: `x.old.pcapng` beside `x.pcapng`.
    pub fn older_path(&self) -> PathBuf {
        let mut name = OsString::from(self.path.file_stem().unwrap_or_default());
        name.push(".old");
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// The file cannot be written. What was written before is whole, but maybe for the last block.
    pub fn write(&mut self, frame: &CapturedFrame<'_>) -> io::Result<()> {
        let start = self.buffer.len();
        self.write_blocks(frame);
        let added = (self.buffer.len() - start) as u64;
        if self.half.is_some_and(|half| self.length + added > half) {
            self.buffer.truncate(start);
            self.turn()?;
            let start = self.buffer.len();
            self.write_blocks(frame);
            self.length += (self.buffer.len() - start) as u64;
        } else {
            self.length += added;
        }
        if self.buffer.len() >= WRITE_SIZE { self.flush() } else { Ok(()) }
    }

    /// Writes what was added so far.
    ///
    /// # Errors
    /// The same.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }

    /// The frame's block, behind that of its interface if the file has none of it.
    fn write_blocks(&mut self, frame: &CapturedFrame<'_>) {
        let Source { name, description } = frame.source;
        let source = (Box::from(name), Box::from(description));
        let interface = match self.sources.get(&source) {
            Some(interface) => *interface,
            None => {
                block::interface(&mut self.buffer, frame.source);
                if self.sources.len() >= SOURCES_MAX {
                    self.sources.clear();
                }
                let interface = self.interfaces;
                self.interfaces += 1;
                self.sources.insert(source, interface);
                interface
            }
        };
        frame.write(interface, &mut self.buffer);
    }

    /// This half is full: the next one.
    fn turn(&mut self) -> io::Result<()> {
        self.flush()?;
        fs::rename(&self.path, self.older_path())?;
        (self.file, _) = open(&self.path)?;
        self.begin();
        Ok(())
    }

    fn begin(&mut self) {
        self.sources.clear();
        self.interfaces = 0;
        block::section(&mut self.buffer);
        self.length = self.buffer.len() as u64;
    }
}

impl Drop for CaptureFile {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.flush();
    }
}

/// A new file for its owner alone, and true; or the pipe or device that is there.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let is_other = fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_other {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.is_file() {
            let text = "it is a symbolic link to a file; name the file itself";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        return Ok((file, false));
    }
    // One that is there may be open to others.
    remove(path)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok((file, true))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use sspc_wire::Direction;

    use super::*;
    use crate::CaptureLayer;

    fn frame<'f>(name: &'f str, bytes: &'f [u8]) -> CapturedFrame<'f> {
        CapturedFrame {
            time: Duration::from_secs(1),
            source: Source { name, description: "" },
            direction: Direction::ToProxy,
            layer: CaptureLayer::Stream,
            bytes,
            length: bytes.len(),
            comment: None,
        }
    }

    /// The types of a file's blocks, which must fill it.
    fn blocks(path: &Path) -> Vec<u32> {
        let bytes = fs::read(path).unwrap();
        let mut rest = &bytes[..];
        let mut types = Vec::new();
        while let [a, b, c, d, l0, l1, l2, l3, ..] = *rest {
            types.push(u32::from_le_bytes([a, b, c, d]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        types
    }

    #[test]
    fn a_ring_never_has_more_than_its_bytes_and_each_half_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcapng");
        let mut capture = CaptureFile::create(&path, Some(RING_MIN)).unwrap();
        let older = folder.path().join("x.old.pcapng");
        assert_eq!(capture.older_path(), older);
        let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        let bytes = vec![0xad; CapturedFrame::BYTES_MAX];
        for n in 0..100 {
            let name = format!("c{}", n % 3);
            capture.write(&frame(&name, &bytes[..bytes.len() - 997 * (n % 60)])).unwrap();
            capture.flush().unwrap();
            assert!(size(&path) + size(&older) <= RING_MIN, "{n}");
            let all = blocks(&path);
            assert_eq!(all[..3], [0x0a0d_0d0a, 1, 6], "{n}");
        }
        assert!(size(&path) + size(&older) > RING_MIN / 2);
        assert_eq!(blocks(&older)[..3], [0x0a0d_0d0a, 1, 6]);
        for path in [path, older] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_source_is_one_interface_until_too_many_others_came() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcapng");
        let mut capture = CaptureFile::create(&path, None).unwrap();
        for n in 0..=SOURCES_MAX {
            capture.write(&frame(&format!("c{n}"), &[])).unwrap();
        }
        capture.write(&frame(&format!("c{SOURCES_MAX}"), &[])).unwrap();
        capture.write(&frame("c0", &[])).unwrap();
        assert!(capture.sources.len() <= SOURCES_MAX);
        drop(capture);
        let interfaces = blocks(&path).into_iter().filter(|kind| *kind == 1).count();
        assert_eq!(interfaces, SOURCES_MAX + 2);
    }

    #[test]
    fn what_lay_there_neither_gives_its_mode_nor_gets_the_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcapng");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(CaptureFile::create(&path, None).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let other = folder.path().join("other");
        fs::write(&other, "other").unwrap();
        let link = folder.path().join("link");
        symlink(&other, &link).unwrap();
        let error = CaptureFile::create(&link, None).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"other");
        let error = CaptureFile::create(&path, Some(RING_MIN - 1)).unwrap_err();
        assert_eq!(error.to_string(), "a capture cannot be bounded to less than 512 KiB");
    }
}
