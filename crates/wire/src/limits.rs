//! Every limit of the wire, in one place. Lengths are in bytes.

/// The protocol version that a STREAMTYPE frame announces.
pub const VERSION: u8 = 1;
/// The head of every SSS frame: type u8, rest u16.
pub const FRAME_HEAD: usize = 3;
/// The fixed part of RX_PAYLOAD and TX_PAYLOAD behind the frame head.
pub const PAYLOAD_FIXED: usize = 16;
/// The most payload that one frame can carry (`rest` is 16 bits wide).
pub const PAYLOAD_MAX: usize = u16::MAX as usize - PAYLOAD_FIXED;
/// The most payload in one frame that every deployed peer passes on in one piece.
pub const PAYLOAD_SAFE: usize = 1380;
/// The longest streamtype or rideshare name.
pub const STREAMTYPE_NAME_MAX: usize = 31;
/// The longest metadata name that deployed peers take.
pub const METADATA_NAME_MAX: usize = 30;
/// The longest name of any kind that the decoders take; longer ones are a [`crate::FrameError`].
pub const NAME_RECEIVED_MAX: usize = 32;
/// The longest metadata value that every deployed client takes.
pub const METADATA_VALUE_SAFE: usize = 1500;
/// The longest list of streamtype names in CREATE_RESULT that deployed clients take.
pub const STREAMTYPE_LIST_MAX: usize = 127;
/// An initial credit of this much or more means: no limit. Deployed clients give exactly this
/// when their application does not manage credit.
pub const CREDIT_UNLIMITED: i32 = 500_000_000;
/// Set in the pid of STREAMTYPE by a client that honours the credit it is given and takes large
/// payload frames. Real pids are below 2^22, so no other client sets it.
pub const PID_CREDIT_BIT: u32 = 1 << 31;
/// The most payload in one frame to a client that set [`PID_CREDIT_BIT`], on a socket.
pub const PAYLOAD_LARGE: usize = 16 * 1024;
/// The longest body of a MUX frame; 65,535 is refused by deployed peers.
pub const MUX_BODY_MAX: usize = u16::MAX as usize - 1;
/// The most channels that may be open on one link at a time.
pub const MUX_CHANNELS_MAX: usize = 253;
/// The longest mux frame apart from MUX: PONG.
pub const MUX_CONTROL_MAX: usize = 17;
/// The head of a MUX frame: type, index, length.
pub const MUX_HEAD: usize = 4;
/// The most bytes of control that a proxy has on a line and that the device has not read, while the
/// link is up: RESET_TRANSPORT, two PINGs, the answers to two PINGs, and two PONGACKs.
pub const LINE_CONTROL_MAX: u32 = 1 + 2 * 9 + 2 * 17 + 2 * 9;
/// The most bytes of control for one channel of these.
pub const CHANNEL_CONTROL_MAX: u32 = 6;

/// The most bytes of one stream's channel that a proxy has on a line and that the device has not
/// read, if the device honours credit ([`PID_CREDIT_BIT`]) and has given no more than `credit` bytes
/// that were not used yet. All that is sent on the channel counts: payload, the heads of frames and
/// of the mux, empty messages, metadata, states.
pub const fn channel_ahead_max(credit: u32) -> u32 {
    credit.saturating_add(credit / 32).saturating_add(64)
}

/// The most bytes that a proxy has on a line and that the device has not read, with one stream for
/// each of these credits: [`channel_ahead_max`] of each, and control. A receive ring of so many bytes
/// never overflows.
///
/// ```
/// assert_eq!(sspc_wire::limits::line_ahead_max(&[512, 512]), 1267);
/// ```
pub const fn line_ahead_max(credits: &[u32]) -> u32 {
    let (mut sum, mut rest) = (LINE_CONTROL_MAX, credits);
    while let Some((credit, others)) = rest.split_first() {
        let channel = channel_ahead_max(*credit).saturating_add(CHANNEL_CONTROL_MAX);
        sum = sum.saturating_add(channel);
        rest = others;
    }
    sum
}
