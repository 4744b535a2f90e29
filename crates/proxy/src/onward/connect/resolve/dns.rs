//! Asking the name servers, as the system's own resolver would: which name, which server, how often.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::{DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider};
use hickory_resolver::net::tcp::TcpClientStream;
use hickory_resolver::net::udp::UdpClientStream;
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{ConnectionProvider, PoolContext, Resolver};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::sleep;

/// Sockets from which a query is sent to a server.
const SOCKETS_MAX: u8 = 1;
/// After how long a datagram is sent once more, which may have been lost.
const SEND_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Queries on one TCP connection to a server: more than there are look-ups in progress.
const TCP_QUERIES_MAX: usize = 4_096;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// The longest that an answer is kept.
const TTL_MAX: Duration = Duration::from_secs(3600);

/// What became of a look-up.
pub(super) type Answer = Result<Found, Miss>;

/// Addresses of a name, at least one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// In the order in which they are to be tried.
    pub(super) addresses: Arc<[IpAddr]>,
    /// How long they hold.
    pub(super) ttl: Duration,
}

/// Why there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// A server says that the name does not exist, or has no address.
    Unknown,
    /// No server said anything of use; what each of them did instead.
    NoAnswer(String),
}

/// Name servers and how to ask them.
pub(super) struct Dns {
    pub(super) servers: Vec<Server>,
    /// What is appended to names of few dots.
    pub(super) search: Vec<Name>,
    /// Dots from which on a name is tried as it is first.
    pub(super) ndots: usize,
    /// Times that the servers are gone through.
    pub(super) attempts: usize,
    /// The kinds of address to ask for.
    pub(super) kinds: &'static [RecordType],
}

impl Dns {
    /// Asks for a name's addresses. Dropping the call stops all that it started.
    pub(super) async fn look_up(&self, host: &str) -> Answer {
        let Ok(name) = Name::from_str_relaxed(host) else { return Err(Miss::Unknown) };
        let mut failed = None;
        for name in self.candidates(name) {
            match self.addresses(&name).await {
                Err(Miss::Unknown) => {}
                Err(miss) => failed = failed.or(Some(miss)),
                found => return found,
            }
        }
        Err(failed.unwrap_or(Miss::Unknown))
    }

    /// The whole names that a name may stand for, in the order in which to try them.
    fn candidates(&self, name: Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return vec![whole];
        }
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let domains = self.search.iter();
        let mut names: Vec<Name> =
            domains.filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, whole);
        names
    }

    async fn addresses(&self, name: &Name) -> Answer {
        let asking = self.kinds.iter().map(|kind| self.ask(name, *kind));
        let answers = futures_util::future::join_all(asking).await;
        let mut addresses = Vec::new();
        let mut ttl = TTL_MAX;
        let mut failed = None;
        for answer in answers {
            match answer {
                Ok(found) => {
                    ttl = ttl.min(found.ttl);
                    addresses.extend_from_slice(&found.addresses);
                }
                Err(Miss::Unknown) => {}
                Err(miss) => failed = failed.or(Some(miss)),
            }
        }
        if addresses.is_empty() {
            return Err(failed.unwrap_or(Miss::Unknown));
        }
        let mut addresses = super::alternate(addresses);
        addresses.truncate(ADDRESSES_MAX);
        // What one kind's silence left out is asked for the next time.
        let ttl = if failed.is_some() { Duration::ZERO } else { ttl };
        Ok(Found { addresses: addresses.into(), ttl })
    }

    /// Asks one server after the other, until one knows.
    async fn ask(&self, name: &Name, kind: RecordType) -> Answer {
        let mut failures: Vec<(IpAddr, String)> = Vec::new();
        for _ in 0..self.attempts {
            for server in &self.servers {
                let error = match server.resolver.lookup(name.clone(), kind).await {
                    Ok(lookup) => {
                        let records = lookup.answers().iter();
                        let addresses: Arc<[IpAddr]> = records
                            .filter_map(|record| record.data.ip_addr())
                            .take(ADDRESSES_MAX)
                            .collect();
                        let ttl = lookup
                            .valid_until()
                            .saturating_duration_since(std::time::Instant::now());
                        return if addresses.is_empty() {
                            Err(Miss::Unknown)
                        } else {
                            Ok(Found { addresses, ttl })
                        };
                    }
                    Err(error) if says_that_there_is_none(&error) => return Err(Miss::Unknown),
                    Err(NetError::Dns(DnsError::ResponseCode(code))) => code.to_string(),
                    // The library's word for errors of sockets too.
                    Err(NetError::NoConnections) => "cannot be reached".to_owned(),
                    Err(NetError::Timeout) => "no answer".to_owned(),
                    Err(error) => error.to_string(),
                };
                match failures.iter_mut().find(|(ip, _)| *ip == server.ip) {
                    Some(failure) => failure.1 = error,
                    None => failures.push((server.ip, error)),
                }
            }
        }
        let each = failures.into_iter().map(|(ip, error)| format!("{ip}: {error}"));
        Err(Miss::NoAnswer(each.collect::<Vec<_>>().join("; ")))
    }
}

