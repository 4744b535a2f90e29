//! System messages.

use std::vec::Vec;

use sspc_wire::Flags;
use sspc_wire::smd::{Classes, STREAMTYPE};

use super::{Client, StreamHandle};
use crate::host::smd::{Joiner, encode, options_of};
use crate::host::{Error, Event, SmdMessage};

/// A place on the bus for system messages that all clients of a proxy share; see [`Client::smd`].
/// Dropping it leaves the bus.
///
/// If the link is lost it is made again, as that of any stream. What is said on the bus meanwhile is
/// not heard.
#[derive(Debug)]
pub struct Smd {
    stream: StreamHandle,
    joiner: Joiner,
}

impl Client {
    /// Joins the bus for system messages, to get those of these classes; [`Classes::NONE`] to send only.
    ///
    /// ```no_run
    /// # async fn watch() -> Result<(), sspc::Error> {
    /// use sspc::tokio::{Classes, Client};
    ///
    /// let client = Client::new("uds:@proxy.ss.lws".parse().expect("an address"));
    /// let mut smd = client.smd(Classes::NETWORK | Classes::SYSTEM_STATE).await?;
    /// smd.send(Classes::NETWORK, r#"{"trigger":"cpdcheck"}"#).await?;
    /// while let Some(message) = smd.next().await {
    ///     println!("{}: {}", message.class, String::from_utf8_lossy(&message.text));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`Client::open`].
    pub async fn smd(&self, classes: Classes) -> Result<Smd, Error> {
        let options = options_of(self.options.clone(), classes);
        let client = Self { target: self.target.clone(), options };
        Ok(Smd { stream: client.open(STREAMTYPE).await?, joiner: Joiner::default() })
    }
}

impl Smd {
    /// The next message; `None` if the stream ended for good. Cancel safe: no message is lost.
    ///
    /// The proxy keeps 40 messages for 2 s, and 16 KiB are on their way, for an application that does
    /// not take them in time; it loses the others.
    pub async fn next(&mut self) -> Option<SmdMessage> {
        loop {
            if let Event::Payload { data, flags, .. } = self.stream.next().await? {
                if let Some(message) = self.joiner.add(&data, flags) {
                    return Some(message);
                }
            }
        }
    }

    /// Gives a message to all clients of the proxy that want its class, this one included. Returns
    /// when it is in the stream's short queue. Cancel safe: it is sent whole or not at all.
    ///
    /// # Errors
    /// The text is longer than 383 bytes, or the stream is closed.
    pub async fn send(&self, class: Classes, text: impl AsRef<[u8]>) -> Result<(), Error> {
        let bytes: Vec<u8> = encode(class, text.as_ref())?;
        self.stream.send(bytes, Flags::WHOLE).await
    }

    /// True while the stream is on the bus: not after its link was lost, until it is made again.
    pub fn is_connected(&self) -> bool {
        self.stream.is_connected()
    }

    /// Sends what was given to send, and leaves the bus: at most 3 s later.
    pub async fn close(self) {
        self.stream.close().await;
    }
}
