//! Packets below the mux of a [`Client`](crate::Client), for lines that lose, change and double bytes:
//! each is checked, and sent again until it is acknowledged. A proxy that does not know packets is spoken
//! to as ever, unless the choice is [`Choice::Reliable`].
//!
//! [`DeviceFraming`] stands between a client and its line. In `embedded_io` it is the last argument of
//! `Line::with_layer`, in `embedded_io_async` of `Runner::run_in_packets`. Around a client of your own it
//! goes as follows:
//!
//! ```
//! use sspc::arq::{Checked, Choice, Config, DeviceFraming, Input, SoftCrc};
//! use sspc::{Client, ClientEvent, Instant, MuxConfig, Slots, StreamId, Tx};
//!
//! // What packets come into, the longest payload and OVERHEAD, and what was sent: from
//! // REPLAY_MIN on.
//! type Packets = DeviceFraming<Checked<SoftCrc>, [u8; 128 + 6], [u8; 256]>;
//! let packets: Packets = DeviceFraming::new(
//!     Choice::Auto,
//!     &Config::DEFAULT.for_line(115_200),
//!     0x5eed,
//!     Checked::new(SoftCrc),
//!     [0; 128 + Packets::OVERHEAD],
//!     [0; 256],
//! );
//!
//! /// Bytes came from the line, or none, and time went on.
//! fn receive(
//!     client: &mut Client<impl Slots>,
//!     packets: &mut Packets,
//!     now: Instant,
//!     mut came: &[u8],
//!     mut tell: impl FnMut(ClientEvent<'_>),
//! ) {
//!     while let Some(input) = packets.receive(now, &mut came, client.mux()) {
//!         match input {
//!             Input::Reset => client.reset(),
//!             Input::Bytes(mut bytes) => {
//!                 while let Some(event) = client.receive(now, &mut bytes) {
//!                     tell(event);
//!                 }
//!             }
//!         }
//!     }
//!     while let Some(event) = client.handle_timeout(now) {
//!         tell(event);
//!     }
//! }
//!
//! /// What is to be written next into `out`: how much it is.
//! fn transmit(
//!     client: &mut Client<impl Slots>,
//!     packets: &mut Packets,
//!     now: Instant,
//!     out: &mut [u8],
//!     source: &mut dyn FnMut(StreamId, &mut [u8]) -> Option<Tx>,
//! ) -> usize {
//!     packets.transmit(now, out, &mut |room| client.transmit(now, room, source).unwrap_or(0))
//! }
//!
//! /// When to call both at the latest.
//! fn deadline(client: &Client<impl Slots>, packets: &Packets, now: Instant) -> Option<Instant> {
//!     client.deadline().into_iter().chain(packets.deadline(now)).min()
//! }
//! # let (mut packets, mut line) = (packets, [0; 300]);
//! # let mut client = Client::new(MuxConfig::FAST, 1, [sspc::Slot::vacant([0; 0])]);
//! # let now = Instant::from_millis(1);
//! # receive(&mut client, &mut packets, now, &[], |_| {});
//! # // RESET_TRANSPORT and PING, which says that packets are known.
//! # let sent = transmit(&mut client, &mut packets, now, &mut line, &mut |_, _| None);
//! # assert_eq!((sent, &line[..2], line[3] & 0x40), (10, &[0xf9, 0xf6][..], 0x40));
//! # assert!(deadline(&client, &packets, now).is_some());
//! ```

#[cfg(feature = "psk")]
pub use sspc_arq::{Aead, ChaCha20Poly1305, ID_MAX, Key, Keys, OwnKey, Sealed};
pub use sspc_arq::{
    Arq, Checked, Choice, Config, Crc32, DeviceFraming, Framing, Input, Protection, Received,
    SoftCrc,
};
pub use sspc_arq::{Order, Refusal};
pub use sspc_mux::Role;
