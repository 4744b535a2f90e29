//! How large the head of a request may be.

use sspc_wire::{Piece, State, ToProxy};
use tokio::io::AsyncReadExt;

use super::support::{Client, Origin, Seen, proxy};
use crate::Config;

/// What a request line has beside its path, and what ends the head.
const AROUND: usize = "GET  HTTP/1.1\r\n\r\n".len();

pub(super) async fn largest_http_head(config: Config) -> u64 {
    largest_head(config, r#""opportunistic": true"#).await
}

pub(super) async fn largest_websocket_head(config: Config) -> u64 {
    largest_head(config, r#""protocol": "ws", "opportunistic": true"#).await
}

/// The largest path and headers that come through; 0 if a byte more does, too.
async fn largest_head(config: Config, settings: &str) -> u64 {
    let max = config.limits.request_head as usize;
    let shortest = head_with_path(&config, settings, 1).await.expect("a short one passes");
    let longest = head_with_path(&config, settings, max - shortest + 1).await;
    match head_with_path(&config, settings, max - shortest + 2).await {
        None => longest.unwrap_or_default() as u64,
        Some(_) => 0,
    }
}

/// The bytes of path and headers that a server gets of a client that asks for a path of this
/// length; none if the client's stream fails.
async fn head_with_path(config: &Config, settings: &str, length: usize) -> Option<usize> {
    let origin = Origin::new();
    let settings = origin
        .settings(&format!(r#""http_url": "${{path}}", "metadata": [{{"path": ""}}], {settings}"#));
    let (mut client, _) = Client::over_pipe(&proxy(config.clone(), &settings), 4096);
    client.create(7, "s").await;
    client.until(Seen::State(State::Creating)).await;
    let path = vec![b'p'; length];
    let value = Piece::whole(&path).unwrap();
    client.send(ToProxy::Metadata { name: b"path", value }).await;
    client.send(ToProxy::OnwardConnect).await;
    let mut link = tokio::select! {
        link = origin.accept() => link,
        () = client.until(Seen::State(State::Unreachable)) => return None,
    };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(link.read_buf(&mut head).await.unwrap() > 0, "the head is cut");
    }
    Some(head.len() - AROUND)
}
