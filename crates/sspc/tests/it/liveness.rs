//! No driver sleeps with work left: whatever the proxy says in one breath arrives, however it is cut
//! and however the application takes it, and behind it the end.
//!
//! The tokio client slept for ever where one read held more than 16 events: it had handed on what it
//! had decoded, and then waited for a socket that it did not read while input was left.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use embedded_io_adapters::tokio_1::FromTokio;
use sspc::embedded_io::{Handler, Line, Next};
use sspc::{
    Client, ClientEvent, Config, Event, Flags, Instant, MuxConfig, Name, Options, Priority, Slot,
    State, StreamId, Tx,
};
use sspc_sim::Rng;
use sspc_wire::{Piece, ToClient};
use tokio::task::yield_now;

use crate::embedded_async::{Buffers, Clock, serve};
use crate::harness::{created, frame, payload, state};
use crate::peer::{Listener, abstract_name};
use crate::world::{Proxy, us};

/// More than any run takes, less than a test may hang.
const GUARD: Duration = Duration::from_secs(60);
/// What the application sees when the link is lost for good.
const END: &str = "UPSTREAM_LINK_RETRY";

/// A proxy's side from CREATE_RESULT to its hanging up, and what the application must see of it.
#[derive(Clone)]
struct Script {
    bytes: Vec<u8>,
    seen: Vec<String>,
}

impl Script {
    /// So many events after CREATING.
    fn new(events: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut script = Self {
            bytes: [created(), state(State::Creating)].concat(),
            seen: vec!["CREATING".into()],
        };
        let is_connected = events > 3 && rng.below(2) == 0;
        let connects_at = if is_connected { rng.below(events as u64 - 2) as usize } else { events };
        let kind = rng.below(4);
        let mut at = 0;
        while at < events {
            if at == connects_at {
                for to in [State::Connecting, State::Connected] {
                    script.add(&state(to), to.to_string());
                    at += 1;
                }
                continue;
            }
            at += 1;
            match if kind == 3 { rng.below(3) } else { kind } {
                0 => {
                    let to = State::User(1000 + at as u32);
                    script.add(&state(to), to.to_string());
                }
                1 => {
                    let length = rng.below(20) as usize;
                    let body: Vec<u8> = (0..length).map(|_| b'a' + rng.below(26) as u8).collect();
                    let text = message(&body);
                    script.add(&payload(&body, Flags::WHOLE), text);
                }
                _ => {
                    let value = Piece::whole(b"value").unwrap();
                    let bytes = frame(ToClient::Metadata { name: b"key", value });
                    script.add(&bytes, "key=value".into());
                }
            }
        }
        if is_connected {
            script.seen.push("DISCONNECTED".into());
        }
        script.seen.push(END.into());
        script
    }

    fn add(&mut self, bytes: &[u8], text: String) {
        self.bytes.extend_from_slice(bytes);
        self.seen.push(text);
    }
}

fn message(body: &[u8]) -> String {
    format!("message {}", String::from_utf8_lossy(body))
}

/// In which pieces the bytes come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// As many as the driver takes.
    None,
    Bytes,
    Random(u64),
}

impl Cut {
    /// How long the pieces are, one after another.
    fn lengths(self) -> impl FnMut() -> usize {
        let mut rng = Rng::new(if let Self::Random(seed) = self { seed } else { 0 });
        move || match self {
            Self::None => usize::MAX,
            Self::Bytes => 1,
            Self::Random(_) => 1 + rng.below(400) as usize,
        }
    }
}

/// How the application takes events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    Fast,
    /// It lets everything else go on a bit before each.
    Slow,
    /// It stops after some, for long.
    Stops,
}

impl Pace {
    /// How often it gives way to all else before it takes the event with this number.
    fn waits(self, taken: usize) -> usize {
        match self {
            Self::Fast => 0,
            Self::Slow => 3,
            Self::Stops if taken == 5 => 2000,
            Self::Stops => 0,
        }
    }
}

/// What the application saw, payload by message and values whole.
#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    body: Vec<u8>,
    value: Vec<u8>,
}

impl Seen {
    fn add(&mut self, event: &Event<'_>) {
        match *event {
            Event::State { state, .. } => self.texts.push(state.to_string()),
            Event::Payload { data, flags, .. } => self.payload(data, flags),
            Event::Metadata { name, value } => {
                self.value.extend_from_slice(value.data);
                if value.is_last() {
                    let (name, value) = (String::from_utf8_lossy(name), &self.value);
                    self.texts.push(format!("{name}={}", String::from_utf8_lossy(value)));
                    self.value.clear();
                }
            }
            ref other => self.texts.push(format!("{other:?}")),
        }
    }

