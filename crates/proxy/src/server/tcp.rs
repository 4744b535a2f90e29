//! TCP clients: what their sockets are set to, and how it is noticed that one is gone without a
//! word, because it lost its power or its network.
//!
//! TCP's keepalive notices it on a link where nothing is on its way. Where something is, TCP sends it
//! again for a quarter of an hour. `TCP_USER_TIMEOUT` would shorten that, but it also ends the link of
//! a client that is there and does not read; so the reader asks TCP when it last heard the client.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Sleep, sleep};

use crate::session::LinkReader;

/// Unanswered probes that end a link.
const PROBES: u32 = 3;

/// Sets a client's socket up: small frames do not wait for more, and a client that is silent for
/// `gone` in spite of TCP's probes ends the link.
pub(super) fn set_up(socket: &TcpStream, gone: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    // One half of the time without a probe, the other for those that go unanswered.
    let seconds =
        |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).clamp(1, 32_767);
    setsockopt(socket, sockopt::TcpKeepIdle, &seconds(gone / 2))?;
    setsockopt(socket, sockopt::TcpKeepInterval, &seconds(gone / (2 * PROBES)))?;
    setsockopt(socket, sockopt::TcpKeepCount, &PROBES)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    Ok(())
}

mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, super::TcpInfo);
}

/// The beginning of `struct tcp_info`: 8 bytes, then numbers of 32 bits.
type TcpInfo = [u32; 15];

/// What TCP knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hearing {
    /// Retransmissions and window probes that it has not answered.
    unanswered: u8,
    /// Since its last acknowledgement.
    silent_for: Duration,
}

impl Hearing {
    fn of(socket: &impl AsFd) -> io::Result<Self> {
        let info = getsockopt(socket, option::TcpInfo)?;
        // `tcpi_state`, `tcpi_ca_state`, `tcpi_retransmits`, `tcpi_probes`.
        let [_, _, retransmits, probes] = info[0].to_ne_bytes();
        // `tcpi_last_ack_recv`
        let silent_for = Duration::from_millis(info[14].into());
        Ok(Self { unanswered: retransmits.max(probes), silent_for })
    }

    /// One probe may just be on its way.
    fn is_gone(self, gone: Duration) -> bool {
        self.unanswered > 1 && self.silent_for >= gone
    }
}

/// Looks now and then whether a client is gone.
pub(super) struct Vigil {
    gone: Duration,
    next_look: Pin<Box<Sleep>>,
}

impl Vigil {
    pub(super) fn new(gone: Duration) -> Self {
        Self { gone, next_look: Box::pin(sleep(Self::pause(gone))) }
    }

    fn pause(gone: Duration) -> Duration {
        (gone / 8).max(Duration::from_millis(100))
    }

    /// Whether TCP says that the client is gone.
    pub(super) fn is_gone(&self, socket: &impl AsFd) -> bool {
        Hearing::of(socket).is_ok_and(|hearing| hearing.is_gone(self.gone))
    }

    /// Fails once the client is gone.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, socket: &impl AsFd) -> Poll<io::Error> {
        loop {
            ready!(self.next_look.as_mut().poll(cx));
            if self.is_gone(socket) {
                let why = format!("the client has not answered for {:?}", self.gone);
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            self.next_look = Box::pin(sleep(Self::pause(self.gone)));
        }
    }
}

/// The reading half of a client's link, which fails once the client is gone.
pub(super) struct TcpReader {
    half: OwnedReadHalf,
    vigil: Vigil,
}

impl TcpReader {
    pub(super) fn new(half: OwnedReadHalf, gone: Duration) -> Self {
        Self { half, vigil: Vigil::new(gone) }
    }
}

impl AsyncRead for TcpReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { half, vigil } = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut *half).poll_read(cx, room) {
            return Poll::Ready(read);
        }
        let socket: &TcpStream = half.as_ref();
        vigil.poll(cx, socket).map(Err)
    }
}

impl LinkReader for TcpReader {
    async fn gone(&self) {
        let lost = async {
            loop {
                sleep(Vigil::pause(self.vigil.gone)).await;
                let socket: &TcpStream = self.half.as_ref();
                if self.vigil.is_gone(socket) {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.half.gone() => {}
            () = lost => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn probes_are_spread_over_the_time() {
        let (_client, socket) = pair().await;
        for (gone, [idle, interval]) in
            [(60, [30, 10]), (1, [1, 1]), (90, [45, 15]), (u64::MAX, [32_767, 32_767])]
        {
            set_up(&socket, Duration::from_secs(gone)).unwrap();
            assert!(getsockopt(&socket, sockopt::KeepAlive).unwrap());
            assert_eq!(getsockopt(&socket, sockopt::TcpKeepIdle).unwrap(), idle);
            assert_eq!(getsockopt(&socket, sockopt::TcpKeepInterval).unwrap(), interval);
            assert_eq!(getsockopt(&socket, sockopt::TcpKeepCount).unwrap(), PROBES);
        }
    }

    #[test]
    fn a_client_is_gone_when_it_is_silent_and_leaves_more_than_one_try_unanswered() {
        let gone = Duration::from_secs(60);
        for (unanswered, silent_for, is_gone) in
            [(0, 3600, false), (1, 3600, false), (2, 59, false), (2, 60, true)]
        {
            let hearing = Hearing { unanswered, silent_for: Duration::from_secs(silent_for) };
            assert_eq!(hearing.is_gone(gone), is_gone, "{hearing:?}");
        }
    }

    /// `TCP_USER_TIMEOUT` ended the link of such a client.
    #[tokio::test]
    async fn a_client_that_does_not_read_is_there() {
        let (_client, mut socket) = pair().await;
        let gone = Duration::from_millis(400);
        set_up(&socket, gone).unwrap();
        let full = tokio::time::timeout(gone, async {
            loop {
                socket.write_all(&[0; 65_536]).await.unwrap();
            }
        });
        assert!(full.await.is_err());
        let (half, _writer) = socket.into_split();
        let mut reader = TcpReader::new(half, gone);
        // Two window probes go out in that time, and are answered.
        let still = tokio::time::timeout(gone * 4, async {
            tokio::io::AsyncReadExt::read_u8(&mut reader).await
        });
        assert!(still.await.is_err());
        assert!(tokio::time::timeout(gone * 2, reader.gone()).await.is_err());
    }
}
