//! Two streams at once over a UART: a page over h2 and TLS, and the prices of a websocket. The
//! device has no network, no TLS, no operating system and no heap: the proxy at the other end of
//! the line does the rest.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod app;
mod names;
#[cfg(feature = "arq")]
mod packets;

use cortex_m_rt::entry;
use firmware_board::{BAUD, Board, INPUT_RING, halt};
use panic_halt as _;
use sspc::{Client, Config, Instant, MuxConfig, Name, Priority, Slot, line_ahead_max};
use static_cell::ConstStaticCell;

use app::{App, Wish};

/// How many bytes of payload the proxy may be ahead of the application, each stream.
const WINDOW: u32 = 512;

// The ring of the UART's input does not overflow, however long the application takes.
const _: () = assert!(line_ahead_max(&[WINDOW, WINDOW]) < INPUT_RING as u32);

const STREAM: Config = Config { window: WINDOW, ..Config::DEFAULT };

/// A dead link is found out within two seconds, and a frame is short enough to be kept here.
const LINK: MuxConfig =
    MuxConfig { ping_ms: 1000, pong_ms: 1000, frame_max: 256, ..MuxConfig::DEFAULT }.for_line(BAUD);

/// For jitter: give each device another one, such as its serial number.
const SEED: u32 = 0x5eed;

/// Bytes for the metadata that a stream sets; these set none.
type Storage = [u8; 0];

type Streams = Client<[Slot<Storage>; 2]>;

/// All memory that the client ever takes, a KiB.
///
/// It begins with zeros, so that it takes no flash; `main` starts it.
static CLIENT: ConstStaticCell<Streams> =
    ConstStaticCell::new(Client::idle([const { Slot::vacant([]) }; 2]));

/// The streams, in the order of their ids.
const STREAMS: [(Name, Priority); 2] = [
    (Name::literal(names::page::STREAMTYPE), Priority::LOWEST),
    (Name::literal(names::ticker::STREAMTYPE), Priority::HIGHEST),
];

static INPUT: ConstStaticCell<[u8; 128]> = ConstStaticCell::new([0; 128]);
static OUTPUT: ConstStaticCell<[u8; LINK.frame_max as usize + 40]> =
    ConstStaticCell::new([0; LINK.frame_max as usize + 40]);

#[entry]
fn main() -> ! {
    let Some(mut board) = Board::take() else { halt() };
    let client = CLIENT.take();
    client.start(LINK, SEED);
    for (name, priority) in STREAMS {
        // There is a slot for each.
        let _ = client.open(name, STREAM, priority);
    }
    let (input, output) = (INPUT.take(), OUTPUT.take());
    let mut unsent = 0..0;
    let mut app = App::new(board.log);
    #[cfg(feature = "arq")]
    let packets = packets::take();
    loop {
        let now = Instant::from_millis(board.clock.millis());

        // What came, and what the time has come for.
        let length = board.line.read(input);
        let came = input.get(..length).unwrap_or_default();
        #[cfg(feature = "arq")]
        let came = {
            let mut came = came;
            while let Some(input) = packets.receive(now, &mut came, client.mux()) {
                match input {
                    sspc::arq::Input::Reset => client.reset(),
                    sspc::arq::Input::Bytes(bytes) => receive(client, &mut app, now, bytes),
                }
            }
            came
        };
        receive(client, &mut app, now, came);
        if let Wish::Connect(stream) = app.tick(now) {
            client.connect(stream);
        }

        // As much as the UART takes without waiting; the rest when the clock has ticked.
        loop {
            if unsent.is_empty() {
                // These streams only listen.
                let mut client =
                    |out: &mut [u8]| client.transmit(now, out, &mut |_, _| None).unwrap_or(0);
                #[cfg(feature = "arq")]
                let length = packets.transmit(now, output, &mut client);
                #[cfg(not(feature = "arq"))]
                let length = client(output);
                unsent = 0..length;
            }
            let taken = board.line.write(output.get(unsent.clone()).unwrap_or_default());
            unsent.start += taken;
            if taken == 0 {
                break;
            }
        }
        firmware_board::sleep();
    }
}

/// Takes bytes for the client, and does what it tells and what the time has come for.
fn receive(client: &mut Streams, app: &mut App, now: Instant, mut bytes: &[u8]) {
    loop {
        let mut event = client.receive(now, &mut bytes);
        if event.is_none() {
            event = client.handle_timeout(now);
        }
        let Some(event) = event else { break };
        match app.event(now, event) {
            Wish::Connect(stream) => client.connect(stream),
            Wish::Consumed(stream, bytes) => client.consumed(stream, bytes),
            Wish::Nothing => {}
        }
    }
}
