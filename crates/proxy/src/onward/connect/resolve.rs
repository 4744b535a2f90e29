//! From a name to its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::perf::{Dns, Perf};
use crate::onward::{Failure, FailureKind};

/// Look-ups at a time: each takes a thread while it lasts.
const LOOKUPS_MAX: usize = 64;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Asks the system for the addresses of names, a bounded number of them at a time.
#[derive(Debug)]
pub(crate) struct Resolver {
    lookups: Semaphore,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { lookups: Semaphore::new(LOOKUPS_MAX) }
    }
}

impl Resolver {
    /// The addresses to try, at least one, in this order.
    pub(crate) async fn lookup(
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
