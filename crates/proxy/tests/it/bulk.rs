//! Much payload, through real sockets on both sides.

use sspc_wire::limits::PID_CREDIT_BIT;
use sspc_wire::{Flags, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

const TOTAL: usize = 64 << 20;
const BLOCK: usize = 64 * 1024;

/// Bytes from `at` on of a payload that tells if any of it is lost, repeated or out of place.
fn pattern(at: usize, block: &mut [u8]) {
    for (index, byte) in block.iter_mut().enumerate() {
        let at = at + index;
        *byte = (at ^ (at >> 8) ^ (at >> 16)) as u8;
    }
}

fn policy_of(port: u16) -> String {
    format!(
        r#"{{"s": [
            {{"get": {{"endpoint": "127.0.0.1", "port": {port}, "opportunistic": true}}}},
            {{"post": {{"endpoint": "127.0.0.1", "port": {port}, "opportunistic": true,
                "http_method": "POST"}}}}]}}"#
    )
}

async fn send_all(mut link: TcpStream) {
    let _ = request(&mut link).await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
    link.write_all(head.as_bytes()).await.unwrap();
    let mut block = vec![0; BLOCK];
    for at in (0..TOTAL).step_by(BLOCK) {
        pattern(at, &mut block);
        link.write_all(&block).await.unwrap();
    }
}

/// Reads to QOS_ACK_REMOTE, checks each byte, gives credit for what it took if it gave any.
async fn download(pid: u32, tx_credit: i32) {
    let serving = Serving::of(&policy_of(server(send_all).await));
    let mut client = serving.client().await;
    let (version, name) = (1, &b"get"[..]);
    client.send(ToProxy::Streamtype(Streamtype { version, pid, tx_credit, name })).await;
    client.send(ToProxy::OnwardConnect).await;
    let mut decoder = ToClientDecoder::new();
    let mut buffer = vec![0; BLOCK];
    let mut expected = vec![0; BLOCK];
    let (mut at, mut owed) = (0, 0);
    'all: loop {
        let length = client.link.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "closed after {at} bytes");
        let mut input = &buffer[..length];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            match frame {
                ToClient::Payload { piece, .. } => {
                    let expected = &mut expected[..piece.data.len()];
                    pattern(at, expected);
                    assert!(piece.data == expected, "wrong bytes at {at}");
                    at += piece.data.len();
                    owed += piece.data.len();
                }
                ToClient::State { state: sspc_wire::State::QosAckRemote, .. } => break 'all,
                _ => {}
            }
        }
        if tx_credit < TOTAL as i32 && owed > BLOCK {
            client.send(ToProxy::TxCredit(owed as i32)).await;
            owed = 0;
        }
    }
    assert_eq!(at, TOTAL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployed_client_gets_64_mib() {
    download(1, sspc_wire::limits::CREDIT_UNLIMITED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_credit_gets_64_mib() {
    download(PID_CREDIT_BIT | 1, 2 * BLOCK as i32).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployed_client_sends_64_mib() {
    let port = server(|mut link: TcpStream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(link.read_u8().await.unwrap());
        }
        let mut block = vec![0; BLOCK];
        let mut expected = vec![0; BLOCK];
        for at in (0..TOTAL).step_by(BLOCK) {
            link.read_exact(&mut block).await.unwrap();
            pattern(at, &mut expected);
            assert!(block == expected, "wrong bytes at {at}");
        }
        link.write_all(&response(200, "", b"thanks")).await.unwrap();
    })
    .await;
    let serving = Serving::of(&policy_of(port));
    let mut client = serving.stream("post").await;
    client.send(ToProxy::LengthHint(TOTAL as u32)).await;
    client.until("CONNECTED").await;
    let mut block = vec![0; 4096];
    for at in (0..TOTAL).step_by(4096) {
        pattern(at, &mut block);
        let starts = if at == 0 { Flags::SOM } else { Flags::NONE };
        let ends = if at + 4096 == TOTAL { Flags::EOM } else { Flags::NONE };
        client.payload(&block, starts | ends).await;
    }
    client.until("QOS_ACK_REMOTE").await;
    assert_eq!(client.heard.messages, [(Flags::WHOLE, b"thanks".to_vec())]);
    assert_eq!(serving.handle.counters().bytes_from_clients, TOTAL as u64);
}
