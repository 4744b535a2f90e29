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
