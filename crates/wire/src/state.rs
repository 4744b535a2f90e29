use core::fmt;

/// A state of a stream: what CONNSTATE carries and what the application sees.
///
/// The number on the wire is [`State::code`]; `docs/spec/streams.md` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// 1: the stream exists at the proxy; metadata and credit can be set.
    Creating,
    /// 2: a connection that was CONNECTED is gone.
    Disconnected,
    /// 3: an attempt to connect failed.
    Unreachable,
    /// 4: the remote peer refused the credentials.
    AuthFailed,
    /// 5: the onward connection is there; payload can flow.
    Connected,
    /// 6: an attempt to connect begins.
    Connecting,
    /// 7: the stream is about to go away; the last state of its life.
    Destroying,
    /// 8: the idle stream was asked to send or retries; CONNECTING follows.
    Poll,
    /// 9: the policy's retries are used up; the stream is idle until asked again.
    AllRetriesFailed,
    /// 10: the remote peer took the message, or the transaction ended well.
    QosAckRemote,
    /// 11: the remote peer refused the message, or the transaction ended badly.
    QosNackRemote,
    /// 12: a local peer took the message.
    QosAckLocal,
    /// 13: a local peer refused the message.
    QosNackLocal,
    /// 14: the timeout that the client started ran out; nothing else changed.
    Timeout,
    /// 15: a transaction with a client of this server stream begins.
    ServerTxn,
    /// 16: a client of this server stream upgraded its connection.
    ServerUpgrade,
    /// 17: an event loop's wait was cancelled; never on the wire.
    EventWaitCancelled,
    /// 18: the link to the proxy is down and is tried again; made by the client itself.
    UpstreamLinkRetry,
    /// 19: a source joined this sink.
    SinkJoin,
    /// 20: a source left this sink.
    SinkPart,
    /// 1000 and above: what the policy's `http_resp_map` or the application made of it.
    User(u32),
    /// Any other number: it has no meaning here, and no sequence of states may hold it.
    Other(u32),
}

const NAMED: [(State, &str); 20] = [
    (State::Creating, "CREATING"),
    (State::Disconnected, "DISCONNECTED"),
    (State::Unreachable, "UNREACHABLE"),
    (State::AuthFailed, "AUTH_FAILED"),
    (State::Connected, "CONNECTED"),
    (State::Connecting, "CONNECTING"),
    (State::Destroying, "DESTROYING"),
    (State::Poll, "POLL"),
    (State::AllRetriesFailed, "ALL_RETRIES_FAILED"),
    (State::QosAckRemote, "QOS_ACK_REMOTE"),
    (State::QosNackRemote, "QOS_NACK_REMOTE"),
    (State::QosAckLocal, "QOS_ACK_LOCAL"),
    (State::QosNackLocal, "QOS_NACK_LOCAL"),
    (State::Timeout, "TIMEOUT"),
    (State::ServerTxn, "SERVER_TXN"),
    (State::ServerUpgrade, "SERVER_UPGRADE"),
    (State::EventWaitCancelled, "EVENT_WAIT_CANCELLED"),
    (State::UpstreamLinkRetry, "UPSTREAM_LINK_RETRY"),
    (State::SinkJoin, "SINK_JOIN"),
    (State::SinkPart, "SINK_PART"),
];

impl State {
    /// The first number of the user states.
    pub const USER_BASE: u32 = 1000;

    /// The ordinal of a DISCONNECTED behind which the proxy closes the link, because it shuts down.
    /// What the client had asked for is lost with the link, not ended. Only clients that say they
    /// honour their credit get it.
    pub const LINK_CLOSES: u32 = 1;

