use core::num::NonZeroU64;

use sspc_wire::limits::MUX_HEAD;
use sspc_wire::mux_type::{MUX, PING, PONG, PONGACK, RESET_TRANSPORT};
use sspc_wire::{FieldWriter, Instant, Piece};

use crate::TRANSMIT_MIN;
use crate::channels::{Channels, control, has_place};
use crate::config::{Config, Role};
use crate::error::{NoRoom, NotRequested, OpenError};
use crate::event::{Channel, Event, LinkLoss, Priority};
use crate::framing::Framing;
use crate::link::{FOR_HOST, Link, is_of_reset};

/// One end of a mux, without its I/O: bytes and time go in; bytes, events and the next deadline
/// come out.
///
/// # The loop
///
/// There are four kinds of methods.
/// - Input, when something happened: [`receive`](Self::receive),
///   [`handle_timeout`](Self::handle_timeout). Each returns one event, if there is one.
/// - Commands, when the application wants something: [`open`](Self::open),
///   [`accept`](Self::accept), [`refuse`](Self::refuse), [`close`](Self::close),
///   [`wants_to_send`](Self::wants_to_send), [`reset`](Self::reset), [`ping`](Self::ping).
/// - Output: [`transmit`](Self::transmit), [`deadline`](Self::deadline).
/// - Getters, which take `&self`.
///
/// In a loop: receive what came until there is no event and no input, call
/// `handle_timeout` until there is no event, transmit until nothing comes as long as the line
/// takes it, then wait for I/O, the application or the deadline. In this order, so that a PONG
/// that waits to be read is read before it is missed. What is called too early does nothing; what
/// is not taken waits.
///
/// Bytes for a channel are asked for at the last moment, one frame a call, so that what is urgent
/// never waits behind what is large: give the line no more than it needs to stay busy.
///
/// ```
/// use sspc_mux::{Config, Event, Instant, Mux, OpenError, Priority, Role};
/// # use std::collections::VecDeque;
/// # struct Line(VecDeque<u8>, u64);
/// # impl Line {
/// #     fn write_all(&mut self, bytes: &[u8]) { match *bytes {
/// #         [0xf9, 0xf6, ..] => { self.0.push_back(0xf7); self.0.extend(&bytes[2..]);
/// #             self.0.extend([0; 8]); }
/// #         [.., 0xf0, index] => self.0.extend([0xf1, index]),
/// #         [0xf5, index, ..] => self.0.extend([&bytes[..4], b"HELLO", &[0xf3, index]].concat()),
/// #         _ => {} } }
/// #     fn read(&mut self, room: &mut [u8], until: Option<Instant>) -> usize {
/// #         assert!(until.is_some());
/// #         self.1 += 100;
/// #         let n = self.0.len().min(room.len());
/// #         for byte in &mut room[..n] { *byte = self.0.pop_front().unwrap() } n }
/// #     fn now(&self) -> Instant { Instant::from_micros(self.1) }
/// # }
/// # let mut line = Line(VecDeque::new(), 0);
/// let mut mux = Mux::new(Role::Client, Config::DEFAULT, 0x5eed);
/// let (mut room, mut output) = ([0; 1024], [0; 1500]);
/// let (mut to_send, mut heard) = (&b"hello"[..], Vec::new());
/// 'life: loop {
///     let mut source = |_channel, room: &mut [u8]| {
///         let n = room.len().min(to_send.len());
///         room[..n].copy_from_slice(&to_send[..n]);
///         to_send = &to_send[n..];
///         n
///     };
///     while let n @ 1.. = mux.transmit(line.now(), &mut output, &mut source)? {
///         line.write_all(&output[..n]);
///     }
///     let n = line.read(&mut room, mux.deadline());
///     let (now, mut input) = (line.now(), &room[..n]);
///     loop {
///         let mut event = mux.receive(now, &mut input);
///         if event.is_none() {
///             event = mux.handle_timeout(now);
///         }
///         match event {
///             Some(Event::LinkUp { .. }) => _ = mux.open(Priority::HIGHEST)?,
///             Some(Event::Opened { channel }) => mux.wants_to_send(channel, true),
///             Some(Event::Data { piece, .. }) => heard.extend_from_slice(piece),
///             Some(Event::Closed { .. }) => break 'life,
///             Some(_) => {}
///             None => break,
///         }
///     }
/// }
/// assert_eq!(heard, b"HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the application sees
///
/// Events of the link alternate: LinkUp, LinkDown, LinkUp. All others come while it is up, except
/// for Echo, which comes while it is down. A
/// channel's life is `open`, Opened or Refused, or else ChannelRequested, `accept`; then Data, then
/// Closed. With [`close`](Self::close), [`refuse`](Self::refuse), Refused, Closed and LinkDown it
/// is over, and no more events of it come.
#[derive(Debug)]
pub struct Mux {
    role: Role,
    config: Config,
    framing: Framing,
    link: Link,
    channels: Channels,
    /// When the last bytes came.
    heard_at: Instant,
    /// How often framing was lost.
    framing_losses: u32,
    /// The link was lost, and the event for that is still to come.
    lost: Option<LinkLoss>,
    /// The peer's clock, if the event for that is still to come.
    peer_unix_us: Option<NonZeroU64>,
}

