//! From an address to a connected socket.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::{setsockopt, sockopt};
use sspc_policy::Address;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{Instant, sleep_until};

use super::perf::Perf;
use super::resolve::Resolver;
use super::route::{Caller, Route, SocketOptions};
use super::scope::{Reach, Scope};
use super::transport::Socket;
use super::via;
use crate::allow_to::AllowTo;
use crate::descriptors::Descriptor;
use crate::onward::{Failure, FailureKind};
use crate::ways_out::{Via, WaysOut};

/// How long one address is tried alone before the next one joins in (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Opens sockets.
#[derive(Debug)]
pub(crate) struct TcpConnector {
    resolver: Resolver,
    allow_to: Vec<AllowTo>,
    ways_out: WaysOut,
}

impl TcpConnector {
    pub(crate) fn new(resolver: Resolver, allow_to: Vec<AllowTo>, ways_out: WaysOut) -> Self {
        Self { resolver, allow_to, ways_out }
    }

    /// The addresses of a server that the route may lead to.
    #[cfg(feature = "http3")]
    pub(super) async fn addresses(
        &self,
        route: &Route,
        caller: &Caller,
        (host, port): (&str, u16),
        perf: &mut Perf,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = self.resolver.lookup(&caller.client, host, port, perf).await?;
        permitted(&self.allow_to, route, host, addresses, perf)
    }

    /// Whether connections to it go through a proxy.
    #[cfg(feature = "http3")]
    pub(super) fn goes_via(&self, route: &Route) -> bool {
        self.ways_out.of(route).is_some()
    }

    /// A connected socket; the caller limits the time.
    pub(crate) async fn connect(
        &self,
        descriptor: Descriptor,
        route: &Route,
        caller: &Caller,
        perf: &mut Perf,
    ) -> Result<Socket, Failure> {
        let address = &route.address;
        match address {
            Address::Tcp { host, port } => {
                if let Some(via) = self.ways_out.of(route) {
                    return self
                        .connect_via(descriptor, route, caller, (&via, host, *port), perf)
                        .await;
                }
                let addresses = self.resolver.lookup(&caller.client, host, *port, perf).await?;
                let addresses = permitted(&self.allow_to, route, host, addresses, perf)?;
                let start = Instant::now();
                let connect = |address| connect(address, caller.socket);
                let result = race(&addresses, descriptor, connect).await;
                perf.connect = start.elapsed();
                let (stream, descriptor, peer) = result.map_err(|why| refused(address, &why))?;
                perf.peer = peer.ip().to_string();
                Ok(Socket::Tcp(stream, descriptor))
            }
            Address::UnixPath(path) => {
                let start = Instant::now();
                let result = UnixStream::connect(path).await;
                unix(descriptor, address, result, start, perf)
            }
            Address::UnixAbstract(name) => {
                let start = Instant::now();
                // tokio takes a leading NUL for the abstract namespace.
                let result = UnixStream::connect(format!("\0{name}")).await;
                unix(descriptor, address, result, start, perf)
            }
            other => Err(Failure::new(
                FailureKind::Policy,
                format!("cannot connect to {other}: not supported"),
            )),
        }
    }
}

impl TcpConnector {
    /// The same through a proxy, which resolves the server's name.
    async fn connect_via(
        &self,
        descriptor: Descriptor,
        route: &Route,
        caller: &Caller,
        (via, host, port): (&Via, &str, u16),
        perf: &mut Perf,
    ) -> Result<Socket, Failure> {
        permitted_unseen(&self.allow_to, route, host, port, via)?;
        let server = via.server();
        let addresses =
            self.resolver.lookup(&caller.client, &server.host, server.port, perf).await?;
        let start = Instant::now();
        let failed = |why: &dyn std::fmt::Display| {
            let why = format!("cannot connect to {} through {via}: {why}", route.address);
            Failure::new(FailureKind::Connect, why)
        };
        let connect = |address| connect(address, caller.socket);
        let raced = race(&addresses, descriptor, connect).await;
        let (mut stream, descriptor, peer) = raced.map_err(|why| failed(&why))?;
        let asked = via::ask(&mut stream, via, host, port).await;
        perf.connect = start.elapsed();
        perf.peer = peer.ip().to_string();
        asked.map_err(|why| failed(&why))?;
        Ok(Socket::Via(stream, descriptor))
    }
}

/// Whether the route may lead to this host, whose addresses a proxy alone knows if it is a name. What
/// a client or a redirect chooses must be a public address then, or allowed by its name.
fn permitted_unseen(
    allow_to: &[AllowTo],
    route: &Route,
    host: &str,
    port: u16,
    via: &Via,
) -> Result<(), Failure> {
    if let Ok(ip) = host.parse() {
        let addresses = vec![SocketAddr::new(ip, port)];
        return permitted(allow_to, route, host, addresses, &mut Perf::default()).map(|_| ());
    }
    let (kind, who) = match route.reach {
        Reach::Policy => return Ok(()),
        Reach::Redirect(_) => (FailureKind::Refused, "a redirect"),
        Reach::Client => (FailureKind::Forbidden, "a client's metadata"),
    };
    if allow_to.iter().any(|rule| rule.allows_name(host, port)) {
        return Ok(());
    }
    let why = format!(
        "must not connect to {}: {who} leads there, and only {via} knows whether that is public; to \
         permit it, start the proxy with --allow-to {host} or set `allow_private` in the streamtype",
        route.address
    );
    Err(Failure::new(kind, why))
}

