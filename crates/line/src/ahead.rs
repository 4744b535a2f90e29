//! How far a channel may be ahead of what the peer has read off the line.
//!
//! The mux has no flow control. But bytes stay in order, so that the answer to a PING says that the
//! peer has read all that was sent before that PING. A channel with a limit stops where it is reached,
//! and the line sends a PING when half of it is used up, so that the answer is mostly there by then.

use sspc_wire::limits::MUX_HEAD;

/// What is known of one channel. All counts are bytes on the line, heads of the mux included.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// None sets no limit.
    max: Option<u32>,
    sent: u64,
    /// Of these, what was sent before the last PING.
    pinged: u64,
    /// Of these, what the peer is known to have read.
    read: u64,
}

impl Ahead {
    /// No more than so many bytes are unread from here on. What is too little to send anything is
    /// taken for the least that is not.
    pub(crate) const fn limit(&mut self, max: u32) {
        const LEAST: u32 = 32;
        self.max = Some(if max > LEAST { max } else { LEAST });
    }

    /// How much of `waiting` bytes may be sent in a frame now; none rather than very few.
    pub(crate) fn room(&self, waiting: usize) -> usize {
        let Some(max) = self.max else { return waiting };
        let left = u64::from(max).saturating_sub(self.unread());
        let room = usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(MUX_HEAD);
        let worthwhile = max as usize / 8;
        if room < waiting.min(worthwhile) { 0 } else { room.min(waiting) }
    }

    /// A frame with so many bytes was sent.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.sent += (bytes + MUX_HEAD) as u64;
    }

    pub(crate) const fn ping_sent(&mut self) {
        self.pinged = self.sent;
    }

    pub(crate) const fn ping_answered(&mut self) {
        self.read = self.pinged;
    }

    /// The channel needs to know how much the peer has read.
    pub(crate) fn wants_ping(&self) -> bool {
        self.max.is_some_and(|max| self.unread() > u64::from(max / 2))
    }

    const fn unread(&self) -> u64 {
        self.sent - self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends all that may be sent of `waiting` bytes; how many went.
    fn send(ahead: &mut Ahead, mut waiting: usize, frame_max: usize) -> usize {
        let all = waiting;
        while let room @ 1.. = ahead.room(waiting).min(frame_max) {
            ahead.sent(room);
            waiting -= room;
        }
        all - waiting
    }

    #[test]
    fn heads_count_and_nothing_is_sent_beyond_the_limit() {
        for frame_max in [1, 10, 1000] {
            let mut ahead = Ahead::default();
            ahead.limit(100);
            let sent = send(&mut ahead, 1000, frame_max);
            assert!(ahead.unread() <= 100, "{}", ahead.unread());
            assert!(sent >= 16 && ahead.wants_ping());
        }
    }

    #[test]
    fn only_what_was_sent_before_the_ping_is_known_to_be_read() {
        let mut ahead = Ahead::default();
        ahead.limit(1000);
        ahead.sent(596);
        ahead.ping_sent();
        ahead.sent(296);
        assert!(ahead.wants_ping());
        ahead.ping_answered();
        assert!(!ahead.wants_ping());
        assert_eq!(ahead.room(5000), 696);
    }

    #[test]
    fn the_least_limit_lets_something_pass_and_asks_for_a_ping() {
        let mut ahead = Ahead::default();
        ahead.limit(0);
        for _ in 0..100 {
            assert!(send(&mut ahead, 1, 1) == 1 || ahead.wants_ping());
            ahead.ping_sent();
            ahead.ping_answered();
            assert!(ahead.room(1) > 0);
        }
    }

    #[test]
    fn without_a_limit_all_is_sent_and_no_ping_is_wanted() {
        let mut ahead = Ahead::default();
        assert_eq!(send(&mut ahead, 1 << 20, 1380), 1 << 20);
        assert!(!ahead.wants_ping());
    }
}
