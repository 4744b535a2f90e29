//! How much of a line's bytes a device has not read at any time: a device that reads once a second,
//! and counts what has piled up until then.

use sspc::{Client, ClientEvent, Config, Event as Seen, MuxConfig, Name, Priority, Slot, StreamId};
use sspc_line::{Line, LineConfig, Role};
use sspc_wire::limits::{PAYLOAD_SAFE, line_ahead_max};
use sspc_wire::{Flags, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::{Duration, Instant, sleep};

use super::super::*;
use super::support::*;

const STREAMS: usize = 2;
/// The longest metadata value that a proxy passes on.
const VALUE: usize = 4096;

/// What a remote peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Messages { count: usize, bytes: usize },
    Body { bytes: usize },
    Metadata { count: usize },
    Perf { count: usize },
    States { count: usize },
}

/// What came to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    payload: usize,
    messages: usize,
    metadata: usize,
    perf: usize,
    states: usize,
}

impl Traffic {
    const fn whole(self) -> Counted {
        let mut whole = Counted { payload: 0, messages: 0, metadata: 0, perf: 0, states: 0 };
        match self {
            Self::Messages { count, bytes } => {
                (whole.messages, whole.payload) = (count, count * bytes);
            }
            Self::Body { bytes } => (whole.messages, whole.payload) = (1, bytes),
            Self::Metadata { count } => whole.metadata = count * VALUE,
            Self::Perf { count } => whole.perf = count * PAYLOAD_SAFE,
            Self::States { count } => whole.states = count,
        }
        whole
    }

    async fn send(self, server: &Started) {
        let zeros = |length| Bytes::from(vec![b'0'; length]);
        match self {
            Self::Messages { count, bytes } => {
                for _ in 0..count {
                    let (bytes, flags) = (zeros(bytes), Flags::WHOLE);
                    server.event(Event::Payload { bytes, flags }).await;
                }
            }
            Self::Body { bytes } => {
                for at in (0..bytes).step_by(7000) {
                    let flags = if at == 0 { Flags::SOM } else { Flags::NONE };
                    let bytes = zeros(7000.min(bytes - at));
                    server.event(Event::Payload { bytes, flags }).await;
                }
                let (bytes, flags) = (Bytes::new(), Flags::EOM);
                server.event(Event::Payload { bytes, flags }).await;
            }
            Self::Metadata { count } => {
                let items = vec![("srv".to_owned(), zeros(VALUE)); count];
                server.event(Event::Metadata(items)).await;
            }
            Self::Perf { count } => {
                for _ in 0..count {
                    server.event(Event::Perf("0".repeat(PAYLOAD_SAFE))).await;
                }
            }
            Self::States { count } => {
                for code in 0..count {
                    server.event(Event::UserState(State::USER_BASE + code as u32)).await;
                }
            }
        }
    }
}

/// A device and what came to its streams.
struct Device {
    client: Client<[Slot<[u8; 64]>; STREAMS]>,
    link: DuplexStream,
    came: [Counted; STREAMS],
    began: Instant,
}

impl Device {
    fn new(link: DuplexStream, mux: MuxConfig, credit: u32) -> Self {
        let config = Config { window: credit, ..Config::DEFAULT };
        let slot = || Slot::new(Name::literal("ws"), config, Priority::LOWEST, [0; 64]);
        let client = Client::new(mux, 1, [slot(), slot()]);
        Self { client, link, came: Default::default(), began: Instant::now() }
    }

    /// Reads all that came, once; how much that was.
    async fn read(&mut self) -> usize {
        let mut ring = Vec::new();
        while let Ok(Ok(1..)) = timeout(Duration::ZERO, self.link.read_buf(&mut ring)).await {}
        let now = sspc::Instant::from_micros(self.began.elapsed().as_micros() as u64);
        let mut input = &ring[..];
        loop {
            let mut event = self.client.receive(now, &mut input);
            if event.is_none() {
                event = self.client.handle_timeout(now);
            }
            let consumed = match event {
                None => break,
                Some(ClientEvent::LinkDown { why }) => panic!("{why}"),
                Some(ClientEvent::Stream { id, event }) => {
                    let came = &mut self.came[usize::from(id.index())];
                    note(came, &event).map(|consumed| (id, consumed))
                }
                Some(_) => None,
            };
            if let Some((id, consumed)) = consumed {
                self.client.consumed(id, consumed);
            }
        }
        let mut output = [0; 2000];
        while let length @ 1.. = self.client.transmit(now, &mut output, &mut |_, _| None).unwrap() {
            self.link.write_all(&output[..length]).await.unwrap();
        }
        ring.len()
    }
}

