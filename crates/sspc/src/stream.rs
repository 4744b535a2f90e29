use sspc_wire::{State, Timeout, ToClientDecoder};

use crate::config::Config;
use crate::engine::{Engine, LinkAction, PayloadSlot, Tx};
use crate::error::{MetadataError, NoRoom};
use crate::event::Event;
use crate::name::Name;
use sspc_wire::Instant;

/// One stream, without its I/O: bytes and time go in; bytes, events and the next deadline come out.
///
/// `B` is the storage that the caller gives, for the metadata it sets (3 bytes more than name and
/// value each) and the rideshare names of the policy: `[u8; 128]`, `&'static mut [u8]`, a `Vec`.
///
/// # The loop
///
/// There are four kinds of methods.
/// - Input, when something happened: [`link_up`](Self::link_up), [`link_down`](Self::link_down),
///   [`receive`](Self::receive), [`handle_timeout`](Self::handle_timeout).
/// - Commands, when the application wants something: [`connect`](Self::connect),
///   [`request_tx`](Self::request_tx), [`set_metadata`](Self::set_metadata),
///   [`set_timeout`](Self::set_timeout), [`consumed`](Self::consumed), [`close`](Self::close).
/// - Output: [`poll_event`](Self::poll_event), [`transmit`](Self::transmit),
///   [`poll_link`](Self::poll_link), [`deadline`](Self::deadline).
/// - Getters, which take `&self`.
///
/// After each input and command, and once at the start: take events until there is none, transmit
/// until nothing comes, do what [`poll_link`](Self::poll_link) asks until it asks nothing, then
/// wait for I/O or the deadline. What is called too early does nothing; what is not taken waits.
///
/// ```
/// use sspc::{Config, Event, Flags, Instant, LinkAction, Name, State, Stream, Tx};
/// # use std::collections::VecDeque;
/// # struct Socket(VecDeque<u8>);
/// # impl Socket {
/// #     fn connect() -> Option<Self> { Some(Self(VecDeque::new())) }
/// #     fn write_all(&mut self, bytes: &[u8]) { if bytes[0] == 0xaa {
/// #         self.0.extend(b"\x56\x00\x05\x00\x00\x00\x00\x00\x57\x00\x05\x01\x00\x00\x00\x00"); }
/// #         if bytes[0] == 0xb1 {
/// #         self.0.extend(b"\x57\x00\x05\x06\x00\x00\x00\x00\x57\x00\x05\x05\x00\x00\x00\x00"); }
/// #         if bytes[0] == 0xad {
/// #         self.0.extend(b"\x57\x00\x05\x0a\x00\x00\x00\x00\x57\x00\x05\x02\x00\x00\x00\x00"); } }
/// #     fn read(&mut self, buf: &mut [u8], _until: Option<Instant>) -> usize {
/// #         let n = self.0.len().min(buf.len());
/// #         for byte in &mut buf[..n] { *byte = self.0.pop_front().unwrap() } n }
/// # }
/// # let now = || Instant::from_micros(7);
/// let mut stream = Stream::new(Name::literal("report"), Config::DEFAULT, [0; 128]);
/// let mut socket = None;
/// let (mut buf, mut states) = ([0; 1500], Vec::new());
/// while !stream.is_closed() {
///     while let Some(action) = stream.poll_link(now()) {
///         socket = match action {
///             LinkAction::Open => Socket::connect(),
///             LinkAction::Drop => None,
///         };
///         match socket {
///             Some(_) => stream.link_up(now()),
///             None => stream.link_down(now()),
///         }
///     }
///     let mut source = |buf: &mut [u8]| {
///         buf[..5].copy_from_slice(b"21.5C".get(..5)?);
///         Some(Tx { len: 5, flags: Flags::WHOLE, more: false })
///     };
///     while let n @ 1.. = stream.transmit(now(), &mut buf, &mut source)? {
///         socket.as_mut().unwrap().write_all(&buf[..n]);
///     }
///     let got = socket.as_mut().map_or(0, |socket| socket.read(&mut buf, stream.deadline()));
///     stream.handle_timeout(now());
///     let mut input = &buf[..got];
///     while let Some(event) = stream.receive(now(), &mut input) {
///         match event {
///             Event::State { state: State::Creating, .. } => stream.request_tx_len(now(), 5),
///             Event::State { state: State::QosAckRemote | State::QosNackRemote, .. } => stream.close(),
///             Event::State { state: State::Disconnected | State::AllRetriesFailed, .. } => {
///                 stream.close();
///             }
///             _ => {}
///         }
///         states.extend(stream.state());
///     }
/// }
/// use State::*;
/// assert_eq!(states, [Creating, Connecting, Connected, QosAckRemote, Destroying]);
/// # Ok::<(), sspc::NoRoom>(())
/// ```
///
/// # What the application sees
///
/// CREATING comes once in a stream's life. When the link is lost the stream is made again behind
/// the application's back: DISCONNECTED tells if a connection, and with it maybe half a message,
/// was lost; UPSTREAM_LINK_RETRY reports the loss and each attempt that failed; metadata, the
/// length of a message that had not begun, a running timeout and the wish to be connected are sent
/// again. UPSTREAM_LINK_RETRY leaves the state as it is. States that say nothing new are left out, so that what is seen is always a legal sequence.
#[derive(Debug)]
#[repr(C)]
pub struct Stream<B> {
    engine: Engine,
    storage: B,
    decoder: ToClientDecoder,
}

