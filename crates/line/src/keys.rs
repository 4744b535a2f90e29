//! Files of keys: whose key is which, for lines that encrypt.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::rand::{GetRandomFlags, getrandom};
use sspc_arq::{ID_MAX, Key, KeyTable, Keys, OwnKey};
use sspc_mux::Role;

/// The longest file: some 10,000 devices.
const FILE_MAX: u64 = 1 << 20;

/// The keys of one end of lines that encrypt. Cheap to clone.
#[derive(Clone)]
pub struct LineKeys(Arc<dyn Keys + Send + Sync>);

/// The keys of one end of one line, and chance for its handshakes.
pub(crate) struct SeededKeys {
    pub(crate) keys: LineKeys,
    pub(crate) chance: [u8; 32],
}

impl LineKeys {
    /// Keys from somewhere else than a file.
    pub fn new(keys: impl Keys + Send + Sync + 'static) -> Self {
        Self(Arc::new(keys))
    }

    /// Reads a file of keys. A proxy has any number of them; a client has one, which is its own.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or what is in it is not keys.
    pub fn read(path: &Path, role: Role) -> io::Result<Self> {
        let failed = |what: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
        };
        let with_path =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        // A pipe is refused below, and not waited for.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let file =
            OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(with_path)?;
        let metadata = file.metadata().map_err(with_path)?;
        if !metadata.is_file() {
            return Err(failed("it is not a file".to_owned()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(failed(
                "others may read these keys; take that right from them (chmod 600)".to_owned(),
            ));
        }
        let mut text = String::new();
        file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(with_path)?;
        if text.len() as u64 > FILE_MAX {
            return Err(failed(format!("it is longer than {FILE_MAX} bytes")));
        }
        let mut table = parse(&text).map_err(failed)?;
        match role {
            Role::Proxy => Ok(Self::new(table)),
            Role::Client => match (table.pop_first(), table.len()) {
                (Some((id, key)), 0) => Ok(Self::new(OwnKey::new(id, key))),
                (_, rest) => Err(failed(format!(
                    "a client has one key, its own, and this file has {}",
                    rest + 1
                ))),
            },
        }
    }

    /// The same keys, of which only the one of this id is known.
    #[must_use]
    pub fn of_device(&self, id: &[u8]) -> Self {
        Self::new(OfDevice { all: self.clone(), id: id.to_vec() })
    }

    /// For one more line.
    pub(crate) fn seeded(&self) -> io::Result<SeededKeys> {
        Ok(SeededKeys { keys: self.clone(), chance: chance()? })
    }
}

/// 32 bytes that nobody can guess.
///
/// # Errors
/// The system has no random numbers.
pub fn chance() -> io::Result<[u8; 32]> {
    let mut chance = [0; 32];
    getrandom(&mut chance, GetRandomFlags::empty())?;
    Ok(chance)
}

impl Keys for LineKeys {
    fn own_id(&self) -> &[u8] {
        self.0.own_id()
    }

    fn key(&self, id: &[u8]) -> Option<Key> {
        self.0.key(id)
    }
}

/// Without the keys.
impl fmt::Debug for LineKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineKeys(..)")
    }
}

/// The key of one device, for a proxy.
struct OfDevice {
    all: LineKeys,
    id: Vec<u8>,
}

impl Keys for OfDevice {
    fn own_id(&self) -> &[u8] {
        self.all.own_id()
    }

    fn key(&self, id: &[u8]) -> Option<Key> {
        if id == self.id { self.all.key(id) } else { None }
    }
}

/// Lines of an id, blanks and 64 hexadecimal digits. Empty lines and those that begin with # do not count.
fn parse(text: &str) -> Result<KeyTable, String> {
    let mut table = KeyTable::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |what: &str| format!("line {}: {what}", number + 1);
        let Some((id, digits)) = line.split_once(char::is_whitespace) else {
            return Err(at("write the device's id, a blank and its key"));
        };
        if id.len() > ID_MAX {
            return Err(at(&format!("an id has at most {ID_MAX} bytes")));
        }
        let key = parse_key(digits.trim())
            .ok_or_else(|| at("a key is 64 hexadecimal digits; openssl rand -hex 32 makes one"))?;
        if table.insert(id.into(), key).is_some() {
            return Err(at("this id has a key already"));
        }
    }
    if table.is_empty() {
        return Err("there is no key in it".to_owned());
    }
    Ok(table)
}

fn parse_key(digits: &str) -> Option<Key> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        for digit in pair {
            *byte = *byte << 4 | char::from(*digit).to_digit(16)? as u8;
        }
    }
    Some(Key::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    fn read(text: &str, mode: u32, role: Role) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match LineKeys::read(&path, role) {
            Ok(keys) => String::from_utf8_lossy(keys.own_id()).into_owned(),
            Err(error) => error.to_string().split_once("keys: ").unwrap().1.to_owned(),
        }
    }

    #[test]
    fn a_file_of_keys_is_read_and_its_mistakes_are_named() {
        let one = format!("# the pump in hall 3\n\npump-3 {KEY}\n");
        assert_eq!(read(&one, 0o600, Role::Client), "pump-3");
        let two = format!("{one}pump-4\t {KEY}");
        assert_eq!(read(&two, 0o600, Role::Proxy), "");
        for (text, mode, role, expected) in [
            (
                two.as_str(),
                0o600,
                Role::Client,
                "a client has one key, its own, and this file has 2",
            ),
            (
                &one,
                0o640,
                Role::Proxy,
                "others may read these keys; take that right from them (chmod 600)",
            ),
            ("", 0o600, Role::Proxy, "there is no key in it"),
            ("pump", 0o600, Role::Proxy, "line 1: write the device's id, a blank and its key"),
            (
                "\npump 0011",
                0o600,
                Role::Proxy,
                "line 2: a key is 64 hexadecimal digits; openssl rand -hex 32 makes one",
            ),
            (&format!("{one}{one}"), 0o600, Role::Proxy, "line 6: this id has a key already"),
            (
                &format!("{} {KEY}", "i".repeat(33)),
                0o600,
                Role::Proxy,
                "line 1: an id has at most 32 bytes",
            ),
        ] {
            assert_eq!(read(text, mode, role), expected, "{text}");
        }
    }

    /// With nobody at the pipe's other end, opening it to read would last for ever.
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &path,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let read = LineKeys::read(&path, Role::Proxy);
            tell.send(read.unwrap_err().to_string()).unwrap();
        });
        let said = told.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
        assert!(said.ends_with("keys: it is not a file"), "{said}");
    }
}
