//! Many streams over one mux, sans-IO. The way of a slot's stream to its channel:
//!
//! ```text
//!           LinkAction::Open            the link is up: open               CHANNEL_ACK
//!   no channel ─────────────► waits ───────────────────────► has asked ──────────────► link_up
//!    ▲                        ▲   │                           │      │                    │
//!    │                        └───┘ too long: link_down, as   │      │                    │
//!    │                         after an attempt that failed   │      └► no answer: waits  │
//!    └────────────────────────────────────────────────────────┴───────────────────────────┘
//!      refused, closed by the proxy, the link is lost: link_down; LinkAction::Drop: close
//! ```

mod event;
mod slot;

use sspc_mux::{Channel, Event as MuxEvent, Mux, Priority, Refusal, Role};
use sspc_wire::{Instant, Timeout};

use crate::config::Config;
use crate::engine::{BUF_MIN, Engine, LinkAction, Tx};
use crate::error::{MetadataError, NoRoom, NoSlot};
#[cfg(feature = "embedded-io-async")]
use crate::event::Event;
use crate::name::Name;
use crate::stream::Stream;
pub use event::ClientEvent;
pub use slot::{Slot, Slots, StreamId};

/// The shortest buffer that [`Client::transmit`] takes, in bytes. With one of
/// [`MuxConfig::frame_max`](sspc_mux::Config::frame_max) and 40 no frame is cut short.
pub const TRANSMIT_MIN: usize = sspc_mux::TRANSMIT_MIN;

/// The shortest mux frame that leaves room for a stream's shortest frame.
const FRAME_MIN: u16 = BUF_MIN as u16;

/// Bytes of the input that belong to a stream's channel and that it has not taken yet.
#[derive(Clone, Copy, Debug)]
struct Inside {
    slot: u8,
    length: usize,
}

/// Writes a stream's frames into the room it is given.
type FrameSource<'f, B> =
    dyn FnMut(StreamId, &mut Engine, &mut B, &mut [u8]) -> Result<usize, NoRoom> + 'f;