impl<B> Stream<B> {
    /// A stream that wants its link at once.
    pub const fn new(streamtype: Name, config: Config, storage: B) -> Self {
        Self { decoder: ToClientDecoder::new(), engine: Engine::new(streamtype, config), storage }
    }

    /// None yet; see [`Stream::begin`].
    pub(crate) const fn vacant(storage: B) -> Self {
        Self { decoder: ToClientDecoder::vacant(), engine: Engine::vacant(), storage }
    }

    /// What is known of the stream, and its storage.
    pub(crate) const fn parts(&mut self) -> (&mut Engine, &mut B) {
        (&mut self.engine, &mut self.storage)
    }

    /// The storage.
    pub const fn storage(&self) -> &B {
        &self.storage
    }

    /// How many bytes of the storage are free.
    pub fn storage_left(&self) -> usize
    where
        B: AsRef<[u8]>,
    {
        self.engine.storage_left(self.storage.as_ref())
    }

    /// Another storage, in which what is kept goes as far as it fits; returns the former one.
    pub fn replace_storage(&mut self, mut storage: B) -> B
    where
        B: AsRef<[u8]> + AsMut<[u8]>,
    {
        self.engine.move_metadata(self.storage.as_ref(), storage.as_mut());
        core::mem::replace(&mut self.storage, storage)
    }

    /// The storage, and the name of the event that came last; empty if it has none.
    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn storage_and_name(&mut self) -> (&mut B, &[u8]) {
        (&mut self.storage, self.decoder.name())
    }

    /// [`Stream::deadline`], or [`Instant::NEVER`].
    pub(crate) const fn wakes_at(&self) -> Instant {
        self.engine.deadline()
    }

    /// Another stream in the same storage.
    pub(crate) fn begin(&mut self, streamtype: Name, config: Config) {
        self.engine = Engine::vacant();
        self.engine.begin(streamtype, config);
    }

    /// The streamtype.
    pub const fn streamtype(&self) -> &Name {
        &self.engine.name
    }

