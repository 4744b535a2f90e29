//! Frames of sessions as they pass, for those who follow them.
//!
//! A session looks whether anybody follows at all: one atomic a read, and one a frame that was written.
//! Only if so it gathers frames, and puts them into the queue of each follower that they are for. A
//! follower that does not keep up loses frames, and hears how many; nobody waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use sspc_wire::Direction;
use tokio::sync::mpsc;

use super::Observer;
use super::handle::Observed;
use crate::session::Peer;

/// Memory of a frame in a queue, beside its bytes.
const FRAME_COST: usize = size_of::<SeenFrame>() + 64;

/// Bytes of frames that have not come to their end, all sessions together; of what comes beyond it the
/// beginning is kept.
const GATHERED_MAX: usize = 16 << 20;

/// No frame has more bytes.
const FRAME_MAX: usize = 3 + 65_535;

/// Which frames somebody wants to see, how much of each, and how many may wait.
///
/// ```
/// use sspc_proxy::FrameSelection;
///
/// let mut selection = FrameSelection::default();
/// selection.streamtype = Some("hello".to_owned());
/// selection.snap = 256;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameSelection {
    /// Of this client alone, as [`SessionView::client`](super::view::SessionView::client) has it.
    pub client: Option<String>,
    /// Of streams of this streamtype alone.
    pub streamtype: Option<String>,
    /// Of the session of this number alone.
    pub session: Option<u64>,
    /// Bytes that are kept of each frame, from its beginning. Default: all.
    pub snap: usize,
    /// Bytes of memory that frames may take while they wait. Default: 4 MiB.
    pub queue: usize,
}

impl Default for FrameSelection {
    fn default() -> Self {
        let (client, streamtype, session) = (None, None, None);
        Self { client, streamtype, session, snap: FRAME_MAX, queue: 4 << 20 }
    }
}

impl FrameSelection {
    fn takes(&self, who: &Who) -> bool {
        self.session.is_none_or(|session| session == who.session)
            && self.client.as_ref().is_none_or(|client| **client == *who.client)
            && self.streamtype.as_ref().is_none_or(|name| who.streamtype.get() == Some(name))
    }
}

/// Whose frames they are.
#[derive(Debug)]
struct Who {
    session: u64,
    client: String,
    peer: String,
    /// Once it is named.
    streamtype: OnceLock<String>,
}

/// A frame that passed between a client and the proxy.
#[derive(Clone, Debug)]
pub struct SeenFrame {
    who: Arc<Who>,
    /// Which way.
    pub direction: Direction,
    /// When its last byte was read or written.
    pub at: SystemTime,
    /// The frame, up to [`FrameSelection::snap`] bytes.
    pub bytes: Bytes,
    /// How many bytes it has in all, of which `bytes` may have the beginning alone; of one that ended its session for a fault, how many came.
    pub length: usize,
    /// Why it ended its session, if it is such a fault.
    pub fault: Option<Arc<str>>,
    /// How many frames before it were lost to the follower, for want of room.
    pub missed: u64,
}

impl SeenFrame {
    /// Whether it came from the client.
    pub fn is_to_proxy(&self) -> bool {
        self.direction == Direction::ToProxy
    }

    /// The number of its session.
    pub fn session(&self) -> u64 {
        self.who.session
    }

    /// The client, as it counts for limits.
    pub fn client(&self) -> &str {
        &self.who.client
    }

    /// The other end of the link, as logs call it.
    pub fn peer(&self) -> &str {
        &self.who.peer
    }

    /// The streamtype that the client named, whether there is one of that name or not; `None` before it
    /// did. Anything can be in it.
    pub fn streamtype(&self) -> Option<&str> {
        self.who.streamtype.get().map(String::as_str)
    }

    fn cost(&self) -> usize {
        self.bytes.len() + FRAME_COST
    }
}

/// Who follows.
#[derive(Debug, Default)]
pub(super) struct Followers {
    are_there: AtomicBool,
    next: AtomicU64,
    /// Bytes that sessions keep of frames that have not come to their end.
    gathered: AtomicUsize,
    all: RwLock<Vec<Follower>>,
}

