//! System messages.

use std::time::{Duration, Instant};

use sspc_wire::Flags;
use sspc_wire::smd::{Classes, STREAMTYPE};

use super::{Address, Error, Event, Options, Stream};
use crate::host::SmdMessage;
use crate::host::smd::{Joiner, encode, options_of};

/// A place on the bus for system messages that all clients of a proxy share. Dropping it leaves the
/// bus.
///
/// ```no_run
/// # fn watch() -> Result<(), sspc::Error> {
/// use sspc::Address;
/// use sspc::blocking::{Classes, Smd};
///
/// let mut smd = Smd::open(&Address::default(), Classes::NETWORK)?;
/// smd.send(Classes::NETWORK, r#"{"trigger":"cpdcheck"}"#, None)?;
/// while let Some(message) = smd.next(None)? {
///     println!("{}: {}", message.class, String::from_utf8_lossy(&message.text));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Smd {
    stream: Stream,
    joiner: Joiner,
}

impl Smd {
    /// Joins the bus, to get messages of these classes; [`Classes::NONE`] to send only.
    ///
    /// # Errors
    /// As of [`Stream::open`].
    pub fn open(address: &Address, classes: Classes) -> Result<Self, Error> {
        Self::open_with(address, classes, Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As of [`Stream::open_with`].
    pub fn open_with(address: &Address, classes: Classes, options: Options) -> Result<Self, Error> {
        let options = options_of(options, classes);
        let stream = Stream::open_with(address, STREAMTYPE, options)?;
        Ok(Self { stream, joiner: Joiner::default() })
    }

    /// The next message, waiting for it at most this long; `None` if the stream ended for good.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if none came in that time.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<SmdMessage>, Error> {
        let start = Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            match self.stream.next(left)? {
                Some(Event::Payload { data, flags, .. }) => {
                    if let Some(message) = self.joiner.add(&data, flags) {
                        return Ok(Some(message));
                    }
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Gives a message to all clients of the proxy that want its class, this one included; waits at
    /// most this long until it is written.
    ///
    /// # Errors
    /// The text is longer than 383 bytes; else as of [`Stream::send_message`].
    pub fn send(
        &mut self,
        class: Classes,
        text: impl AsRef<[u8]>,
        limit: Option<Duration>,
    ) -> Result<(), Error> {
        let bytes = encode(class, text.as_ref())?;
        self.stream.send(&bytes, Flags::WHOLE, limit)
    }

    /// True while the stream is on the bus.
    pub const fn is_connected(&self) -> bool {
        self.stream.is_connected()
    }

    /// Leaves the bus.
    pub fn close(self) {
        self.stream.close();
    }
}
