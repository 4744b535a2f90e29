//! A name server on loopback, over UDP and TCP.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, Metadata, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::NameFiles;
use crate::Config;

/// What it does when asked for a name.
pub(crate) enum Reply {
    Silence,
    /// These addresses, which hold for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// This IPv4 address, and silence when asked for IPv6 ones.
    HalfSilent(&'static str),
    /// This address, once the test says so.
    Held(&'static str),
    /// Nothing but a code: 0 no records, 2 server failure, 3 no such name.
    Code(u16),
    /// A truncated answer, and over TCP this address.
    OnlyOverTcp(&'static str),
}

impl Reply {
    pub(crate) fn addresses(texts: &[&str]) -> Self {
        Self::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect(), 300)
    }
}

/// A running server; it ends when dropped.
pub(crate) struct NameServer {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    reply: Box<dyn Fn(&str) -> Reply + Send + Sync>,
    /// The names of all queries over UDP.
    asked: Mutex<Vec<String>>,
    released: Semaphore,
}

impl NameServer {
    /// A silent one, which names are looked up at by this configuration; with its files.
    pub(crate) async fn for_config(config: &mut Config) -> (Self, TempDir) {
        Self::of_config(config, |_| Reply::Silence).await
    }

    /// The same with one that answers every name with these addresses.
    pub(crate) async fn for_config_with(
        config: &mut Config,
        addresses: &'static [&'static str],
    ) -> (Self, TempDir) {
        Self::of_config(config, move |_| Reply::addresses(addresses)).await
    }

    async fn of_config(
        config: &mut Config,
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> (Self, TempDir) {
        let server = Self::start(reply).await;
        let folder = tempfile::tempdir().unwrap();
        let (resolv_conf, hosts) = (folder.path().join("resolv.conf"), folder.path().join("hosts"));
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        config.names = NameFiles { resolv_conf, hosts, port: server.port };
        (server, folder)
    }

    pub(crate) async fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", 0, reply).await
    }

    pub(crate) async fn start_at(
        ip: &str,
        port: u16,
        reply: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            reply: Box::new(reply),
            asked: Mutex::default(),
            released: Semaphore::new(0),
        });
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = Arc::new(UdpSocket::bind((ip, port)).await.unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(datagrams(Arc::clone(&shared), socket));
        tasks.spawn(connections(Arc::clone(&shared), listener));
        Self { port, shared, _tasks: tasks }
    }

    /// Gives the answers that were held back, and all later ones at once.
    pub(crate) fn release(&self) {
        self.shared.released.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// How often a name was asked for.
    pub(crate) fn queries(&self, name: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }

    /// The names that were asked for, each once, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.shared.asked.lock().unwrap().iter() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

async fn datagrams(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; 4096];
    let mut replies = JoinSet::new();
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
        let name = query.queries[0].name().to_string();
        shared.asked.lock().unwrap().push(name);
        replies.spawn(reply_over_udp(Arc::clone(&shared), query, Arc::clone(&socket), peer));
        while replies.try_join_next().is_some() {}
    }
}

async fn reply_over_udp(
    shared: Arc<Shared>,
    query: Message,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
) {
    if let Some(answer) = answer(&shared, query, false).await {
        let _ = socket.send_to(&answer.to_vec().unwrap(), peer).await;
    }
}

async fn connections(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let (mut link, _) = listener.accept().await.unwrap();
        while let Ok(length) = link.read_u16().await {
            let mut bytes = vec![0; length.into()];
            link.read_exact(&mut bytes).await.unwrap();
            let query = Message::from_vec(&bytes).unwrap();
            if let Some(answer) = answer(&shared, query, true).await {
                let bytes = answer.to_vec().unwrap();
                link.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
                link.write_all(&bytes).await.unwrap();
            }
        }
    }
}

async fn answer(shared: &Shared, query: Message, over_tcp: bool) -> Option<Message> {
    let asked = query.queries[0].clone();
    let (addresses, ttl) = match (shared.reply)(&asked.name().to_string()) {
        Reply::Silence => return None,
        Reply::HalfSilent(_) if asked.query_type() == RecordType::AAAA => return None,
        Reply::HalfSilent(address) => (vec![address.parse().unwrap()], 300),
        Reply::Addresses(addresses, ttl) => (addresses, ttl),
        Reply::Held(address) => {
            shared.released.acquire().await.unwrap().forget();
            (vec![address.parse().unwrap()], 300)
        }
        Reply::Code(code) => {
            let mut message = reply_to(&query);
            message.metadata.response_code = ResponseCode::from(0, u8::try_from(code).unwrap());
            return Some(message);
        }
        Reply::OnlyOverTcp(_) if !over_tcp => {
            let mut message = reply_to(&query);
            message.metadata.truncation = true;
            return Some(message);
        }
        Reply::OnlyOverTcp(address) => (vec![address.parse().unwrap()], 300),
    };
    let mut message = reply_to(&query);
    for address in addresses {
        let wanted = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        if asked.query_type() == wanted {
            let record = Record::from_rdata(asked.name().clone(), ttl, RData::from(address));
            message.add_answer(record);
        }
    }
    Some(message)
}

fn reply_to(query: &Message) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.add_query(query.queries[0].clone());
    message
}
