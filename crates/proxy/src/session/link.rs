//! What a session needs of the link to its client.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest};

/// How often a link that is not being read is asked whether its peer is still there.
const GONE_POLL: Duration = Duration::from_millis(500);

/// The half of a link that brings the client's bytes.
pub(crate) trait LinkReader: AsyncRead + Send + Unpin + 'static {
    /// Ready once the client has closed the link, whether or not bytes of it are left to read.
    ///
    /// A session that takes no bytes, because the remote peer takes none either, would else not
    /// notice that its client is gone.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// The half of a link that takes bytes for the client.
pub(crate) trait LinkWriter: AsyncWrite + Send + Unpin + 'static {}

impl<W: AsyncWrite + Send + Unpin + 'static> LinkWriter for W {}

macro_rules! reader_by_readiness {
    ($half:ty) => {
        impl LinkReader for $half {
            async fn gone(&self) {
                loop {
                    match self.ready(Interest::READABLE).await {
                        Ok(ready) if !ready.is_read_closed() => {}
                        _ => return,
                    }
                    tokio::time::sleep(GONE_POLL).await;
                }
            }
        }
    };
}

reader_by_readiness!(tokio::net::unix::OwnedReadHalf);
reader_by_readiness!(tokio::net::tcp::OwnedReadHalf);
