//! What a stream knows and does, whatever memory it was given: the storage comes with each call,
//! so that this code exists once however many kinds of storage a program has.

mod code;
mod link;
mod metadata;
mod receive;
mod transmit;

use sspc_wire::limits::{METADATA_NAME_MAX, PAYLOAD_MAX};
use sspc_wire::{Instant, Random, State, Timeout};

use crate::config::Config;
use crate::error::MetadataError;
use crate::name::{Name, check_name};
use link::Link;
pub use link::LinkAction;
use metadata::MetadataStore;
pub use transmit::{BUF_MIN, PayloadSlot, Tx};

/// The longest metadata value that fits a frame with the longest name.
const VALUE_MAX: usize = PAYLOAD_MAX - METADATA_NAME_MAX;

/// Where the application's wish for an onward connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectIntent {
    /// It has none, or what it asked for came to its end.
    Idle,
    /// It has one; ONWARD_CONNECT is to be sent.
    Wanted,
    /// ONWARD_CONNECT was sent, or the proxy connects by itself; no message went out yet.
    Asked,
    /// A message went out.
    Used,
    /// An attempt failed and the proxy will try again; asking again makes it try at once.
    Retrying,
}

/// The credit of a streamtype that takes no payload: as good as none, but not to be mistaken for
/// credit that is used up.
const TAKES_NO_PAYLOAD: i32 = i32::MIN;

/// Where the length of the next message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// Not known.
    None,
    /// To be sent.
    Pending(u32),
    /// Sent; kept until the message begins, for the case that the stream has to be made again.
    Sent(u32),
}

/// What the application is still to be told, in this order; a bit each.
struct Pending;

impl Pending {
    const NO_ANSWER: u8 = 0x01;
    const DISCONNECTED: u8 = 0x02;
    const POLL: u8 = 0x04;
    const CONNECTING: u8 = 0x08;
    const RETRY: u8 = 0x10;
    const DESTROYING: u8 = 0x20;
}

/// What is known of a link, and forgotten with it.
#[derive(Debug)]
#[repr(C)]
struct LinkState {
    /// The state that this link's proxy reported last, by its number.
    peer: u8,
    /// The proxy's own CREATING has come, which the application does not see.
    creating_came: bool,
    /// This link brought a state beyond CREATING, or payload.
    progressed: bool,
    /// The proxy manages the credit towards the remote peer.
    credit_managed: bool,
    credit: i32,
    /// Credit to be given to the remote peer.
    top_up: i32,
    /// DISCONNECTEDs that came and that the proxy is to be told have come.
    heard: u32,
    /// Payload that came and was not reported as consumed, in bytes modulo 2^32: more can only be
    /// outstanding where no window limits it, and then nothing is topped up.
    unconsumed: u32,
    /// Payload that was reported as consumed and not topped up, in bytes.
    consumed: u32,
}

impl LinkState {
    const NEW: Self = Self {
        peer: code::NONE,
        creating_came: false,
        progressed: false,
        credit_managed: false,
        credit: 0,
        top_up: 0,
        heard: 0,
        unconsumed: 0,
        consumed: 0,
    };
}

/// A [`Config`], of which there may be none: all zeros then.
#[derive(Clone, Copy, Debug)]
struct Settings {
    pid: u32,
    window: u32,
    handshake_ms: u32,
    backoff_ms: Option<&'static [u32]>,
    #[cfg(feature = "std")]
    smd_classes: Option<u32>,
    frame_payload: u16,
    frame_payload_managed: u16,
    honour_credit: bool,
    jitter_percent: u8,
    reconnect: bool,
}

impl Settings {
    const NONE: Self = Self {
        pid: 0,
        window: 0,
        handshake_ms: 0,
        backoff_ms: None,
        #[cfg(feature = "std")]
        smd_classes: None,
        frame_payload: 0,
        frame_payload_managed: 0,
        honour_credit: false,
        jitter_percent: 0,
        reconnect: false,
    };

