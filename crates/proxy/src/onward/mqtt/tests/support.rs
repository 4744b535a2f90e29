//! Brokers that are written packet by packet, and streams for them.

use std::sync::Arc;
use std::time::Duration;

use sspc_policy::{MetadataItem, Protocol, StreamType};
use sspc_wire::Flags;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::counters::Counts;
use crate::identity::Identity;
use crate::memory::Memory;
use crate::onward::{
    Attempt, AttemptHandle, End, Event, Failure, Onward, OnwardConfig, Takes, TxChunk,
};

/// In virtual time: long enough for anything that is going to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker's socket, and the proxy's onward side.
pub(super) struct World {
    folder: TempDir,
    listener: UnixListener,
    onward: Arc<Onward>,
    pub(super) counts: Arc<Counts>,
    memory: Arc<Memory>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut OnwardConfig)) -> Self {
        Self::bounded(usize::MAX, change)
    }

    /// With so much memory.
    pub(super) fn bounded(bytes: usize, change: impl FnOnce(&mut OnwardConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("broker")).unwrap();
        let counts = Arc::<Counts>::default();
        let memory = Memory::new(bytes, Arc::clone(&counts));
        let mut config = OnwardConfig { memory: Arc::clone(&memory), ..OnwardConfig::default() };
        change(&mut config);
        Self { folder, listener, onward: Onward::new(config), counts, memory }
    }

    /// A streamtype for this broker.
    pub(super) fn stream(&self, change: impl FnOnce(&mut StreamType)) -> StreamType {
        let mut stream = StreamType::new("test");
        let path = self.folder.path().join("broker");
        stream.endpoint = Some(format!("+{}", path.display()).as_str().into());
        stream.protocol = Protocol::Mqtt;
        change(&mut stream);
        stream
    }

    /// A streamtype that declares the metadata `n`.
    pub(super) fn with_n(&self, change: impl FnOnce(&mut StreamType)) -> StreamType {
        self.stream(|stream| {
            stream.metadata.push(MetadataItem { name: "n".to_owned(), header: None });
            change(stream);
        })
    }

    pub(super) fn subscribed_to(&self, filter: &str) -> StreamType {
        self.stream(|stream| stream.mqtt.subscribe = Some(filter.into()))
    }

    /// A stream of a client of its own choice.
    pub(super) fn start_for(&self, client: &Identity, stream: &StreamType) -> Stream {
        let handle = self.onward.start(Attempt {
            client: client.clone(),
            account: self.memory.open_account(client.clone()),
            stream: Arc::new(stream.clone()),
            chain: Vec::new(),
            metadata: Vec::new(),
            length_hint: None,
            bus: Default::default(),
            record: Default::default(),
        });
        Stream { handle }
    }

    /// A stream whose client has set this.
    pub(super) fn start_with(&self, stream: &StreamType, name: &str, value: &str) -> Stream {
        let handle = self.onward.start(Attempt {
            client: Identity::Unknown,
            account: self.memory.open_account(Identity::Unknown),
            stream: Arc::new(stream.clone()),
            chain: Vec::new(),
            metadata: vec![(name.to_owned(), value.to_owned().into())],
            length_hint: None,
            bus: Default::default(),
            record: Default::default(),
        });
        Stream { handle }
    }

    pub(super) fn start(&self, stream: &StreamType) -> Stream {
        self.start_for(&Identity::Unknown, stream)
    }

    /// The next connection, of which nothing was read.
    pub(super) async fn accept(&self) -> Broker {
        let accepting = timeout(PATIENCE, self.listener.accept()).await;
        Broker { link: accepting.expect("no connection").unwrap().0 }
    }

    /// The next connection, accepted.
    pub(super) async fn connected(&self) -> Broker {
        let mut broker = self.accept().await;
        assert_eq!(broker.packet().await.0, 0x10);
        broker.send(&[0x20, 2, 0, 0]).await;
        broker
    }

    /// True if another connection comes.
    pub(super) async fn is_connected_again(&self) -> bool {
        timeout(Duration::from_secs(1), self.listener.accept()).await.is_ok()
    }
}

/// The broker's end of a connection.
pub(super) struct Broker {
    pub(super) link: UnixStream,
}

impl Broker {
    /// The next packet: its first byte and what follows its length.
    pub(super) async fn packet(&mut self) -> (u8, Vec<u8>) {
        timeout(PATIENCE, self.read()).await.expect("no packet").expect("the connection ended")
    }

    /// True if the proxy ends the connection, whatever it says before.
    pub(super) async fn is_left(&mut self) -> bool {
        timeout(PATIENCE, async { while self.read().await.is_some() {} }).await.is_ok()
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.link.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.link.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.link.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // A proxy that is gone shows in what is read.
        let _ = self.link.write_all(bytes).await;
    }

    /// Answers the next SUBSCRIBE, and says for what it was.
    pub(super) async fn grant(&mut self) -> Vec<u8> {
        let (first, body) = self.packet().await;
        assert_eq!(first, 0x82, "{body:?}");
        self.send(&[0x90, 3, body[0], body[1], 0]).await;
        body[4..body.len() - 1].to_vec()
    }

    pub(super) async fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.send(&message(topic, payload)).await;
    }
}

/// A PUBLISH of quality of service 0.
pub(super) fn message(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x30];
    let mut rest = 2 + topic.len() + payload.len();
    while rest > 0x7f {
        packet.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    packet.extend([rest as u8, 0, topic.len() as u8]);
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// What a session has of a stream.
pub(super) struct Stream {
    pub(super) handle: AttemptHandle,
}

impl Stream {
    pub(super) async fn next(&mut self) -> Event {
        let next = timeout(PATIENCE, self.handle.events.recv()).await;
        next.expect("nothing more comes").expect("nothing comes after the end")
    }

    pub(super) async fn is_connected(&mut self) {
        let event = self.next().await;
        let Event::Connected { takes: Takes::Messages } = event else { panic!("{event:?}") };
    }

    /// The next message, whose pieces have their flags.
    pub(super) async fn message(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut first = true;
        loop {
            let event = self.next().await;
            let Event::Payload { bytes, flags } = event else { panic!("{event:?}") };
            assert_eq!(flags.contains(Flags::SOM), std::mem::take(&mut first));
            all.extend_from_slice(&bytes);
            if flags.contains(Flags::EOM) {
                return all;
            }
        }
    }

    /// Why it ended; what comes before is skipped.
    pub(super) async fn failure(&mut self) -> Failure {
        loop {
            if let Event::Ended(end) = self.next().await {
                let End::Failed(failure) = end else { panic!("{end:?}") };
                return failure;
            }
        }
    }

    pub(super) async fn send(&self, bytes: &[u8], flags: Flags) {
        let chunk = TxChunk::new(bytes.to_vec().into(), flags);
        self.handle.body.send(chunk).await.unwrap();
    }

    /// True for an acknowledgement, false for its refusal.
    pub(super) async fn verdict(&mut self) -> bool {
        match self.next().await {
            Event::Acked { ends_transaction: false } => true,
            Event::Nacked { ends_transaction: false } => false,
            event => panic!("{event:?}"),
        }
    }
}
