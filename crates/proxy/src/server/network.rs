//! Lines over a network: each peer at a `udp:` address, and each connection at a `tcp:` address with
//! keys, is one.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use sspc_address::{Carrier, ForwardSecrecy, ListenAddress, NetworkAddress};
use sspc_line::{
    Datagrams, Greeted, Greeter, Line, LineConfig, LineEvent, LineKeys, Role, chance, resolve,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as TokioInstant, timeout};
use tracing::{debug, info, warn};

use super::admission::LinePlace;
use super::bind::{Bound, ListenError, Socket};
use super::line::{accept_channels, show};
use super::shared::Shared;
use super::tcp;
use crate::identity::Identity;
use crate::observe::LineWatch;
use crate::session::LineEnd;

/// How many datagrams of a peer wait until its line takes them. What is beyond is lost, and is sent
/// again.
const QUEUE: usize = 64;

/// Longer than any datagram of a peer.
const ROOM: usize = 2048;

/// The pause after a socket failed for want of something that others must give back first.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket where lines over a network begin.
#[derive(Debug)]
pub(crate) struct NetworkSocket {
    kind: Kind,
    keys: Option<LineKeys>,
    forward_secrecy: ForwardSecrecy,
}

#[derive(Debug)]
enum Kind {
    Tcp(StdTcpListener),
    Udp(StdUdpSocket),
}

pub(super) fn bind(network: &NetworkAddress) -> Result<Bound, ListenError> {
    let address = ListenAddress::Network(network.clone());
    let failed = |action| {
        let address = address.clone();
        move |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::System { address, action, error },
        }
    };
    let keys = network.keys.as_deref().map(|path| LineKeys::read(path, Role::Proxy)).transpose();
    let keys = keys.map_err(failed("read its keys"))?;
    let found = resolve(network).map_err(failed("use it"))?;
    let (kind, local) = match network.carrier {
        Carrier::Tcp => {
            let socket = StdTcpListener::bind(&found[..]).map_err(failed("bind"))?;
            // After a restart all devices come at once.
            listen(&socket, Backlog::MAXCONN).map_err(|error| failed("listen")(error.into()))?;
            socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
            let local = socket.local_addr();
            (Kind::Tcp(socket), local)
        }
        Carrier::Udp => {
            let socket = StdUdpSocket::bind(&found[..]).map_err(failed("bind"))?;
            socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
            let local = socket.local_addr();
            (Kind::Udp(socket), local)
        }
    };
    let local = local.map_err(failed("read its address"))?;
    let (mut network, forward_secrecy) = (network.clone(), network.forward_secrecy);
    (network.host, network.port) = (local.ip().to_string(), local.port());
    let address = ListenAddress::Network(network);
    Ok(Bound {
        address,
        socket: Socket::Network(NetworkSocket { kind, keys, forward_secrecy }),
        file: None,
    })
}

/// Serves peers until the proxy stops, and leaves those that are there then to a task among
/// `shared.lines`.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    socket: NetworkSocket,
    name: String,
) -> io::Result<()> {
    let NetworkSocket { kind, keys, forward_secrecy } = socket;
    let (number, shared_by) = (shared.next_id(), Arc::clone(shared));
    let lines = Lines { shared: shared_by, name, number, forward_secrecy };
    match (kind, keys) {
        (Kind::Udp(socket), keys) => {
            let mut peers = Peers::new(lines, UdpSocket::from_std(socket)?, keys)?;
            shared.lines.spawn(async move { peers.run().await });
            shared.stopping.cancelled().await;
        }
        (Kind::Tcp(socket), keys) => {
            let socket = TcpListener::from_std(socket)?;
            shared.stopping.run_until_cancelled(lines.accept_tcp(socket, keys)).await;
        }
    }
    Ok(())
}

/// The lines of one address that the proxy listens at.
#[derive(Clone)]
struct Lines {
    shared: Arc<Shared>,
    /// What logs call the address.
    name: String,
    /// A number that no other one has.
    number: u64,
    forward_secrecy: ForwardSecrecy,
}

impl Lines {
    /// Whom the device of this id counts as.
    fn device(&self, id: &str) -> Identity {
        Identity::Device { listener: self.number, address: (&*self.name).into(), id: id.into() }
    }

    fn config(&self, carrier: Carrier, keys: Option<LineKeys>) -> LineConfig {
        let mut config = LineConfig::for_network(carrier);
        (config.keys, config.forward_secrecy) = (keys, self.forward_secrecy);
        self.shared.config.limits.limit_line(config)
    }