    const fn new(config: Config) -> Self {
        // Without credit it is a number of another meaning.
        let most = if config.honour_credit { Config::UNLIMITED } else { u32::MAX };
        Self {
            pid: config.pid,
            window: if config.window > most { most } else { config.window },
            handshake_ms: config.handshake_ms,
            backoff_ms: Some(config.backoff_ms),
            #[cfg(feature = "std")]
            smd_classes: config.smd_classes,
            frame_payload: config.frame_payload,
            frame_payload_managed: config.frame_payload_managed,
            honour_credit: config.honour_credit,
            jitter_percent: config.jitter_percent,
            reconnect: config.reconnect,
        }
    }
}

/// A stream, but for its storage and its decoder.
///
/// What is small and often used comes first, where short instructions reach it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Engine {
    link: Link,
    intent: ConnectIntent,
    /// The state that the application saw last, by its number.
    shown: u8,
    /// Events to be told, bits of [`Pending`].
    pending: u8,
    /// The onward connection is there.
    connected: bool,
    /// The message that goes out has begun and not ended.
    message_open: bool,
    /// Which name the next message has: 0 the stream's own, then the list's.
    rideshare_turn: u8,
    /// How many attempts to open the link were made in a row.
    attempts: u8,
    /// Neither has the application closed the stream nor the proxy destroyed it.
    lives: bool,
    tx_wanted: bool,
    timeout_pending: bool,
    /// The application asked for an onward connection at some time.
    asked: bool,
    /// The application saw its CREATING.
    created_once: bool,
    /// An attempt to open the link was made since the last success.
    tried: bool,
    metadata: MetadataStore,
    link_state: LinkState,
    /// When the link is to be opened or must have brought its answer; [`Instant::NEVER`] in those
    /// states of it that have no time.
    link_at: Instant,
    /// While the link is up: when the stream was created. Else: when it was lost or first tried.
    since: Instant,
    /// Of UPSTREAM_LINK_RETRY, or of the state that waits behind a DISCONNECTED.
    pending_ordinal: u32,
    /// When the application asked to send, in µs modulo 2^32.
    tx_since_us: u32,
    hint: Hint,
    /// What TIMEOUT_UPDATE carries.
    timeout: Option<u32>,
    advised_buffer: u32,
    random: Random,
    seed: u32,
    config: Settings,
    pub(crate) tag: Option<&'static str>,
    pub(crate) name: Name,
}

impl Engine {
    pub(crate) const fn new(name: Name, config: Config) -> Self {
        let mut new = Self::vacant();
        new.begin(name, config);
        new
    }

    /// Begins in the place of one that is vacant.
    pub(crate) const fn begin(&mut self, name: Name, config: Config) {
        self.random = Random::new(config.seed);
        self.seed = config.seed;
        self.config = Settings::new(config);
        self.name = name;
        self.link = Link::Down;
        self.lives = true;
    }

    /// One whose life is over before it began: all zeros.
    pub(crate) const fn vacant() -> Self {
        Self {
            random: Random::new(0),
            seed: 0,
            attempts: 0,
            config: Settings::NONE,
            name: Name::NONE,
            tag: None,
            link_state: LinkState::NEW,
            metadata: MetadataStore::new(),
            link: Link::Closed,
            link_at: Instant::ZERO,
            since: Instant::ZERO,
            shown: code::NONE,
            pending: 0,
            pending_ordinal: 0,
            intent: ConnectIntent::Idle,
            asked: false,
            connected: false,
            created_once: false,
            tried: false,
            lives: false,
            tx_wanted: false,
            message_open: false,
            tx_since_us: 0,
            hint: Hint::None,
            timeout: None,
            timeout_pending: false,
            advised_buffer: 0,
            rideshare_turn: 0,
        }
    }

    pub(crate) const fn config(&self) -> Config {
        let Settings { pid, window, handshake_ms, frame_payload, frame_payload_managed, .. } =
            self.config;
        Config {
            pid,
            window,
            honour_credit: self.config.honour_credit,
            frame_payload,
            frame_payload_managed,
            handshake_ms,
            backoff_ms: match self.config.backoff_ms {
                Some(backoff_ms) => backoff_ms,
                None => &[],
            },
            jitter_percent: self.config.jitter_percent,
            seed: self.seed,
            reconnect: self.config.reconnect,
            #[cfg(feature = "std")]
            smd_classes: self.config.smd_classes,
        }
    }

    pub(crate) const fn handshake_ms(&self) -> u32 {
        self.config.handshake_ms
    }