    /// The state of a number on the wire.
    pub const fn from_code(code: u32) -> Self {
        // Numbers and variants have one order, which makes this a subtraction.
        match code {
            1 => Self::Creating,
            2 => Self::Disconnected,
            3 => Self::Unreachable,
            4 => Self::AuthFailed,
            5 => Self::Connected,
            6 => Self::Connecting,
            7 => Self::Destroying,
            8 => Self::Poll,
            9 => Self::AllRetriesFailed,
            10 => Self::QosAckRemote,
            11 => Self::QosNackRemote,
            12 => Self::QosAckLocal,
            13 => Self::QosNackLocal,
            14 => Self::Timeout,
            15 => Self::ServerTxn,
            16 => Self::ServerUpgrade,
            17 => Self::EventWaitCancelled,
            18 => Self::UpstreamLinkRetry,
            19 => Self::SinkJoin,
            20 => Self::SinkPart,
            Self::USER_BASE.. => Self::User(code),
            _ => Self::Other(code),
        }
    }

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        match self {
            Self::User(code) | Self::Other(code) => code,
            named => named.place(),
        }
    }

    /// The place among the variants, from 1 on, which is the number of all that have a name.
    const fn place(self) -> u32 {
        // Numbers and variants have one order, which makes this an addition.
        match self {
            Self::Creating => 1,
            Self::Disconnected => 2,
            Self::Unreachable => 3,
            Self::AuthFailed => 4,
            Self::Connected => 5,
            Self::Connecting => 6,
            Self::Destroying => 7,
            Self::Poll => 8,
            Self::AllRetriesFailed => 9,
            Self::QosAckRemote => 10,
            Self::QosNackRemote => 11,
            Self::QosAckLocal => 12,
            Self::QosNackLocal => 13,
            Self::Timeout => 14,
            Self::ServerTxn => 15,
            Self::ServerUpgrade => 16,
            Self::EventWaitCancelled => 17,
            Self::UpstreamLinkRetry => 18,
            Self::SinkJoin => 19,
            Self::SinkPart => 20,
            Self::User(_) => 21,
            Self::Other(_) => 22,
        }
    }

    /// The name as the protocol writes it; `USER` for any user state, `UNKNOWN` for a number
    /// without a meaning.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User(_) => "USER",
            Self::Other(_) => "UNKNOWN",
            named => NAMED[named.code() as usize - 1].1,
        }
    }

    /// True for states that leave the current state as it is: the user states, 17 and 18.
    pub const fn is_transparent(self) -> bool {
        matches!(self, Self::User(_) | Self::EventWaitCancelled | Self::UpstreamLinkRetry)
    }

    /// True if a peer may report `next` after `current`; `None` is a stream without a state yet.
    ///
    /// This is what a receiver takes: the union of what deployed proxies send. What a proxy of
    /// ours sends is narrower, so that every deployed client takes it: [`State::is_safe_after`].
    pub const fn may_follow(next: Self, current: Option<Self>) -> bool {
        let current = match current {
            None => NO_STATE,
            Some(Self::User(_) | Self::Other(_)) => NO_NAME,
            Some(named) => named.code() as u8,
        };
        next.is_transparent() || Self::code_may_follow(next.code(), current)
    }

    /// The same by the numbers of states that are not transparent; 0 is a stream without a state yet.
    pub const fn code_may_follow(next: u32, current: u8) -> bool {
        // The second is always so, but the compiler does not know it.
        next < NO_NAME as u32
            && current <= NO_NAME
            && (ALLOWED[current as usize] as u32) << 1 >> next & 1 != 0
    }

    /// True if `next` may be sent after `current` to every deployed client. After TIMEOUT the
    /// state before it counts, with ALL_RETRIES_FAILED excepted; that is for the sender to track.
    /// The states that a client makes itself are none for a proxy to send.
    pub const fn is_safe_after(next: Self, current: Option<Self>) -> bool {
        if let Self::User(_) = next {
            return true;
        }
        let allowed = match current {
            None => CREATING,
            Some(Self::Creating) => CONNECTING | POLL | TIMEOUT,
            Some(Self::Poll) => CONNECTING | TIMEOUT,
            Some(Self::Connecting) => CONNECTED | UNREACHABLE | DISCONNECTED | TIMEOUT,
            Some(Self::Connected) => QOS_REMOTE | DISCONNECTED | TIMEOUT,
            Some(Self::QosAckRemote | Self::QosNackRemote) => DISCONNECTED | TIMEOUT,
            Some(Self::Disconnected) => POLL | CONNECTING | TIMEOUT,
            Some(Self::Unreachable) => POLL | CONNECTING | ALL_RETRIES_FAILED | TIMEOUT,
            Some(Self::AllRetriesFailed) => CONNECTING | TIMEOUT,
            Some(Self::Destroying) => return false,
            Some(_) => 0,
        };
        (allowed | DESTROYING) & bit(next) != 0
    }
}

/// The bit of a state in the tables below; 0 for those that are in no table.
const fn bit(state: State) -> u32 {
    match state.code() {
        code @ 1..=20 => 1 << code,
        _ => 0,
    }
}