/// All streams of a device over one serial line or other byte pipe, without its I/O: bytes and time
/// go in; bytes, events and the next deadline come out. No heap, no callbacks into the line.
///
/// `S` is what keeps the streams, given by the caller: see [`Slots`]. `new` is `const`: a client may
/// be a `static`.
///
/// # The loop
///
/// There are four kinds of methods, as of [`Stream`].
/// - Input, when something happened: [`receive`](Self::receive),
///   [`handle_timeout`](Self::handle_timeout). Each returns one event, if there is one.
/// - Commands, when the application wants something: [`open`](Self::open), and those of a stream by
///   its id, such as [`connect`](Self::connect), [`request_tx`](Self::request_tx),
///   [`close`](Self::close). An id that names no stream makes them do nothing.
/// - Output: [`transmit`](Self::transmit), [`deadline`](Self::deadline).
/// - Getters, which take `&self`.
///
/// Around and around: receive what came until there is no event, call `handle_timeout` until there
/// is no event, transmit until nothing comes as long as the line takes it, then wait for I/O, the
/// application or the deadline. In this order, so that an answer that waits to be read is read
/// before it is missed. What is called too early does nothing; what is not taken waits.
///
/// Payload is asked for at the last moment, one frame a call, so that what is urgent never stands
/// behind what is bulky: give the line no more than it needs to stay busy.
///
/// ```
/// use sspc::{
///     Client, ClientEvent, Config, Event, Flags, Instant, MuxConfig, Name, Priority, Slot, State,
///     StreamId, Tx,
/// };
/// # use std::collections::VecDeque;
/// # struct Line(VecDeque<u8>, u64);
/// # impl Line {
/// #     fn write(&mut self, mut bytes: &[u8]) { while let Some(first) = bytes.first() { match first {
/// #         0xf6 => { self.0.push_back(0xf7); self.0.extend(&bytes[1..9]); self.0.extend([0; 8]);
/// #             bytes = &bytes[9..]; }
/// #         0xf9 => bytes = &bytes[1..],
/// #         0xf8 => bytes = &bytes[9..],
/// #         0xf0 => { self.0.extend([0xf1, bytes[1]]); bytes = &bytes[2..]; }
/// #         0xf5 => { let mut frame = &bytes[4..]; let channel = bytes[1];
/// #             let mut say = |b: &[u8]| { self.0.extend([0xf5, channel, 0, b.len() as u8]);
/// #                 self.0.extend(b) };
/// #             while let Some(first) = frame.first() { match first {
/// #                 0xaa => say(b"\x56\x00\x05\x00\x00\x00\x00\x00\x57\x00\x05\x01\x00\x00\x00\x00"),
/// #                 0xab => say(b"\x57\x00\x05\x06\x00\x00\x00\x00\x57\x00\x05\x05\x00\x00\x00\x00"),
/// #                 0xad => say(b"\x57\x00\x05\x0a\x00\x00\x00\x00\x57\x00\x05\x02\x00\x00\x00\x00"),
/// #                 _ => {} }
/// #                 frame = &frame[3 + u16::from_be_bytes([frame[1], frame[2]]) as usize..]; }
/// #             bytes = frame; }
/// #         _ => bytes = &bytes[2..], } } }
/// #     fn read(&mut self, buf: &mut [u8], until: Option<Instant>) -> usize {
/// #         assert!(until.is_some());
/// #         self.1 += 100;
/// #         let n = self.0.len().min(buf.len());
/// #         for byte in &mut buf[..n] { *byte = self.0.pop_front().unwrap() } n }
/// #     fn now(&self) -> Instant { Instant::from_micros(self.1) }
/// # }
/// # let mut line = Line(VecDeque::new(), 0);
/// const REPORT: StreamId = StreamId::new(0);
/// let report = Name::literal("report");
/// let slots = [
///     Slot::new(report, Config::DEFAULT, Priority::LOWEST, [0; 128]),
///     Slot::vacant([0; 128]),
/// ];
/// let mut client = Client::new(MuxConfig::FAST.for_line(2_000_000), 0x5eed, slots);
/// let (mut buf, mut output) = ([0; 256], [0; 1420]);
/// 'life: loop {
///     let mut source = |id, buf: &mut [u8]| {
///         assert_eq!(id, REPORT);
///         buf[..5].copy_from_slice(b"21.5C".get(..5)?);
///         Some(Tx { len: 5, flags: Flags::WHOLE, more: false })
///     };
///     while let n @ 1.. = client.transmit(line.now(), &mut output, &mut source)? {
///         line.write(&output[..n]);
///     }
///     let n = line.read(&mut buf, client.deadline());
///     let (now, mut input) = (line.now(), &buf[..n]);
///     loop {
///         let mut event = client.receive(now, &mut input);
///         if event.is_none() {
///             event = client.handle_timeout(now);
///         }
///         let Some(event) = event else { break };
///         let ClientEvent::Stream { id: REPORT, event } = event else { continue };
///         let Event::State { state, .. } = event else { continue };
///         match state {
///             State::Creating => client.request_tx_len(REPORT, now, 5),
///             State::QosAckRemote | State::QosNackRemote => client.close(REPORT),
///             State::Disconnected | State::AllRetriesFailed => client.close(REPORT),
///             State::Destroying => break 'life,
///             _ => {}
///         }
///     }
/// }
/// # Ok::<(), sspc::NoRoom>(())
/// ```
///
/// # What the application sees
///
/// LinkUp and LinkDown take turns. What each stream tells is as [`Stream`] has it: its life goes on
/// while the link, or its channel, is lost and found again. While there is no link a stream waits
/// for it. Every [`Config::handshake_ms`] of waiting count as an attempt that failed, of which
/// UPSTREAM_LINK_RETRY tells with the ms tried so far; then comes the stream's own wait, which grows.
/// As soon as the link is up its channel is opened, whatever it waited for.
///
/// A proxy that breaks the protocol in one channel loses this channel alone.
///
/// Frames of a stream that are longer than a frame of the mux, as long metadata on a slow line,
/// are sent in parts.
#[derive(Debug)]
pub struct Client<S: ?Sized> {
    mux: Mux,
    inside: Inside,
    slots: S,
}