#[derive(Debug)]
struct Follower {
    number: u64,
    selection: FrameSelection,
    queue: mpsc::UnboundedSender<SeenFrame>,
    counts: Arc<Counts>,
}

/// Of a follower's queue.
#[derive(Debug, Default)]
struct Counts {
    /// Memory that waits, in bytes.
    waiting: AtomicUsize,
    /// Frames lost that the follower was not told of.
    missed: AtomicU64,
}

impl Follower {
    fn give(&self, mut frame: SeenFrame) {
        frame.bytes.truncate(self.selection.snap);
        let cost = frame.cost();
        let waiting = self.counts.waiting.fetch_add(cost, Ordering::Relaxed);
        if waiting.saturating_add(cost) > self.selection.queue {
            self.counts.waiting.fetch_sub(cost, Ordering::Relaxed);
            self.counts.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        frame.missed = self.counts.missed.swap(0, Ordering::Relaxed);
        // Nobody takes it any more.
        let _ = self.queue.send(frame);
    }
}

impl Followers {
    fn change(&self, change: impl FnOnce(&mut Vec<Follower>)) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        self.are_there.store(!all.is_empty(), Ordering::Relaxed);
    }

    /// Gives a frame, in two parts, to those that it is for.
    fn give(&self, frame: SeenFrame, parts: [&[u8]; 2]) {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let followers = || all.iter().filter(|follower| follower.selection.takes(&frame.who));
        let Some(snap) = followers().map(|follower| follower.selection.snap).max() else { return };
        let mut bytes = Vec::with_capacity(frame.length.min(snap));
        for part in parts {
            let room = snap.saturating_sub(bytes.len()).min(part.len());
            bytes.extend_from_slice(part.get(..room).unwrap_or_default());
        }
        let bytes = Bytes::from(bytes);
        for follower in followers() {
            follower.give(SeenFrame { bytes: bytes.clone(), ..frame.clone() });
        }
    }
}

/// The frames of a selection, from now on.
#[derive(Debug)]
pub struct FrameFeed {
    number: u64,
    frames: mpsc::UnboundedReceiver<SeenFrame>,
    counts: Arc<Counts>,
    observer: Weak<Observer>,
}

impl Observed {
    /// Frames of sessions as they pass, from now on. One that a session began before is not among them.
    pub fn frames(&self, selection: FrameSelection) -> FrameFeed {
        self.observer().follow(selection)
    }
}

impl Observer {
    /// Frames of sessions, from now on.
    pub(crate) fn follow(self: &Arc<Self>, selection: FrameSelection) -> FrameFeed {
        let (queue, frames) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let followers = self.followers();
        let number = followers.next.fetch_add(1, Ordering::Relaxed);
        let follower = Follower { number, selection, queue, counts: Arc::clone(&counts) };
        followers.change(|all| all.push(follower));
        FrameFeed { number, frames, counts, observer: Arc::downgrade(self) }
    }
}

impl FrameFeed {
    /// The next frame if it has passed already.
    pub fn ready(&mut self) -> Option<SeenFrame> {
        let frame = self.frames.try_recv().ok()?;
        Some(self.took(frame))
    }

    /// The next one; `None` when the proxy is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<SeenFrame> {
        let frame = self.frames.recv().await?;
        Some(self.took(frame))
    }

    /// How many frames were lost since the last one that [`SeenFrame::missed`] counts.
    pub fn missed(&self) -> u64 {
        self.counts.missed.load(Ordering::Relaxed)
    }

    fn took(&self, frame: SeenFrame) -> SeenFrame {
        self.counts.waiting.fetch_sub(frame.cost(), Ordering::Relaxed);
        frame
    }
}

impl Drop for FrameFeed {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.upgrade() {
            observer
                .followers()
                .change(|all| all.retain(|follower| follower.number != self.number));
        }
    }
}

/// What a session shows of its frames.
#[derive(Clone, Debug)]
pub(crate) struct SessionFrames {
    observer: Arc<Observer>,
    who: Arc<Who>,
}

