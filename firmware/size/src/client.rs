//! Everything that a client can do.

use core::hint::black_box;

use sspc::{
    Client, ClientEvent, Config, Event, Fault, Flags, FrameFault, Instant, MetadataError, Mux,
    MuxConfig, Name, Priority, Slot, Stream, StreamId, Timeout, Tx,
};

use super::{get, put};

/// As a `static` in an image would be: its storage is in .bss.
static mut CLIENT: Four = Client::idle([const { Slot::vacant([0; 64]) }; 4]);

/// The metadata that a stream sets is the user's.
type Storage = [u8; 64];

pub(crate) type Four = Client<[Slot<Storage>; 4]>;

/// What `firmware/size` reads from the table of symbols: each is as long as what it is named after.
/// They are in a section of their own, which is not counted.
mod ram {
    use super::{Client, Mux, Slot};

    macro_rules! ram {
        ($name:ident, $what:ty) => {
            // SAFETY: nothing else has the name; the section has no meaning for any linker.
            #[used]
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".measure")]
            static $name: [u8; size_of::<$what>()] = [0; size_of::<$what>()];
        };
    }
    ram!(RAM_OF_A_STREAM, Slot<[u8; 0]>);
    ram!(RAM_OF_THE_MUX, Mux);
    ram!(RAM_OF_THE_CLIENT_WITHOUT_STREAMS, Client<[Slot<[u8; 0]>; 0]>);
}

fn bytes(bytes: &[u8]) {
    black_box(bytes);
}

#[inline(never)]
fn input() -> &'static [u8] {
    black_box(&[])
}

#[inline(never)]
fn output() -> &'static mut [u8] {
    black_box(&mut [])
}

#[inline(never)]
fn text() -> &'static str {
    black_box("")
}

fn instant() -> Instant {
    Instant::from_micros(u64::from(get()) | u64::from(get()) << 32)
}

pub(crate) fn run(beside: fn()) -> ! {
    let client = &raw mut CLIENT;
    // SAFETY: this is called once, and nothing else names the static.
    let client = unsafe { &mut *client };
    client.start(MuxConfig { frame_max: 256, ..MuxConfig::DEFAULT }, 0x5eed);
    loop {
        beside();
        step(client);
    }
}

fn step(client: &mut Four) {
    let now = instant();
    let id = StreamId::new(get() as u8);
    match get() {
        #[cfg(feature = "arq")]
        1 => crate::arq::receive(client, now, input(), tell),
        #[cfg(not(feature = "arq"))]
        1 => {
            let mut input = input();
            while let Some(event) = client.receive(now, &mut input) {
                tell(event);
            }
        }
        2 => {
            while let Some(event) = client.handle_timeout(now) {
                tell(event);
            }
        }
        3 => {
            let mut source = |id: StreamId, room: &mut [u8]| {
                put(id.index().into());
                bytes(room);
                let (len, flags) = (get() as usize, Flags::from_bits(get()));
                (get() == 0).then(|| Tx { len, flags, more: get() == 0 })
            };
            #[cfg(feature = "arq")]
            put(crate::arq::transmit(client, now, output(), &mut source) as u32);
            #[cfg(not(feature = "arq"))]
            put(client.transmit(now, output(), &mut source).unwrap_or(0) as u32);
        }
        #[cfg(feature = "arq")]
        4 => put(crate::arq::deadline(client, now).map_or(0, Instant::as_micros) as u32),
        #[cfg(not(feature = "arq"))]
        4 => put(client.deadline().map_or(0, Instant::as_micros) as u32),
        5 => {
            let Ok(name) = Name::new(text()) else { return };
            let config = Config { window: get(), seed: get(), ..Config::DEFAULT };
            let opened = client.open(name, config, Priority::new(get() as u8));
            put(opened.map_or(0, |id| id.index().into()));
        }
        6 => client.connect(id),
        7 => client.request_tx(id, now),
        8 => client.request_tx_len(id, now, get()),
        9 => put(match client.set_metadata(id, text(), input()) {
            Ok(()) => 0,
            Err(MetadataError::Name(_)) => 1,
            Err(_) => 2,
        }),
        10 => client.set_timeout(
            id,
            match get() {
                0 => Timeout::Policy,
                1 => Timeout::Cancel,
                ms => Timeout::Millis(ms),
            },
        ),
        11 => client.add_credit(id, get() as i32),
        12 => client.consumed(id, get()),
        13 => client.close(id),
        14 => client.abandon(id, now),
        15 => client.set_priority(id, Priority::new(get() as u8)),
        16 => client.ping(now),
        17 => client.reset(),
        18 => client.set_unix_time(now, instant().as_micros()),
        19 => {
            let mux = client.mux();
            put(mux.is_up().into());
            put(mux.rtt_us());
            put(mux.framing_losses());
        }
        20 => {
            if let Some(stream) = client.stream(id) {
                look(stream);
            }
        }
        _ => {}
    }
}

fn look(stream: &Stream<Storage>) {
    put(stream.state().map_or(0, |state| state.code()));
    put(stream.is_connected().into());
    put(stream.is_created().into());
    put(stream.has_ended().into());
    put(stream.is_closed().into());
    put(stream.is_message_open().into());
    put(stream.credit().unwrap_or(-1) as u32);
    put(stream.advised_buffer());
    put(stream.takes_no_payload().into());
    put(stream.is_tx_requested().into());
    bytes(stream.streamtype().as_bytes());
    bytes(stream.rideshare_name().unwrap_or_default());
}

fn tell(event: ClientEvent<'_>) {
    match event {
        ClientEvent::LinkUp { rtt_us } | ClientEvent::RoundTrip { rtt_us } => put(rtt_us),
        ClientEvent::LinkDown { why } => put(why as u32),
        ClientEvent::PeerClock { unix_us } => put(unix_us as u32),
        ClientEvent::Stream { id, event } => {
            put(id.index().into());
            tell_of_stream(event);
        }
        _ => {}
    }
}

fn tell_of_stream(event: Event<'_>) {
    match event {
        Event::State { state, ordinal } => {
            put(state.code());
            put(ordinal);
        }
        Event::Payload { data, flags, rideshare } => {
            bytes(data);
            put(flags.bits());
            bytes(rideshare.unwrap_or_default());
        }
        Event::Metadata { name, value } => {
            bytes(name);
            bytes(value.data);
            put(value.offset as u32);
            put(value.total as u32);
        }
        Event::Perf(piece) => bytes(piece.data),
        Event::Refused { result } => put(result.into()),
        Event::Fault(Fault::Frame(error)) => put(match error.fault {
            FrameFault::Length { rest } => u32::from(rest),
            FrameFault::NameLength { length } => u32::from(length),
            _ => 1,
        }),
        Event::Fault(Fault::Transition { from, to }) => {
            put(from.code());
            put(to.code());
        }
        Event::Fault(_) => put(2),
        _ => {}
    }
}
