//! A runtime whose clock moves when nobody has anything to do, and sockets in it.

use std::future::Future;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// What takes longer does not end.
const RUN_MAX: Duration = Duration::from_secs(100 * 3600);

/// Plays to the end, in virtual time.
pub(crate) fn play(play: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { timeout(RUN_MAX, play).await.expect("an end") });
}

/// The endpoint of the server of this name, as a policy has it.
pub(crate) fn endpoint(name: &str) -> String {
    format!("+@{}", socket(name))
}

fn socket(name: &str) -> String {
    format!("sspc-fuzz-{}-{name}", std::process::id())
}

/// Serves each connection to the server of this name, with the connection's number.
pub(crate) fn serve<F, R>(name: &str, serve: F)
where
    F: Fn(usize, UnixStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let address = SocketAddr::from_abstract_name(socket(name)).expect("an address");
    let listener = StdListener::bind_addr(&address).expect("a socket");
    listener.set_nonblocking(true).expect("a socket that does not block");
    let listener = UnixListener::from_std(listener).expect("a runtime");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(serve(number, stream));
        }
    });
}