impl SessionFrames {
    pub(crate) fn new(observer: &Arc<Observer>, session: u64, peer: &Peer) -> Self {
        let (client, peer) = (peer.identity().to_string(), peer.to_string());
        let who = Who { session, client, peer, streamtype: OnceLock::new() };
        Self { observer: Arc::clone(observer), who: Arc::new(who) }
    }

    /// The client named the streamtype.
    pub(crate) fn name(&self, streamtype: &[u8]) {
        // The first name counts; with a second one the session ends.
        let _ = self.who.streamtype.set(String::from_utf8_lossy(streamtype).into_owned());
    }

    /// Whether it is worth while to give frames.
    pub(crate) fn are_followed(&self) -> bool {
        self.observer.followers().are_there.load(Ordering::Relaxed)
    }

    /// A frame that passed, in two parts.
    pub(crate) fn give(&self, direction: Direction, parts: [&[u8]; 2]) {
        let [head, body] = parts;
        self.give_part(direction, parts, head.len() + body.len(), None);
    }

    /// The same of a frame of so many bytes, and what is wrong with it.
    fn give_part(
        &self,
        direction: Direction,
        parts: [&[u8]; 2],
        length: usize,
        fault: Option<String>,
    ) {
        let frame = SeenFrame {
            who: Arc::clone(&self.who),
            direction,
            at: SystemTime::now(),
            bytes: Bytes::new(),
            length,
            fault: fault.map(Arc::from),
            missed: 0,
        };
        self.observer.followers().give(frame, parts);
    }
}

/// The frames that a client sends, of which reads bring any part.
#[derive(Debug)]
pub(crate) struct ReadFrames {
    frames: SessionFrames,
    /// Of the frame that has not come to its end.
    bytes: Vec<u8>,
    /// How much of it has come.
    length: usize,
    /// `bytes` begins where a frame does.
    is_in_step: bool,
}

impl ReadFrames {
    pub(crate) const fn new(frames: SessionFrames) -> Self {
        Self { frames, bytes: Vec::new(), length: 0, is_in_step: false }
    }

    pub(crate) const fn session(&self) -> &SessionFrames {
        &self.frames
    }

    /// Bytes come, where a frame begins or not. True if they are to be given to [`ReadFrames::pass`].
    pub(crate) fn begin(&mut self, is_between_frames: bool) -> bool {
        let are_followed = self.frames.are_followed();
        if is_between_frames || !are_followed {
            self.is_in_step = is_between_frames && are_followed;
            self.forget();
        }
        are_followed
    }

    /// The next bytes, up to the frame's end at most; `fault` says why it is the last one, if it is.
    pub(crate) fn pass(&mut self, bytes: &[u8], is_end: bool, fault: Option<String>) {
        let is_whole = is_end || fault.is_some();
        let has_all = self.bytes.len() == self.length;
        self.length += bytes.len();
        if self.is_in_step && is_whole && self.length > 0 {
            let rest = if has_all { bytes } else { &[] };
            let parts = [&self.bytes[..], rest];
            self.frames.give_part(Direction::ToProxy, parts, self.length, fault);
        } else if self.is_in_step && !is_whole && has_all {
            self.gather(bytes);
        }
        if is_whole {
            self.forget();
            self.is_in_step = true;
        }
    }

    /// Keeps bytes of the frame, if there is room.
    fn gather(&mut self, bytes: &[u8]) {
        let gathered = &self.frames.observer.followers().gathered;
        let others = gathered.fetch_add(bytes.len(), Ordering::Relaxed);
        if others.saturating_add(bytes.len()) > GATHERED_MAX {
            gathered.fetch_sub(bytes.len(), Ordering::Relaxed);
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn forget(&mut self) {
        self.length = 0;
        if !self.bytes.is_empty() {
            let gathered = &self.frames.observer.followers().gathered;
            gathered.fetch_sub(self.bytes.len(), Ordering::Relaxed);
            self.bytes = Vec::new();
        }
    }
}

impl Drop for ReadFrames {
    fn drop(&mut self) {
        self.forget();
    }
}
