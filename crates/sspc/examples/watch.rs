//! Keeps a stream for ever, over whatever link comes and goes, and says what happens to it:
//! `cargo run --example watch --features tokio -- ADDRESS STREAMTYPE`
#![allow(clippy::print_stdout, reason = "it is for looking at")]

use std::time::{Duration, Instant};

use sspc::Options;
use sspc::tokio::{Client, Event, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: watch ADDRESS STREAMTYPE";
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or(usage)?.parse()?;
    let streamtype = arguments.next().ok_or(usage)?;

    let mut options = Options::default();
    options.keep_trying = true;
    let mut stream = Client::with_options(address, options).open(&streamtype).await?;
    stream.connect();

    let (began, mut messages, mut bytes) = (Instant::now(), 0, 0);
    let mut report = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            event = stream.next() => match event {
                None => return Ok(()),
                Some(Event::Payload { data, flags, .. }) => {
                    bytes += data.len();
                    messages += u64::from(flags.contains(sspc::Flags::EOM));
                }
                Some(Event::State { state, ordinal }) => {
                    println!("{:8.3} {state} {ordinal}", began.elapsed().as_secs_f64());
                    // Its server ended it; the link's loss is mended without being asked.
                    if state == State::AllRetriesFailed {
                        stream.connect();
                    }
                }
                Some(event) => println!("{:8.3} {event:?}", began.elapsed().as_secs_f64()),
            },
            _ = report.tick() => println!(
                "{:8.3} {messages} messages, {bytes} bytes so far", began.elapsed().as_secs_f64()
            ),
        }
    }
}
