//! `sspc bridge`: local programs use Unix sockets or TCP, each connection is a channel of the line
//! to the gateway's proxy.

mod credit;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use sspc_line::{Line, LineAddress, LineEvent, Role};
use sspc_proxy::{Accepted, ListenAddress, Listener};
use tokio::sync::Semaphore;
use tracing::{Instrument, info, warn, warn_span};

use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::service::{self, Passed, SignalEvent, Signals, notify};
use relay::CloseReason;

/// Connect local programs to the proxy at the other end of a line
///
/// For a device whose way to the gateway is a serial line, or an encrypted line over a network. Programs connect to Unix sockets, as they would to a proxy on
/// this machine; each connection becomes a channel of the line to the gateway's proxy. Prints one
/// line to stderr when ready; the link may come up later.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct BridgeArgs {
    /// Listen here: uds:@NAME, uds:/PATH or tcp:HOST:PORT; may be given several times
    ///
    /// `uds:/PATH?mode=0660&owner=USER:GROUP` sets who may use it. The default is
    /// `uds:@proxy.ss.lws`, where every client looks first, unless a service manager passes sockets
    /// (see below).
    #[arg(short, long = "listen", value_name = "ADDR", value_parser = parse_socket)]
    pub(crate) listen: Vec<ListenAddress>,

    /// The line to the proxy: serial:/DEVICE?baud=N&rtscts=1&profile=fast, udp:HOST:PORT?keys=FILE or
    /// tcp:HOST:PORT?keys=FILE
    ///
    /// Both ends of a serial line need the same baud rate; the default is 115200. `profile=fast` finds a dead link
    /// within 300 ms and needs 1,000,000 baud or more.
    #[arg(short, long, value_name = "ADDR")]
    pub(crate) proxy: LineAddress,
}

const HELP: &str = "\
Examples:
  sspc bridge --proxy 'serial:/dev/ttyUSB0?baud=2000000&profile=fast'
      Let every program on this machine that looks for a proxy find the gateway's.

  sspc bridge --proxy 'udp:gateway:7682?keys=/etc/sspc.key'
      The same over a network, encrypted with the device's key.

  sspc bridge -p serial:/dev/ttyS1 -l uds:@proxy.ss.lws -l 'uds:/run/sspc.sock?mode=0660' -v
      Listen at two addresses, on a line of 115,200 baud, and log link and connections.

While the link is down, a new connection waits for it for up to 2.5 seconds and is then closed. When
the link is lost, all connections are closed; that is how clients notice, and they connect again.
The serial port may vanish and come back, and so may the network.

A program that stops reading, or sends more than its server takes, does not hold up the others: the
bridge manages credit for programs that do not.

Signals:
  SIGTERM, SIGINT  close every connection and exit with 0; a second one ends it at once,
                   with 143 or 130

Service managers:
  Type=notify: sends READY and STOPPING to $NOTIFY_SOCKET.
  Uses the Unix and TCP sockets in $LISTEN_FDS and adds each --listen to them. If there are
  some and there is no --listen, the default address is not used.

Exit codes:
  0  ended by a signal
  1  the line or an address cannot be used; nothing was served
  2  the command line is wrong";

/// Connections at a time. A line has 253 channels; what is refused one, or waits for the line, is among these.
const CONNECTIONS_MAX: usize = 1024;
/// The pause after an accept failed for want of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to notice that the program ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Runs the command to its end. To be called before there are threads: what a service manager
/// passes is taken out of the environment.
pub(crate) fn run(args: &BridgeArgs, console: Console) -> Result<Exit, Failure> {
    let passed = ListenFd::from_env();
    service::raise_descriptor_limit();
    let runtime = service::multi_threaded(Some(2))?;
    let inside = runtime.enter();
    let listeners = listen(args, passed)?;
    let line = open(&args.proxy)?;
    drop(inside);
    let exit = runtime.block_on(serve(listeners, &line, args, console));
    // First the connections, then the line, which still closes their channels.
    runtime.shutdown_timeout(END_LIMIT);
    drop(line);
    exit
}

