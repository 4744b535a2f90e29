//! The sending half of a stream.

use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use ::tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use super::sending::Command;
use super::shared::{Cut, Shared};
use super::{Error, Flags, MetadataError, State, Timeout};
use crate::host::Chunk;
use crate::name::Name;

/// The half of a stream that sends; clones may be used from any thread.
///
/// A message waits for the connection, and asks for one; once begun it is sent whole or, if the
/// connection is lost, not at all as far as the remote peer can tell: [`State::Disconnected`] says
/// so. A verdict ([`State::QosAckRemote`], [`State::QosNackRemote`]) finishes a message, also one
/// that has not begun; only one without a verdict waits for the next connection. Messages go one
/// after another; over http each is a request of its own, so wait for the end of one before sending
/// the next.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    name: Name,
    queue: Arc<Mutex<Queue>>,
}

/// Where messages are put; who holds it begins or goes on with a message.
#[derive(Debug)]
struct Queue {
    commands: mpsc::Sender<Command>,
    /// The message begun last.
    message: u64,
}

impl Queue {
    async fn put(&mut self, data: Vec<u8>, flags: Flags, length: Option<u32>) -> Result<(), Error> {
        let permit = self.commands.reserve().await.map_err(|_| Error::Closed)?;
        if flags.contains(Flags::SOM) {
            self.message += 1;
        }
        let chunk = Chunk::new(data, flags, length);
        permit.send(Command::Send { message: self.message, chunk });
        Ok(())
    }
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>, name: Name, commands: mpsc::Sender<Command>) -> Self {
        let queue = Arc::new(Mutex::new(Queue { commands, message: 0 }));
        Self { shared, name, queue }
    }

    /// The streamtype.
    pub fn streamtype(&self) -> &str {
        self.name.as_str()
    }

    /// The stream's state, which may be ahead of the events that were taken; `None` before
    /// CREATING.
    pub fn state(&self) -> Option<State> {
        self.shared.lock().stream.state()
    }

    /// True while payload can flow.
    pub fn is_connected(&self) -> bool {
        self.shared.lock().stream.is_connected()
    }

    /// True while the stream exists at the proxy: not after its link was lost, until it is made
    /// again. It may be ahead of the events that were taken.
    pub fn is_created(&self) -> bool {
        self.shared.lock().stream.is_created()
    }

    /// Asks for the onward connection; nothing if it is there or being made.
    pub fn connect(&self) {
        self.shared.command(|inner, _| inner.stream.connect());
    }

    /// Sets a value by the policy's name, for the stream's life.
    ///
    /// The proxy hangs up if the policy does not know the name: UPSTREAM_LINK_RETRY comes each
    /// time that it does.
    ///
    /// # Errors
    /// The name or the value is not one that a proxy takes, or
    /// [`Options::metadata_size`](super::Options::metadata_size) is full.
    pub fn set_metadata(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        self.shared.command(|inner, _| inner.stream.set_metadata(name, value.as_ref()))
    }

    /// Starts or cancels the stream's timeout; it ends with the state TIMEOUT.
    pub fn set_timeout(&self, timeout: Timeout) {
        self.shared.command(|inner, _| inner.stream.set_timeout(timeout));
    }

    /// Lets the remote peer send this many more bytes than
    /// [`Config::window`](crate::Config::window).
    pub fn add_credit(&self, bytes: i32) {
        self.shared.command(|inner, _| inner.stream.add_credit(bytes));
    }

    /// True if the proxy said that this streamtype takes no payload, as one of a GET: what is sent
    /// would go nowhere. A proxy says so as it creates the stream; one that is older or another's
    /// does not, so `false` may mean that it is not known.
    pub fn takes_no_payload(&self) -> bool {
        self.shared.lock().stream.takes_no_payload()
    }

    /// Why a message was not sent whole, the last one that was not: [`Error::Answered`] or
    /// [`Error::Interrupted`]. `None` if each was sent whole, or still is being sent. A message
    /// that was begun counts as answered once its connection is closed.
    pub fn unsent(&self) -> Option<Error> {
        self.shared.lock().cut.map(Cut::error)
    }

    /// The size of a buffer that the policy advises (`client_buflen`), in bytes; 0 for none.
    pub fn advised_buffer(&self) -> u32 {
        self.shared.lock().stream.advised_buffer()
    }

    /// The streamtype that the next message belongs to: the stream's own, or the rideshare whose
    /// turn it is. `None` if there was no room for the names.
    pub fn rideshare_name(&self) -> Option<String> {
        let inner = self.shared.lock();
        inner.stream.rideshare_name().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Sends one whole message, with a length hint; connects if needed.
    ///
    /// Returns when the message is in the stream's short queue. Cancel safe: it is sent whole or
    /// not at all.
    ///
    /// # Errors
    /// The streamtype takes no payload, or the stream is closed.
    pub async fn send_message(&self, message: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.check_takes_payload()?;
        let message = message.into();
        let length = u32::try_from(message.len()).ok();
        self.queue.lock().await.put(message, Flags::WHOLE, length).await
    }

    /// Sends payload with these flags and no length hint; connects if needed. Cancel safe.
    ///
    /// For messages in parts [`Sender::body`] takes more care: nobody comes between, and a part is
    /// never taken for the whole.
    ///
    /// # Errors
    /// The connection was lost since earlier payload of the same message, or the message was
    /// answered (that error comes once, and the message is over), the streamtype takes no payload, or
    /// the stream is closed.
    pub async fn send(&self, payload: impl Into<Vec<u8>>, flags: Flags) -> Result<(), Error> {
        self.check_takes_payload()?;
        let mut queue = self.queue.lock().await;
        let goes_on = !flags.contains(Flags::SOM);
        if goes_on {
            if let Some(error) = self.shared.lock().why_cut(queue.message) {
                queue.message += 1;
                return Err(error);
            }
        }
        queue.put(payload.into(), flags, None).await
    }

    /// Begins a message that is sent in parts; `length` is its whole length if known. Other
    /// senders wait until it is finished or dropped. Cancel safe.
    ///
    /// # Errors
    /// The streamtype takes no payload, or the stream is closed.
    pub async fn body(&self, length: Option<u32>) -> Result<Body, Error> {
        self.check_takes_payload()?;
        let queue = Arc::clone(&self.queue).lock_owned().await;
        let commands = queue.commands.clone();
        let abandon = commands.reserve_owned().await.map_err(|_| Error::Closed)?;
        let shared = Arc::clone(&self.shared);
        Ok(Body { shared, queue, length, written: 0, begun: false, abandon: Some(abandon) })
    }

    fn check_takes_payload(&self) -> Result<(), Error> {
        if self.takes_no_payload() { Err(Error::TakesNoPayload) } else { Ok(()) }
    }

    pub(super) fn consumed(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.shared.lock().stream.consumed(bytes) {
            self.shared.changed.notify_one();
        }
    }

    pub(super) fn close(&self) {
        self.shared.command(|inner, _| inner.closing = true);
    }
}