const _: () = assert!(size_of::<Mux>() <= 512, "on every target that it is built for");

impl Mux {
    /// An end that wants its link at once. The seed is for jitter: give each device another one.
    pub const fn new(role: Role, config: Config, seed: u32) -> Self {
        Self {
            role,
            config: config.in_bounds(),
            framing: Framing::new(),
            link: Link::new(seed),
            channels: Channels::new(Instant::NEVER),
            heard_at: Instant::ZERO,
            framing_losses: 0,
            lost: None,
            peer_unix_us: None,
        }
    }

    /// A client's end in whose memory all is zero, so that a `static` needs no copy of it in flash. It is
    /// to be [started](Self::start) before anything else.
    pub const fn idle() -> Self {
        Self {
            role: Role::Client,
            config: Config::IDLE,
            framing: Framing::new(),
            link: Link::idle(),
            channels: Channels::new(Instant::ZERO),
            heard_at: Instant::ZERO,
            framing_losses: 0,
            lost: None,
            peer_unix_us: None,
        }
    }

    /// Makes an idle end one that wants its link at once, as [`new`](Self::new) does.
    pub const fn start(&mut self, config: Config, seed: u32) {
        self.config = config.in_bounds();
        self.link.start(seed);
        self.channels.start();
    }

    /// Which end this is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Without the feature `host` there is nothing in it that a proxy needs.
    fn is_proxy(&self) -> bool {
        FOR_HOST && self.role == Role::Proxy
    }

    /// The configuration, within the bounds of its fields.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// True if channels can be opened and used.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// True from Opened or `accept` to the channel's end.
    pub const fn is_open(&self, channel: Channel) -> bool {
        self.channels.is_open(channel)
    }

    /// How many indices are in use, with those that wait for the end of their closing or whose
    /// closing the peer did not answer.
    pub fn used(&self) -> usize {
        self.channels.used()
    }

    /// The last round trip, in µs; 0 before the first one.
    pub const fn rtt_us(&self) -> u32 {
        self.link.rtt_us
    }

    /// The time in the peer's last PING, as it was sent; 0 before the first one. It says whether the peer
    /// speaks in [packets](crate::PACKETS).
    pub const fn peer_ping_us(&self) -> u64 {
        self.link.peer_ping_us()
    }

    /// Names the last PING, if it was not answered yet. [`Event::RoundTrip`] is the answer: by then
    /// the peer has read what [`transmit`](Self::transmit) wrote before it.
    pub const fn unanswered_ping(&self) -> Option<u64> {
        self.link.unanswered_ping()
    }

    /// When the peer sent the last PONG by its own clock, in µs. To be asked for right behind an
    /// [`Event::RoundTrip`]; at any other time it is anything.
    pub const fn pong_us(&self) -> u64 {
        self.framing.decoder.second_us()
    }

    /// How often framing was lost while the link was up, modulo 2^32.
    pub const fn framing_losses(&self) -> u32 {
        self.framing_losses
    }