    /// The tag for the log; empty if none was set.
    pub const fn tag(&self) -> &'static str {
        match self.engine.tag {
            Some(tag) => tag,
            None => "",
        }
    }

    /// The configuration.
    pub const fn config(&self) -> Config {
        self.engine.config()
    }

    pub(crate) const fn handshake_ms(&self) -> u32 {
        self.engine.handshake_ms()
    }

    /// The state that the last event told, those that leave the current state aside; `None` before
    /// CREATING.
    pub const fn state(&self) -> Option<State> {
        self.engine.state()
    }

    /// True from CONNECTED until the onward connection or the link is lost.
    pub const fn is_connected(&self) -> bool {
        self.engine.is_connected()
    }

    /// True while the stream exists at the proxy.
    pub const fn is_created(&self) -> bool {
        self.engine.is_created()
    }

    /// True when the stream's life is over: the application closed it or the proxy destroyed it.
    pub const fn has_ended(&self) -> bool {
        self.engine.has_ended()
    }

    /// True when the stream's life is over and its link gone.
    pub const fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }

    /// True if a message was begun on this connection and not ended.
    pub const fn is_message_open(&self) -> bool {
        self.engine.is_message_open()
    }

    /// True from [`Stream::request_tx`] until the message has gone out, or a verdict came for it
    /// before it began: QOS_ACK_REMOTE and QOS_NACK_REMOTE finish a message, sent or not. If only
    /// the connection is lost, a message that had not begun stays requested.
    pub const fn is_tx_requested(&self) -> bool {
        self.engine.is_tx_requested()
    }

    /// How many bytes of payload may be sent, none where it is below 0; `None` if the proxy does not
    /// manage credit.
    pub const fn credit(&self) -> Option<i32> {
        self.engine.credit()
    }

    /// True if the proxy said that this streamtype takes no payload, as one of a GET: what is sent
    /// would go nowhere. A proxy says so as it creates the stream; one that is older or another's
    /// does not, so `false` may mean that it is not known.
    pub const fn takes_no_payload(&self) -> bool {
        self.engine.takes_no_payload()
    }

    /// The size of a buffer that the policy advises (`client_buflen`), in bytes; 0 for none.
    pub const fn advised_buffer(&self) -> u32 {
        self.engine.advised_buffer()
    }

    /// Sets a name by which the application's log knows the stream.
    pub const fn set_tag(&mut self, tag: &'static str) {
        self.engine.tag = Some(tag);
    }

    /// The link is there: a socket connected, a channel opened. STREAMTYPE is to be transmitted.
    ///
    /// It may come without [`LinkAction::Open`], where links come by themselves.
    pub fn link_up(&mut self, now: Instant) {
        self.decoder.reset();
        self.engine.link_up(now);
    }

    /// The link is gone or could not be opened; whether or not [`LinkAction::Drop`] asked for it.
    pub fn link_down(&mut self, now: Instant) {
        self.engine.link_down(now);
    }

    /// Takes bytes off the front of `input` up to the next event; `None` means that the input is
    /// used up and there is nothing to tell. Bytes that come without a link are thrown away.
    pub fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
    ) -> Option<Event<'s>>
    where
        B: AsMut<[u8]>,
    {
        // In place, so that nothing is copied.
        let mut event: Option<Event<'s>> = self.receive_unnamed(now, input);
        if let Some(event) = &mut event {
            self.put_name(event);
        }
        event
    }

    /// The same, but that names are empty, so that nothing is borrowed from the stream; they are in
    /// [`Stream::event_name`].
    #[doc(hidden)]
    pub fn receive_unnamed<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Event<'i>>
    where
        B: AsMut<[u8]>,
    {
        self.engine.receive(&mut self.decoder, now, input, self.storage.as_mut())
    }

    /// The name of the event that came last; empty if it has none.
    #[doc(hidden)]
    pub fn event_name(&self) -> &[u8] {
        self.decoder.name()
    }

    /// Puts the name in the event that came last.
    pub(crate) fn put_name<'s>(&'s self, event: &mut Event<'s>) {
        if let Event::Payload { rideshare: Some(name), .. } | Event::Metadata { name, .. } = event {
            *name = self.event_name();
        }
    }

    /// True if [`Stream::poll_event`] has something to tell.
    pub(crate) const fn has_event(&self) -> bool {
        self.engine.has_event()
    }

    /// The next event that the stream itself has to tell; [`Stream::receive`] tells those too.
    pub fn poll_event(&mut self) -> Option<Event<'static>> {
        self.engine.poll_event()
    }

    /// Time has gone on to the deadline. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }

    /// Asks for the onward connection; nothing if it is there or being made. While the proxy waits
    /// to try again, it makes it try at once.
    pub fn connect(&mut self) {
        self.engine.connect();
    }

    /// Asks to send: the source of [`Stream::transmit`] is asked for payload when it can go.
    /// Connects if needed. If the streamtype [takes no payload](Self::takes_no_payload) the source is
    /// never asked.
    pub fn request_tx(&mut self, now: Instant) {
        self.engine.request_tx(now, None);
    }

    /// Asks to send a message of this many bytes. Connects if needed.
    pub fn request_tx_len(&mut self, now: Instant, bytes: u32) {
        self.engine.request_tx(now, Some(bytes));
    }

    /// Sets a value by the policy's name for it, in place of an earlier one, for the stream's life.
    ///
    /// # Errors
    /// The name or the value is none that a proxy takes, or the storage is full.
    pub fn set_metadata(&mut self, name: &str, value: &[u8]) -> Result<(), MetadataError>
    where
        B: AsMut<[u8]>,
    {
        self.engine.set_metadata(self.storage.as_mut(), name.as_bytes(), value)
    }

    /// Starts or cancels the stream's timeout at the proxy; it ends with the state TIMEOUT.
    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.engine.set_timeout(timeout);
    }

    /// Lets the remote peer send this many more bytes, beside what [`Stream::consumed`] gives. A
    /// lost link takes it along: the stream begins again with [`Config::window`].
    pub fn add_credit(&mut self, bytes: i32) {
        self.engine.add_credit(bytes);
    }

    /// The application is done with this many bytes of payload; the remote peer may send as many
    /// more if [`Config::window`] limits it. True if there is credit to transmit now.
    pub fn consumed(&mut self, bytes: u32) -> bool {
        self.engine.consumed(bytes)
    }

    /// Ends the stream's life. What was not transmitted is not sent.
    pub fn close(&mut self) {
        self.engine.close();
    }

    /// Makes a stream go on that the proxy destroyed, as after the loss of its link: it is made again
    /// with all that was set. DISCONNECTED comes, and the onward connection is asked for again if it
    /// ever was, as deployed clients do.
    pub fn revive(&mut self, now: Instant) {
        self.engine.revive(now);
    }

    /// Breaks off what was to be sent: drops the link, and with it the onward connection, and makes
    /// the stream again; it stays idle until it is asked to connect or send. For a message that
    /// cannot be ended: nobody can take the part for the whole. DISCONNECTED comes if it was
    /// connected; UPSTREAM_LINK_RETRY only if the link cannot be opened again.
    pub fn abandon(&mut self, now: Instant) {
        self.engine.abandon(now);
    }

    /// Writes frames to the front of `buf`, back to back; returns how many bytes, 0 if there is
    /// nothing to send now. They are whole, but that metadata and STREAMTYPE, where they are longer
    /// than the whole room, go on in the next one.
    ///
    /// Payload comes from `source`, which puts a piece of a message in the room it is given and
    /// describes it, or returns `None` if there is none after all. It is asked only after
    /// [`Stream::request_tx`], while CONNECTED, and with no more room than the credit allows.
    ///
    /// # Errors
    /// `buf` is smaller than [`crate::BUF_MIN`].
    pub fn transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> Option<Tx>,
    ) -> Result<usize, NoRoom>
    where
        B: AsRef<[u8]>,
    {
        self.engine.transmit(now, buf, self.storage.as_ref(), source)
    }

    /// [`Stream::transmit`] for a caller whose source needs the stream itself: it stops where payload
    /// is asked for. The source then puts it there, and [`Stream::put_piece`] the frame around it.
    #[doc(hidden)]
    pub fn transmit_asking(
        &mut self,
        now: Instant,
        buf: &mut [u8],
    ) -> Result<(usize, Option<PayloadSlot>), NoRoom>
    where
        B: AsRef<[u8]>,
    {
        self.engine.transmit_asking(now, buf, self.storage.as_ref())
    }

    /// Puts the frame around payload that is in the same room where it was asked for; behind what was
    /// transmitted there are so many more bytes, none if the connection is gone by now.
    #[doc(hidden)]
    pub fn put_piece(&mut self, now: Instant, buf: &mut [u8], slot: PayloadSlot, tx: Tx) -> usize {
        self.engine.put_piece(now, buf, slot, tx)
    }

    /// What is to be done with the link, each action once.
    pub fn poll_link(&mut self, now: Instant) -> Option<LinkAction> {
        self.engine.poll_link(now)
    }

    /// When [`Stream::handle_timeout`] and [`Stream::poll_link`] are to be called, if nothing
    /// happens before.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.engine.deadline()).filter(|at| *at != Instant::NEVER)
    }

    /// The streamtype that the next message belongs to: the stream's own, or the rideshare of the
    /// policy whose turn it is. `None` if it is a rideshare and the storage had no room for the
    /// names.
    pub fn rideshare_name(&self) -> Option<&[u8]>
    where
        B: AsRef<[u8]>,
    {
        self.engine.rideshare_name(self.storage.as_ref())
    }
}