fn listen(args: &BridgeArgs, passed: ListenFd) -> Result<Vec<Listener>, Failure> {
    let sockets = service::listen_sockets(&args.listen, passed)?;
    let mut listeners = Vec::new();
    for socket in sockets.passed {
        let adopted = match socket {
            Passed::Unix(socket) => Listener::adopt_unix(socket),
            Passed::Tcp(socket) => Listener::adopt_tcp(socket),
        };
        listeners.push(adopted.map_err(|error| Failure::new(error.to_string()))?);
    }
    for address in &sockets.addresses {
        listeners.push(Listener::bind(address).map_err(|error| service::cannot_listen(&error))?);
    }
    Ok(listeners)
}

fn open(address: &LineAddress) -> Result<Line, Failure> {
    Line::open(address, Role::Client, |event| log(&event))
        .map_err(|error| Failure::new(format!("cannot use {address}: {error}")))
}

fn log(event: &LineEvent) {
    let kind = event.label();
    match event {
        _ if event.is_fault() => warn!(kind, "{event}"),
        LineEvent::RoundTrip { .. } | LineEvent::PeerClock { .. } => tracing::debug!("{event}"),
        _ => info!(kind, "{event}"),
    }
}

/// Serves until a signal ends it.
async fn serve(
    listeners: Vec<Listener>,
    line: &Line,
    args: &BridgeArgs,
    console: Console,
) -> Result<Exit, Failure> {
    // Before "ready", which others may answer with a signal.
    let mut signals = Signals::watch_reload()?;
    let addresses: Vec<_> = listeners.iter().map(|one| one.address().to_string()).collect();
    let status = format!("listening on {}, to the proxy at {}", addresses.join(", "), args.proxy);
    let limit = CONNECTIONS_MAX.min(service::descriptors_left());
    if limit < CONNECTIONS_MAX {
        warn!("only {limit} connections at a time: the limit of open files (ulimit -Hn) is low");
    }
    let places = Arc::new(Semaphore::new(limit));
    for listener in listeners {
        let span = warn_span!("listener", address = %listener.address());
        let accepting = accept_all(listener, line.clone(), Arc::clone(&places));
        tokio::spawn(accepting.instrument(span));
    }

    console.say(&format!("sspc bridge: ready: {status}"));
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    loop {
        match signals.next().await {
            SignalEvent::End(how) => {
                info!(?how, "stopping");
                notify(&[NotifyState::Stopping]);
                return Ok(Exit::Ok);
            }
            _ => info!("there is nothing to reload"),
        }
    }
}

async fn accept_all(listener: Listener, line: Line, places: Arc<Semaphore>) {
    let mut number = 0_u64;
    loop {
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            warn!("turned away: too many connections");
            continue;
        };
        number += 1;
        let (pid, client) = match &accepted {
            Accepted::Unix(socket) => {
                let peer = socket.peer_cred().ok();
                let client = peer.map(|peer| format!("user {}", peer.uid()));
                (peer.and_then(|peer| peer.pid()), client)
            }
            Accepted::Tcp(socket) => {
                (None, socket.peer_addr().ok().map(|peer| format!("host {}", peer.ip())))
            }
            _ => (None, None),
        };
        let span = warn_span!("connection", number, pid, client);
        let line = line.clone();
        let connection = async move {
            let reason = match accepted {
                Accepted::Unix(socket) => {
                    let (reader, writer) = socket.into_split();
                    relay::run(&line, reader, writer).await
                }
                Accepted::Tcp(socket) => {
                    let (reader, writer) = socket.into_split();
                    relay::run(&line, reader, writer).await
                }
                _ => return,
            };
            match reason {
                CloseReason::NoChannel(why) => warn!("turned away: {why}"),
                reason => info!("ended: {reason}"),
            }
            drop(place);
        };
        tokio::spawn(connection.instrument(span));
    }
}

fn parse_socket(text: &str) -> Result<ListenAddress, String> {
    match text.parse() {
        Ok(ListenAddress::Serial(_) | ListenAddress::Network(_)) => {
            Err("a bridge listens at sockets; the line goes to --proxy".to_owned())
        }
        Ok(ListenAddress::Tls(_)) => {
            Err("a bridge serves the programs of its own machine, without TLS".to_owned())
        }
        Ok(address) => Ok(address),
        Err(error) => Err(error.to_string()),
    }
}
