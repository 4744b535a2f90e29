//! How much of what was written to a Unix socket its peer has not read.
//!
//! The kernel accounts what is sent to the sender until it is read (`SO_MEMINFO`), and each read
//! that frees some of it wakes those who wait to write.

use std::future::poll_fn;
use std::io;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use nix::sys::socket::getsockopt;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The first fields of what `SO_MEMINFO` tells; `SK_MEMINFO_WMEM_ALLOC` is the third.
type MemInfo = [u32; 3];

mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    sockopt_impl!(MemInfo, GetOnly, libc::SOL_SOCKET, libc::SO_MEMINFO, super::MemInfo);
}

/// While the kernel wakes us, what it is about to free still counts as one.
const NOTHING: u32 = 1;

/// Waits until the peer of a Unix socket has read all that was written to it. Cancel safe.
///
/// What is written then comes in one read if the peer reads that much at once. Deployed clients of
/// Secure Streams read 2,048 bytes, and hand on a frame that comes in two reads as two.
///
/// Returns at once where the system does not tell.
///
/// # Errors
/// The socket's.
pub async fn all_read(socket: &UnixStream) -> io::Result<()> {
    if !is_told(socket) {
        return Ok(());
    }
    poll_fn(|cx| poll_none(socket, cx)).await
}

/// Whether the system tells.
pub(crate) fn is_told(socket: &UnixStream) -> bool {
    static IS_TOLD: OnceLock<bool> = OnceLock::new();
    *IS_TOLD.get_or_init(|| bytes(socket).is_ok())
}

/// What is unread, in the bytes of memory that it takes.
pub(crate) fn bytes(socket: &UnixStream) -> io::Result<u32> {
    let [_, _, unread] = getsockopt(socket, option::MemInfo)?;
    Ok(unread)
}

/// Ready once the peer has read everything.
pub(crate) fn poll_none(socket: &UnixStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let check = || match bytes(socket)? {
            0..=NOTHING => Ok(()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        };
        match socket.try_io(Interest::WRITABLE, check) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => {
                // The peer wakes us from within its read, which would go on with what we write now.
                std::thread::yield_now();
                return Poll::Ready(result);
            }
        }
    }
}
