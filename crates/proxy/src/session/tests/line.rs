//! Sixteen streams of the client's own engine on one line of limited rate, one of which stalls for
//! a minute: the others keep their share, and nothing piles up.

use std::sync::atomic::{AtomicU64, Ordering};

use sspc::tokio::{Client, Event as Seen, StreamHandle};
use sspc_line::{Line, LineConfig, LineEvent, Priority, Role};
use sspc_wire::limits::{CREDIT_UNLIMITED, PID_CREDIT_BIT};
use sspc_wire::{Flags, State, ToProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::super::*;
use super::support::*;

const STREAMS: usize = 16;
/// Bits per second of the line, 8N1.
const RATE: u64 = 460_800;
/// Bytes of a message.
const MESSAGE: usize = 1000;
/// What client and proxy each give credit for.
const WINDOW: u64 = 32 * 1024;
const MINUTE: Duration = Duration::from_secs(60);

/// Moves bytes one way at the line's rate.
async fn wire(
    mut from: tokio::io::ReadHalf<DuplexStream>,
    mut to: tokio::io::WriteHalf<DuplexStream>,
) {
    let mut room = [0; 256];
    let mut free_at = Instant::now();
    while let Ok(length @ 1..) = from.read(&mut room).await {
        if to.write_all(&room[..length]).await.is_err() {
            return;
        }
        // The timer is as coarse as a millisecond: what is late by that may catch up.
        let start = free_at.max(Instant::now() - Duration::from_millis(2));
        free_at = start + Duration::from_micros(length as u64 * 10_000_000 / RATE);
        sleep_until(free_at).await;
    }
}

/// How much one stream has passed so far.
type Passed = Arc<AtomicU64>;

/// A stream's two ends.
struct Both {
    client: StreamHandle,
    server: Started,
    /// Of its session alone.
    counts: Arc<Counts>,
}

struct Rig {
    both: Vec<Both>,
    events: mpsc::UnboundedReceiver<LineEvent>,
    _client_line: Line,
}

impl Rig {
    async fn new(honour_credit: bool, names: &[&str]) -> Self {
        let (client_end, client_wire) = duplex(512);
        let (proxy_end, proxy_wire) = duplex(512);
        let ((from_client, to_client), (from_proxy, to_proxy)) =
            (split(client_wire), split(proxy_wire));
        tokio::spawn(wire(from_client, to_proxy));
        tokio::spawn(wire(from_proxy, to_client));
        let mut config = LineConfig::default();
        config.unread_max = WINDOW as usize;
        let (reader, writer) = split(client_end);
        let (client_line, running) =
            Line::over(reader, writer, Role::Client, config.clone(), |_| {});
        tokio::spawn(running);
        let (tell, events) = mpsc::unbounded_channel();
        let (reader, writer) = split(proxy_end);
        let (line, running) = Line::over(reader, writer, Role::Proxy, config, move |event| {
            let _ = tell.send(event);
        });
        tokio::spawn(running);

        let mut options = sspc::Options::default();
        options.config.honour_credit = honour_credit;
        options.config.window = WINDOW as u32;
        options.config.backoff_ms = sspc::Config::NEVER;
        let client = Client::over(client_line.clone(), "line", options);
        let (starter, mut attempts) = Script::new();
        let mut both = Vec::new();
        for name in names {
            let counts = Arc::<Counts>::default();
            let limits = Limits {
                stream_buffer: WINDOW as u32 / 2,
                ahead_buffer: WINDOW as u32,
                ..Limits::default()
            };
            let context = SessionContext {
                id: 1,
                peer: Peer::Unknown,
                excess: None,
                policy: Arc::new(policy()),
                starter: starter.clone(),
                observer: None,
                gate: crate::access::Gate::new(Default::default()),
                counts: Arc::clone(&counts),
                memory: Arc::default(),
                limits,
                timeouts: Timeouts::default(),
                draining: CancellationToken::new(),
                closing: CancellationToken::new(),
            };
            let (opened, channel) = tokio::join!(client.open(name), async {
                let (reader, writer) = line.accept().await.unwrap().into_split();
                tokio::spawn(run(context, reader, writer));
            });
            let () = channel;
            let mut client = opened.unwrap();
            client.connect();
            let server = attempts.recv().await.unwrap();
            server.say_connected().await;
            until(&mut client, State::Connected).await;
            both.push(Both { client, server, counts });
        }
        Self { both, events, _client_line: client_line }
    }
}

async fn until(stream: &mut StreamHandle, wanted: State) {
    while !matches!(stream.next().await.unwrap(), Seen::State { state, .. } if state == wanted) {}
}

/// Bytes that tell if any is lost, repeated or out of place.
fn pattern(at: u64, block: &mut [u8]) {
    for (index, byte) in block.iter_mut().enumerate() {
        let at = at + index as u64;
        *byte = (at ^ (at >> 8) ^ (at >> 16)) as u8;
    }
}

/// Each of these passed as much as the others within 3 %, and together they filled the line.
fn assert_fair(passed: &[Passed], since: &[u64]) {
    let passed: Vec<u64> =
        passed.iter().zip(since).map(|(now, then)| now.load(Ordering::Relaxed) - then).collect();
    let all: u64 = passed.iter().sum();
    let mean = all / passed.len() as u64;
    for bytes in &passed {
        assert!(bytes.abs_diff(mean) * 100 <= mean * 3, "{bytes} of {mean}: {passed:?}");
    }
    let line = RATE / 10 * MINUTE.as_secs();
    assert!(all * 100 >= line * 95, "{all} bytes of payload on a line of {line}");
}

fn snapshot(passed: &[Passed]) -> Vec<u64> {
    passed.iter().map(|passed| passed.load(Ordering::Relaxed)).collect()
}

/// Has a server send for ever; how much was taken from it.
fn give_all(server: Started, sent: Passed) {
    tokio::spawn(async move {
        let mut block = [0; MESSAGE];
        loop {
            pattern(sent.load(Ordering::Relaxed), &mut block);
            let bytes = Bytes::copy_from_slice(&block);
            let event = Event::Payload { bytes, flags: Flags::WHOLE };
            if server.events.send(event).await.is_err() {
                return;
            }
            sent.fetch_add(MESSAGE as u64, Ordering::Relaxed);
        }
    });
}

/// Takes all that comes to a client; how much that is.
fn read_all(mut client: StreamHandle) -> Passed {
    let received = Passed::default();
    let passed = Arc::clone(&received);
    tokio::spawn(async move {
        while let Some(event) = client.next().await {
            if let Seen::Payload { data, .. } = event {
                received.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        }
    });
    passed
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_holds_up_nobody_and_stops_its_own_origin_alone() {
    let rig = Rig::new(true, &["ws"; STREAMS]).await;
    let (mut given, mut taken) = (Vec::new(), Vec::new());
    let mut stalled = None;
    for (index, Both { client, server, .. }) in rig.both.into_iter().enumerate() {
        let sent = Passed::default();
        given.push(Arc::clone(&sent));
        give_all(server, sent);
        if index == 0 {
            stalled = Some(client);
            continue;
        }
        taken.push(read_all(client));
    }
    sleep(MINUTE / 6).await;
    let (held, since) = (given[0].load(Ordering::Relaxed), snapshot(&taken));
    assert!((WINDOW..WINDOW + 10 * MESSAGE as u64).contains(&held), "{held} bytes are held");
    sleep(MINUTE).await;
    assert_eq!(given[0].load(Ordering::Relaxed), held, "it grew");
    assert_fair(&taken, &since);

    // Nothing of it was lost.
    let mut client = stalled.unwrap();
    let (mut at, mut expected) = (0, Vec::new());
    while at < 4 * WINDOW {
        if let Seen::Payload { data, .. } = client.next().await.unwrap() {
            expected.resize(data.len(), 0);
            pattern(at, &mut expected);
            assert!(data == expected, "wrong bytes at {at}");
            at += data.len() as u64;
        }
    }
}

/// Sends for ever; how much was taken from it.
fn send_all(client: &StreamHandle, sent: Passed) {
    let sender = client.sender();
    tokio::spawn(async move {
        let mut block = vec![0; MESSAGE];
        loop {
            pattern(sent.load(Ordering::Relaxed), &mut block);
            if sender.send(block.clone(), Flags::WHOLE).await.is_err() {
                return;
            }
            sent.fetch_add(MESSAGE as u64, Ordering::Relaxed);
        }
    });
}

/// Takes all that comes to a server; how much that is.
fn take_all(server: Started) -> Passed {
    let received = Passed::default();
    let passed = Arc::clone(&received);
    tokio::spawn(async move {
        // With the events the attempt would end.
        let Started { events: _events, mut body, .. } = server;
        while let Some(chunk) = body.recv().await {
            received.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        }
    });
    passed
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_reading_holds_up_nobody_and_stops_its_own_client_alone() {
    let rig = Rig::new(true, &["ws"; STREAMS]).await;
    let (mut given, mut taken, mut clients) = (Vec::new(), Vec::new(), Vec::new());
    let mut stalled = None;
    for (index, Both { client, server, counts }) in rig.both.into_iter().enumerate() {
        given.push(Passed::default());
        send_all(&client, Arc::clone(&given[index]));
        clients.push(client);
        if index == 0 {
            stalled = Some((server, counts));
        } else {
            taken.push(take_all(server));
        }
    }
    let (mut server, counts) = stalled.unwrap();
    sleep(MINUTE / 6).await;
    let (held, since) = (counts.snapshot().bytes_from_clients, snapshot(&taken));
    let sent = given[0].load(Ordering::Relaxed);
    // Beside the window, what the attempt's own queue has taken.
    assert!((WINDOW / 2..WINDOW).contains(&held), "{held} bytes are held");
    sleep(MINUTE).await;
    assert_eq!(counts.snapshot().bytes_from_clients, held, "it grew");
    assert_eq!(given[0].load(Ordering::Relaxed), sent, "its client is stopped");
    assert_fair(&taken, &since);

    // Nothing of it was lost.
    let (mut at, mut expected) = (0, Vec::new());
    while at < 4 * WINDOW {
        let chunk = server.body.recv().await.unwrap();
        expected.resize(chunk.bytes.len(), 0);
        pattern(at, &mut expected);
        assert!(chunk.bytes == expected, "wrong bytes at {at}");
        at += chunk.bytes.len() as u64;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_credit_whose_server_stalls_loses_its_own_channel_alone() {
    let mut rig = Rig::new(false, &["ws"; STREAMS]).await;
    let (mut taken, mut clients) = (Vec::new(), Vec::new());
    let mut stalled = None;
    for (index, Both { client, server, counts }) in rig.both.into_iter().enumerate() {
        send_all(&client, Passed::default());
        if index == 0 {
            stalled = Some((client, server, counts));
        } else {
            clients.push(client);
            taken.push(take_all(server));
        }
    }
    let (mut client, server, counts) = stalled.unwrap();
    until(&mut client, State::Disconnected).await;
    // The session ends with its channel.
    server.ended().await;
    let held = counts.snapshot().bytes_from_clients;
    assert!((WINDOW / 4..WINDOW).contains(&held), "{held} bytes were held");
    let mut overflows = 0;
    while let Ok(event) = rig.events.try_recv() {
        match event {
            LineEvent::Overflow { kept, .. } => {
                assert!(kept as u64 <= WINDOW);
                overflows += 1;
            }
            LineEvent::Down { why } => panic!("{why}"),
            _ => {}
        }
    }
    assert_eq!(overflows, 1);
    let since = snapshot(&taken);
    sleep(MINUTE).await;
    assert_fair(&taken, &since);
}

/// The longest that a message of 64 bytes takes to its client, beside eight streams that fill the
/// line.
async fn longest_wait(streamtype: &str) -> Duration {
    let names = [&[streamtype][..], &["ws"; 8]].concat();
    let mut both = Rig::new(true, &names).await.both;
    let Both { mut client, server, .. } = both.remove(0);
    for Both { client, server, .. } in both {
        give_all(server, Passed::default());
        read_all(client);
    }
    sleep(Duration::from_secs(3)).await;
    let mut longest = Duration::ZERO;
    for round in 0..50 {
        sleep(Duration::from_millis(100 + 7 * round)).await;
        let began = Instant::now();
        let bytes = Bytes::from_static(&[7; 64]);
        server.event(Event::Payload { bytes, flags: Flags::WHOLE }).await;
        while !matches!(client.next().await.unwrap(), Seen::Payload { .. }) {}
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn on_a_line_frames_are_short_for_a_client_that_takes_long_ones() {
    let (ours, theirs) = duplex(512);
    let config = LineConfig::default();
    let (reader, writer) = split(ours);
    let (device, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    tokio::spawn(running);
    let (reader, writer) = split(theirs);
    let (gateway, running) = Line::over(reader, writer, Role::Proxy, config, |_| {});
    tokio::spawn(running);
    let channel = device.open_channel(Priority::default()).await.unwrap();
    let (reader, writer) = gateway.accept().await.unwrap().into_split();
    let mut rig = super::support::Rig::over(channel, reader, writer);
    rig.client.streamtype("ws", PID_CREDIT_BIT, CREDIT_UNLIMITED).await;
    rig.client.send(ToProxy::OnwardConnect).await;
    let server = rig.attempt().await;
    server.say_connected().await;
    rig.client
        .expect(&["CREATE 0 0 ,ws", "TXCR 65536", "CREATING", "CONNECTING", "CONNECTED"])
        .await;
    let bytes = Bytes::from_static(&[b'x'; 2000]);
    server.event(Event::Payload { bytes, flags: Flags::WHOLE }).await;
    let frames = [format!("RX SOM {}", "x".repeat(1380)), format!("RX EOM {}", "x".repeat(620))];
    rig.client.expect(&frames.each_ref().map(String::as_str)).await;

    // The client is gone: the attempt ends at once.
    drop(rig.client);
    server.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_high_priority_waits_for_two_frames_at_most() {
    // What lies in the pipes and the drivers beside the two.
    let slack = Duration::from_millis(30);
    let frame = Duration::from_micros(1384 * 10_000_000 / RATE);
    let longest = longest_wait("urgent").await;
    assert!(longest <= 2 * frame + slack, "{longest:?}");
    let longest = longest_wait("ws").await;
    assert!(longest > 4 * frame, "{longest:?}: without priority it takes its turn");
}
