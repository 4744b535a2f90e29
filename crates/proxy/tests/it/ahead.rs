//! What a device on a line has not read at any time, with real servers behind the proxy.

use std::time::Duration;

use sspc::{
    Client, ClientEvent, Config, Event, MuxConfig, Name, Priority, Slot, State, StreamId,
    line_ahead_max,
};
use sspc_proxy::LineConfig;
use sspc_wire::Flags;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::time::{Instant, sleep, timeout};

use crate::nginx::PAGE;
use crate::user::PATIENCE;
use crate::world::{Streamtype, World};

const NAMES: [&str; 3] = ["h1", "h2-tls", "tiny"];
/// What comes of these in one transaction: bytes of payload, and ends of messages.
const WHOLE: [(usize, usize); 3] = [(PAGE, 1), (PAGE, 1), (600, 1200)];

/// A device that reads once in a while; the most that had piled up until then.
async fn most_unread(world: &World, window: u32) -> usize {
    let (mut link, far) = duplex(1 << 20);
    let (reader, writer) = split(far);
    let mut config = LineConfig::default();
    config.mux = MuxConfig { pong_ms: 60_000, ..config.mux };
    let serving = tokio::spawn(world.proxy.serve_line(reader, writer, config.clone(), "line"));

    let stream = Config { window, ..Config::DEFAULT };
    let slots =
        NAMES.map(|name| Slot::new(Name::new(name).unwrap(), stream, Priority::LOWEST, [0; 128]));
    let mut client = Client::new(config.mux, 1, slots);
    for slot in 0..NAMES.len() {
        let id = StreamId::new(slot as u8);
        if slot < 2 {
            client.set_metadata(id, "path", b"page.bin").unwrap();
        }
        client.connect(id);
    }
    let began = Instant::now();
    let mut came = [(0, 0); NAMES.len()];
    let (mut most, mut states) = (0, 0);
    while came != WHOLE || states < NAMES.len() {
        assert!(began.elapsed() < PATIENCE, "{came:?} with a window of {window}");
        sleep(Duration::from_millis(5)).await;
        let mut ring = Vec::new();
        while let Ok(Ok(1..)) = timeout(Duration::ZERO, link.read_buf(&mut ring)).await {}
        most = most.max(ring.len());
        let now = sspc::Instant::from_micros(began.elapsed().as_micros() as u64);
        let mut input = &ring[..];
        loop {
            let mut event = client.receive(now, &mut input);
            if event.is_none() {
                event = client.handle_timeout(now);
            }
            let Some(event) = event else { break };
            let ClientEvent::Stream { id, event } = event else { continue };
            match event {
                Event::Payload { data, flags, .. } => {
                    let (bytes, ends) = &mut came[usize::from(id.index())];
                    *bytes += data.len();
                    *ends += usize::from(flags.contains(Flags::EOM));
                    let length = data.len() as u32;
                    client.consumed(id, length);
                }
                Event::State { state: State::Disconnected, .. } => states += 1,
                _ => {}
            }
        }
        let mut output = [0; 2000];
        while let length @ 1.. = client.transmit(now, &mut output, &mut |_, _| None).unwrap() {
            link.write_all(&output[..length]).await.unwrap();
        }
    }
    serving.abort();
    most
}

#[tokio::test]
async fn pages_and_tiny_messages_stay_within_the_bound() {
    let world = World::with(|ports, _| {
        let tiny = Streamtype::at("tiny", ports.clear).path("/origin/ws/tiny").ws();
        vec![tiny.with(r#""perf": true"#).opportunistic()]
    })
    .await;
    for window in [512, 4096, 65_536] {
        let bound = line_ahead_max(&[window; NAMES.len()]) as usize;
        let most = most_unread(&world, window).await;
        assert!(most <= bound, "with a window of {window}: {most} of {bound}");
    }
}
