//! Lines over pipes in memory, in the runtime's virtual time.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sspc_line::{Channel, Line, LineConfig, LineEvent, MuxConfig, Priority, Role};
use sspc_mux::Mux;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::{Instant, sleep, timeout};

type Events = Arc<Mutex<Vec<String>>>;

struct Pair {
    client: Line,
    proxy: Line,
    events: Events,
}

/// Two ends with a pipe of 4 KiB between them.
fn pair(config: LineConfig) -> Pair {
    let (a, b) = duplex(4096);
    let events = Events::default();
    let noted = Arc::clone(&events);
    let note = move |event: LineEvent| noted.lock().unwrap().push(event.to_string());
    let (reader, writer) = split(a);
    let (client, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    tokio::spawn(running);
    let (reader, writer) = split(b);
    let (proxy, running) = Line::over(reader, writer, Role::Proxy, config, note);
    tokio::spawn(running);
    Pair { client, proxy, events }
}

async fn channel(pair: &Pair) -> (Channel, Channel) {
    let here = pair.client.open_channel(Priority::default()).await.unwrap();
    (here, pair.proxy.accept().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_holds_up_nobody_and_loses_only_its_own_channel() {
    let mut config = LineConfig::default();
    config.unread_max = 64 * 1024;
    let pair = pair(config.clone());
    let (mut stuck, unread) = channel(&pair).await;
    let (mut lively, mut read) = channel(&pair).await;
    let flood = tokio::spawn(async move {
        loop {
            if let Err(error) = stuck.write_all(&[7; 1024]).await {
                return error;
            }
        }
    });
    for round in 0..200_u32 {
        lively.write_all(&round.to_be_bytes()).await.unwrap();
        let mut heard = [0; 4];
        read.read_exact(&mut heard).await.unwrap();
        assert_eq!(u32::from_be_bytes(heard), round);
    }
    assert_eq!(flood.await.unwrap().kind(), io::ErrorKind::BrokenPipe);
    let (mut unread, mut kept) = (unread, Vec::new());
    let error = unread.read_to_end(&mut kept).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
    assert!(kept.len() <= config.unread_max && kept.len() > config.unread_max - 2048);
    let told = pair.events.lock().unwrap().join("\n");
    assert!(told.contains("does not honour credit"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_writer_waits_when_the_line_does_not_move() {
    // Nobody reads the other end.
    let (a, _b) = duplex(64);
    let (reader, writer) = split(a);
    let config = LineConfig::default();
    let (client, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    tokio::spawn(running);
    let opening = client.open_channel(Priority::default());
    timeout(Duration::from_secs(60), opening).await.expect_err("the link never came up");
    assert_eq!(client.status().channels, 0, "a channel that nobody waits for is closed");
}

#[tokio::test(start_paused = true)]
async fn all_channels_at_once() {
    let pair = pair(LineConfig::default());
    let mut channels = Vec::new();
    for _ in 0..250 {
        channels.push(channel(&pair).await);
    }
    for (index, (here, there)) in channels.iter_mut().enumerate() {
        here.write_all(&[index as u8; 100]).await.unwrap();
        there.write_all(&[!index as u8; 100]).await.unwrap();
    }
    for (index, (here, there)) in channels.iter_mut().enumerate() {
        let mut heard = [0; 100];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [index as u8; 100]);
        here.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [!index as u8; 100]);
    }
    let (here, _there) = channels.pop().unwrap();
    drop((channels, here));
    while pair.client.status().channels > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    // Closed and answered, the indices are free again.
    for _ in 0..250 {
        channel(&pair).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_pipe_ends_everything() {
    let (a, b) = duplex(4096);
    let (reader, writer) = split(a);
    let config = LineConfig::default();
    let (client, running) = Line::over(reader, writer, Role::Client, config.clone(), |_| {});
    let running = tokio::spawn(running);
    let (reader, writer) = split(b);
    let (proxy, other) = Line::over(reader, writer, Role::Proxy, config, |_| {});
    let other = tokio::spawn(other);
    let mut here = client.open_channel(Priority::default()).await.unwrap();
    let _there = proxy.accept().await.unwrap();
    other.abort();
    assert_eq!(here.read(&mut [0; 8]).await.unwrap(), 0);
    running.await.unwrap().unwrap();
    assert!(client.open_channel(Priority::default()).await.is_err());
    assert!(proxy.accept().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn idle_lines_stay_up() {
    let pair = pair(LineConfig::default());
    let (mut here, mut there) = channel(&pair).await;
    let began = Instant::now();
    sleep(Duration::from_secs(3600)).await;
    here.write_all(b"still").await.unwrap();
    let mut heard = [0; 5];
    there.read_exact(&mut heard).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(3600));
    assert_eq!(pair.client.status().losses, 0);
    assert_eq!(pair.client.status().ups, 1);
}

/// Both ends of an idle line of the fast profile woke up 20 to 33 times a second, channels or not.
#[tokio::test(start_paused = true)]
async fn an_idle_line_is_quiet_without_channels_and_finds_a_dead_peer_as_soon_as_there_is_one() {
    for is_used_before in [true, false] {
        a_dead_peer_is_found(is_used_before).await;
    }
}

async fn a_dead_peer_is_found(is_used_before: bool) {
    let mut config = LineConfig::default();
    config.mux = MuxConfig::FAST;
    let (here, mut there) = duplex(4096);
    let (reader, writer) = split(here);
    let lost = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&lost);
    let note = move |event: LineEvent| {
        if let LineEvent::Down { .. } = event {
            *noted.lock().unwrap() = Some(Instant::now());
        }
    };
    let (client, running) = Line::over(reader, writer, Role::Client, config.clone(), note);
    tokio::spawn(running);
    let sent = |client: &Line| client.status().bytes_out;

    // The peer is a bare mux, so that the test can have it vanish.
    let mut peer = Mux::new(Role::Proxy, MuxConfig::DEFAULT, 7);
    let began = Instant::now();
    let mut answer_until = async |ms: u64| {
        let until = began + Duration::from_millis(ms);
        while Instant::now() < until {
            let now = sspc_mux::Instant::from_micros(began.elapsed().as_micros() as u64);
            let mut out = [0; 2048];
            let length = peer.transmit(now, &mut out, &mut |_, _| 0).unwrap();
            there.write_all(&out[..length]).await.unwrap();
            let mut room = [0; 4096];
            let Ok(read) = timeout(Duration::from_millis(1), there.read(&mut room)).await else {
                continue;
            };
            let mut input = &room[..read.unwrap()];
            let now = sspc_mux::Instant::from_micros(began.elapsed().as_micros() as u64);
            while let Some(event) = peer.receive(now, &mut input) {
                if let sspc_mux::Event::ChannelRequested { channel } = event {
                    peer.accept(channel, Priority::default()).unwrap();
                }
            }
        }
    };
    answer_until(5000).await;
    let before = sent(&client);
    answer_until(65_000).await;
    let quiet = sent(&client) - before;
    assert!(quiet <= 60 * 35, "{quiet} bytes in a minute");

    let mut channel = None;
    if is_used_before {
        let opening = client.open_channel(Priority::default());
        channel = Some(tokio::join!(opening, answer_until(66_000)).0.unwrap());
        let before = sent(&client);
        answer_until(76_000).await;
        let busy = sent(&client) - before;
        assert!(busy >= 70 * 9, "{busy} bytes in 10 s");
    }
    // Now it vanishes.
    let gone = Instant::now();
    if !is_used_before {
        let client = client.clone();
        tokio::spawn(async move { client.open_channel(Priority::default()).await });
    }
    sleep(Duration::from_millis(300)).await;
    let lost = lost.lock().unwrap().expect("it is found dead within 300 ms");
    assert!(lost > gone);
    drop(channel);
}

/// A loopback plug was taken for a peer.
#[tokio::test(start_paused = true)]
async fn a_line_that_answers_with_its_own_bytes_is_told_and_is_no_peer() {
    for role in [Role::Client, Role::Proxy] {
        let (here, there) = duplex(4096);
        let events = Events::default();
        let noted = Arc::clone(&events);
        let note = move |event: LineEvent| noted.lock().unwrap().push(event.to_string());
        let (reader, writer) = split(here);
        let (line, running) = Line::over(reader, writer, role, LineConfig::default(), note);
        tokio::spawn(running);
        let plug = tokio::spawn(async move {
            let (mut reader, mut writer) = split(there);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
        sleep(Duration::from_secs(3600)).await;
        let told = std::mem::take(&mut *events.lock().unwrap());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("a loopback plug"), "{told:?}");
        assert!(line.not_opened().to_string().contains("a loopback plug"));
        let status = line.status();
        assert!(status.echo && !status.up && status.ups == 0, "{status:?}");
        plug.abort();
    }
}
