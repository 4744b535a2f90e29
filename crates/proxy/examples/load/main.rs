//! What `scripts/bench` puts on a proxy, and what the proxy talks to where that is not nginx.
//!
//! ```text
//! load serve WS RAW                   an origin on 127.0.0.1: websocket echo at one port, and at the
//!                                     other a server that takes all and says nothing
//! load gets ADDRESS STREAMTYPE N ALL  ALL transactions, N at once, each on a stream of its own
//! load fresh SOCKET PATH N ALL        the same without us: GETs of http/1.1, each on a connection of
//!                                     its own to a Unix socket
//! load echo ADDRESS STREAMTYPE ALL    ALL messages of 64 bytes there and back, one after the other
//! load idle ADDRESS STREAMTYPE N created|connected
//!                                     holds N streams: prints `ready`, closes them at a line on stdin,
//!                                     prints `closed`, and ends at the next
//! ```
//!
//! Rates go to stdout, a second.
#![allow(clippy::print_stdout, reason = "it is what the program is for")]

mod serve;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sspc::tokio::{Client, Event, State, StreamHandle};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, stdin};
use tokio::net::UnixStream;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// What one message of `echo` is.
const MESSAGE: &[u8; 64] =
    b"{\"symbol\":\"SSPC\",\"seq\":123456,\"price\":101.2500,\"of\":\"yesterday\"}";

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["serve", ws, raw] => serve::run(ws.parse()?, raw.parse()?).await,
        ["gets", address, streamtype, at_once, all] => {
            let client = Client::new(address.parse()?);
            let streamtype = streamtype.to_owned();
            let get = move || {
                let (client, streamtype) = (client.clone(), streamtype.clone());
                async move { transaction(&client, &streamtype).await }
            };
            many(at_once.parse()?, all.parse()?, get).await
        }
        ["fresh", socket, path, at_once, all] => {
            let (socket, path) = (socket.to_owned(), path.to_owned());
            let get = move || fresh(socket.clone(), path.clone());
            many(at_once.parse()?, all.parse()?, get).await
        }
        ["echo", address, streamtype, all] => {
            echo(&Client::new(address.parse()?), streamtype, all.parse()?).await
        }
        ["idle", address, streamtype, streams, until @ ("created" | "connected")] => {
            let client = Client::new(address.parse()?);
            idle(&client, streamtype, streams.parse()?, until == "connected").await
        }
        _ => Err("usage: load serve|gets|fresh|echo|idle ..., see its source".into()),
    }
}

/// Does this so many times, some at once, and prints how often a second.
async fn many<F>(
    at_once: usize,
    all: usize,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Result<(), Failed>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..at_once {
        let (work, next) = (work.clone(), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < all {
                work().await?;
            }
            Ok::<(), Failed>(())
        }));
    }
    for worker in workers {
        worker.await??;
    }
    print_rate(all, begun);
    Ok(())
}

fn print_rate(all: usize, begun: Instant) {
    let all = f64::from(u32::try_from(all).unwrap_or(u32::MAX));
    println!("{:.0}", all / begun.elapsed().as_secs_f64());
}

/// One stream from its opening to the end of its transaction.
async fn transaction(client: &Client, streamtype: &str) -> Result<(), Failed> {
    let mut stream = client.open(streamtype).await?;
    stream.connect();
    loop {
        match event(&mut stream).await? {
            Event::State { state: State::QosAckRemote, .. } => break,
            Event::State { state: State::QosNackRemote | State::Disconnected, .. } => {
                return Err("the transaction failed".into());
            }
            _ => {}
        }
    }
    stream.close().await;
    Ok(())
}

/// The next event, unless it says that all is over.
async fn event(stream: &mut StreamHandle) -> Result<Event, Failed> {
    match stream.next().await.ok_or("the proxy left")? {
        Event::State {
            state: state @ (State::AllRetriesFailed | State::AuthFailed | State::UpstreamLinkRetry),
            ..
        } => Err(format!("the stream failed: {state}").into()),
        event => Ok(event),
    }
}

async fn fresh(socket: String, path: String) -> Result<(), Failed> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::with_capacity(4096);
    stream.read_to_end(&mut response).await?;
    let fine = response.starts_with(b"HTTP/1.1 200 ");
    if fine { Ok(()) } else { Err("the answer is not 200".into()) }
}

async fn connected(client: &Client, streamtype: &str) -> Result<StreamHandle, Failed> {
    let mut stream = client.open(streamtype).await?;
    stream.connect();
    while !stream.is_connected() {
        event(&mut stream).await?;
    }
    Ok(stream)
}

async fn echo(client: &Client, streamtype: &str, all: usize) -> Result<(), Failed> {
    let mut stream = connected(client, streamtype).await?;
    let begun = Instant::now();
    for _ in 0..all {
        stream.send_message(MESSAGE.as_slice()).await?;
        let mut left = MESSAGE.len();
        while left > 0 {
            if let Event::Payload { data, .. } = event(&mut stream).await? {
                left = left.saturating_sub(data.len());
            }
        }
    }
    print_rate(all, begun);
    stream.close().await;
    Ok(())
}

async fn idle(
    client: &Client,
    streamtype: &str,
    streams: usize,
    connect: bool,
) -> Result<(), Failed> {
    let mut held = Vec::with_capacity(streams);
    for _ in 0..streams {
        held.push(if connect {
            connected(client, streamtype).await?
        } else {
            client.open(streamtype).await?
        });
    }
    let mut lines = BufReader::new(stdin()).lines();
    println!("ready");
    lines.next_line().await?;
    for stream in held {
        stream.close().await;
    }
    println!("closed");
    lines.next_line().await?;
    Ok(())
}
