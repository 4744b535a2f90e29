//! Opens streams one after the other, several at once, and counts how many complete a second.
//!
//! `cargo run --release -p sspc --features tokio --example load -- ADDRESS STREAMTYPE AT_ONCE TOTAL`
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sspc::tokio::{Address, Client, Event, State};

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, streamtype, at_once, total] = args.as_slice() else {
        return Err("usage: load ADDRESS STREAMTYPE AT_ONCE TOTAL".into());
    };
    let client = Client::new(address.parse::<Address>()?);
    let total: usize = total.parse()?;
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..at_once.parse::<usize>()? {
        let (client, streamtype, next) = (client.clone(), streamtype.clone(), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            let mut bytes = 0;
            while next.fetch_add(1, Ordering::Relaxed) < total {
                bytes += get(&client, &streamtype).await?;
            }
            Ok::<usize, Failed>(bytes)
        }));
    }
    let mut bytes = 0;
    for worker in workers {
        bytes += worker.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!(
        "{total} streams, {bytes} bytes, {seconds:.3} s, {:.0} a second",
        total as f64 / seconds
    );
    Ok(())
}

/// One stream from its opening to the end of its transaction; how much payload came.
async fn get(client: &Client, streamtype: &str) -> Result<usize, Failed> {
    let mut stream = client.open(streamtype).await?;
    stream.connect();
    let mut bytes = 0;
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => bytes += data.len(),
            Event::State { state: State::QosAckRemote, .. } => break,
            Event::State {
                state:
                    state @ (State::QosNackRemote
                    | State::Disconnected
                    | State::AllRetriesFailed
                    | State::AuthFailed
                    | State::UpstreamLinkRetry),
                ..
            } => return Err(format!("the transaction failed: {state}").into()),
            _ => {}
        }
    }
    stream.close().await;
    Ok(bytes)
}