impl<S> Client<S> {
    /// A client that wants its link at once, and so do the streams in its slots. The seed is for
    /// jitter: give each device another one. A [`frame_max`](sspc_mux::Config::frame_max) below
    /// [`BUF_MIN`] counts as that.
    pub const fn new(config: sspc_mux::Config, seed: u32, slots: S) -> Self {
        Self {
            mux: Mux::new(Role::Client, with_frame_min(config), seed),
            inside: Inside { slot: 0, length: 0 },
            slots,
        }
    }

    /// A client to be [started](Self::start) before anything else. With [vacant](Slot::vacant) slots and
    /// storage all of it is zero: a `static` takes RAM, and no flash for what it begins with.
    pub const fn idle(slots: S) -> Self {
        Self { mux: Mux::idle(), inside: Inside { slot: 0, length: 0 }, slots }
    }

    /// Makes an idle client what [`new`](Self::new) makes.
    pub const fn start(&mut self, config: sspc_mux::Config, seed: u32) {
        self.mux.start(with_frame_min(config), seed);
    }
}

const fn with_frame_min(config: sspc_mux::Config) -> sspc_mux::Config {
    let short = config.frame_max < FRAME_MIN;
    sspc_mux::Config { frame_max: if short { FRAME_MIN } else { config.frame_max }, ..config }
}

impl<S: Slots + ?Sized> Client<S> {
    /// The mux: whether its link is up, its last round trip, how often framing was lost.
    pub const fn mux(&self) -> &Mux {
        &self.mux
    }

