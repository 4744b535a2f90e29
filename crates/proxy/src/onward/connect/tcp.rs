//! Names to addresses, addresses to connected sockets.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nix::sys::socket::{setsockopt, sockopt};
use sspc_policy::Address;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::perf::{Dns, Perf};
use super::route::SocketOptions;
use super::transport::Socket;
use crate::onward::{Failure, FailureKind};

/// Name look-ups at a time: each takes a thread while it lasts.
const LOOKUPS_MAX: usize = 64;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// How long one address is tried alone before the next one joins in (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Opens sockets; a bounded number of name look-ups at a time.
#[derive(Debug)]
pub(crate) struct TcpConnector {
    lookups: Semaphore,
}

impl TcpConnector {
    pub(crate) fn new() -> Self {
        Self { lookups: Semaphore::new(LOOKUPS_MAX) }
    }

    /// A connected socket; the caller limits the time.
    pub(crate) async fn connect(
        &self,
        address: &Address,
        options: SocketOptions,
        perf: &mut Perf,
    ) -> Result<Socket, Failure> {
        match address {
            Address::Tcp { host, port } => {
                let addresses = self.lookup(host, *port, perf).await?;
                let start = Instant::now();
                let result = race(&addresses, options).await;
                perf.connect = start.elapsed();
                let (stream, peer) = result.map_err(|why| refused(address, &why))?;
                perf.peer = peer.ip().to_string();
                Ok(Socket::Tcp(stream))
            }
            Address::UnixPath(path) => {
                let start = Instant::now();
                let result = UnixStream::connect(path).await;
                unix(address, result, start, perf)
            }
            Address::UnixAbstract(name) => {
                let start = Instant::now();
                // tokio takes a leading NUL for the abstract namespace.
                let result = UnixStream::connect(format!("\0{name}")).await;
                unix(address, result, start, perf)
            }
            other => Err(Failure::new(
                FailureKind::Policy,
                format!("cannot connect to {other}: not supported"),
            )),
        }
    }

    async fn lookup(
        &self,
        host: &str,
        port: u16,
        perf: &mut Perf,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = host.parse::<IpAddr>() {
            perf.dns_found(Duration::ZERO, [address]);
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let start = Instant::now();
        // The semaphore is never closed.
        let _turn = self.lookups.acquire().await;
        let found = tokio::net::lookup_host((host, port)).await;
        match found.map(|found| alternate(found.take(ADDRESSES_MAX).collect())) {
            Ok(addresses) if !addresses.is_empty() => {
                perf.dns_found(start.elapsed(), addresses.iter().map(SocketAddr::ip));
                Ok(addresses)
            }
            Ok(_) => {
                perf.dns_missed(start.elapsed(), Dns::NoResult);
                Err(Failure::new(
                    FailureKind::UnknownName,
                    format!("cannot resolve {host}: no address"),
                ))
            }
            Err(error) => {
                let (kind, dns) = if is_name_unknown(&error) {
                    (FailureKind::UnknownName, Dns::NoResult)
                } else {
                    (FailureKind::NoDns, Dns::Unreachable)
                };
                perf.dns_missed(start.elapsed(), dns);
                Err(Failure::new(kind, format!("cannot resolve {host}: {error}")))
            }
        }
    }
}

fn refused(address: &Address, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Connect, format!("cannot connect to {address}: {why}"))
}

/// Whether the resolver said that there is no such name, as opposed to not having been able to
/// find out. The system's code is not handed on by std, only its text: glibc's or musl's.
fn is_name_unknown(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("Name or service not known") || text.contains("Name does not resolve")
}

/// Puts the families in turn, beginning with the one that the system put first.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let mut other = other.into_iter();
    let mut result = Vec::with_capacity(ADDRESSES_MAX);
    for address in one {
        result.push(address);
        result.extend(other.next());
    }
    result.extend(other);
    result
}

/// The first of these addresses that answers, each with a head start on the next.
async fn race(
    addresses: &[SocketAddr],
    options: SocketOptions,
) -> Result<(TcpStream, SocketAddr), String> {
    let mut waiting = addresses.iter();
    let mut trying = FuturesUnordered::new();
    let mut errors = String::new();
    let mut next_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some((address, result)) = trying.next() => match result {
                Ok(stream) => return Ok((stream, address)),
                Err(error) => {
                    let separator = if errors.is_empty() { "" } else { "; " };
                    // Writing to a string cannot fail.
                    let _ = write!(errors, "{separator}{address}: {error}");
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                if let Some(&address) = waiting.next() {
                    trying.push(async move { (address, connect(address, options).await) });
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
    address: &Address,
    result: io::Result<UnixStream>,
    start: Instant,
    perf: &mut Perf,
) -> Result<Socket, Failure> {
    perf.connect = start.elapsed();
    let stream = result.map_err(|error| refused(address, &error))?;
    perf.peer = address.to_string();
    Ok(Socket::Unix(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_systems_first_choice_stays_first() {
        let parse = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let given = parse(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1", "2.2.2.2:1"]);
        let turns = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(alternate(given), turns);
        assert_eq!(alternate(Vec::new()), Vec::new());
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = closed.local_addr().unwrap();
        drop(closed);
        let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = open.local_addr().unwrap();
        let (_, peer) = race(&[refused, wanted], SocketOptions::default()).await.unwrap();
        assert_eq!(peer, wanted);
        let error = race(&[refused], SocketOptions { priority: 3, tos: 0x10 }).await.unwrap_err();
        assert!(error.contains("refused") && error.contains(&refused.to_string()), "{error}");
    }

    #[test]
    fn unknown_names_are_told_from_missing_servers() {
        let error = |text: &str| io::Error::other(text.to_owned());
        assert!(is_name_unknown(&error(
            "failed to lookup address information: Name or service not known"
        )));
        assert!(!is_name_unknown(&error(
            "failed to lookup address information: Temporary failure in name resolution"
        )));
    }
}