/// A message that is sent in parts. Dropped before [`Body::finish`] it breaks the link and with it
/// the onward connection, so that nobody takes the part for the whole.
#[derive(Debug)]
pub struct Body {
    shared: Arc<Shared>,
    queue: OwnedMutexGuard<Queue>,
    length: Option<u32>,
    written: u64,
    begun: bool,
    /// The place in the queue for the word that the message will not be ended.
    abandon: Option<mpsc::OwnedPermit<Command>>,
}

impl Body {
    /// Sends the next bytes. Cancel safe: they are sent all or not at all.
    ///
    /// # Errors
    /// The connection was lost since the message began, the message was answered or gets longer
    /// than was said, or the stream is closed.
    pub async fn write(&mut self, data: impl Into<Vec<u8>>) -> Result<(), Error> {
        let data = data.into();
        if data.is_empty() {
            return Ok(());
        }
        let written = self.written + data.len() as u64;
        let mut flags = Flags::NONE;
        if let Some(said) = self.length {
            if written > u64::from(said) {
                return Err(Error::Length { said, written });
            }
            if written == u64::from(said) {
                flags |= Flags::EOM;
            }
        }
        self.put(data, flags).await?;
        self.written = written;
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// The connection was lost since the message began, the message was answered or is shorter
    /// than was said, or the stream is closed.
    pub async fn finish(mut self) -> Result<(), Error> {
        match self.length {
            Some(said) if self.written < u64::from(said) => {
                return Err(Error::Length { said, written: self.written });
            }
            // Its last bytes carried the end.
            Some(1..) => {}
            Some(0) | None => self.put(Vec::new(), Flags::EOM).await?,
        }
        self.abandon = None;
        self.interrupted()
    }

    async fn put(&mut self, data: Vec<u8>, mut flags: Flags) -> Result<(), Error> {
        self.interrupted()?;
        let mut length = None;
        if !self.begun {
            flags |= Flags::SOM;
            length = self.length;
        }
        self.queue.put(data, flags, length).await?;
        self.begun = true;
        Ok(())
    }

    fn interrupted(&self) -> Result<(), Error> {
        let cut = self.shared.lock().why_cut(self.queue.message).filter(|_| self.begun);
        cut.map_or(Ok(()), Err)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let (true, Some(permit)) = (self.begun, self.abandon.take()) {
            permit.send(Command::Abandon(self.queue.message));
        }
    }
}