    pub(crate) const fn state(&self) -> Option<State> {
        match self.shown {
            code::NONE => None,
            code => Some(State::from_code(code as u32)),
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) const fn is_created(&self) -> bool {
        matches!(self.link, Link::Created)
    }

    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.link, Link::Closed)
    }

    pub(crate) const fn has_ended(&self) -> bool {
        !self.lives
    }

    pub(crate) const fn credit(&self) -> Option<i32> {
        if self.link_state.credit_managed { Some(self.link_state.credit) } else { None }
    }

    pub(crate) const fn takes_no_payload(&self) -> bool {
        self.link_state.credit_managed && self.link_state.credit == TAKES_NO_PAYLOAD
    }

    pub(crate) const fn is_message_open(&self) -> bool {
        self.message_open
    }

    pub(crate) const fn is_tx_requested(&self) -> bool {
        self.tx_wanted
    }

    pub(crate) const fn advised_buffer(&self) -> u32 {
        self.advised_buffer
    }

    pub(crate) fn rideshare_name<'s>(&'s self, storage: &'s [u8]) -> Option<&'s [u8]> {
        match self.rideshare_turn {
            0 => Some(self.name.as_bytes()),
            turn => self.metadata.rideshare(storage, turn),
        }
    }

    // Several callers, of this and of `disconnected`: a call is shorter than what it does.
    #[inline(never)]
    pub(crate) fn connect(&mut self) {
        self.asked = true;
        // After a verdict the connection may be about to end: then it is asked for again. The codes of the two
        // verdicts differ in their last bit.
        let is_answered = u32::from(self.link_state.peer | 1) == code::QOS_NACK_REMOTE;
        if (is_answered || !self.connected)
            && matches!(self.intent, ConnectIntent::Idle | ConnectIntent::Retrying)
        {
            self.intent = ConnectIntent::Wanted;
        }
    }

    pub(crate) fn request_tx(&mut self, now: Instant, length: Option<u32>) {
        if !self.tx_wanted {
            self.tx_wanted = true;
            self.tx_since_us = now.as_micros() as u32;
        }
        if let Some(length) = length {
            self.hint = Hint::Pending(length);
        }
        self.connect();
    }

    pub(crate) fn set_metadata(
        &mut self,
        storage: &mut [u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<(), MetadataError> {
        check_name(name, METADATA_NAME_MAX).map_err(MetadataError::Name)?;
        if value.is_empty() {
            return Err(MetadataError::EmptyValue);
        }
        if value.len() > VALUE_MAX {
            return Err(MetadataError::TooLong { length: value.len(), max: VALUE_MAX });
        }
        self.metadata.set(storage, name, value)
    }

    pub(crate) fn storage_left(&self, storage: &[u8]) -> usize {
        self.metadata.left(storage)
    }

    pub(crate) fn move_metadata(&self, from: &[u8], to: &mut [u8]) {
        self.metadata.move_to(from, to);
    }

    pub(crate) fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = Some(timeout.to_wire());
        self.timeout_pending = true;
    }

    pub(crate) fn add_credit(&mut self, bytes: i32) {
        self.link_state.top_up = self.link_state.top_up.saturating_add(bytes);
    }

    pub(crate) fn consumed(&mut self, bytes: u32) -> bool {
        let bytes = bytes.min(self.link_state.unconsumed);
        self.link_state.unconsumed -= bytes;
        self.link_state.consumed = self.link_state.consumed.wrapping_add(bytes);
        let (window, consumed) = (self.config.window, self.link_state.consumed);
        // From a half of the window on.
        if window < Config::UNLIMITED && window > 0 && consumed >= window.div_ceil(2) {
            self.add_credit(consumed.min(i32::MAX as u32) as i32);
            self.link_state.consumed = 0;
        }
        self.link_state.top_up != 0
    }

    const fn tell(&mut self, what: u8) {
        self.pending |= what;
    }

    /// The onward connection is gone. What had not begun to be sent stays wanted.
    #[inline(never)]
    fn disconnected(&mut self) {
        self.connected = false;
        self.message_open = false;
        self.rideshare_turn = 0;
        if let Hint::Sent(length) = self.hint {
            self.hint = Hint::Pending(length);
        }
    }
}
