//! `sspc_mux_packets`: packets between a mux and its line, which lose nothing to noise.

use core::ffi::c_int;

use sspc_arq::{Checked, Choice, Config, DeviceFraming, Input, SoftCrc};
use sspc_mux::Instant;

use crate::abi::{Mux, ParseCbs};
use crate::mux_object::MuxRef;
use crate::timer::now;

/// A mux's packets, in memory that the firmware gives.
pub(crate) type Packets = DeviceFraming<Checked<SoftCrc>, Memory, Memory>;

/// Bytes that nobody else uses as long as the mux is there.
pub(crate) struct Memory {
    at: *mut u8,
    length: usize,
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: what the caller of `sspc_mux_packets` promised.
        unsafe { core::slice::from_raw_parts(self.at, self.length) }
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.length) }
    }
}

/// Has a mux speak in packets, with a proxy that knows them, or with `reliable` other than 0 with no
/// other. 1 if a buffer is too short. See `sspc/mux.h`.
///
/// # Safety
/// The mux is valid, and both buffers as long as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sspc_mux_packets(
    tm: *mut Mux,
    packet: *mut u8,
    packet_len: usize,
    sent: *mut u8,
    sent_len: usize,
    reliable: c_int,
) -> c_int {
    let Some(mux) = MuxRef::from_c(tm) else { return 1 };
    let is_short = packet_len <= Packets::OVERHEAD || sent_len < Packets::REPLAY_MIN;
    if packet.is_null() || sent.is_null() || is_short {
        return 1;
    }
    let choice = if reliable != 0 { Choice::Reliable } else { Choice::Auto };
    let packets = DeviceFraming::new(
        choice,
        &Config::DEFAULT,
        now().as_micros() as u32,
        Checked::new(SoftCrc),
        Memory { at: packet, length: packet_len },
        Memory { at: sent, length: sent_len },
    );
    // SAFETY: no reference to it is kept, and no call that uses it is under way.
    unsafe { *mux.packets.get() = Some(packets) };
    0
}

impl MuxRef {
    /// The packets, if the firmware wants them.
    ///
    /// # Safety
    /// The reference is not used after C code ran.
    unsafe fn packets<'p>(self) -> Option<&'p mut Packets> {
        // SAFETY: the caller's promise.
        unsafe { (*self.packets.get()).as_mut() }
    }

    /// Takes what came for the engine, which is not busy, out of packets; what is left is for it as it
    /// is.
    pub(crate) fn receive_packets<'i>(self, mut came: &'i [u8], cbs: &ParseCbs) -> &'i [u8] {
        while !self.pending_free.get() {
            // SAFETY: the engine is not busy; what comes is in the firmware's memory, not in the mux's.
            let (packets, engine) = unsafe { (self.packets(), self.engine()) };
            let Some(packets) = packets else { break };
            match packets.receive(now(), &mut came, engine) {
                None => break,
                Some(Input::Reset) => engine.reset(),
                Some(Input::Bytes(bytes)) => self.receive(bytes, cbs),
            }
        }
        came
    }

    /// Writes the next packet, or as it is what the source writes.
    pub(crate) fn transmit_packets(
        self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        // SAFETY: streams that are asked for bytes use no packets, as the engine is busy.
        match unsafe { self.packets() } {
            Some(packets) => packets.transmit(now, out, source),
            None => source(out),
        }
    }

    /// The earlier one of both deadlines.
    pub(crate) fn with_packets(self, at: Instant) -> Instant {
        // SAFETY: no C code runs.
        let packets = unsafe { self.packets() };
        packets
            .and_then(|packets| packets.deadline(now()))
            .map_or(at, |packets_at| at.min(packets_at))
    }
}
