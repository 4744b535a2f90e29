//! The async client for devices, over a pipe in paused time.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use sspc::embedded_io_async::{
    Error, Handle, LineError, Runner, State, Stream, StreamBuffers, Timer,
};
use sspc::{Config, Event, Flags, Instant, MuxConfig, NameError, Priority, State as StreamState};
use sspc_sim::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time;

use crate::world::Proxy;

pub(crate) type Buffers = StreamBuffers<1024, 300, 128>;

pub(crate) struct Clock(time::Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(time::Instant::now() - Duration::from_secs(1))
    }

    fn at(&self) -> Instant {
        Instant::from_micros(self.0.elapsed().as_micros() as u64)
    }
}

impl Timer for &Clock {
    fn now(&self) -> Instant {
        self.at()
    }

    async fn sleep_until(&self, at: Instant) {
        time::sleep_until(self.0 + Duration::from_micros(at.as_micros())).await;
    }
}

/// A proxy at the other end of the pipe, until the pipe breaks.
pub(crate) async fn serve(proxy: Rc<RefCell<Proxy>>, mut pipe: DuplexStream, clock: &Clock) {
    let mut buf = [0; 100];
    loop {
        let said = proxy.borrow_mut().say(clock.at());
        if !said.is_empty() {
            if pipe.write_all(&said).await.is_err() {
                return;
            }
            continue;
        }
        let deadline = proxy.borrow().mux.deadline();
        let until = deadline.map_or(Duration::from_secs(1), |at| {
            Duration::from_micros(at.micros_since(clock.at()).max(1))
        });
        let heard = match time::timeout(until, pipe.read(&mut buf)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(length)) => &buf[..length],
            Err(_) => &[],
        };
        proxy.borrow_mut().hear(clock.at(), heard);
    }
}

async fn run<const RX: usize, const TX: usize>(
    runner: &mut Runner<'_, StreamBuffers<RX, TX, 128>>,
    pipe: DuplexStream,
    clock: &Clock,
) -> String {
    let (rx, tx) = tokio::io::split(pipe);
    let (mut read, mut write) = ([0; 16], [0; 300]);
    let lost =
        runner.run(FromTokio::new(rx), FromTokio::new(tx), clock, &mut read, &mut write).await;
    lost.to_string()
}

