//! How a connection came about, for streams with `perf` (JSON, for tools).

use std::net::IpAddr;
use std::time::Duration;

/// Most addresses that the report lists: it has to fit one frame.
const ADDRESSES_MAX: usize = 4;

/// What name resolution came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dns {
    /// It was not tried.
    #[default]
    None = 0,
    Ok = 1,
    /// No server answered.
    Unreachable = 2,
    /// The name has no address.
    NoResult = 3,
}

/// Measurements of one attempt. What was not needed, such as the handshake of a shared
/// connection, stays 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Perf {
    /// The address that was connected to.
    pub(crate) peer: String,
    pub(crate) connect: Duration,
    pub(crate) tls: Duration,
    /// The number of the connection, if somebody observes.
    pub(crate) connection: Option<u64>,
    dns: Dns,
    dns_took: Duration,
    addresses: Vec<IpAddr>,
}

impl Perf {
    /// How long the look-up, the connecting and the handshake took.
    pub(crate) const fn times(&self) -> (Duration, Duration, Duration) {
        (self.dns_took, self.connect, self.tls)
    }

    /// Whether the connection had been open before.
    pub(crate) fn is_reused(&self) -> bool {
        self.peer.is_empty() && self.connect.is_zero()
    }

    /// A name is being looked up; nothing has answered yet.
    pub(crate) fn dns_begins(&mut self) {
        self.dns = Dns::Unreachable;
    }

    /// Whether the look-up got no answer, or none so far.
    pub(crate) fn dns_is_silent(&self) -> bool {
        self.dns == Dns::Unreachable
    }

    pub(crate) fn dns_found(
        &mut self,
        took: Duration,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) {
        self.dns = Dns::Ok;
        self.dns_took = took;
        self.addresses = addresses.into_iter().take(ADDRESSES_MAX).collect();
    }

    /// Only these of the addresses are of use.
    pub(crate) fn dns_permits(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses = addresses.into_iter().take(ADDRESSES_MAX).collect();
    }

    pub(crate) fn dns_missed(&mut self, took: Duration, how: Dns) {
        self.dns = how;
        self.dns_took = took;
    }

    /// The report; `response` is the status and the time from request to headers.
    pub(crate) fn json(&self, response: Option<(u16, Duration)>) -> String {
        let addresses: Vec<String> =
            self.addresses.iter().map(|address| format!("\"{address}\"")).collect();
        let (took, http) = match response {
            Some((status, took)) => {
                (took, format!(",\"prot_specific\":{{\"protocol\":\"http\",\"resp\":{status}}}"))
            }
            None => (Duration::ZERO, String::new()),
        };
        // The peer may be the path of a socket: the one text that needs escapes.
        let peer = serde_json::Value::from(self.peer.as_str());
        format!(
            "{{\"peer\":{peer},\"dns_us\":{},\"dns_disp\":{},\"sockconn_us\":{},\"tls_us\":{},\
             \"txn_resp_us\":{},\"dns\":[{}]{http}}}",
            self.dns_took.as_micros(),
            self.dns as u8,
            self.connect.as_micros(),
            self.tls.as_micros(),
            took.as_micros(),
            addresses.join(","),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_its_keys_in_order_and_no_spaces() {
        let mut perf = Perf { peer: "+/a\"b".into(), ..Perf::default() };
        perf.dns_found(Duration::from_micros(5), ["::1".parse().unwrap()]);
        perf.connect = Duration::from_micros(7);
        assert_eq!(
            perf.json(Some((200, Duration::from_millis(1)))),
            "{\"peer\":\"+/a\\\"b\",\"dns_us\":5,\"dns_disp\":1,\"sockconn_us\":7,\"tls_us\":0,\
             \"txn_resp_us\":1000,\"dns\":[\"::1\"],\
             \"prot_specific\":{\"protocol\":\"http\",\"resp\":200}}"
        );
        let failed = Perf::default().json(None);
        let parsed: serde_json::Value = serde_json::from_str(&failed).unwrap();
        assert_eq!(parsed["dns_disp"], 0);
    }
}
