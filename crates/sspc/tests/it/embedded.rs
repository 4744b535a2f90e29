//! The blocking client for devices, over a simulated serial line.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use sspc::embedded_io::{Handler, Line, LineError, Next};
use sspc::{
    Client, ClientEvent, Config, Event, Flags, Instant, MuxConfig, Name, Priority, Slot, State,
    StreamId, Tx,
};
use sspc_sim::{Link, LinkConfig, Side};

use crate::world::{Proxy, us};

const REPORT: StreamId = StreamId::new(0);

type Slots = [Slot<[u8; 128]>; 2];

/// A UART with a short queue, and the world behind it.
#[derive(Clone)]
struct Uart {
    now_us: Rc<Cell<u64>>,
    link: Rc<RefCell<Link>>,
    broken: Rc<Cell<bool>>,
}

impl ErrorType for Uart {
    type Error = ErrorKind;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        let arrives = self.link.borrow().next_arrival(Side::A);
        Ok(arrives.is_some_and(|at| at <= self.now_us.get()))
    }
}

impl Read for Uart {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        Ok(self.link.borrow_mut().pop(self.now_us.get(), Side::A, buf))
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.broken.get() {
            return Err(ErrorKind::Other);
        }
        let some = bytes.len().min(16);
        let taken = self.link.borrow_mut().push(self.now_us.get(), Side::A, &bytes[..some]);
        if taken == 0 {
            // It waits until the queue has room.
            self.now_us.set(self.now_us.get() + 100);
            return self.write(bytes);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

#[derive(Default)]
struct App {
    seen: Vec<String>,
    echo: Vec<u8>,
    message: Vec<u8>,
    at: usize,
}

impl Handler<Slots> for App {
    fn event(&mut self, client: &mut Client<Slots>, now: Instant, event: ClientEvent<'_>) {
        let ClientEvent::Stream { id, event } = event else { return };
        assert_eq!(id, REPORT);
        match event {
            Event::State { state, .. } => {
                self.seen.push(state.to_string());
                if state == State::Creating {
                    client.request_tx_len(REPORT, now, self.message.len() as u32);
                }
            }
            Event::Payload { data, .. } => self.echo.extend_from_slice(data),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn source(&mut self, id: StreamId, buf: &mut [u8]) -> Option<Tx> {
        assert_eq!(id, REPORT);
        let left = &self.message[self.at..];
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        let mut flags = if self.at == 0 { Flags::SOM } else { Flags::NONE };
        self.at += len;
        let more = self.at < self.message.len();
        if !more {
            flags |= Flags::EOM;
        }
        Some(Tx { len, flags, more })
    }
}

struct Bench<C: FnMut() -> Instant> {
    uart: Uart,
    line: Line<Uart, C, Slots, 600>,
    proxy: Proxy,
    app: App,
}

fn bench() -> Bench<impl FnMut() -> Instant> {
    let now_us = Rc::new(Cell::new(1_000_000));
    let link = Rc::new(RefCell::new(Link::new(1, LinkConfig::serial(921_600))));
    let uart = Uart { now_us: now_us.clone(), link, broken: Rc::default() };
    let slots = [
        Slot::new(Name::literal("report"), Config::DEFAULT, Priority::LOWEST, [0; 128]),
        Slot::vacant([0; 128]),
    ];
    let client = Client::new(MuxConfig::DEFAULT, 1, slots);
    let line = Line::new(uart.clone(), move || us(now_us.get()), client);
    let app = App { message: vec![3; 3000], ..App::default() };
    Bench { uart, line, proxy: Proxy::new(MuxConfig::DEFAULT, 2), app }
}

impl<C: FnMut() -> Instant> Bench<C> {
    /// The device's main loop, and the proxy's, in turns; time goes on when nothing is to be done.
    fn run_until(&mut self, mut is_done: impl FnMut(&App) -> bool) {
        for _ in 0..1_000_000 {
            if is_done(&self.app) {
                return;
            }
            let next = self.line.poll(&mut self.app).unwrap();
            let now_us = self.uart.now_us.get();
            let mut buf = [0; 100];
            loop {
                let length = self.uart.link.borrow_mut().pop(now_us, Side::B, &mut buf);
                self.proxy.hear(us(now_us), &buf[..length]);
                if length == 0 {
                    break;
                }
            }
            loop {
                let said = self.proxy.say(us(now_us));
                if said.is_empty() {
                    break;
                }
                assert_eq!(self.uart.link.borrow_mut().push(now_us, Side::B, &said), said.len());
            }
            let event_us = self.uart.link.borrow().next_event().unwrap_or(u64::MAX);
            let next_us = match next {
                Next::Now => continue,
                Next::At(at) => at.as_micros().min(event_us),
                Next::OnBytes => event_us,
            };
            self.uart.now_us.set(next_us.max(now_us));
        }
        panic!("it does not come to its end: {:?}", self.app.seen);
    }
}

#[test]
fn a_main_loop_that_polls_has_its_message_echoed() {
    let mut bench = bench();
    bench.run_until(|app| app.seen.len() == 5);
    let seen = ["CREATING", "CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"];
    assert_eq!(bench.app.seen, seen);
    assert_eq!(bench.app.echo, bench.app.message);
    bench.line.client().close(REPORT);
    bench.run_until(|app| app.seen.len() == 6);
    assert_eq!(bench.app.seen[5], "DESTROYING");
}

#[test]
fn a_line_that_fails_can_be_begun_anew() {
    let mut bench = bench();
    bench.uart.broken.set(true);
    assert_eq!(bench.line.poll(&mut bench.app), Err(LineError::Io(ErrorKind::Other)));
    bench.uart.broken.set(false);
    bench.line.client().reset();
    bench.run_until(|app| app.seen.len() == 5);
    assert_eq!(bench.app.echo, bench.app.message);
}

#[test]
fn run_until_ends_when_all_is_done() {
    let Bench { mut line, mut app, .. } = bench();
    let mut rounds = 0;
    line.run_until(&mut app, |_, client| {
        rounds += 1;
        assert!(!client.mux().is_up());
        rounds == 10
    })
    .unwrap();
}
