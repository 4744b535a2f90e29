/// Everything about a packet layer that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest payload of a packet, to be sent and to be received: 64 to 4,095. What the peer takes
    /// bounds it too.
    pub packet_max: u16,
    /// How long an acknowledgement may wait for data to ride on, in µs.
    pub ack_delay_us: u32,
    /// How long to wait for an answer before a round trip was measured, in µs. More than a round trip
    /// with two of the longest packets takes.
    pub wait_first_us: u32,
    /// The longest wait for an answer, in µs, unless a round trip takes longer.
    pub wait_max_us: u32,
    /// How many waits without an answer, each twice as long, mean that nobody is there.
    pub waits_max: u8,
    /// The way keeps packets apart by itself, may reorder and double them, and loses them whatever
    /// their length: UDP, radio. There is no stuffing then.
    pub datagrams: bool,
}

impl Config {
    /// For a serial line at 115,200 bit/s or more.
    pub const DEFAULT: Self = Self {
        packet_max: 1380,
        ack_delay_us: 4000,
        wait_first_us: 300_000,
        wait_max_us: 500_000,
        waits_max: 8,
        datagrams: false,
    };

    /// For a way that carries datagrams with payloads of `packet_max` bytes, over the internet or by
    /// radio.
    pub const fn datagrams(packet_max: u16) -> Self {
        Self {
            packet_max,
            ack_delay_us: 10_000,
            wait_first_us: 1_000_000,
            wait_max_us: 3_000_000,
            waits_max: 8,
            datagrams: true,
        }
    }

    /// The same for a line of so many bit/s: a packet takes no longer than 2.5 ms, or is no longer than
    /// 512 bytes. What is urgent waits behind one, and a loss costs the time of four.
    #[must_use]
    pub const fn for_line(self, bits_per_second: u32) -> Self {
        // 8N1: ten bits a byte.
        let a_second = bits_per_second as u64 / 10 + 1;
        let fits = if a_second / 400 > 512 { a_second / 400 } else { 512 };
        let packet_max = if fits < self.packet_max as u64 { fits as u16 } else { self.packet_max };
        Self { packet_max, ..self }.with_waits_for(bits_per_second)
    }

    /// The same with waits for a line of so many bit/s, whose longest packets stay as they are.
    #[must_use]
    pub const fn with_waits_for(self, bits_per_second: u32) -> Self {
        let a_second = bits_per_second as u64 / 10 + 1;
        // Four packets there and back, and what the drivers keep.
        let packet_us = (self.packet_max as u64 + 16) * 1_000_000 / a_second;
        let wait_first_us = 4 * packet_us as u32 + 50_000;
        let wait_max_us =
            if wait_first_us > self.wait_max_us { wait_first_us } else { self.wait_max_us };
        Self { wait_first_us, wait_max_us, ..self }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The shortest payload that is worth a packet: what the mux needs to write anything.
pub(crate) const ROOM_MIN: u16 = sspc_mux::TRANSMIT_MIN as u16;