const CREATING: u32 = bit(State::Creating);
const DISCONNECTED: u32 = bit(State::Disconnected);
const UNREACHABLE: u32 = bit(State::Unreachable);
const AUTH_FAILED: u32 = bit(State::AuthFailed);
const CONNECTED: u32 = bit(State::Connected);
const CONNECTING: u32 = bit(State::Connecting);
const DESTROYING: u32 = bit(State::Destroying);
const POLL: u32 = bit(State::Poll);
const ALL_RETRIES_FAILED: u32 = bit(State::AllRetriesFailed);
const TIMEOUT: u32 = bit(State::Timeout);
const SERVER_TXN: u32 = bit(State::ServerTxn);
const SERVER_UPGRADE: u32 = bit(State::ServerUpgrade);
const QOS_REMOTE: u32 = bit(State::QosAckRemote) | bit(State::QosNackRemote);
const QOS_LOCAL: u32 = bit(State::QosAckLocal) | bit(State::QosNackLocal);

/// The places in [`ALLOWED`] of a stream without a state yet, and of states that have no name.
const NO_STATE: u8 = 0;
const NO_NAME: u8 = 21;

/// What may follow the states, by their numbers. The lowest bit is CREATING's.
const ALLOWED: [u16; NO_NAME as usize + 1] = {
    let mut allowed = [(DESTROYING >> 1) as u16; NO_NAME as usize + 1];
    let mut code = 1;
    while code < NO_NAME {
        allowed[code as usize] |= (after(State::from_code(code as u32)) >> 1) as u16;
        code += 1;
    }
    allowed[State::Destroying.code() as usize] = 0;
    allowed[NO_STATE as usize] |= (CREATING >> 1) as u16;
    allowed
};

/// What may follow a state, DESTROYING left out. The sinks' states are no part of any sequence
/// that a proxy sends, so nothing leads to them and nothing follows.
const fn after(from: State) -> u32 {
    match from {
        State::Creating => CONNECTING | TIMEOUT | POLL | SERVER_UPGRADE,
        State::Disconnected => CONNECTING | TIMEOUT | POLL | UNREACHABLE | CONNECTED,
        State::Unreachable => {
            ALL_RETRIES_FAILED | TIMEOUT | POLL | CONNECTING | CONNECTED | UNREACHABLE
        }
        State::AuthFailed => ALL_RETRIES_FAILED | TIMEOUT | CONNECTING,
        State::Connected => {
            SERVER_UPGRADE
                | SERVER_TXN
                | AUTH_FAILED
                | QOS_REMOTE
                | QOS_LOCAL
                | DISCONNECTED
                | TIMEOUT
                | POLL
                | CONNECTING
        }
        State::Connecting => {
            UNREACHABLE
                | AUTH_FAILED
                | CONNECTING
                | CONNECTED
                | TIMEOUT
                | DISCONNECTED
                | POLL
                | ALL_RETRIES_FAILED
                | QOS_REMOTE
        }
        State::Poll => CONNECTING | TIMEOUT | ALL_RETRIES_FAILED,
        State::AllRetriesFailed => CONNECTING | TIMEOUT | UNREACHABLE | POLL,
        State::QosAckRemote | State::QosNackRemote => {
            DISCONNECTED | TIMEOUT | QOS_REMOTE | CONNECTING
        }
        // No deployed table lets DISCONNECTED follow QOS_NACK_LOCAL, but a link can be lost then too.
        State::QosAckLocal | State::QosNackLocal => DISCONNECTED | TIMEOUT,
        State::Timeout => {
            CONNECTING | CONNECTED | QOS_REMOTE | POLL | TIMEOUT | DISCONNECTED | UNREACHABLE
        }
        State::ServerTxn => DISCONNECTED | TIMEOUT | SERVER_TXN,
        State::ServerUpgrade => SERVER_TXN | SERVER_UPGRADE | TIMEOUT | DISCONNECTED,
        State::SinkJoin
        | State::SinkPart
        | State::Destroying
        | State::EventWaitCancelled
        | State::UpstreamLinkRetry
        | State::User(_)
        | State::Other(_) => 0,
    }
}

/// The protocol's name, others with their number: `CONNECTED`, `USER(1530)`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(code) => write!(f, "USER({code})"),
            Self::Other(code) => write!(f, "UNKNOWN({code})"),
            named => f.write_str(named.name()),
        }
    }
}
