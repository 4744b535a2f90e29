//! h2: windows that are larger than there may be.

use sspc_policy::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::*;

/// A server that gives each stream the largest window there is, and more of it when a request has
/// come; it answers when the request has ended.
async fn generous_server() -> Server {
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    Server::scripted(|_, mut socket| async move {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
        let more = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        // Behind it what the connection needs for the rest of the body: a window that grows behind the
        // end of what is sent is of no interest.
        let room = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff];
        // `:status: 200`, and the end.
        let answer = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];
        socket.write_all(&settings).await.unwrap();
        socket.read_exact(&mut [0; 24]).await.unwrap();
        let mut head = [0; 9];
        while socket.read_exact(&mut head).await.is_ok() {
            let [a, b, c, kind, flags, ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            socket.read_exact(&mut vec![0; length]).await.unwrap();
            if kind == HEADERS {
                socket.write_all(&[more, room].concat()).await.unwrap();
            }
            if kind <= HEADERS && flags & END_STREAM != 0 {
                socket.write_all(&answer).await.unwrap();
            }
        }
    })
    .await
}

/// `h2q_oflow_txcr`: such streams were reset, as RFC 9113 says.
#[tokio::test]
async fn a_server_that_gives_more_than_the_largest_window_is_borne_with() {
    let server = generous_server().await;
    let mut policy = stream(Protocol::H2, server.address);
    policy.http.method = "POST".to_owned();
    let report = send(&onward(), attempt(&policy), &[b'x'; 200_000]).await;
    assert!(report.is_complete(), "{:?}", report.end);
}