    /// True if these bytes, were they received next, would all be of the frame that began, and
    /// would not end it: what they are is not certain before more comes.
    pub fn is_within_frame(&self, bytes: &[u8]) -> bool {
        self.framing.is_within_frame(bytes)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest, and
    /// [`transmit`](Self::transmit) after it; `None` if nothing happens without I/O or a command.
    pub fn deadline(&self) -> Option<Instant> {
        let at = self.link.deadline().min(self.channels.deadline());
        if at == Instant::NEVER { None } else { Some(at) }
    }

    /// Sets the wall clock, in µs since 1970, which the peer gets. Without it,
    /// or after the clock was set, the peer gets a time of long ago, or a wrong one.
    pub const fn set_unix_time(&mut self, now: Instant, unix_us: u64) {
        self.link.set_unix_time(now, unix_us);
    }

    /// Asks for a channel. The answer is [`Event::Opened`] or [`Event::Refused`].
    ///
    /// # Errors
    /// The link is down, no index is free, or this is a proxy.
    pub fn open(&mut self, priority: Priority) -> Result<Channel, OpenError> {
        if self.is_proxy() {
            return Err(OpenError::ProxyNeverOpens);
        }
        if !self.is_up() {
            return Err(OpenError::LinkDown);
        }
        let channel = self.channels.open(priority);
        if channel.is_none() && self.channels.has_unusable() {
            self.lose(LinkLoss::NoIndexLeft);
        }
        channel.ok_or(OpenError::NoneFree)
    }

    /// Tries indices again whose closing the peer did not answer, rather than reset the link for them
    /// and lose what is open. Deployed proxies take the CHANNEL_NACK that such a channel got for its
    /// end; one that does not will not answer the request.
    pub fn free_unusable(&mut self) {
        self.channels.free_unusable();
    }

    /// Accepts the channel of an [`Event::ChannelRequested`]; bytes may be sent at once.
    ///
    /// # Errors
    /// The peer does not want it any more.
    pub fn accept(&mut self, channel: Channel, priority: Priority) -> Result<(), NotRequested> {
        if self.channels.accept(channel, priority) { Ok(()) } else { Err(NotRequested) }
    }

    /// Refuses the channel of an [`Event::ChannelRequested`].
    pub fn refuse(&mut self, channel: Channel) {
        self.close(channel);
    }

    /// Closes a channel, or gives up opening it. Bytes of it that come later are dropped.
    pub fn close(&mut self, channel: Channel) {
        self.channels.close(channel);
    }

    /// Says whether an open channel has bytes to send. One that has is asked in its turn until it
    /// gives none.
    pub fn wants_to_send(&mut self, channel: Channel, wants: bool) {
        self.channels.wants_to_send(channel, wants);
    }

    /// Changes a channel's priority from the next frame on.
    pub fn set_priority(&mut self, channel: Channel, priority: Priority) {
        self.channels.set_priority(channel, priority);
    }

    /// Makes the next PING due now, whether the link is up or down; one that is already waiting
    /// for its answer is left alone.
    pub fn ping(&mut self, now: Instant) {
        self.link.ping(now, &self.config);
    }

    /// Changes [`Config::ping_ms`] from the next proof of life on.
    pub const fn set_ping_ms(&mut self, ms: u32) {
        self.config = Config { ping_ms: ms, ..self.config }.in_bounds();
    }

    /// Ends all channels and begins with the handshake again, as when the line itself was lost and
    /// is back.
    pub fn reset(&mut self) {
        self.lose(LinkLoss::Asked);
        self.link.go_down();
    }

    /// Takes bytes that came off the front of `input`, up to the next event. Until it returns
    /// `None`, there is more.
    pub fn receive<'i>(&mut self, now: Instant, input: &mut &'i [u8]) -> Option<Event<'i>> {
        if let Some(first) = input.first() {
            // A peer that restarts leaves its last frame without an end.
            let stalls_at = self.heard_at.plus_millis(self.config.stall_ms);
            self.heard_at = now;
            let is_stalled = now >= stalls_at && self.framing.is_inside_frame();
            if *first == RESET_TRANSPORT && is_stalled {
                self.lose_framing();
            }
        }
        loop {
            let event = self.pending();
            if event.is_some() {
                return event;
            }
            if input.is_empty() {
                return None;
            }
            match self.framing.next(input, &self.link) {
                Ok(Some(piece)) => {
                    let event = self.receive_frame(now, piece);
                    if event.is_some() {
                        return event;
                    }
                }
                Ok(None) => {}
                Err(_) => self.lose_framing(),
            }
        }
    }

    /// The layer below knows that the peer is there and that bytes pass both ways: a PONG that is awaited
    /// may take its time once more, as it may stand behind what is sent again.
    #[cfg(feature = "host")]
    pub fn peer_answered(&mut self, now: Instant) {
        self.link.peer_answered(now, &self.config);
    }

    /// Does what the time has come for. Until it returns `None`, there is more.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Event<'static>> {
        if self.link.handle_timeout(now, &self.config) {
            self.lose(LinkLoss::NoPong);
        }
        let event = self.pending();
        if event.is_some() {
            return event;
        }
        self.channels.handle_timeout(now, &self.config)
    }

    /// Writes what is to be sent next into `out`, and returns how many bytes: control frames, and
    /// behind them at most one data frame, whose bytes `source` writes into the buffer that it is
    /// given. It returns their number; with 0 the channel wants to send no more until
    /// [`wants_to_send`](Self::wants_to_send) says so again.
    ///
    /// # Errors
    /// `out` is shorter than [`TRANSMIT_MIN`].
    pub fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(Channel, &mut [u8]) -> usize,
    ) -> Result<usize, NoRoom> {
        if out.len() < TRANSMIT_MIN {
            return Err(NoRoom);
        }
        let size = out.len();
        let mut out = FieldWriter::new(out);
        self.link.transmit(now, self.role, &self.config, &mut out);
        if self.is_up() {
            self.channels.transmit(now, &self.config, &mut out);
            self.transmit_data(&mut out, source);
        }
        Ok(size - out.room().len())
    }

    fn transmit_data(
        &mut self,
        out: &mut FieldWriter<'_>,
        source: &mut dyn FnMut(Channel, &mut [u8]) -> usize,
    ) {
        let body = out.room().get_mut(MUX_HEAD..).unwrap_or_default();
        let most = body.len().min(usize::from(self.config.frame_max));
        let body = body.get_mut(..most).unwrap_or_default();
        if body.is_empty() {
            return;
        }
        while let Some(channel) = self.channels.next_sender() {
            let length = source(channel, body).min(most);
            if length > 0 {
                control(out, MUX, channel.index());
                out.u16(length as u16);
                out.skip(length);
                return;
            }
            self.channels.wants_to_send(channel, false);
        }
    }

    /// The next event about the past that is still to come.
    fn pending(&mut self) -> Option<Event<'static>> {
        if let Some(why) = self.lost.take() {
            return Some(Event::LinkDown { why });
        }
        self.peer_unix_us.take().map(|unix_us| Event::PeerClock { unix_us: unix_us.get() })
    }

    fn receive_frame<'i>(&mut self, now: Instant, piece: Piece<'i>) -> Option<Event<'i>> {
        let was_up = self.is_up();
        let frame = &self.framing.decoder;
        let (index, first_us) = (frame.channel(), frame.first_us());
        match frame.frame() {
            PING if FOR_HOST && self.link.is_last_ping(first_us) => {
                // Not answered: the answer would come back too, and bring the link up.
                if !was_up {
                    return Some(Event::Echo);
                }
                self.lose(LinkLoss::Echo);
            }
            PING => {
                if was_up && is_of_reset(first_us) {
                    self.receive_reset(now);
                }
                self.link.receive_ping(now, first_us, &self.config);
            }
            PONG => {
                let rtt_us = self.link.receive_pong(now, first_us, &self.config)?;
                return Some(match was_up {
                    true => Event::RoundTrip { rtt_us },
                    false => Event::LinkUp { rtt_us },
                });
            }
            PONGACK => {
                let rtt_us = self.link.receive_pongack(now, &self.config)?;
                self.peer_unix_us = NonZeroU64::new(first_us);
                if !was_up {
                    return Some(Event::LinkUp { rtt_us });
                }
            }
            // While the link is down no other frame means anything.
            _ if !was_up => {}
            RESET_TRANSPORT => self.receive_reset(now),
            // A device never opens it: what names it came to harm.
            _ if !has_place(index) => self.lose_framing(),
            frame => {
                let accepts = self.is_proxy();
                return self.channels.receive(frame, index, piece, accepts);
            }
        }
        None
    }

    /// The link is lost, but framing is not: the PING that follows is to be answered.
    fn receive_reset(&mut self, now: Instant) {
        self.go_down(LinkLoss::PeerReset);
        self.link.leave_to_peer(now, &self.config);
    }

    fn lose_framing(&mut self) {
        if self.is_up() {
            self.framing_losses = self.framing_losses.wrapping_add(1);
        }
        self.lose(LinkLoss::Framing);
    }

    /// Framing is lost, and the link if it was up.
    fn lose(&mut self, why: LinkLoss) {
        self.framing.lose();
        if self.is_up() {
            self.go_down(why);
        }
    }

    /// The link, which was up, is lost, and the event for that is still to come.
    fn go_down(&mut self, why: LinkLoss) {
        self.lost = Some(why);
        self.peer_unix_us = None;
        self.channels.reset();
        self.link.go_down();
    }
}
