//! From a name to its addresses.
//!
//! Addresses as text and the names of this machine are known without asking. All other names are
//! looked up in the system's own table, among the answers that still hold, and at last at the
//! system's name servers: by tasks, without a thread, and for each client within its own limit.

mod dns;
mod hosts;
mod known;
mod system;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::dns::{Answer, Miss};
pub(crate) use self::system::NameFiles;
use self::system::{Names, System};
use self::table::{Table, Ticket};
use super::perf::{Dns, Perf};
use crate::config::Limits;
use crate::descriptors::Descriptors;
use crate::identity::Identity;
use crate::onward::{Failure, FailureKind};

/// Finds the addresses of names, a bounded number of them at a time.
pub(crate) struct Resolver {
    system: System,
    limits: Limits,
    descriptors: Arc<Descriptors>,
    /// Made with the first look-up, when it shows how many descriptors there are.
    table: OnceLock<Arc<Mutex<Table>>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Resolver {
    pub(crate) fn new(files: NameFiles, limits: Limits, descriptors: Arc<Descriptors>) -> Self {
        Self { system: System::new(files), limits, descriptors, table: OnceLock::new() }
    }

    fn table(&self) -> &Arc<Mutex<Table>> {
        self.table.get_or_init(|| {
            let lookups = self.limits.lookups.min(self.descriptors.budget().lookups);
            Arc::new(Mutex::new(Table::new(lookups, self.limits.lookups_per_client)))
        })
    }

    /// The addresses to try, at least one, in this order.
    pub(crate) async fn lookup(
        &self,
        client: &Identity,
        host: &str,
        port: u16,
        perf: &mut Perf,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Some(address) = literal(host, port) {
            perf.dns_found(Duration::ZERO, [address.ip()]);
            return Ok(vec![address]);
        }
        perf.dns_begins();
        let start = Instant::now();
        let answer = self.find(client, host.to_ascii_lowercase().into()).await;
        let (kind, dns, why) = match answer {
            Ok(addresses) => {
                perf.dns_found(start.elapsed(), addresses.iter().copied());
                return Ok(addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect());
            }
            Err(Miss::Unknown) => {
                (FailureKind::UnknownName, Dns::NoResult, "the name has no address".to_owned())
            }
            Err(Miss::NoAnswer(each)) => {
                let why = format!("no name server answers it ({each})");
                (FailureKind::NoDns, Dns::Unreachable, why)
            }
        };
        perf.dns_missed(start.elapsed(), dns);
        Err(Failure::new(kind, format!("cannot resolve {host}: {why}")))
    }

    async fn find(&self, client: &Identity, name: Arc<str>) -> Result<Arc<[IpAddr]>, Miss> {
        if is_this_machine(&name) {
            return Ok([IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)].into());
        }
        let names = self.system.names().await;
        if let Some(addresses) = names.hosts.get(&name) {
            return Ok(alternate(addresses.to_vec()).into());
        }
        if let Some(addresses) = names.known.get(&name) {
            return Ok(addresses);
        }
        self.ask(client, name, &names).await.map(|found| found.addresses)
    }

    /// Waits for the look-up of this name; starts it if there is none.
    async fn ask(&self, client: &Identity, name: Arc<str>, names: &Arc<Names>) -> Answer {
        let table = self.table();
        let (ticket, answer) = lock(table).join(&name, client);
        let _waiting = Waiting { table, name, ticket, names };
        start_next(table, names);
        // The sender is dropped with the look-up only, which ends when nobody waits.
        answer.await.unwrap_or_else(|_| Err(Miss::NoAnswer("given up".to_owned())))
    }
}

/// One who waits for a look-up, until dropped.
struct Waiting<'a> {
    table: &'a Arc<Mutex<Table>>,
    name: Arc<str>,
    ticket: Ticket,
    names: &'a Arc<Names>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.table).leave(&self.name, self.ticket);
        start_next(self.table, self.names);
    }
}

/// Starts all look-ups whose turn it is.
fn start_next(table: &Arc<Mutex<Table>>, names: &Arc<Names>) {
    // There is none while it shuts down, when those who wait are dropped.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let mut entries = lock(table);
    while let Some((name, id)) = entries.next() {
        let task = {
            let (table, names, name) = (Arc::clone(table), Arc::clone(names), Arc::clone(&name));
            runtime.spawn(async move {
                let answer = names.dns.look_up(&name).await;
                if let Ok(found) = &answer {
                    names.known.keep(&name, found);
                }
                lock(&table).finish(&name, id, &answer);
                start_next(&table, &names);
            })
        };
        entries.started(&name, task.abort_handle());
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address as text, IPv6 with its zone if it is a link's own.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse() {
        return Some(SocketAddr::new(ip, port));
    }
    let (ip, zone) = host.split_once('%')?;
    Some(SocketAddrV6::new(ip.parse().ok()?, port, 0, zone_index(zone)?).into())
}

/// The number of a network interface.
fn zone_index(zone: &str) -> Option<u32> {
    zone.parse().ok().or_else(|| nix::net::if_::if_nametoindex(zone).ok())
}

/// `localhost` and what is below it, which is never asked for (RFC 6761 §6.3).
fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Puts the families in turn, beginning with that of the first address.
fn alternate(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let Some(first) = addresses.first().map(IpAddr::is_ipv6) else {
        return addresses;
    };
    let mut result = Vec::with_capacity(addresses.len());
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == first);
    let mut other = other.into_iter();
    for address in one {
        result.push(address);
        result.extend(other.next());
    }
    result.extend(other);
    result
}
