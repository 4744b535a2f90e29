//! The same in packets: what stands between the client and its line.

use sspc::arq::{Choice, Config, DeviceFraming, Input, SoftCrc};
use sspc::{ClientEvent, Instant, StreamId, Tx};

use crate::client::Four;

#[cfg(not(feature = "psk"))]
use sspc::arq::Checked;
#[cfg(feature = "psk")]
use sspc::arq::{ChaCha20Poly1305, Key, OwnKey, Sealed};

#[cfg(not(feature = "psk"))]
type Protect = Checked<SoftCrc>;
#[cfg(not(feature = "psk"))]
const PROTECT: Protect = Checked::new(SoftCrc);

#[cfg(feature = "psk")]
type Protect = Sealed<SoftCrc, ChaCha20Poly1305, OwnKey<&'static str>>;
#[cfg(feature = "psk")]
const PROTECT: Protect =
    Sealed::new(SoftCrc, ChaCha20Poly1305, OwnKey::new("lamp", Key::new([7; 32])), [0x5e; 32]);

/// With room for packets of 220 bytes.
type Layer = DeviceFraming<Protect, [u8; 220 + 20], [u8; 320]>;

static mut LAYER: Layer =
    DeviceFraming::new(Choice::Auto, &Config::DEFAULT, 0x5eed, PROTECT, [0; 220 + 20], [0; 320]);

/// As long as what packets take beside both buffers: see `client::ram`.
// SAFETY: nothing else has the name; the section has no meaning for any linker.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".measure")]
static RAM_OF_PACKETS: [u8; size_of::<DeviceFraming<Protect, [u8; 0], [u8; 0]>>()] = [0; _];

fn layer() -> &'static mut Layer {
    let layer = &raw mut LAYER;
    // SAFETY: each function of this module asks once and gives it to no other, and there is one thread.
    unsafe { &mut *layer }
}

pub(crate) fn receive(client: &mut Four, now: Instant, mut raw: &[u8], tell: fn(ClientEvent<'_>)) {
    let layer = layer();
    while let Some(came) = layer.receive(now, &mut raw, client.mux()) {
        match came {
            Input::Reset => client.reset(),
            Input::Bytes(mut bytes) => {
                while let Some(event) = client.receive(now, &mut bytes) {
                    tell(event);
                }
            }
        }
    }
}

pub(crate) fn transmit(
    client: &mut Four,
    now: Instant,
    out: &mut [u8],
    source: &mut dyn FnMut(StreamId, &mut [u8]) -> Option<Tx>,
) -> usize {
    layer().transmit(now, out, &mut |room| client.transmit(now, room, source).unwrap_or(0))
}

pub(crate) fn deadline(client: &Four, now: Instant) -> Option<Instant> {
    client.deadline().into_iter().chain(layer().deadline(now)).min()
}