    fn add_owned(&mut self, event: sspc::tokio::Event) {
        match event {
            sspc::tokio::Event::State { state, .. } => self.texts.push(state.to_string()),
            sspc::tokio::Event::Payload { data, flags, .. } => self.payload(&data, flags),
            sspc::tokio::Event::Metadata { name, value } => {
                self.texts.push(format!("{name}={}", String::from_utf8_lossy(&value)));
            }
            other => self.texts.push(format!("{other:?}")),
        }
    }

    /// Messages are whole ones here, so that one behind the other may be joined by its sender.
    fn payload(&mut self, data: &[u8], flags: Flags) {
        if flags.contains(Flags::SOM) {
            assert_eq!(self.body, b"", "a message begins behind the end of the one before");
        }
        self.body.extend_from_slice(data);
        if flags.contains(Flags::EOM) {
            self.texts.push(message(&self.body));
            self.body.clear();
        }
    }

    fn is_over(&self) -> bool {
        self.texts.last().is_some_and(|text| text == END)
    }
}

/// Runs all scripts, cuts and paces that fit the driver's rate.
fn all(driver: impl Fn(&Script, Cut, Pace) -> Vec<String>) {
    let counts = [1, 2, 15, 16, 17, 18, 33, 100, 255, 256, 257, 300, 600, 5000];
    for (round, events) in counts.into_iter().enumerate() {
        for (turn, pace) in [Pace::Fast, Pace::Slow, Pace::Stops].into_iter().enumerate() {
            let seed = (round * 10 + turn) as u64;
            let script = Script::new(events, seed);
            for cut in [Cut::None, Cut::Random(seed), Cut::Bytes] {
                if cut == Cut::Bytes && events > 100 {
                    continue;
                }
                let seen = driver(&script, cut, pace);
                let differs = seen.iter().zip(&script.seen).position(|(a, b)| a != b);
                assert!(
                    seen == script.seen,
                    "{events} events, seed {seed}, {cut:?}, {pace:?}: {} of {} events, the first \
                     that differs is {differs:?}",
                    seen.len(),
                    script.seen.len()
                );
            }
        }
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.config.backoff_ms = Config::NEVER;
    options
}

#[test]
fn tokio_tells_all_that_one_read_holds() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    all(|script, cut, pace| {
        runtime.block_on(async {
            let (listener, address) = Listener::new();
            let bytes = script.bytes.clone();
            let proxy = tokio::spawn(async move {
                let mut peer = listener.accept().await;
                peer.hear().await.unwrap();
                let (mut rest, mut length) = (&bytes[..], cut.lengths());
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(length().min(rest.len()));
                    peer.say(now).await;
                    rest = later;
                    yield_now().await;
                }
            });
            let mut seen = Seen::default();
            let run = async {
                let client = sspc::tokio::Client::with_options(address, options());
                let mut stream = client.open("mintest").await.unwrap();
                while !seen.is_over() {
                    for _ in 0..pace.waits(seen.texts.len()) {
                        yield_now().await;
                    }
                    seen.add_owned(stream.next().await.unwrap());
                }
            };
            if tokio::time::timeout(GUARD, run).await.is_err() {
                seen.texts.push("it hangs".into());
            }
            proxy.abort();
            seen.texts
        })
    });
}

#[test]
fn the_blocking_client_tells_all_that_one_read_holds() {
    all(|script, cut, pace| {
        let name = abstract_name();
        let listener =
            StdListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let bytes = script.bytes.clone();
        let proxy = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            // The client has written STREAMTYPE.
            assert!(socket.read(&mut [0; 100]).unwrap() > 0);
            let (mut rest, mut length) = (&bytes[..], cut.lengths());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(length().min(rest.len()));
                socket.write_all(now).unwrap();
                rest = later;
            }
        });
        let address = format!("uds:@{name}").parse().unwrap();
        let mut stream = sspc::blocking::Stream::open_with(&address, "mintest", options()).unwrap();
        let mut seen = Seen::default();
        while !seen.is_over() {
            for _ in 0..pace.waits(seen.texts.len()) {
                thread::yield_now();
            }
            match stream.next(Some(GUARD)) {
                Ok(Some(event)) => seen.add_owned(event),
                other => seen.texts.push(format!("{other:?}")),
            }
        }
        proxy.join().unwrap();
        seen.texts
    });
}

/// A proxy with one script.
fn scripted(script: &Script) -> Proxy {
    let mut proxy = Proxy::new(MuxConfig::FAST, 2);
    proxy.script.clone_from(&script.bytes);
    proxy
}

/// A UART that gives its input in pieces.
struct Uart<L> {
    input: Rc<RefCell<VecDeque<u8>>>,
    output: Rc<RefCell<Vec<u8>>>,
    length: L,
}

impl<L> ErrorType for Uart<L> {
    type Error = ErrorKind;
}

