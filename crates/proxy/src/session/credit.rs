//! Credit: how much payload may go which way.

use sspc_wire::Streamtype;

/// What the client lets through to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCredit {
    /// The client manages no credit.
    Unlimited,
    /// So many bytes of payload.
    Bytes(u64),
}

impl ClientCredit {
    /// What STREAMTYPE gives. To clients that do not announce that they manage credit, none or
    /// less than none means what it means to deployed proxies: the proxy is to see to it itself.
    pub(crate) fn initial(streamtype: &Streamtype<'_>) -> Self {
        let given = u64::try_from(streamtype.tx_credit).unwrap_or(0);
        if streamtype.credit_is_unlimited() || (given == 0 && !streamtype.honours_credit()) {
            Self::Unlimited
        } else {
            Self::Bytes(given)
        }
    }

    /// For the message bus, where STREAMTYPE gives classes instead. A client that announces that it
    /// manages credit gives some once the stream is created; to others all is sent.
    pub(crate) fn of_smd(streamtype: &Streamtype<'_>) -> Self {
        if streamtype.honours_credit() { Self::Bytes(0) } else { Self::Unlimited }
    }

    /// TXCR_UPDATE; a negative one takes back what is not used yet.
    pub(crate) fn add(&mut self, update: i32) {
        if let Self::Bytes(bytes) = self {
            *bytes = bytes.saturating_add_signed(update.into());
        }
    }

    /// Raises a limit to another one, if that is higher.
    pub(crate) fn raise_to(&mut self, other: Self) {
        if let (Self::Bytes(bytes), Self::Bytes(raised)) = (self, other) {
            *bytes = raised.max(*bytes);
        }
    }

    /// True if so many bytes may go.
    pub(crate) fn allows(&self, wanted: usize) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Bytes(bytes) => *bytes >= wanted as u64,
        }
    }

    /// True if some of a frame's payload may go, but neither all of it nor half of the most that the
    /// client has given. A client that gives credit back frame by frame would get ever shorter
    /// frames: the silly window syndrome, avoided as in RFC 1122, section 4.2.3.4.
    pub(crate) fn is_too_little(&self, wanted: usize, most: Self) -> bool {
        match (self, most) {
            (Self::Bytes(credit), Self::Bytes(most)) => {
                *credit > 0 && *credit < most.div_ceil(2).min(wanted as u64)
            }
            _ => false,
        }
    }

    /// Takes up to `wanted` bytes; how many there were.
    pub(crate) fn take(&mut self, wanted: usize) -> usize {
        match self {
            Self::Unlimited => wanted,
            Self::Bytes(bytes) => {
                let taken = usize::try_from(*bytes).map_or(wanted, |bytes| bytes.min(wanted));
                *bytes -= taken as u64;
                taken
            }
        }
    }
}

/// What the proxy lets a client send that honours credit: as much as the stream's buffer holds,
/// topped up as payload leaves it.
#[derive(Debug)]
pub(crate) struct Window {
    /// 0 for a streamtype that takes no payload.
    size: u32,
    owed: u64,
    /// The first TXCR_UPDATE is out.
    told: bool,
}

impl Window {
    /// Nothing given yet; `size` is in bytes.
    pub(crate) fn new(size: u32) -> Self {
        let size = size.clamp(1, i32::MAX as u32);
        Self { size, owed: size.into(), told: false }
    }

    /// For a streamtype that takes no payload: the first update is 0, and there is no other.
    pub(crate) fn none() -> Self {
        Self { size: 0, owed: 0, told: false }
    }

    /// True if no payload is ever taken.
    pub(crate) fn is_none(&self) -> bool {
        self.size == 0
    }

    /// This many bytes of payload left the buffer.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.owed = self.owed.saturating_add(bytes as u64);
    }

    /// The next TXCR_UPDATE, once it is worth a frame.
    pub(crate) fn update(&mut self) -> Option<i32> {
        let told = std::mem::replace(&mut self.told, true);
        if self.is_none() {
            return (!told).then_some(0);
        }
        if self.owed < u64::from(self.size).div_ceil(2) {
            return None;
        }
        let update = i32::try_from(self.owed).unwrap_or(i32::MAX);
        self.owed -= u64::from(update.unsigned_abs());
        Some(update)
    }
}

#[cfg(test)]
mod tests {
    use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};

    use super::*;

    fn initial(pid: u32, tx_credit: i32) -> ClientCredit {
        ClientCredit::initial(&Streamtype { version: 1, pid, tx_credit, name: b"x" })
    }

    #[test]
    fn what_deployed_clients_give_means_unlimited() {
        assert_eq!(initial(77, CREDIT_UNLIMITED), ClientCredit::Unlimited);
        assert_eq!(initial(77, 0), ClientCredit::Unlimited);
        assert_eq!(initial(77, 5), ClientCredit::Bytes(5));
    }

    #[test]
    fn a_client_that_manages_credit_is_taken_at_its_word() {
        assert_eq!(initial(PID_CREDIT_BIT, 0), ClientCredit::Bytes(0));
        assert_eq!(initial(PID_CREDIT_BIT, -5), ClientCredit::Bytes(0));
        assert_eq!(initial(PID_CREDIT_BIT, CREDIT_UNLIMITED), ClientCredit::Unlimited);
    }

    #[test]
    fn no_more_is_taken_than_was_given() {
        let mut credit = ClientCredit::Bytes(10);
        assert_eq!(credit.take(7), 7);
        assert_eq!(credit.take(7), 3);
        assert_eq!(credit.take(7), 0);
        credit.add(5);
        credit.add(-2);
        assert_eq!(credit.take(7), 3);
        credit.add(i32::MIN);
        assert_eq!(credit, ClientCredit::Bytes(0));
    }

    #[test]
    fn the_first_update_is_the_whole_window_and_more_comes_by_halves() {
        let mut window = Window::new(1000);
        assert_eq!(window.update(), Some(1000));
        assert_eq!(window.update(), None);
        window.give_back(499);
        assert_eq!(window.update(), None);
        window.give_back(1);
        assert_eq!(window.update(), Some(500));
        assert_eq!(Window::new(0).update(), Some(1));
    }

    #[test]
    fn a_window_for_nothing_says_so_once() {
        let mut window = Window::none();
        assert_eq!(window.update(), Some(0));
        window.give_back(1000);
        assert_eq!(window.update(), None);
    }
}
