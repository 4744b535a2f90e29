//! The client for tokio: a [`Client`] opens streams, a [`StreamHandle`] lives with one.

use std::boxed::Box;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use ::tokio::sync::mpsc;

pub use crate::address::{Address, AddressError};
pub use crate::error::MetadataError;
pub use crate::host::{Error, Event, Options};
use crate::name::Name;
pub use crate::{Flags, State, Timeout};

/// Opens streams at one proxy. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Client {
    address: Address,
    options: Options,
}

impl Client {
    /// A client of the proxy at this address.
    pub fn new(address: Address) -> Self {
        Self { address, options: Options::default() }
    }

    /// A client with options of its own.
    pub const fn with_options(address: Address, options: Options) -> Self {
        Self { address, options }
    }

    /// Where the proxy is.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// How it opens and runs streams.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Opens a stream, run by a task of its own, and waits until the proxy has created it.
    ///
    /// With [`Options::keep_trying`] it does not wait: events tell how it goes.
    /// Cancel safe: a stream that nobody waits for is closed.
    ///
    /// # Errors
    /// The name can be no streamtype's, no proxy listens, or it refused or broke the protocol.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(&self, streamtype: &str) -> Result<StreamHandle, Error> {
        let (handle, driver) = self.split(streamtype)?;
        drop(::tokio::spawn(driver.run()));
        Ok(handle)
    }

    /// A stream and the future that runs it, for those who spawn tasks their own way.
    ///
    /// # Errors
    /// The name can be no streamtype's.
    pub fn split(&self, streamtype: &str) -> Result<(StreamHandle, Driver), Error> {
        let name = Name::new(streamtype)?;
        let (_, events) = mpsc::channel(1);
        let sender = Sender { shared: Arc::new(name) };
        Ok((StreamHandle { sender, events }, Driver {}))
    }
}

/// One stream: its events, and through [`Sender`] all that can be asked of it. Dropping it closes
/// the stream.
#[derive(Debug)]
pub struct StreamHandle {
    sender: Sender,
    events: mpsc::Receiver<Event>,
}

impl StreamHandle {
    /// The next event; `None` after the stream's end. Cancel safe: no event is lost.
    ///
    /// Whoever does not take events stops the proxy from sending more.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The half that sends, to be used from anywhere.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends what was given to send if it can go at once, tells the proxy to destroy the stream,
    /// and waits until the link is closed.
    pub async fn close(mut self) {
        self.events.close();
        while self.events.recv().await.is_some() {}
    }
}

impl core::ops::Deref for StreamHandle {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}

/// The half of a stream that sends; clones may be used from any thread.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Name>,
}

impl Sender {
    /// The streamtype.
    pub fn streamtype(&self) -> &str {
        self.shared.as_str()
    }

    /// The state that the last event told, or `None` before the first.
    pub fn state(&self) -> Option<State> {
        None
    }

    /// Asks for the onward connection; nothing if it is there or being made.
    pub fn connect(&self) {}

    /// Sets a value by the policy's name, for the stream's life.
    ///
    /// # Errors
    /// The name or the value is not one that a proxy takes, or [`Options::metadata_room`] is full.
    pub fn set_metadata(&self, name: &str, value: impl AsRef<[u8]>) -> Result<(), MetadataError> {
        let _ = (name, value.as_ref());
        Ok(())
    }

    /// Starts or cancels the stream's timeout; it ends with the state TIMEOUT.
    pub fn set_timeout(&self, timeout: Timeout) {
        let _ = timeout;
    }

    /// The size of a buffer that the policy advises (`client_buflen`), in bytes; 0 for none.
    pub fn advised_buffer(&self) -> u32 {
        0
    }

    /// The streamtype that the next message belongs to: the stream's own, or the rideshare that
    /// its turn it is.
    pub fn rideshare_name(&self) -> Option<String> {
        None
    }

    /// Sends one whole message, with a length hint; connects if needed.
    ///
    /// Returns when the message is in the stream's short queue. Cancel safe: it is sent whole or
    /// not at all.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_message(&self, message: impl Into<Vec<u8>>) -> Result<(), Error> {
        let _ = message.into();
        Err(Error::Closed)
    }

    /// Sends payload with these flags and no length hint; connects if needed.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send(&self, payload: impl Into<Vec<u8>>, flags: Flags) -> Result<(), Error> {
        let _ = (payload.into(), flags);
        Err(Error::Closed)
    }

    /// Begins a message that is sent in parts; `length` is its whole length if known. Other
    /// senders wait until it is finished or dropped.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn body(&self, length: Option<u32>) -> Result<Body, Error> {
        let _ = length;
        Err(Error::Closed)
    }
}

/// A message that is sent in parts. Dropped before [`Body::finish`] it breaks the onward
/// connection, so that nobody takes the part for the whole.
#[derive(Debug)]
pub struct Body {
    sender: Sender,
}

impl Body {
    /// Sends the next bytes.
    ///
    /// # Errors
    /// The connection was lost since the message began, or the stream is closed.
    pub async fn write(&mut self, data: impl Into<Vec<u8>>) -> Result<(), Error> {
        let _ = (data.into(), &self.sender);
        Err(Error::Closed)
    }

    /// Ends the message.
    ///
    /// # Errors
    /// The connection was lost since the message began, or the stream is closed.
    pub async fn finish(self) -> Result<(), Error> {
        Err(Error::Closed)
    }
}

/// Runs a stream; nothing moves unless its future is polled.
#[derive(Debug)]
#[must_use = "a stream does nothing unless its driver runs"]
pub struct Driver {}

impl Driver {
    /// Runs until the stream is closed.
    pub fn run(self) -> impl Future<Output = ()> + Send + 'static {
        Box::pin(async move {})
    }
}