    /// The stream in a slot; also one whose life is over, until the slot is used again. `None` if
    /// there is no such slot.
    pub fn stream(&self, id: StreamId) -> Option<&Stream<S::Storage>> {
        Some(&self.slots.slots().get(usize::from(id.index()))?.stream)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest, and
    /// [`transmit`](Self::transmit) after it; in the past if there is something to tell at once.
    /// `None` if nothing happens without I/O or a command.
    pub fn deadline(&self) -> Option<Instant> {
        let mut at = self.mux.deadline().unwrap_or(Instant::NEVER);
        for slot in self.slots.slots() {
            at = at.min(slot.wakes_at());
        }
        if at == Instant::NEVER { None } else { Some(at) }
    }

    /// Begins the life of a stream, in a slot that has none or one whose life is over and told.
    /// [`Stream`] tells what becomes of it.
    ///
    /// # Errors
    /// Each slot has a stream.
    pub fn open(
        &mut self,
        streamtype: Name,
        config: Config,
        priority: Priority,
    ) -> Result<StreamId, NoSlot> {
        let mut slots = self.slots.slots_mut().iter_mut().enumerate();
        let (index, slot) = slots.find(|(_, slot)| slot.is_free()).ok_or(NoSlot)?;
        slot.stream.begin(streamtype, config);
        slot.priority = priority;
        Ok(StreamId::new(index as u8))
    }

    /// Asks for the onward connection: [`Stream::connect`].
    pub fn connect(&mut self, id: StreamId) {
        if let Some(stream) = self.command(id) {
            stream.connect();
        }
    }

    /// Asks to send: [`Stream::request_tx`].
    pub fn request_tx(&mut self, id: StreamId, now: Instant) {
        if let Some(stream) = self.command(id) {
            stream.request_tx(now);
        }
    }

    /// Asks to send a message of this many bytes: [`Stream::request_tx_len`].
    pub fn request_tx_len(&mut self, id: StreamId, now: Instant, bytes: u32) {
        if let Some(stream) = self.command(id) {
            stream.request_tx_len(now, bytes);
        }
    }

    /// Sets a value by the policy's name for it: [`Stream::set_metadata`]. It may be as long as the
    /// storage takes, however short the frames of the mux are.
    ///
    /// # Errors
    /// The name or the value is none that a proxy takes, or the storage is full.
    pub fn set_metadata(
        &mut self,
        id: StreamId,
        name: &str,
        value: &[u8],
    ) -> Result<(), MetadataError> {
        match self.command(id) {
            Some(stream) => stream.set_metadata(name, value),
            None => Ok(()),
        }
    }

    /// Starts or cancels the stream's timeout at the proxy: [`Stream::set_timeout`].
    pub fn set_timeout(&mut self, id: StreamId, timeout: Timeout) {
        if let Some(stream) = self.command(id) {
            stream.set_timeout(timeout);
        }
    }

    /// Lets the remote peer send this many more bytes: [`Stream::add_credit`].
    pub fn add_credit(&mut self, id: StreamId, bytes: i32) {
        if let Some(stream) = self.command(id) {
            stream.add_credit(bytes);
        }
    }

    /// The application is done with this many bytes of payload: [`Stream::consumed`].
    pub fn consumed(&mut self, id: StreamId, bytes: u32) {
        if let Some(stream) = self.command(id) {
            stream.consumed(bytes);
        }
    }

    /// Ends the stream's life: [`Stream::close`]. Its slot is free when DESTROYING was told and its
    /// channel closed.
    pub fn close(&mut self, id: StreamId) {
        if let Some(stream) = self.command(id) {
            stream.close();
        }
    }

    /// Breaks off what was to be sent: [`Stream::abandon`].
    pub fn abandon(&mut self, id: StreamId, now: Instant) {
        if let Some(stream) = self.command(id) {
            stream.abandon(now);
        }
    }

    /// Changes a stream's priority from its next frame on.
    pub fn set_priority(&mut self, id: StreamId, priority: Priority) {
        if let Some(slot) = self.slots.slots_mut().get_mut(usize::from(id.index())) {
            slot.priority = priority;
            if let Some(channel) = slot.channel {
                self.mux.set_priority(channel, priority);
            }
        }
    }

    /// Makes the next PING due now: [`Mux::ping`].
    pub fn ping(&mut self, now: Instant) {
        self.mux.ping(now);
    }

    /// Ends all channels and begins with the handshake again, as when the line itself was lost and
    /// is back: [`Mux::reset`].
    pub fn reset(&mut self) {
        self.mux.reset();
    }

    /// Tells what time it is by the wall clock, in µs since 1970, for the proxy's use.
    pub const fn set_unix_time(&mut self, now: Instant, unix_us: u64) {
        self.mux.set_unix_time(now, unix_us);
    }

    /// Takes bytes that came off the front of `input`, up to the next event. Until it returns
    /// `None` there is more; call it with the same `input` till then.
    pub fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
    ) -> Option<ClientEvent<'s>> {
        // In place, so that nothing is copied.
        let mut event: Option<ClientEvent<'s>> = self.receive_unnamed(now, input);
        if let Some(event) = &mut event {
            self.put_name(event);
        }
        event
    }

    /// Does what the time has come for, and tells what the streams have to tell by themselves.
    /// Until it returns `None`, there is more. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ClientEvent<'static>> {
        while let Some(event) = self.mux.handle_timeout(now) {
            let event = self.link_event(now, &event);
            if event.is_some() {
                return event;
            }
        }
        for slot in self.slots.slots_mut() {
            slot.stream.handle_timeout(now);
        }
        self.tend(now);
        self.poll_event()
    }

    /// The next event that a stream has to tell by itself; [`receive`](Self::receive) and
    /// [`handle_timeout`](Self::handle_timeout) tell those too.
    pub fn poll_event(&mut self) -> Option<ClientEvent<'static>> {
        let mut slots = self.slots.slots_mut().iter_mut().enumerate();
        let (index, slot) = slots.find(|(_, slot)| slot.stream.has_event())?;
        let event = slot.stream.poll_event()?;
        Some(ClientEvent::Stream { id: StreamId::new(index as u8), event })
    }

    /// Writes what is to be sent next into `out`, and returns how many bytes: control frames, and
    /// behind them at most one frame of one stream's channel.
    ///
    /// Payload comes from `source`, which puts a piece of a stream's message in the room it is given
    /// and describes it, or returns `None` if there is none after all: see [`Stream::transmit`].
    ///
    /// # Errors
    /// `out` is shorter than [`TRANSMIT_MIN`](crate::TRANSMIT_MIN).
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(StreamId, &mut [u8]) -> Option<Tx>,
    ) -> Result<usize, NoRoom> {
        self.transmit_from(now, out, &mut |id, engine, storage, buf| {
            engine.transmit(now, buf, storage.as_ref(), &mut |buf| source(id, buf))
        })
    }

    /// The same, with a source that is given the stream's storage and writes its frames.
    pub(crate) fn transmit_from(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut FrameSource<'_, S::Storage>,
    ) -> Result<usize, NoRoom> {
        self.tend(now);
        let slots = self.slots.slots_mut();
        let mut lacked_room = false;
        let mut frames = |channel, buf: &mut [u8]| {
            let Some((id, slot)) = find(slots, channel) else { return 0 };
            let (engine, storage) = slot.stream.parts();
            source(id, engine, storage, buf).unwrap_or_else(|_| {
                lacked_room = true;
                0
            })
        };
        let sent = self.mux.transmit(now, out, &mut frames);
        if lacked_room {
            // Control frames took it; the next buffer has more.
            for channel in self.slots.slots().iter().filter_map(|slot| slot.channel) {
                self.mux.wants_to_send(channel, true);
            }
        }
        sent.map_err(|_| NoRoom { needed: TRANSMIT_MIN })
    }

    /// The stream, which may have something to send after the command.
    fn command(&mut self, id: StreamId) -> Option<&mut Stream<S::Storage>> {
        let slot = self.slots.slots_mut().get_mut(usize::from(id.index()))?;
        if let Some(channel) = slot.channel {
            self.mux.wants_to_send(channel, true);
        }
        Some(&mut slot.stream)
    }

    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn is_tx_requested(&self, id: StreamId) -> bool {
        self.stream(id).is_some_and(Stream::is_tx_requested)
    }

    /// The storage of a stream.
    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn storage(&mut self, id: StreamId) -> Option<&mut S::Storage> {
        let slot = self.slots.slots_mut().get_mut(usize::from(id.index()))?;
        Some(slot.stream.parts().1)
    }

    /// Calls `f` with the stream's storage, its event of [`Self::receive_unnamed`], and the name
    /// that belongs to it.
    #[cfg(feature = "embedded-io-async")]
    pub(crate) fn with_name<'e, R>(
        &mut self,
        id: StreamId,
        event: Event<'e>,
        f: impl FnOnce(&mut S::Storage, Event<'e>, &[u8]) -> Option<R>,
    ) -> Option<R> {
        let slot = self.slots.slots_mut().get_mut(usize::from(id.index()))?;
        let (storage, name) = slot.stream.storage_and_name();
        f(storage, event, name)
    }

    /// Puts the name in the event of [`Self::receive_unnamed`] that came last.
    pub(crate) fn put_name<'s>(&'s self, event: &mut ClientEvent<'s>) {
        if let ClientEvent::Stream { id, event } = event {
            if let Some(stream) = self.stream(*id) {
                stream.put_name(event);
            }
        }
    }

    /// The same as `receive`, but that names are empty, so that nothing is borrowed from here.
    pub(crate) fn receive_unnamed<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
    ) -> Option<ClientEvent<'i>> {
        loop {
            if let Some(event) = self.poll_event() {
                return Some(event);
            }
            if self.inside.length > 0 {
                let event = self.receive_inside(now, input);
                if event.is_some() {
                    return event;
                }
            }
            let before = *input;
            let event = self.mux.receive(now, input);
            if let Some(MuxEvent::Data { channel, piece }) = event {
                if let Some((id, _)) = find(self.slots.slots_mut(), channel) {
                    // The stream takes it from the input, event by event.
                    let behind = input.len() + piece.len();
                    *input = before.split_at(before.len().saturating_sub(behind)).1;
                    self.inside = Inside { slot: id.index(), length: piece.len() };
                }
            } else if let Some(event) = self.link_event(now, event.as_ref()?) {
                return Some(event);
            }
        }
    }

    /// The next event in the bytes that belong to a stream; `None` when they are used up.
    fn receive_inside<'i>(
        &mut self,
        now: Instant,
        input: &mut &'i [u8],
    ) -> Option<ClientEvent<'i>> {
        let Inside { slot: index, length } = self.inside;
        self.inside.length = 0;
        let slot = self.slots.slots_mut().get_mut(usize::from(index))?;
        let before = length.min(input.len());
        let mut piece = &input[..before];
        let event = slot.stream.receive_unnamed(now, &mut piece);
        *input = input.split_at((before - piece.len()).min(input.len())).1;
        self.inside.length = piece.len();
        if let Some(channel) = slot.channel {
            // Maybe it has something to answer.
            self.mux.wants_to_send(channel, true);
        }
        Some(ClientEvent::Stream { id: StreamId::new(index), event: event? })
    }

    /// Does what an event of the mux means for the streams; an event, if it is for the application.
    fn link_event(&mut self, now: Instant, event: &MuxEvent<'_>) -> Option<ClientEvent<'static>> {
        let slots = self.slots.slots_mut();
        let (channel, opened, again) = match *event {
            MuxEvent::LinkUp { rtt_us } => return Some(ClientEvent::LinkUp { rtt_us }),
            MuxEvent::RoundTrip { rtt_us } => return Some(ClientEvent::RoundTrip { rtt_us }),
            MuxEvent::PeerClock { unix_us } => return Some(ClientEvent::PeerClock { unix_us }),
            MuxEvent::LinkDown { why } => {
                self.inside.length = 0;
                for slot in slots {
                    if slot.channel.take().is_some() {
                        slot.stream.link_down(now);
                    }
                }
                return Some(ClientEvent::LinkDown { why });
            }
            MuxEvent::Opened { channel } => (channel, true, false),
            // Another index is tried at once.
            MuxEvent::Refused { channel, why } => (channel, false, why == Refusal::NoAnswer),
            MuxEvent::Closed { channel } => (channel, false, false),
            // A client is not asked for channels, and data is not for here.
            _ => return None,
        };
        let (_, slot) = find(slots, channel)?;
        if opened {
            slot.stream.link_up(now);
            self.mux.wants_to_send(channel, true);
        } else {
            slot.channel = None;
            slot.waits = again;
            slot.stream.link_down(now);
        }
        None
    }

    /// Does what the streams want of their channels.
    fn tend(&mut self, now: Instant) {
        for slot in self.slots.slots_mut() {
            let action = slot.stream.poll_link(now);
            if action == Some(LinkAction::Open) && slot.channel.is_none() {
                slot.waits = true;
                slot.is_timed = true;
                slot.waits_until = now.plus_millis(slot.stream.handshake_ms());
            }
            let is_lost = if action == Some(LinkAction::Drop) || slot.stream.is_closed() {
                if let Some(channel) = slot.channel {
                    self.mux.close(channel);
                }
                slot.has_none();
                true
            } else if slot.waits && self.mux.is_up() {
                slot.has_none();
                // If all are in use it asks again after a wait.
                slot.channel = self.mux.open(slot.priority).ok();
                slot.channel.is_none()
            } else if slot.is_timed && now >= slot.waits_until {
                slot.is_timed = false;
                true
            } else {
                false
            };
            if is_lost {
                slot.stream.link_down(now);
            }
        }
    }
}

/// The slot that has this channel or is about to.
fn find<B>(slots: &mut [Slot<B>], channel: Channel) -> Option<(StreamId, &mut Slot<B>)> {
    let mut slots = slots.iter_mut().enumerate();
    let (index, slot) = slots.find(|(_, slot)| slot.channel == Some(channel))?;
    Some((StreamId::new(index as u8), slot))
}
