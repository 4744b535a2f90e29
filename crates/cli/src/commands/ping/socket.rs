//! Over sockets: whether somebody accepts connections. The wire has nothing more that could be asked
//! without a trace in the proxy's log.

use std::io;
use std::time::{Duration, Instant};

use sspc_address::Address;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::tally::{Tally, millis};
use super::{PingArgs, say};
use crate::exit::{Exit, Failure};
use crate::socket;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Connects as often as is wanted; returns also why it did not work.
pub(super) async fn run(
    args: &PingArgs,
    address: &Address,
    mut stopped: oneshot::Receiver<Exit>,
) -> Result<(Tally, String), Failure> {
    let mut tally = Tally::default();
    let mut why = "it was not tried".to_owned();
    let mut ticks = interval(args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while args.count.is_none_or(|count| tally.sent < count) {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = &mut stopped => break,
        }
        tally.sent += 1;
        let start = Instant::now();
        let connected = tokio::select! {
            connected = timeout(CONNECT_LIMIT, connect(address)) => connected,
            _ = &mut stopped => break,
        };
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(_) => {
                let time = start.elapsed();
                tally.answer(time);
                say(&format_args!("up  connected in {:.3} ms", millis(time)))?;
            }
            Err(error) => {
                why = error.to_string();
                say(&format_args!("down  {error}"))?;
            }
        }
    }
    Ok((tally, why))
}

/// With TLS the handshake is a part of it.
async fn connect(address: &Address) -> io::Result<()> {
    match address {
        Address::Tls(_) => sspc::tokio::reach(address).await,
        _ => socket::connect(address).await.map(drop),
    }
}
