//! The APIs for devices with packets on a line that loses and changes bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use embedded_io_adapters::tokio_1::FromTokio;
use sspc::arq::{Arq, Checked, Choice, Config as Packets, DeviceFraming, Framing, Input, SoftCrc};
use sspc::embedded_io::{Handler, Line, Next};
use sspc::embedded_io_async::{State, StreamBuffers, Timer};
use sspc::{
    Client, ClientEvent, Config, Event, Flags, Instant, MuxConfig, Name, Priority, Slot, StreamId,
    Tx,
};
use sspc_mux::Role;
use sspc_sim::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time;

use crate::embedded_async::Clock;
use crate::world::{Proxy, us};

type Device = DeviceFraming<Checked<SoftCrc>, [u8; 134], [u8; 300]>;

fn device(choice: Choice) -> Device {
    let protection = Checked::new(SoftCrc);
    DeviceFraming::new(choice, &Packets::DEFAULT, 1, protection, [0; 134], [0; 300])
}

/// A proxy that knows packets, at the other end of a line with noise.
struct Noisy {
    proxy: Proxy,
    framing: Framing<Checked<SoftCrc>, Vec<u8>, Vec<u8>>,
    rng: Rng,
    /// One byte of so many comes to harm; none of 0.
    harms: u64,
}

impl Noisy {
    fn new(choice: Choice, harms: u64) -> Self {
        let storage = vec![0; 17 * 300];
        let arq = Arq::new(
            Role::Proxy,
            Packets::DEFAULT,
            2,
            Checked::new(SoftCrc),
            storage,
            vec![0; 8192],
        );
        let proxy = Proxy::new(MuxConfig::DEFAULT, 2);
        Self { proxy, framing: Framing::new(choice, arq), rng: Rng::new(7), harms }
    }

    /// Each byte is lost or changed now and then.
    fn harm(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            match self.harms > 0 && self.rng.below(self.harms) == 0 {
                true if self.rng.below(2) == 0 => {}
                true => out.push(byte ^ (1 << self.rng.below(8))),
                false => out.push(*byte),
            }
        }
        out
    }

    fn hear(&mut self, now: Instant, bytes: &[u8]) {
        let bytes = self.harm(bytes);
        let mut raw = &bytes[..];
        while let Some(input) = self.framing.receive(now, &mut raw, &self.proxy.mux) {
            match input {
                Input::Reset => self.proxy.mux.reset(),
                Input::Bytes(bytes) => self.proxy.hear(now, bytes),
            }
        }
        self.proxy.hear(now, &[]);
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        let mut out = vec![0; 1500];
        let proxy = &mut self.proxy;
        let length = self.framing.transmit(now, &mut out, &mut |room| proxy.say_into(now, room));
        self.harm(&out[..length])
    }

    fn deadline(&self) -> Instant {
        let deadlines = self.proxy.mux.deadline().into_iter().chain(self.framing.deadline());
        deadlines.min().unwrap_or(Instant::NEVER)
    }
}

#[derive(Clone, Default)]
struct Uart {
    input: Rc<RefCell<VecDeque<u8>>>,
    output: Rc<RefCell<Vec<u8>>>,
}

impl ErrorType for Uart {
    type Error = ErrorKind;
}

impl ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(!self.input.borrow().is_empty())
    }
}

impl Read for Uart {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut input = self.input.borrow_mut();
        let length = buf.len().min(input.len());
        buf.iter_mut().zip(input.drain(..length)).for_each(|(to, from)| *to = from);
        Ok(length)
    }
}

impl Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.output.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Sends a message again and again, and compares what comes back.
struct Echoes {
    message: Vec<u8>,
    sent: usize,
    heard: usize,
    rounds: u32,
    links_lost: u32,
}

const ECHO: StreamId = StreamId::new(0);

impl<S: sspc::Slots> Handler<S> for Echoes {
    fn event(&mut self, client: &mut Client<S>, now: Instant, event: ClientEvent<'_>) {
        match event {
            ClientEvent::LinkDown { .. } => self.links_lost += 1,
            ClientEvent::Stream { event: Event::State { state, .. }, .. } => match state {
                sspc::State::Creating | sspc::State::Disconnected => {
                    (self.sent, self.heard) = (0, 0);
                    client.request_tx_len(ECHO, now, self.message.len() as u32);
                }
                sspc::State::QosAckRemote => {
                    assert_eq!(self.heard, self.message.len());
                    self.rounds += 1;
                }
                _ => {}
            },
            ClientEvent::Stream { event: Event::Payload { data, .. }, .. } => {
                assert_eq!(data, &self.message[self.heard..self.heard + data.len()]);
                self.heard += data.len();
            }
            _ => {}
        }
    }

    fn source(&mut self, _: StreamId, buf: &mut [u8]) -> Option<Tx> {
        let rest = &self.message[self.sent..];
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        let mut flags = if self.sent == 0 { Flags::SOM } else { Flags::NONE };
        self.sent += len;
        if self.sent == self.message.len() {
            flags |= Flags::EOM;
        }
        Some(Tx { len, flags, more: self.sent < self.message.len() })
    }
}

