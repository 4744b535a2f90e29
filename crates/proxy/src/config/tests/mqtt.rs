//! What brokers and clients see of the knobs for mqtt.

use std::time::Duration;

use sspc_wire::{Flags, State, Timeout, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::support::{Client, Origin, Seen, ms_since, proxy};
use crate::{Config, Proxy};

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// After so long all is done that needs no waiting.
const MOMENT: Duration = Duration::from_millis(1);

const PUBLISHES: &str = r#""protocol": "mqtt", "opportunistic": true, "mqtt_topic": "t""#;

/// A packet with its first byte.
async fn packet(link: &mut UnixStream) -> (u8, Vec<u8>) {
    let first = link.read_u8().await.unwrap();
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = link.read_u8().await.unwrap();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    link.read_exact(&mut body).await.unwrap();
    (first, body)
}

async fn accept(origin: &Origin) -> UnixStream {
    let mut link = origin.accept().await;
    assert_eq!(packet(&mut link).await.0, 0x10);
    link.write_all(&CONNACK).await.unwrap();
    link
}

/// Time until a message comes again.
pub(super) async fn unacknowledged_message(config: Config) -> u64 {
    let origin = Origin::new();
    let settings = origin.settings(&format!(r#"{PUBLISHES}, "mqtt_qos": 1"#));
    let mut client = Client::connecting(&proxy(config, &settings)).await;
    let mut broker = accept(&origin).await;
    client.payload(b"message", Flags::WHOLE).await;
    assert_eq!(packet(&mut broker).await.0, 0x32);
    let start = Instant::now();
    assert_eq!(packet(&mut broker).await.0, 0x3a);
    ms_since(start)
}

/// The largest length of which the proxy takes a message.
pub(super) async fn largest_announced_message(config: Config) -> u64 {
    let origin = Origin::new();
    let settings = origin.settings(PUBLISHES);
    let mut client = Client::connecting(&proxy(config, &settings)).await;
    let mut broker = accept(&origin).await;
    tokio::spawn(async move { while broker.read(&mut [0; 4096]).await.unwrap() > 0 {} });
    client.until(Seen::State(State::Connected)).await;
    let (mut fits, mut too_long) = (1, 1 << 24);
    while too_long - fits > 1 {
        let length = u32::midpoint(fits, too_long);
        client.send(ToProxy::LengthHint(length)).await;
        client.payload(b"begun", Flags::SOM).await;
        client.send(ToProxy::Timeout(Timeout::Millis(1))).await;
        match verdict(&mut client).await {
            State::QosNackRemote => too_long = length,
            _ => fits = length,
        }
        client.payload(b"ended", Flags::EOM).await;
        while timeout(MOMENT, client.next()).await.is_ok() {}
    }
    fits.into()
}

async fn verdict(client: &mut Client<DuplexStream>) -> State {
    loop {
        match client.next().await {
            Seen::State(state @ (State::QosNackRemote | State::Timeout)) => return state,
            Seen::Closed => panic!("closed"),
            _ => {}
        }
    }
}

/// The largest message that a client gets which shares its connection with another one.
pub(super) async fn largest_message_among_strangers(mut config: Config) -> u64 {
    config.credentials.mqtt_client_id = "device".into();
    let origin = Origin::new();
    let settings = origin.settings(r#""protocol": "mqtt", "mqtt_subscribe": "t""#);
    let proxy = proxy(config, &settings);
    let mut stranger = connecting(&proxy, "stranger").await;
    let mut broker = accept(&origin).await;
    subscribed(&mut broker).await;
    stranger.until(Seen::State(State::Connected)).await;
    let mut client = connecting(&proxy, "client").await;
    subscribed(&mut broker).await;
    client.until(Seen::State(State::Connected)).await;
    tokio::spawn(async move { while stranger.next().await != Seen::Closed {} });

    let (mut fits, mut too_long) = (1_000, 1 << 22);
    while too_long - fits > 1 {
        let length = usize::midpoint(fits, too_long);
        let mut head = vec![0x30];
        let mut rest = length + 3;
        while rest > 0x7f {
            head.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        head.extend([rest as u8, 0, 1, b't']);
        broker.write_all(&head).await.unwrap();
        broker.write_all(&vec![0; length]).await.unwrap();
        let mut came = false;
        while timeout(MOMENT, client.next()).await.is_ok() {
            came = true;
        }
        if came {
            fits = length;
        } else {
            too_long = length;
        }
    }
    fits as u64
}

async fn connecting(proxy: &Proxy, name: &str) -> Client<DuplexStream> {
    let (far, near) = duplex(4096);
    let (reader, writer) = split(near);
    tokio::spawn(proxy.handle().serve_link(reader, writer, name));
    let mut client = Client::new(far);
    client.create(7, "s").await;
    client.send(ToProxy::OnwardConnect).await;
    client.until(Seen::State(State::Connecting)).await;
    client
}

async fn subscribed(broker: &mut UnixStream) {
    let (first, body) = packet(broker).await;
    assert_eq!(first, 0x82);
    broker.write_all(&[0x90, 3, body[0], body[1], 0]).await.unwrap();
}