    /// A place for one more line of this client.
    fn admit(&self, client: Identity, is_connection: bool) -> Option<LinePlace> {
        let place = self.shared.admit_line(client.clone(), is_connection);
        if place.is_none() {
            let listener = &self.name;
            warn!(client = %listener, kind = "line_turned_away", "{client}: too many lines");
        }
        place
    }

    async fn accept_tcp(&self, socket: TcpListener, keys: Option<LineKeys>) {
        loop {
            match socket.accept().await {
                Ok((stream, peer)) => self.serve_tcp(stream, peer, keys.clone()),
                Err(error) => {
                    self.shared.counts.accept_errors.add(1);
                    warn!(%error, "accept failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn serve_tcp(&self, stream: TcpStream, peer: SocketAddr, keys: Option<LineKeys>) {
        // Until it has proved which device it is.
        let host = Identity::of_address(peer.ip());
        let Some(place) = self.admit(host.clone(), true) else { return };
        if let Err(error) = tcp::set_up(&stream, self.shared.config.timeouts.client_gone) {
            debug!(%error, "cannot set the options of a TCP socket");
        }
        let (reader, writer) = stream.into_split();
        let (lines, config) = (self.clone(), self.config(Carrier::Tcp, keys));
        self.shared.lines.spawn(async move {
            let Noted { observer, links, watch } = lines.observer(&host);
            let (line, running) = Line::over(reader, writer, Role::Proxy, config, observer);
            show(watch, &line);
            serve(lines, line, running, links, place, ("tcp", peer)).await;
        });
    }

    /// What notes events of a client's line, and whether its link is up.
    fn observer(&self, client: &Identity) -> Noted<impl FnMut(LineEvent) + Send + use<>> {
        // Not the peer's port, of which one client has any number: logs that repeat are summed up.
        let name = format!("{} {client}", self.name);
        let mut log = self.shared.line_log(name);
        let watch = log.watch();
        let (tell, links) = watch::channel(false);
        let observer = move |event: LineEvent| {
            log.note(&event);
            match event {
                LineEvent::Up { .. } => _ = tell.send_replace(true),
                LineEvent::Down { .. } => _ = tell.send_replace(false),
                _ => {}
            }
        };
        Noted { observer, links, watch }
    }
}

/// What notes the events of a line,
struct Noted<F> {
    observer: F,
    /// whether its link is up,
    links: watch::Receiver<bool>,
    /// and where observers see it.
    watch: Option<Arc<LineWatch>>,
}

/// Serves a peer until its line ends, or has been without a link for too long.
async fn serve(
    lines: Lines,
    line: Line,
    running: impl Future<Output = io::Result<()>>,
    links: watch::Receiver<bool>,
    mut place: LinePlace,
    (carrier, peer): (&'static str, SocketAddr),
) {
    let (shared, host) = (&lines.shared, place.client().clone());
    let watched = line.clone();
    let accepting = async {
        let name: Arc<str> = format!("{carrier}:{peer}").into();
        let client = |line: &Line| {
            let device = line.device();
            let (client, name) = match &device {
                Some(id) => (lines.device(id), format!("{name} device {id:?}").into()),
                None => (host.clone(), Arc::clone(&name)),
            };
            (client, LineEnd { name, port: None, address: Some(peer.ip()), device })
        };
        let sessions = accept_channels(shared, &line, client).await;
        sessions.wait().await;
    };
    let served = async { tokio::join!(running, accepting).0 };
    tokio::select! {
        done = served => {
            if let Err(error) = done {
                debug!(peer = %format_args!("{carrier}:{peer}"), %error, "the connection of a line failed");
            }
        }
        why = supervise(&lines, &watched, links, &mut place) => {
            let client = format!("{} {}", lines.name, place.client());
            info!(%client, kind = "line_given_up", "{carrier}:{peer}: {why}");
        }
    }
}

/// Ready when the peer is to be given up.
async fn supervise(
    lines: &Lines,
    line: &Line,
    mut links: watch::Receiver<bool>,
    place: &mut LinePlace,
) -> &'static str {
    let limit = lines.shared.config.timeouts.link;
    loop {
        match timeout(limit, becomes(&mut links, true)).await {
            Ok(true) => {}
            Ok(false) => return std::future::pending().await,
            Err(_) => return "it is given up, since it has no link",
        }
        if let Some(id) = line.device()
            && !place.belongs_to(lines.device(&id))
        {
            return "the device has too many lines";
        }
        if !becomes(&mut links, false).await {
            return std::future::pending().await;
        }
    }
}

/// Waits until the link is up, or down; false if the line has ended.
async fn becomes(links: &mut watch::Receiver<bool>, wanted: bool) -> bool {
    links.wait_for(|is_up| *is_up == wanted).await.is_ok()
}

/// The peers of a UDP socket.
struct Peers {
    lines: Lines,
    socket: Arc<UdpSocket>,
    keys: Option<LineKeys>,
    greeter: Greeter<LineKeys>,
    began: TokioInstant,
    known: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
    /// Those of the peers that are known; each ends with its address.
    tasks: JoinSet<SocketAddr>,
}

impl Peers {
    fn new(lines: Lines, socket: UdpSocket, keys: Option<LineKeys>) -> io::Result<Self> {
        let packets = LineConfig::for_network(Carrier::Udp).packets;
        let greeter = Greeter::new(packets, keys.clone(), chance()?);
        Ok(Self {
            lines,
            socket: Arc::new(socket),
            keys,
            greeter,
            began: TokioInstant::now(),
            known: HashMap::new(),
            tasks: JoinSet::new(),
        })
    }

    /// Until the proxy stops and no peer is left.
    async fn run(&mut self) {
        let stopping = self.lines.shared.stopping.clone();
        let mut room = [0; ROOM];
        loop {
            if stopping.is_cancelled() && self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next() => self.forget(ended),
                received = self.socket.recv_from(&mut room) => match received {
                    Ok((length, from)) => {
                        let datagram = room.get(..length).unwrap_or_default();
                        self.take(from, datagram, stopping.is_cancelled()).await;
                    }
                    Err(error) => {
                        warn!(client = %self.lines.name, kind = "udp_failed", %error, "cannot receive");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                () = stopping.cancelled(), if !stopping.is_cancelled() => {}
            }
        }
    }

    fn forget(&mut self, ended: Result<SocketAddr, tokio::task::JoinError>) {
        match ended {
            Ok(peer) => _ = self.known.remove(&peer),
            // A task that panicked does not say whose it was.
            Err(_) => self.known.retain(|_, queue| !queue.is_closed()),
        }
    }

    async fn take(&mut self, from: SocketAddr, datagram: &[u8], is_stopping: bool) {
        if let Some(queue) = self.known.get(&from) {
            // What there is no room for is lost, as it may be anywhere else.
            let _ = queue.try_send(datagram.to_vec());
            return;
        }
        if is_stopping {
            return;
        }
        match self.greeter.receive(self.began.elapsed(), from.to_string().as_bytes(), datagram) {
            Greeted::Nothing => {}
            Greeted::Answer(answer) => {
                // Not waited for: who asks again gets another answer.
                let _ = self.socket.try_send_to(&answer, from);
            }
            Greeted::Refused(why) => {
                let why = sspc_line::Refused::Packets(why);
                let listener = &self.lines.name;
                warn!(client = %listener, kind = "stranger_refused", "{from}: {why}");
            }
            Greeted::Proven(id) => self.welcome(from, &id, datagram),
        }
    }

    /// A line for a peer that has proved to be there.
    fn welcome(&mut self, from: SocketAddr, id: &[u8], datagram: &[u8]) {
        let keys = self.keys.as_ref().map(|keys| keys.of_device(id));
        let client = match keys {
            Some(_) => self.lines.device(&String::from_utf8_lossy(id)),
            None => Identity::of_address(from.ip()),
        };
        let Some(place) = self.lines.admit(client.clone(), false) else { return };
        let (queue, incoming) = mpsc::channel(QUEUE);
        let _ = queue.try_send(datagram.to_vec());
        let (lines, config) = (self.lines.clone(), self.lines.config(Carrier::Udp, keys));
        let socket = Arc::clone(&self.socket);
        let peer = PeerSocket { socket, peer: from, incoming: Mutex::new(incoming) };
        self.known.insert(from, queue);
        self.tasks.spawn(async move {
            let Noted { observer, links, watch } = lines.observer(&client);
            let (line, running) = Line::over_datagrams(peer, Role::Proxy, config, observer);
            show(watch, &line);
            serve(lines, line, running, links, place, ("udp", from)).await;
            from
        });
    }
}

/// What a UDP socket brings and takes of one peer.
struct PeerSocket {
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    incoming: Mutex<mpsc::Receiver<Vec<u8>>>,
}

impl Datagrams for PeerSocket {
    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        // What becomes of one peer's datagrams is nothing to the others.
        if let Err(error) = self.socket.send_to(datagram, self.peer).await {
            debug!(peer = %self.peer, %error, "a datagram could not be sent");
        }
        Ok(())
    }

    async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.lock().await.recv().await;
        let datagram = datagram.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = datagram.len().min(room.len());
        for (to, from) in room.iter_mut().zip(datagram) {
            *to = from;
        }
        Ok(length)
    }
}
