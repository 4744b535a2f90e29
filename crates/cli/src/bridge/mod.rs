//! `sspc bridge`: local programs use Unix sockets or TCP, each connection is a channel of the line
//! to the gateway's proxy.

mod credit;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use sspc_line::{Line, LineEvent, Role, SerialAddress};
use sspc_proxy::{Accepted, ListenError, Listener};
use tokio::sync::Semaphore;
use tracing::{Instrument, info, info_span, warn};

use crate::args::{BridgeArgs, DEFAULT_ADDRESS};
use crate::exit::{Exit, Failure};
use crate::log::Voice;
use crate::service::{self, Passed, Signals, Told, notify};
use relay::Ending;

/// Connections at a time. A line has some 250 channels; what waits for one is among these.
const CONNECTIONS_MAX: usize = 1024;
/// The pause after an accept failed for want of something that others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to notice that the program ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Runs the command to its end. To be called before there are threads: what a service manager
/// passes is taken out of the environment.
pub(crate) fn run(args: &BridgeArgs, voice: Voice) -> Result<Exit, Failure> {
    let passed = ListenFd::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let inside = runtime.enter();
    let listeners = listen(args, passed)?;
    let line = open(&args.proxy)?;
    drop(inside);
    let exit = runtime.block_on(serve(listeners, &line, args, voice));
    // First the connections, then the line, which still tells the proxy of their ends.
    runtime.shutdown_timeout(END_LIMIT);
    drop(line);
    exit
}

fn listen(args: &BridgeArgs, passed: ListenFd) -> Result<Vec<Listener>, Failure> {
    let mut addresses = args.listen.clone();
    if passed.len() == 0 && addresses.is_empty() {
        let default = DEFAULT_ADDRESS.parse();
        addresses.push(default.map_err(|error| Failure::new(format!("{error}")))?);
    }
    let mut listeners = Vec::new();
    for socket in service::passed_sockets(passed)? {
        let adopted = match socket {
            Passed::Unix(socket) => Listener::adopt_unix(socket),
            Passed::Tcp(socket) => Listener::adopt_tcp(socket),
        };
        listeners.push(adopted.map_err(|error| Failure::new(error.to_string()))?);
    }
    for address in &addresses {
        listeners.push(Listener::bind(address).map_err(|error| match &error {
            ListenError::InUse { .. } => {
                Failure::new(format!("{error}; end that one, or choose another with --listen"))
            }
            _ => Failure::new(error.to_string()),
        })?);
    }
    Ok(listeners)
}

fn open(address: &SerialAddress) -> Result<Line, Failure> {
    Line::open(address, Role::Client, |event| log(&event))
        .map_err(|error| Failure::new(format!("cannot use {address}: {error}")))
}

fn log(event: &LineEvent) {
    match event {
        LineEvent::PortLost { .. } | LineEvent::Overflow { .. } | LineEvent::Echo => {
            warn!("{event}")
        }
        LineEvent::RoundTrip { .. } | LineEvent::PeerClock { .. } => tracing::debug!("{event}"),
        _ => info!("{event}"),
    }
}

/// Serves until a signal ends it.
async fn serve(
    listeners: Vec<Listener>,
    line: &Line,
    args: &BridgeArgs,
    voice: Voice,
) -> Result<Exit, Failure> {
    // Before anybody is told that we are ready: whoever knows may send a signal.
    let mut signals = Signals::watch()?;
    let addresses: Vec<_> = listeners.iter().map(|one| one.address().to_string()).collect();
    let status = format!("listening on {}, to the proxy at {}", addresses.join(", "), args.proxy);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for listener in listeners {
        let span = info_span!("listener", address = %listener.address());
        let accepting = accept_all(listener, line.clone(), Arc::clone(&places));
        tokio::spawn(accepting.instrument(span));
    }

    voice.say(&format!("sspc bridge: ready: {status}"));
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    loop {
        match signals.next().await {
            Told::End(how) => {
                info!(?how, "stopping");
                notify(&[NotifyState::Stopping]);
                return Ok(Exit::Ok);
            }
            Told::Reload => info!("there is nothing to reload"),
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
            warn!(limit = CONNECTIONS_MAX, "turned away: too many connections");
            continue;
        };
        number += 1;
        let span = info_span!("connection", number, pid = tracing::field::Empty);
        let line = line.clone();
        let connection = async move {
            let ending = match accepted {
                Accepted::Unix(socket) => {
                    let pid = socket.peer_cred().ok().and_then(|peer| peer.pid());
                    tracing::Span::current().record("pid", pid);
                    let (reader, writer) = socket.into_split();
                    relay::run(&line, reader, writer).await
                }
                Accepted::Tcp(socket) => {
                    let (reader, writer) = socket.into_split();
                    relay::run(&line, reader, writer).await
                }
                _ => return,
            };
            match ending {
                Ending::NoChannel(why) => warn!("turned away: {why}"),
                ending => info!("ended: {ending}"),
            }
            drop(place);
        };
        tokio::spawn(connection.instrument(span));
    }
}
