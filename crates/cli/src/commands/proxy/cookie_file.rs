//! The file that cookies are kept in, from one start of the proxy to the next.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sspc_proxy::{Handle, KeptCookies};
use tokio::time::sleep;

use crate::exit::Failure;
use crate::private_file;

/// The longest file, in bytes; the default limits of cookies make a third of it at most.
const LENGTH_MAX: u64 = 64 * 1024 * 1024;
const TOO_LONG: &str = "longer than 64 MiB";
/// How long after a server has set cookies they are written. Others may follow.
const SOON: Duration = Duration::from_secs(5);

/// A file of cookies.
pub(super) struct CookieFile {
    path: PathBuf,
    /// What is in it.
    text: Mutex<String>,
}

impl CookieFile {
    /// The file, made if there is none, and what is in it.
    pub(super) fn open(path: &Path) -> Result<(Self, KeptCookies), Failure> {
        let failed = |why: String| Failure::new(format!("--cookie-file {}: {why}", path.display()));
        let (text, cookies) = match read(path) {
            Ok(Some(text)) => {
                let cookies = KeptCookies::from_json(&text).map_err(|why| {
                    failed(format!("{why}; mend it, or remove it to begin without cookies"))
                })?;
                (text, cookies)
            }
            Ok(None) => {
                let text = KeptCookies::default().to_json();
                // Better known now than with the first cookie.
                private_file::write(path, text.as_bytes())
                    .map_err(|error| failed(format!("it cannot be made: {error}")))?;
                (text, KeptCookies::default())
            }
            Err(why) => return Err(failed(why)),
        };
        Ok((Self { path: path.to_owned(), text: Mutex::new(text) }, cookies))
    }

    /// Writes what the proxy has, if that is not what is in the file.
    pub(super) fn write(&self, handle: &Handle) {
        // One writer at a time, and the later one has the later cookies.
        let mut known = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = handle.cookies().to_json();
        if text == *known {
            return;
        }
        let written = match text.len() as u64 {
            0..=LENGTH_MAX => private_file::write(&self.path, text.as_bytes()),
            _ => Err(std::io::Error::other(TOO_LONG)),
        };
        match written {
            Ok(()) => *known = text,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "cookies cannot be kept for the next start");
            }
        }
    }

    /// Writes them whenever there are others.
    pub(super) async fn keep(self: Arc<Self>, handle: Handle) {
        loop {
            handle.cookies_changed().await;
            sleep(SOON).await;
            let (file, handle) = (Arc::clone(&self), handle.clone());
            // A panic there is not for this task to have.
            let _ = tokio::task::spawn_blocking(move || file.write(&handle)).await;
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    private_file::check(&file, "cookies")?;
    let mut text = String::new();
    let read = file.take(LENGTH_MAX + 1).read_to_string(&mut text);
    let length = read.map_err(|error| error.to_string())? as u64;
    if length > LENGTH_MAX {
        return Err(format!("{TOO_LONG}; remove it to begin without cookies"));
    }
    Ok(Some(text))
}
