//! The bus as clients see it, in virtual time, over pipes in memory. Each pipe is another client.

use std::time::Duration;

use sspc_policy::Policy;
use sspc_wire::limits::PID_CREDIT_BIT;
use sspc_wire::smd::{Message, STREAMTYPE};
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::{Config, Proxy};

/// After so long all is done that needs no waiting.
const MOMENT: Duration = Duration::from_millis(1);

fn proxy() -> Proxy {
    Proxy::new(Config::new(Policy::default())).unwrap()
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Created(u8, String),
    Credit(i32),
    State(State, u32),
    Message(Classes, String),
    Closed,
}

struct Client {
    link: DuplexStream,
    decoder: ToClientDecoder,
    input: Vec<u8>,
}

impl Client {
    /// A link on which STREAMTYPE was sent.
    async fn open(proxy: &Proxy, pid: u32, classes: Classes) -> Self {
        let (link, near) = duplex(4096);
        let (reader, writer) = split(near);
        tokio::spawn(proxy.handle().serve_link(reader, writer, "pipe"));
        let mut client = Self { link, decoder: ToClientDecoder::new(), input: Vec::new() };
        let (tx_credit, name) = (classes.bits().cast_signed(), STREAMTYPE.as_bytes());
        client.send(ToProxy::Streamtype(Streamtype { version: 1, pid, tx_credit, name })).await;
        client
    }

    /// A deployed client that has heard that it is on the bus.
    async fn join(proxy: &Proxy, classes: Classes) -> Self {
        let mut client = Self::open(proxy, 7, classes).await;
        while client.next().await != Seen::State(State::Connected, 0) {}
        client
    }

    async fn send(&mut self, frame: ToProxy<'_>) {
        let mut bytes = vec![0; 70_000];
        let length = frame.encode(&mut bytes).unwrap();
        self.link.write_all(&bytes[..length]).await.unwrap();
    }

    async fn payload(&mut self, bytes: &[u8], flags: Flags) {
        let (head, piece) = (PayloadHead::new(flags), Piece::whole(bytes).unwrap());
        self.send(ToProxy::Payload { head, rideshare: None, piece }).await;
    }

    async fn say(&mut self, class: Classes, text: &str) {
        self.payload(&message(class, text), Flags::WHOLE).await;
    }

    async fn next(&mut self) -> Seen {
        let mut payload = Vec::new();
        loop {
            let mut rest = &self.input[..];
            let frame = self.decoder.next(&mut rest).unwrap();
            let seen = frame.and_then(|frame| match frame {
                ToClient::CreateResult { result, list, .. } => {
                    Some(Seen::Created(result, String::from_utf8_lossy(list.data).into_owned()))
                }
                ToClient::TxCredit(credit) => Some(Seen::Credit(credit)),
                ToClient::State { state, ordinal } => Some(Seen::State(state, ordinal)),
                ToClient::Payload { head, piece, .. } => {
                    assert_eq!(head.flags, Flags::WHOLE);
                    payload.extend_from_slice(piece.data);
                    piece.is_last().then(|| {
                        let message = Message::decode(&payload).unwrap();
                        let text = String::from_utf8_lossy(message.text).into_owned();
                        Seen::Message(message.class, text)
                    })
                }
                other => panic!("{other:?}"),
            });
            let moved = rest.len() < self.input.len();
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            match seen {
                Some(seen) => return seen,
                None if moved => continue,
                None => {}
            }
            if self.link.read_buf(&mut self.input).await.unwrap() == 0 {
                return Seen::Closed;
            }
        }
    }

    /// The texts of the messages that come until none does for a moment.
    async fn texts(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(seen) = timeout(MOMENT, self.next()).await {
            match seen {
                Seen::Message(_, text) => texts.push(text),
                other => panic!("{other:?}"),
            }
        }
        texts
    }
}