/// Runs echoes over a blocking line; how many there were, how often the link was lost, and whether the
/// line carried packets.
fn echoes(choices: [Choice; 2], harms: u64) -> (u32, u32, bool) {
    let now_us = Rc::new(Cell::new(1_000_000));
    let uart = Uart::default();
    let slots = [Slot::new(Name::literal("echo"), Config::DEFAULT, Priority::LOWEST, [0; 128])];
    let client = Client::new(MuxConfig::DEFAULT, 1, slots);
    let clock = now_us.clone();
    let mut line = Line::<_, _, _, 300, _>::with_layer(
        uart.clone(),
        move || us(clock.get()),
        client,
        device(choices[0]),
    );
    let mut noisy = Noisy::new(choices[1], harms);
    let message = (0..2000_u32).map(|at| ((at * at) >> 3) as u8).collect();
    let mut app = Echoes { message, sent: 0, heard: 0, rounds: 0, links_lost: 0 };
    while app.rounds < 20 && now_us.get() < 100_000_000 {
        let next = line.poll(&mut app).unwrap();
        let now = us(now_us.get());
        noisy.hear(now, &std::mem::take(&mut *uart.output.borrow_mut()));
        loop {
            let said = noisy.say(now);
            if said.is_empty() {
                break;
            }
            uart.input.borrow_mut().extend(said);
        }
        if next != Next::Now && uart.input.borrow().is_empty() {
            let at = if let Next::At(at) = next { at } else { Instant::NEVER };
            let at = at.min(noisy.deadline()).as_micros();
            now_us.set(at.max(now_us.get() + 100).min(now_us.get() + 1_000_000));
        }
    }
    (app.rounds, app.links_lost, line.layer().in_packets())
}

#[test]
fn a_blocking_line_in_packets_loses_nothing_to_noise() {
    assert_eq!(echoes([Choice::Auto; 2], 0), (20, 0, true));
    let (rounds, links_lost, in_packets) = echoes([Choice::Auto; 2], 1000);
    assert_eq!((rounds, in_packets), (20, true));
    // While both still look for what the other knows, noise may begin that again.
    assert!(links_lost <= 1, "{links_lost}");
}

#[test]
fn a_blocking_line_that_knows_packets_speaks_to_a_proxy_that_does_not() {
    assert_eq!(echoes([Choice::Auto, Choice::Plain], 0), (20, 0, false));
    assert_eq!(echoes([Choice::Plain, Choice::Auto], 0), (20, 0, false));
    assert_eq!(echoes([Choice::Reliable, Choice::Plain], 0).0, 0);
}

#[test]
fn an_async_line_in_packets_loses_nothing_to_noise() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio.block_on(async {
        let clock = Clock::new();
        let mut state = State::<2, StreamBuffers<1024, 300, 128>>::new(MuxConfig::DEFAULT, 1);
        let (handle, mut runner) = state.split();
        let (ours, mut theirs) = tokio::io::duplex(200);
        let serve = async {
            let mut noisy = Noisy::new(Choice::Auto, 1000);
            let mut buf = [0; 100];
            loop {
                let now = (&clock).now();
                let said = noisy.say(now);
                if !said.is_empty() {
                    theirs.write_all(&said).await.unwrap();
                    continue;
                }
                let left_us = noisy.deadline().micros_since(now).clamp(100, 1_000_000);
                let wait = time::timeout(Duration::from_micros(left_us), theirs.read(&mut buf));
                let length = wait.await.map_or(0, Result::unwrap);
                noisy.hear((&clock).now(), &buf[..length]);
            }
        };
        let mut packets = device(Choice::Auto);
        let line = async {
            let (rx, tx) = tokio::io::split(ours);
            let (rx, tx) = (FromTokio::new(rx), FromTokio::new(tx));
            let (mut read, mut write) = ([0; 200], [0; 300]);
            let lost = runner.run_in_packets(rx, tx, &clock, &mut read, &mut write, &mut packets);
            panic!("{}", lost.await);
        };
        let app = async {
            for round in 0..20_u32 {
                let stream = handle.open("echo").await.unwrap();
                let message: Vec<u8> =
                    (0..2000).map(|at| ((at * (at + round)) >> 3) as u8).collect();
                stream.send(&message).await.unwrap();
                let mut buf = [0; 64];
                let mut echo = Vec::new();
                while echo.len() < message.len() {
                    match stream.next(&mut buf).await.unwrap() {
                        Event::Payload { data, .. } => echo.extend_from_slice(data),
                        Event::State { .. } => {}
                        other => panic!("{other:?}"),
                    }
                }
                assert_eq!(echo, message);
                stream.close();
            }
        };
        tokio::select! {
            done = time::timeout(Duration::from_secs(600), app) => done.unwrap(),
            () = async { tokio::join!(serve, line); } => {}
        }
    });
}
