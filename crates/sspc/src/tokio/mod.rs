//! The client for tokio: a [`Client`] opens streams, a [`StreamHandle`] lives with one.
//!
//! ```no_run
//! use sspc::tokio::{Client, Event, State};
//!
//! # async fn get() -> Result<(), sspc::Error> {
//! let mut stream = Client::default().open("mintest").await?;
//! stream.connect();
//! while let Some(event) = stream.next().await {
//!     match event {
//!         Event::Payload { data, .. } => println!("{} bytes", data.len()),
//!         // The verdict, or what comes in its place.
//!         Event::State {
//!             state:
//!                 state @ (State::QosAckRemote
//!                 | State::QosNackRemote
//!                 | State::Disconnected
//!                 | State::AllRetriesFailed
//!                 | State::AuthFailed
//!                 | State::UpstreamLinkRetry),
//!             ..
//!         } => {
//!             println!("it ended with {state}");
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! stream.close().await;
//! # Ok(())
//! # }
//! ```

mod conn;
mod driver;
mod send;
mod sending;
mod shared;
mod smd;
#[cfg(feature = "tls")]
mod tls;

use std::sync::Arc;
use std::vec;

use ::tokio::sync::{mpsc, oneshot};

pub use crate::error::MetadataError;
pub use crate::host::{Error, Event, Options, SmdMessage};
use crate::name::Name;
use crate::stream::Stream;
pub use crate::{Flags, State, Timeout};
use conn::ProxyTarget;
pub use driver::Driver;
use driver::EVENTS_MAX;
pub use send::{Body, Sender};
use shared::Shared;
pub use smd::Smd;
pub use sspc_address::{Address, AddressError};
use sspc_line::Line;
pub use sspc_wire::smd::Classes;

/// Connects to a proxy as a stream does, and leaves: whether somebody is there. With TLS the handshake
/// is a part of it, in which the proxy's certificate is checked; whether the proxy takes the client's
/// shows only when a stream is opened.
///
/// # Errors
/// Why it cannot be reached, after the 3 s of [`Options::connect_timeout`] at the latest.
pub async fn reach(address: &Address) -> std::io::Result<()> {
    let target = ProxyTarget::new(address.clone());
    conn::Conn::open(target, Options::default()).await.map(drop)
}

/// Chunks of payload that wait to be sent before senders wait.
const COMMANDS_MAX: usize = 8;

/// Opens streams at one proxy. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Client {
    target: ProxyTarget,
    options: Options,
}

impl Client {
    /// A client of the proxy at this address.
    pub fn new(address: Address) -> Self {
        Self::with_options(address, Options::default())
    }

    /// A client with options of its own.
    pub fn with_options(address: Address, options: Options) -> Self {
        Self { target: ProxyTarget::new(address), options }
    }

    /// A client whose streams are channels of a line that the program made itself, over any byte
    /// pipe ([`Line::over`](sspc_line::Line::over)). Errors call it by `name`.
    pub fn over(line: Line, name: &str, options: Options) -> Self {
        Self { target: ProxyTarget::on_line(line, name), options }
    }

    /// Where the proxy is.
    pub const fn address(&self) -> &Address {
        &self.target.address
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
        let (opened, when_opened) = oneshot::channel();
        let (handle, driver) = self.make(streamtype, opened)?;
        let task = ::tokio::spawn(driver.run());
        if self.options.keep_trying || when_opened.await.is_ok() {
            return Ok(handle);
        }
        match task.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Err(Error::Closed),
        }
    }

    /// A stream and the future that runs it, for those who spawn tasks their own way.
    ///
    /// # Errors
    /// The name can be no streamtype's.
    pub fn split(&self, streamtype: &str) -> Result<(StreamHandle, Driver), Error> {
        self.make(streamtype, oneshot::channel().0)
    }

    fn make(
        &self,
        streamtype: &str,
        opened: oneshot::Sender<()>,
    ) -> Result<(StreamHandle, Driver), Error> {
        let name = Name::new(streamtype)?;
        let storage = vec![0; self.options.metadata_size];
        let stream = Stream::new(name, self.options.config_of_stream(self.address()), storage);
        let shared = Arc::new(Shared::new(stream));
        let (commands, for_commands) = mpsc::channel(COMMANDS_MAX);
        let (for_events, events) = mpsc::channel(EVENTS_MAX);
        let sender = Sender::new(Arc::clone(&shared), name, commands);
        let (target, options) = (self.target.clone(), self.options.clone());
        let driver = Driver::new(shared, target, options, for_commands, for_events, opened);
        Ok((StreamHandle { sender, events }, driver))
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
    /// An application that does not take events stops the proxy from sending more.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let Some(Event::Payload { data, .. }) = &event {
            self.sender.consumed(data.len());
        }
        event
    }

    /// The half that sends, to be used from anywhere.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Sends what was given to send if the stream is connected, tells the proxy to destroy the
    /// stream, and waits until the link is closed: at most 3 s. Events that come meanwhile are
    /// thrown away.
    ///
    /// What the proxy has not passed on by then may be lost; an acknowledged message is not.
    pub async fn close(mut self) {
        self.sender.close();
        while self.events.recv().await.is_some() {}
    }
}

impl core::ops::Deref for StreamHandle {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.sender
    }
}