fn message(class: Classes, text: &str) -> Vec<u8> {
    let mut bytes = u64::from(class.bits()).to_be_bytes().to_vec();
    bytes.extend([0xaa; 8]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_on_the_bus_as_soon_as_it_is_created() {
    let proxy = proxy();
    let mut client = Client::open(&proxy, 7, Classes::ALL).await;
    assert_eq!(client.next().await, Seen::Created(0, ",_lws_smd".to_owned()));
    for state in [State::Creating, State::Connecting, State::Connected] {
        assert_eq!(client.next().await, Seen::State(state, 0));
    }
    client.send(ToProxy::OnwardConnect).await;
    assert_eq!(client.texts().await, [""; 0]);
    let value = Piece::whole(b"value").unwrap();
    client.send(ToProxy::Metadata { name: b"name", value }).await;
    assert_eq!(client.next().await, Seen::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_all_that_want_its_class() {
    let proxy = proxy();
    let mut sender = Client::join(&proxy, Classes::NETWORK | Classes::METRICS).await;
    let mut other = Client::join(&proxy, Classes::NETWORK).await;
    let mut stranger = Client::join(&proxy, Classes::METRICS).await;
    let mut nobody = Client::join(&proxy, Classes::NONE).await;
    sender.say(Classes::NETWORK, "a").await;
    sender.say(Classes::from_bits(0), "for nobody").await;
    sender.say(Classes::INTERACTION, "for nobody").await;
    nobody.say(Classes::NETWORK | Classes::METRICS, "b").await;
    assert_eq!(sender.next().await, Seen::Message(Classes::NETWORK, "a".to_owned()));
    let both = Classes::NETWORK | Classes::METRICS;
    assert_eq!(sender.next().await, Seen::Message(both, "b".to_owned()));
    assert_eq!(other.texts().await, ["a", "b"]);
    assert_eq!(stranger.texts().await, ["b"]);
    assert_eq!(nobody.texts().await, [""; 0]);
    assert_eq!(sender.texts().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_proxy_takes_part() {
    let proxy = proxy();
    let smd = proxy.handle().smd();
    let mut heard = smd.subscribe(Classes::NETWORK);
    let mut client = Client::join(&proxy, Classes::NETWORK).await;
    smd.publish(Classes::NETWORK, r#"{"type":"cpd","result":"OK"}"#).unwrap();
    client.say(Classes::NETWORK, r#"{"trigger":"cpdcheck"}"#).await;
    let both = [r#"{"type":"cpd","result":"OK"}"#, r#"{"trigger":"cpdcheck"}"#];
    assert_eq!(client.texts().await, both);
    for text in both {
        assert_eq!(heard.recv().await.text, text);
    }
    assert_eq!(smd.publish(Classes::NETWORK, vec![b'x'; 384]), Err(MessageTooLong(384)));
}

/// Messages are stamped when they come, by the clock that all programs of the machine have.
#[tokio::test(start_paused = true)]
async fn a_message_has_the_time_of_its_arrival() {
    let proxy = proxy();
    let smd = proxy.handle().smd();
    let mut heard = smd.subscribe(Classes::ALL);
    let mut client = Client::join(&proxy, Classes::NONE).await;
    client.say(Classes::NETWORK, "a").await;
    let first = heard.recv().await.timestamp_us;
    sleep(Duration::from_secs(7)).await;
    client.say(Classes::NETWORK, "b").await;
    assert_eq!(heard.recv().await.timestamp_us - first, 7_000_000);
    let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    assert!(first.abs_diff(clock.tv_sec().cast_unsigned() * 1_000_000) < 60_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_later_hears_what_the_proxy_is_at() {
    let proxy = proxy();
    proxy.handle().smd().publish_state(r#"{"state":"OPERATIONAL"}"#);
    sleep(Duration::from_secs(3600)).await;
    let mut client = Client::join(&proxy, Classes::SYSTEM_STATE).await;
    let mut stranger = Client::join(&proxy, Classes::NETWORK).await;
    proxy.handle().reload(Policy::default());
    let texts = client.texts().await;
    assert_eq!(texts[0], r#"{"state":"OPERATIONAL"}"#);
    assert!(texts[1].starts_with(r#"{"policy":"updated","ts":"#), "{texts:?}");
    assert_eq!(texts.len(), 2);
    assert_eq!(stranger.texts().await, [""; 0]);
}

/// At 384 bytes of text a stream of deployed proxies stands still for ever.
#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_long_or_too_short_is_refused_and_the_next_one_taken() {
    let proxy = proxy();
    let mut client = Client::join(&proxy, Classes::NETWORK).await;
    let text = "x".repeat(65_503);
    for length in [0, 1, 382, 383] {
        client.say(Classes::NETWORK, &text[..length]).await;
        assert_eq!(client.texts().await, [&text[..length]]);
    }
    for length in [384, 385, 4096, 65_503] {
        client.say(Classes::NETWORK, &text[..length]).await;
        client.say(Classes::NETWORK, "next").await;
        assert_eq!(client.texts().await, ["next"]);
    }
    for length in [0, 1, 15] {
        client.payload(&message(Classes::NETWORK, "")[..length], Flags::WHOLE).await;
        client.say(Classes::NETWORK, "next").await;
        assert_eq!(client.texts().await, ["next"]);
    }
    assert_eq!(proxy.handle().counters().smd_refused, 7);
}

#[tokio::test(start_paused = true)]
async fn each_frame_is_a_message_however_it_is_flagged_or_cut() {
    let proxy = proxy();
    let mut client = Client::join(&proxy, Classes::NETWORK).await;
    let flags = [Flags::NONE, Flags::SOM, Flags::SOM, Flags::EOM, Flags::WHOLE, Flags::NONE];
    for flags in flags {
        client.payload(&message(Classes::NETWORK, "a"), flags).await;
    }
    assert_eq!(client.texts().await, ["a"; 6]);

    let text = "y".repeat(300);
    let bytes = message(Classes::NETWORK, &text);
    let (head, piece) = (PayloadHead::new(Flags::NONE), Piece::whole(&bytes).unwrap());
    let mut frame = vec![0; 400];
    let length = ToProxy::Payload { head, rideshare: None, piece }.encode(&mut frame).unwrap();
    for byte in &frame[..length] {
        client.link.write_all(&[*byte]).await.unwrap();
        sleep(MOMENT).await;
    }
    assert_eq!(client.texts().await, [text]);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_loses_its_own_messages_alone() {
    let proxy = proxy();
    let mut reader = Client::join(&proxy, Classes::NETWORK).await;
    let mut stuck = Client::join(&proxy, Classes::ALL).await;
    let mut sender = Client::join(&proxy, Classes::NONE).await;
    for number in 0..500 {
        sender.say(Classes::NETWORK, &number.to_string()).await;
        assert_eq!(reader.next().await, Seen::Message(Classes::NETWORK, number.to_string()));
    }
    let lost = proxy.handle().counters().smd_lost;
    // What it gets at last is what its link had room for, and the newest.
    let texts = stuck.texts().await;
    assert_eq!(texts.len() as u64, 500 - lost);
    assert_eq!(texts[0], "0");
    let newest: Vec<_> = (460..500).map(|number| number.to_string()).collect();
    assert_eq!(texts[texts.len() - 40..], newest);
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_is_lost() {
    let proxy = proxy();
    let smd = proxy.handle().smd();
    let mut late = smd.subscribe(Classes::NETWORK);
    smd.publish(Classes::NETWORK, "old").unwrap();
    sleep(Duration::from_millis(1_500)).await;
    smd.publish(Classes::NETWORK, "new").unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(late.recv().await.text, "new");
    assert_eq!(proxy.handle().counters().smd_lost, 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_takes_nobody_elses_place() {
    let proxy = proxy();
    let slow = proxy.handle().smd().subscribe(Classes::NETWORK);
    let mut slow = slow;
    let mut flood = Client::join(&proxy, Classes::NONE).await;
    let mut honest = Client::join(&proxy, Classes::NONE).await;
    let flooding = tokio::spawn(async move {
        loop {
            flood.say(Classes::NETWORK, "flood").await;
        }
    });
    for number in 0..10 {
        honest.say(Classes::NETWORK, &number.to_string()).await;
        sleep(Duration::from_millis(150)).await;
    }
    flooding.abort();
    let mut heard = Vec::new();
    while let Ok(message) = timeout(MOMENT, slow.recv()).await {
        if message.text != "flood" {
            heard.push(String::from_utf8_lossy(&message.text).into_owned());
        }
    }
    assert_eq!(heard, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// The same among the streams of one client, which share what it may have.
#[tokio::test(start_paused = true)]
async fn streams_of_one_client_take_turns() {
    let smd = Smd::default();
    let mut slow = smd.subscribe(Classes::NETWORK);
    let client = Identity::User(7);
    let flood = smd.join(&client, Classes::NONE);
    let honest = smd.join(&client, Classes::NONE);
    let stranger = smd.join(&Identity::User(8), Classes::NONE);
    let say = |member: &Member, text: &'static str| {
        member.publish(Classes::NETWORK, Bytes::from_static(text.as_bytes())).unwrap();
    };
    for _ in 0..15 {
        say(&stranger, "stranger");
        say(&honest, "honest");
    }
    for _ in 0..1_000 {
        say(&flood, "flood");
    }
    let mut counts = std::collections::BTreeMap::new();
    while let Ok(message) = timeout(MOMENT, slow.recv()).await {
        *counts.entry(message.text).or_insert(0) += 1;
    }
    // A client that has less than half keeps all, and so does a stream that has less than half of that.
    assert_eq!(counts[&b"stranger"[..]], 15);
    assert!((12..=13).contains(&counts[&b"honest"[..]]), "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 40);
}

#[tokio::test(start_paused = true)]
async fn who_sends_more_than_its_share_waits() {
    let proxy = proxy();
    let mut heard = proxy.handle().smd().subscribe(Classes::NETWORK);
    let mut client = Client::join(&proxy, Classes::NONE).await;
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for number in 0..440 {
            client.say(Classes::NETWORK, &number.to_string()).await;
        }
        client
    });
    for number in 0..440 {
        assert_eq!(heard.recv().await.text, number.to_string());
    }
    // 40 at once, then 200 a second.
    assert_eq!(start.elapsed().as_millis(), 2_000);
    drop(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_manages_credit_gets_what_it_gave_credit_for() {
    let proxy = proxy();
    let smd = proxy.handle().smd();
    let mut client = Client::open(&proxy, PID_CREDIT_BIT, Classes::NETWORK).await;
    while client.next().await != Seen::State(State::Connected, 0) {}
    smd.publish(Classes::NETWORK, "first").unwrap();
    smd.publish(Classes::NETWORK, "other").unwrap();
    assert_eq!(client.texts().await, [""; 0]);
    client.send(ToProxy::TxCredit(21)).await;
    assert_eq!(client.texts().await, ["first"]);
    // No message is cut.
    client.send(ToProxy::TxCredit(20)).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(client.texts().await, [""; 0]);
    client.send(ToProxy::TxCredit(1)).await;
    assert_eq!(client.texts().await, ["other"]);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_may_have_no_bus_for_clients() {
    let mut config = Config::new(Policy::default());
    config.smd = false;
    let proxy = Proxy::new(config).unwrap();
    let mut client = Client::open(&proxy, 7, Classes::ALL).await;
    assert_eq!(client.next().await, Seen::Created(1, String::new()));
    assert_eq!(client.next().await, Seen::Closed);
}

/// What a policy defines by the same name is not reached.
#[tokio::test(start_paused = true)]
async fn no_policy_can_take_the_bus_away() {
    let text = r#"{"s": [{"_lws_smd": {"endpoint": "127.0.0.1", "port": 1, "server": true}}]}"#;
    let policy = Policy::parse(&sspc_policy::Source::new("test", text)).unwrap().policy;
    let proxy = Proxy::new(Config::new(policy)).unwrap();
    let mut client = Client::join(&proxy, Classes::NETWORK).await;
    client.say(Classes::NETWORK, "a").await;
    assert_eq!(client.texts().await, ["a"]);
}

/// Nor does another proxy that floods the broker.
#[tokio::test(start_paused = true)]
async fn another_proxys_flood_is_left_out() {
    let smd = Smd::new(Bounds { queue: 40, ttl: Duration::from_secs(2), rate: 10 }, Arc::default());
    let mut heard = smd.subscribe(Classes::NETWORK);
    let say = |origin: &str| smd.0.publish_remote(origin, Classes::NETWORK, Bytes::new());
    let said = (0..1_000).filter(|_| say("flood")).count();
    assert_eq!(said, 40);
    assert!(say("honest"), "it has a share of its own");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((0..1_000).filter(|_| say("flood")).count(), 10);
    let mut count = 0;
    while timeout(MOMENT, heard.recv()).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, 40);
}