/// Those of these addresses that the route may lead to. They are the ones that are connected
/// to, so that a name cannot stand for another address meanwhile.
pub(crate) fn permitted(
    allow_to: &[AllowTo],
    route: &Route,
    host: &str,
    addresses: Vec<SocketAddr>,
    perf: &mut Perf,
) -> Result<Vec<SocketAddr>, Failure> {
    let is_permitted = |address: &SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        route.reach.covers(ip) || allow_to.iter().any(|rule| rule.allows(host, ip, port))
    };
    let (permitted, forbidden): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_permitted);
    let Some(first) = forbidden.first().map(SocketAddr::ip) else { return Ok(permitted) };
    // Who may not connect to an address need not learn of it either.
    perf.dns_permits(permitted.iter().map(SocketAddr::ip));
    if !permitted.is_empty() {
        return Ok(permitted);
    }
    let scope = Scope::of(first);
    let (kind, who) = match route.reach {
        Reach::Redirect(_) => (FailureKind::Refused, "a redirect from a more public server"),
        Reach::Policy | Reach::Client => (FailureKind::Forbidden, "a client's metadata"),
    };
    let why = format!(
        "must not connect to {}: {first} is {scope}, where {who} does not lead; to permit it, start \
         the proxy with --allow-to {first} or set `allow_private` in the streamtype",
        route.address
    );
    Err(Failure::new(kind, why))
}

fn refused(address: &Address, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Connect, format!("cannot connect to {address}: {why}"))
}

/// The first of these addresses that answers, each with a head start on the next. One is tried in
/// any case, others beside it while there are descriptors for them.
pub(super) async fn race<T, E, F>(
    addresses: &[SocketAddr],
    descriptor: Descriptor,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(T, Descriptor, SocketAddr), String>
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let claim = descriptor.claim();
    let mut own = Some(descriptor);
    let mut waiting = addresses.iter();
    let mut trying = FuturesUnordered::new();
    let mut errors = String::new();
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some((address, descriptor, result)) = trying.next() => match result {
                Ok(stream) => return Ok((stream, descriptor, address)),
                Err(error) => {
                    own = Some(descriptor);
                    let separator = if errors.is_empty() { "" } else { "; " };
                    // Writing to a string cannot fail.
                    let _ = write!(errors, "{separator}{address}: {error}");
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                let descriptor = own.take().or_else(|| claim.try_take());
                if let (Some(descriptor), Some(&address)) = (descriptor, waiting.next()) {
                    let attempt = connect(address);
                    trying.push(async move { (address, descriptor, attempt.await) });
                }
                next_at = Instant::now() + HEAD_START;
            }
            else => return Err(errors),
        }
    }
}

async fn connect(address: SocketAddr, options: SocketOptions) -> io::Result<TcpStream> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    // Best effort: a stream without these options is better than none.
    if let Err(error) = apply(&socket, options, address.is_ipv6()) {
        tracing::debug!(%address, %error, "socket options refused");
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn apply(socket: &TcpSocket, options: SocketOptions, v6: bool) -> nix::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    if options.tos != 0 {
        let tos = i32::from(options.tos);
        if v6 {
            setsockopt(socket, sockopt::Ipv6TClass, &tos)?;
        } else {
            setsockopt(socket, sockopt::Ipv4Tos, &tos)?;
        }
    }
    if options.priority != 0 {
        setsockopt(socket, sockopt::Priority, &i32::from(options.priority))?;
    }
    Ok(())
}

fn unix(
    descriptor: Descriptor,
    address: &Address,
    result: io::Result<UnixStream>,
    start: Instant,
    perf: &mut Perf,
) -> Result<Socket, Failure> {
    perf.connect = start.elapsed();
    let stream = result.map_err(|error| refused(address, &error))?;
    perf.peer = address.to_string();
    Ok(Socket::Unix(stream, descriptor))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use sspc_policy::StreamType;

    use super::*;
    use crate::descriptors::Descriptors;

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = closed.local_addr().unwrap();
        drop(closed);
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = open.local_addr().unwrap();
        let descriptors = Descriptors::for_onward(1);
        let descriptor = || descriptors.try_take(None).unwrap();
        let options = SocketOptions::default();
        let (_, _, peer) =
            race(&[refused, wanted], descriptor(), |at| connect(at, options)).await.unwrap();
        assert_eq!(peer, wanted);
        let options = SocketOptions { priority: 3, tos: 0x10 };
        let error = race(&[refused], descriptor(), |at| connect(at, options)).await.unwrap_err();
        assert!(error.contains("refused") && error.contains(&refused.to_string()), "{error}");
    }

    #[tokio::test]
    async fn the_policys_options_are_on_the_socket() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = StreamType::new("s");
        stream.priority = 3;
        stream.tos.low_latency = true;
        stream.tos.high_reliability = true;
        let options = SocketOptions::of(&stream);
        let socket = connect(server.local_addr().unwrap(), options).await.unwrap();
        assert_eq!(getsockopt(&socket, sockopt::Priority).unwrap(), 3);
        assert_eq!(getsockopt(&socket, sockopt::Ipv4Tos).unwrap(), 0x10 | 0x04);
        stream.tos.high_reliability = false;
        stream.tos.high_throughput = true;
        let options = SocketOptions::of(&stream);
        let socket = connect(server.local_addr().unwrap(), options).await.unwrap();
        assert_eq!(getsockopt(&socket, sockopt::Ipv4Tos).unwrap(), 0x10 | 0x08);
    }
}
