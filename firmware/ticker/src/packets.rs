//! Packets between the client and the line, which lose nothing to noise. A proxy that does not know them
//! is spoken to without.

use firmware_board::BAUD;
use sspc::arq::{Checked, Choice, Config, DeviceFraming, SoftCrc};
use static_cell::ConstStaticCell;

use crate::SEED;

/// The longest payload of a packet that comes.
const PAYLOAD_MAX: usize = 256;

/// What was sent and is not acknowledged: more than goes at once.
const REPLAY: usize = 256;

/// Beside the two buffers they take 64 bytes.
pub type Packets = DeviceFraming<Checked<SoftCrc>, [u8; PAYLOAD_MAX + 6], [u8; REPLAY]>;

static PACKETS: ConstStaticCell<Packets> = ConstStaticCell::new(DeviceFraming::new(
    Choice::Auto,
    &Config::DEFAULT.for_line(BAUD),
    SEED,
    Checked::new(SoftCrc),
    [0; PAYLOAD_MAX + Packets::OVERHEAD],
    [0; REPLAY],
));

/// The packets of the line, for the only one that asks.
pub fn take() -> &'static mut Packets {
    PACKETS.take()
}