/// Counts what came; how much payload that was.
fn note(came: &mut Counted, event: &Seen<'_>) -> Option<u32> {
    match event {
        Seen::Payload { data, flags, .. } => {
            came.payload += data.len();
            came.messages += usize::from(flags.contains(Flags::EOM));
            return Some(data.len() as u32);
        }
        Seen::Metadata { value, .. } => came.metadata += value.data.len(),
        Seen::Perf(piece) => came.perf += piece.data.len(),
        Seen::State { state: State::User(_), .. } => came.states += 1,
        Seen::Fault(fault) => panic!("{fault}"),
        _ => {}
    }
    None
}

/// Has both streams get the traffic; the most that the device had not read at any time.
async fn most_unread(traffic: Traffic, credit: u32) -> usize {
    let (near, far) = duplex(1 << 20);
    let mut config = LineConfig::default();
    // However long the device takes.
    config.mux = MuxConfig { pong_ms: 600_000, ..config.mux };
    let mut device = Device::new(near, config.mux, credit);
    let (reader, writer) = split(far);
    let (line, running) = Line::over(reader, writer, Role::Proxy, config, |_| {});
    tokio::spawn(running);
    let (starter, mut attempts) = Script::new();
    tokio::spawn(async move {
        while let Some(channel) = line.accept().await {
            let context = SessionContext {
                id: 1,
                peer: Peer::Unknown,
                excess: None,
                policy: Arc::new(policy()),
                starter: starter.clone(),
                observer: None,
                gate: crate::access::Gate::new(Default::default()),
                counts: Arc::default(),
                memory: Arc::default(),
                limits: Limits::default(),
                timeouts: Timeouts::default(),
                draining: CancellationToken::new(),
                closing: CancellationToken::new(),
            };
            let (reader, writer) = channel.into_split();
            tokio::spawn(run(context, reader, writer));
        }
    });
    tokio::spawn(async move {
        while let Some(server) = attempts.recv().await {
            tokio::spawn(async move {
                server.say_connected().await;
                traffic.send(&server).await;
                server.ended().await;
            });
        }
    });
    for slot in 0..STREAMS {
        device.client.connect(StreamId::new(slot as u8));
    }
    let mut most = 0;
    for _ in 0..20_000 {
        sleep(Duration::from_secs(1)).await;
        most = most.max(device.read().await);
        if device.came == [traffic.whole(); STREAMS] {
            return most;
        }
    }
    panic!("{traffic:?} with a credit of {credit}: only {:?} came", device.came);
}

/// "The windows and 256 bytes" was the rule for the ring of a device. With a window of 512 bytes,
/// messages of one byte put 10,276 on the line, the metadata of a response 965 with one of 0, and
/// empty messages had no end.
#[tokio::test(start_paused = true)]
async fn whatever_comes_no_more_is_unread_than_the_bound_says() {
    let without_payload = [
        Traffic::Metadata { count: 3 },
        Traffic::Perf { count: 8 },
        Traffic::States { count: 300 },
    ];
    let with_payload = [
        Traffic::Messages { count: 1000, bytes: 1 },
        Traffic::Messages { count: 1000, bytes: 0 },
        Traffic::Messages { count: 300, bytes: 64 },
        Traffic::Messages { count: 5, bytes: 3000 },
        Traffic::Body { bytes: 900 },
        Traffic::Body { bytes: 30_000 },
    ];
    for credit in [0, 1, 64, 512, 4096, 65_536] {
        let bound = line_ahead_max(&[credit; STREAMS]) as usize;
        // Of little credit a little at a time: that is as good with less of it.
        let is_enough = |traffic: &Traffic| traffic.whole().payload <= 1000 * credit as usize;
        let with_payload =
            with_payload.into_iter().filter(|traffic| credit > 0 && is_enough(traffic));
        for traffic in without_payload.into_iter().chain(with_payload) {
            let most = most_unread(traffic, credit).await;
            assert!(most <= bound, "{traffic:?} with a credit of {credit}: {most} of {bound}");
        }
    }
}

/// The bound is no larger than it must be: bulk takes most of it.
#[tokio::test(start_paused = true)]
async fn the_bound_is_used() {
    for credit in [512, 4096, 65_536] {
        let bound = line_ahead_max(&[credit; STREAMS]) as usize;
        let most = most_unread(Traffic::Body { bytes: 300_000 }, credit).await;
        assert!(most * 10 > bound * 7, "with a credit of {credit}: {most} of {bound}");
    }
}