impl<L> ReadReady for Uart<L> {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(!self.input.borrow().is_empty())
    }
}

impl<L: FnMut() -> usize> Read for Uart<L> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut input = self.input.borrow_mut();
        let length = (self.length)().min(buf.len()).min(input.len());
        buf.iter_mut().zip(input.drain(..length)).for_each(|(to, from)| *to = from);
        Ok(length)
    }
}

impl<L> Write for Uart<L> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.output.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl<S: sspc::Slots> Handler<S> for Seen {
    fn event(&mut self, _: &mut Client<S>, _: Instant, event: ClientEvent<'_>) {
        if let ClientEvent::Stream { event, .. } = event {
            if !self.is_over() {
                self.add(&event);
            }
        }
    }

    fn source(&mut self, _: StreamId, _: &mut [u8]) -> Option<Tx> {
        None
    }
}

#[test]
fn embedded_io_tells_all_that_its_line_holds() {
    all(|script, cut, pace| {
        let now_us = Rc::new(Cell::new(1_000_000));
        let (input, output) = (Rc::<RefCell<VecDeque<u8>>>::default(), Rc::default());
        let uart = Uart { input: input.clone(), output: Rc::clone(&output), length: cut.lengths() };
        let config = Config { backoff_ms: Config::NEVER, ..Config::DEFAULT };
        let slots = [Slot::new(Name::literal("script"), config, Priority::LOWEST, [0; 128])];
        let client = Client::new(MuxConfig::FAST, 1, slots);
        let clock = now_us.clone();
        let mut line = Line::<_, _, _, 600>::new(uart, move || us(clock.get()), client);
        let mut proxy = scripted(script);
        let mut seen = Seen::default();
        // Each poll takes a byte at least; all that is idle takes no round.
        for round in 0..3 * script.bytes.len() + 1000 {
            if seen.is_over() {
                break;
            }
            let now = us(now_us.get());
            let mut next = Next::Now;
            let is_asleep = match pace {
                Pace::Fast => false,
                Pace::Slow => round % 3 > 0,
                Pace::Stops => (20..200).contains(&round),
            };
            if !is_asleep {
                next = line.poll(&mut seen).unwrap();
            }
            proxy.hear(now, &std::mem::take(&mut *output.borrow_mut()));
            loop {
                let said = proxy.say(now);
                if said.is_empty() {
                    break;
                }
                input.borrow_mut().extend(said);
            }
            if next != Next::Now && input.borrow().is_empty() {
                let at = if let Next::At(at) = next { at } else { Instant::NEVER };
                let at = at.min(proxy.mux.deadline().unwrap_or(Instant::NEVER));
                now_us.set(at.as_micros().max(now_us.get()));
            }
        }
        seen.texts
    });
}

#[test]
fn embedded_io_async_tells_all_that_its_line_holds() {
    all(|script, cut, pace| {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        tokio.block_on(async {
            let clock = Clock::new();
            let mut lines = sspc::embedded_io_async::State::<1, Buffers>::new(MuxConfig::FAST, 1);
            let (handle, mut runner) = lines.split();
            let (ours, theirs) = tokio::io::duplex(200_000);
            let (rx, tx) = tokio::io::split(ours);
            let rx = Pieces { rx: FromTokio::new(rx), length: cut.lengths() };
            let (mut read, mut write) = (vec![0; 65_536], [0; 300]);
            let mut seen = Seen::default();
            let app = async {
                let config = Config { backoff_ms: Config::NEVER, ..Config::DEFAULT };
                let stream = handle.start("script", config, Priority::LOWEST).unwrap();
                let mut buf = [0; 64];
                while !seen.is_over() {
                    for _ in 0..pace.waits(seen.texts.len()) {
                        yield_now().await;
                    }
                    let event = stream.next(&mut buf).await.unwrap();
                    seen.add(&event);
                }
            };
            let hangs = tokio::select! {
                over = tokio::time::timeout(Duration::from_secs(3600), app) => over.is_err(),
                _ = runner.run(rx, FromTokio::new(tx), &clock, &mut read, &mut write) => true,
                () = serve(Rc::new(RefCell::new(scripted(script))), theirs, &clock) => true,
            };
            if hangs {
                seen.texts.push("it hangs".into());
            }
            seen.texts
        })
    });
}

/// A line that gives its input in pieces.
struct Pieces<R, L> {
    rx: R,
    length: L,
}

impl<R: ErrorType, L> ErrorType for Pieces<R, L> {
    type Error = R::Error;
}

impl<R: embedded_io_async::Read, L: FnMut() -> usize> embedded_io_async::Read for Pieces<R, L> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, R::Error> {
        let length = (self.length)().min(buf.len());
        self.rx.read(&mut buf[..length]).await
    }
}