fn says_that_there_is_none(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NoError | ResponseCode::NXDomain,
            ..
        }))
    )
}

/// A name server.
pub(super) struct Server {
    ip: IpAddr,
    resolver: Resolver<Connections>,
}

impl Server {
    /// The server at this address and, if it is a link's own, of this link.
    pub(super) fn new(
        ip: IpAddr,
        scope: u32,
        port: u16,
        timeout: Duration,
        edns: bool,
        tcp_only: bool,
    ) -> Result<Self, NetError> {
        let over = |protocol| {
            let mut connection = ConnectionConfig::new(protocol);
            connection.port = port;
            connection
        };
        let mut connections = vec![over(ProtocolConfig::Tcp)];
        if !tcp_only {
            connections.insert(0, over(ProtocolConfig::Udp));
        }
        let servers = vec![NameServerConfig::new(ip, true, connections)];
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.timeout = timeout;
        // What follows is up to `Dns`, which knows all servers, and to `Known`: the library's cache
        // keeps whole responses, whose size is the peer's choice.
        options.attempts = 0;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.edns0 = edns;
        options.preserve_intermediates = false;
        options.max_active_requests = TCP_QUERIES_MAX;
        let connections = Connections { runtime: Runtime(TokioRuntimeProvider::new()), scope };
        let resolver = Resolver::builder_with_config(config, connections).with_options(options);
        Ok(Self { ip, resolver: resolver.build()? })
    }
}

/// Makes connections as the library does, with fewer sockets at a time.
#[derive(Clone)]
struct Connections {
    runtime: Runtime,
    scope: u32,
}

impl ConnectionProvider for Connections {
    type Conn = DnsExchange<Runtime>;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = Runtime;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let address = match ip {
            IpAddr::V6(ip) => SocketAddrV6::new(ip, config.port, 0, self.scope).into(),
            IpAddr::V4(_) => SocketAddr::new(ip, config.port),
        };
        let timeout = context.options.timeout;
        let runtime = self.runtime.clone();
        if matches!(config.protocol, ProtocolConfig::Udp) {
            let exchange = UdpClientStream::builder(address, runtime)
                .with_timeout(Some(timeout))
                .with_max_retries(SOCKETS_MAX)
                .exchange();
            return Ok(Box::pin(async move { Ok(exchange) }));
        }
        let queries_max = Some(context.options.max_active_requests);
        Ok(Box::pin(TcpClientStream::exchange(address, None, timeout, queries_max, runtime)))
    }

    fn runtime_provider(&self) -> &Runtime {
        &self.runtime
    }
}

/// tokio, with datagram sockets that are connected.
#[derive(Clone)]
struct Runtime(TokioRuntimeProvider);

impl RuntimeProvider for Runtime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = Datagrams;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Self::Udp> {
        let binding = self.0.bind_udp(local, server);
        Box::pin(async move {
            let socket = binding.await?;
            socket.connect(server).await?;
            Ok(Datagrams { socket, sent: Mutex::default() })
        })
    }
}

/// A socket for one query, that says at once if nobody is at the other end, and sends again what
/// may have been lost.
struct Datagrams {
    socket: UdpSocket,
    sent: Mutex<Vec<u8>>,
}

impl DnsUdpSocket for Datagrams {
    type Time = <UdpSocket as DnsUdpSocket>::Time;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        DnsUdpSocket::poll_recv_from(&self.socket, cx, buffer)
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = bytes.to_vec();
        DnsUdpSocket::poll_send_to(&self.socket, cx, bytes, server)
    }

    // What the trait's async function is without its macro.
    fn recv_from<'s, 'b, 'f>(
        &'s self,
        buffer: &'b mut [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<(usize, SocketAddr)>> + Send + 'f>>
    where
        's: 'f,
        'b: 'f,
    {
        Box::pin(async move {
            let lost = async {
                sleep(SEND_AGAIN_AFTER).await;
                let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // The library says when it has waited long enough, whatever comes of this.
                let _ = self.socket.try_send(&sent);
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                received = self.socket.recv_from(buffer) => received,
                // Where an error alone comes up, tokio does not wake those who read.
                ready = self.socket.ready(Interest::ERROR) => {
                    ready?;
                    let error = self.socket.take_error()?;
                    Err(error.unwrap_or_else(|| ErrorKind::ConnectionRefused.into()))
                }
                never = lost => match never {},
            }
        })
    }
}

type Opening<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;