/// Runs the application beside the line and the proxy; returns what the proxy heard.
pub(crate) fn with_line<const N: usize>(app: impl AsyncFnOnce(Handle<'_, Buffers>)) -> Vec<String> {
    with_proxy::<N, _, _>(Rc::new(RefCell::new(Proxy::new(MuxConfig::FAST, 2))), app)
}

/// The same, at this proxy.
pub(crate) fn with_proxy<const N: usize, const RX: usize, const TX: usize>(
    proxy: Rc<RefCell<Proxy>>,
    app: impl AsyncFnOnce(Handle<'_, StreamBuffers<RX, TX, 128>>),
) -> Vec<String> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio.block_on(async {
        let clock = Clock::new();
        let mut state = State::<N, StreamBuffers<RX, TX, 128>>::new(MuxConfig::FAST, 1);
        let (handle, mut runner) = state.split();
        let (ours, theirs) = tokio::io::duplex(200);
        let serving = serve(proxy.clone(), theirs, &clock);
        let line = async {
            tokio::join!(serving, run(&mut runner, ours, &clock));
        };
        tokio::select! {
            () = time::timeout(Duration::from_secs(600), app(handle)).map_all() => {}
            () = line => panic!("the line is lost"),
        }
        proxy.take_heard()
    })
}

trait MapAll: Future<Output = Result<(), time::error::Elapsed>> + Sized {
    async fn map_all(self) {
        self.await.unwrap();
    }
}
impl<F: Future<Output = Result<(), time::error::Elapsed>>> MapAll for F {}

trait TakeHeard {
    fn take_heard(&self) -> Vec<String>;
}

impl TakeHeard for Rc<RefCell<Proxy>> {
    fn take_heard(&self) -> Vec<String> {
        std::mem::take(&mut self.borrow_mut().heard)
    }
}

/// Takes events as text until one is `last`; payload is joined.
async fn until(stream: &Stream<'_, Buffers>, last: &str) -> (Vec<String>, Vec<u8>) {
    let (mut seen, mut payload) = (Vec::new(), Vec::new());
    let mut buf = [0; 64];
    while let Some(event) = stream.next(&mut buf).await {
        match event {
            Event::State { state, .. } => seen.push(state.to_string()),
            Event::Payload { data, .. } => payload.extend_from_slice(data),
            other => panic!("unexpected {other:?}"),
        }
        if seen.last().is_some_and(|text| text == last) {
            break;
        }
    }
    (seen, payload)
}

#[test]
fn streams_at_once_are_echoed_and_their_seats_used_again() {
    let heard = with_line::<3>(async |handle| {
        for round in 0..3_u8 {
            let one = async |name: &str, length: usize| {
                let stream = handle.open(name).await.unwrap();
                assert!(stream.is_created());
                let message = vec![round; length];
                stream.send(&message).await.unwrap();
                let (seen, echo) = until(&stream, "DISCONNECTED").await;
                let states = ["CONNECTING", "CONNECTED", "QOS_ACK_REMOTE", "DISCONNECTED"];
                assert_eq!(seen, states);
                assert_eq!(echo, message);
                stream.close();
                assert_eq!(until(&stream, "").await.0, ["DESTROYING"]);
                assert_eq!(stream.send(b"late").await, Err(Error::Closed));
            };
            tokio::join!(one("a", 5), one("b", 5000), one("c", 0));
            assert!(handle.is_up());
            // The channels' closing is under way.
            time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert_eq!(heard.iter().filter(|text| text.ends_with("DESTROYING")).count(), 9);
    assert!(heard.contains(&"b LENGTH 5000".into()));
}

#[test]
fn what_cannot_be_opened_is_told() {
    with_line::<1>(async |handle| {
        let refused = handle.open("refused").await.map(drop);
        assert_eq!(refused, Err(Error::Refused { result: 1 }));
        let empty = handle.open("").await.map(drop);
        assert_eq!(empty, Err(Error::Name(NameError::Empty)));
        time::sleep(Duration::from_millis(10)).await;
        let stream = handle.open("a").await.unwrap();
        assert_eq!(handle.open("b").await.map(drop), Err(Error::NoSlot));
        let error = stream.set_metadata("m", &[b'v'; 200]).unwrap_err();
        assert!(matches!(error, Error::Metadata(_)), "{error}");
        drop(stream);
        time::sleep(Duration::from_millis(10)).await;
        handle.open("b").await.unwrap();
    });
}

#[test]
fn a_task_that_takes_its_time_loses_nothing_and_gives_credit_as_it_reads() {
    let heard = with_line::<2>(async |handle| {
        let bulk = handle.open("bulk").await.unwrap();
        let other = handle.open("echo").await.unwrap();
        bulk.connect();
        // No proxy that honours credit: what does not fit waits on the line.
        time::sleep(Duration::from_millis(60)).await;
        let mut buf = [0; 100];
        let (mut got, mut flags) = (Vec::new(), Vec::new());
        while got.len() < 10_000 {
            if let Some(Event::Payload { data, flags: more, .. }) = bulk.next(&mut buf).await {
                got.extend_from_slice(data);
                flags.push(more);
            }
        }
        assert!(got.chunks(1000).zip(0..).all(|(part, n)| part == [n; 1000]));
        assert_eq!(flags.first(), Some(&Flags::SOM));
        assert_eq!(flags.last(), Some(&Flags::EOM));
        assert!(flags[1..flags.len() - 1].iter().all(|flags| *flags == Flags::NONE));
        other.send(b"still there").await.unwrap();
        assert_eq!(until(&other, "QOS_ACK_REMOTE").await.1, b"still there");
    });
    assert!(heard.iter().filter(|text| text.starts_with("bulk CREDIT")).count() > 10, "{heard:?}");
}

#[test]
fn a_task_that_takes_its_time_stops_no_other_where_credit_is_honoured() {
    with_line::<2>(async |handle| {
        let slow = handle.open("polite").await.unwrap();
        slow.connect();
        time::sleep(Duration::from_secs(5)).await;
        // Nobody reads the slow one meanwhile.
        for round in 0..20 {
            let stream = handle.open("echo").await.unwrap();
            stream.send(&[round; 2000]).await.unwrap();
            assert_eq!(until(&stream, "DISCONNECTED").await.1, [round; 2000]);
            drop(stream);
            time::sleep(Duration::from_millis(20)).await;
        }
        let (mut got, mut buf) = (0, [0; 64]);
        while got < 10_000 {
            if let Some(Event::Payload { data, .. }) = slow.next(&mut buf).await {
                got += data.len();
            }
        }
        assert!(handle.is_up());
    });
}

/// Polls a future some times, and drops it.
async fn a_while<T>(polls: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
        std::task::Poll::Pending => {
            left -= 1;
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }
    })
    .await
}

#[test]
fn futures_that_are_dropped_lose_nothing() {
    for seed in 0..20 {
        with_line::<2>(async |handle| {
            let stream = handle.open("ticker").await.unwrap();
            let message: Vec<u8> = (0..4000_u32).map(|n| (n ^ n >> 8) as u8).collect();
            let sending = async {
                let mut rng = Rng::new(seed);
                let (mut rest, mut flags) = (&message[..], Flags::WHOLE);
                while !rest.is_empty() {
                    // Sometimes a run that goes on, sometimes all that is left.
                    let end = rest.len().min(1 + rng.below(400) as usize);
                    let is_all = end == rest.len();
                    let part = if is_all { flags } else { flags.without(Flags::EOM) };
                    let written = a_while(rng.below(4), stream.write(&rest[..end], part)).await;
                    let Some(written) = written else { continue };
                    rest = &rest[written.unwrap()..];
                    flags = flags.without(Flags::SOM);
                }
            };
            let receiving = async {
                let mut rng = Rng::new(seed ^ 1);
                let (mut got, mut buf) = (Vec::new(), [0; 50]);
                loop {
                    let buf = &mut buf[..1 + rng.below(49) as usize];
                    match a_while(rng.below(4), stream.next(buf)).await {
                        None => {}
                        Some(Some(Event::Payload { data, flags, .. })) => {
                            got.extend_from_slice(data);
                            if flags.contains(Flags::EOM) {
                                return got;
                            }
                        }
                        Some(Some(Event::State { .. })) => {}
                        Some(other) => panic!("unexpected {other:?}"),
                    }
                }
            };
            let ((), got) = tokio::join!(sending, receiving);
            assert!(got == message, "seed {seed}");
        });
    }
}

#[test]
fn opening_that_is_dropped_gives_the_seat_back() {
    with_line::<1>(async |handle| {
        for polls in 0..30 {
            let stream = a_while(polls, handle.open("a")).await;
            drop(stream);
            time::sleep(Duration::from_millis(20)).await;
        }
        handle.open("a").await.unwrap();
    });
}

#[test]
fn a_message_that_is_dropped_half_sent_is_never_taken_for_whole() {
    let heard = with_line::<1>(async |handle| {
        let stream = handle.open("ticker").await.unwrap();
        assert_eq!(a_while(6, stream.send(&[7; 5000])).await, None);
        stream.connect();
        let (seen, _) = until(&stream, "DISCONNECTED").await;
        assert!(seen.ends_with(&["DISCONNECTED".into()]), "{seen:?}");
        stream.send(b"whole").await.unwrap();
        let mut payload = Vec::new();
        while payload != b"whole" {
            let mut buf = [0; 64];
            if let Some(Event::Payload { data, .. }) = stream.next(&mut buf).await {
                payload.extend_from_slice(data);
            }
        }
    });
    let ends = heard.iter().filter(|text| text.contains("EOM")).count();
    assert_eq!(ends, 1, "{heard:?}");
}

#[test]
fn a_line_that_is_lost_and_found_keeps_its_streams() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio.block_on(async {
        let clock = Clock::new();
        let mut state = State::<1, Buffers>::new(MuxConfig::FAST, 1);
        let (handle, mut runner) = state.split();
        let config = Config { backoff_ms: &[50], jitter_percent: 0, ..Config::DEFAULT };
        let stream = handle.start("ticker", config, Priority::LOWEST).unwrap();
        stream.send(b"hello").await.unwrap();
        for life in 0..3 {
            let proxy = Rc::new(RefCell::new(Proxy::new(MuxConfig::FAST, 2)));
            let (ours, theirs) = tokio::io::duplex(200);
            let lost = {
                let line = run(&mut runner, ours, &clock);
                let proxy = async {
                    let serving = serve(proxy.clone(), theirs, &clock);
                    // Then the other end of the pipe is gone.
                    let _ = time::timeout(Duration::from_secs(2), serving).await;
                };
                tokio::join!(line, proxy).0
            };
            assert_eq!(lost, LineError::<&str, &str>::Closed.to_string());
            let heard = proxy.take_heard();
            assert!(heard.contains(&"ticker ONWARD_CONNECT".into()), "{life}: {heard:?}");
        }
        assert_eq!(stream.state(), Some(StreamState::Connected));
        let link = handle.is_up();
        assert!(link, "nobody has found out yet");
        let (seen, _) = until(&stream, "DISCONNECTED").await;
        assert_eq!(seen, ["CREATING", "CONNECTING", "CONNECTED", "DISCONNECTED"]);
        let (seen, _) = until(&stream, "DISCONNECTED").await;
        assert_eq!(seen, ["UPSTREAM_LINK_RETRY", "CONNECTING", "CONNECTED", "DISCONNECTED"]);
    });
}

#[test]
fn a_seat_takes_little_beside_its_buffers() {
    assert!(size_of::<State<0, Buffers>>() <= 640, "{}", size_of::<State<0, Buffers>>());
    let beside =
        size_of::<State<1, Buffers>>() - size_of::<State<0, Buffers>>() - (1024 + 300 + 128);
    // On the 64-bit machine that runs this.
    assert!(beside <= 600, "{beside}");
}
