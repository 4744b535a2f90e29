//! A device that reaches its proxy over two pipes: it starts the command that it is given, whose
//! stdin and stdout are the line, and prints what a streamtype brings.
//!
//! `cargo run -p sspc-proxy --example pipes_device -- STREAMTYPE target/debug/examples/pipes policy.json`

use std::io::Write;
use std::process::Stdio;

use sspc::line::{Line, LineConfig, Role};
use sspc::tokio::{Client, Event, State};
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let streamtype = arguments.next().ok_or("which streamtype?")?;
    let mut command = Command::new(arguments.next().ok_or("which command is the proxy?")?);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (reader, writer) =
        child.stdout.take().zip(child.stdin.take()).ok_or("it has no stdin and stdout")?;

    // The mux runs on the pipes; each stream is a channel of it.
    let config = LineConfig::default();
    let (line, running) =
        Line::over(reader, writer, Role::Client, config, |event| eprintln!("{event}"));
    let running = tokio::spawn(running);
    let client = Client::over(line, "the child's pipes", Default::default());

    let mut stream = client.open(&streamtype).await?;
    stream.connect();
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => std::io::stdout().write_all(&data)?,
            Event::State { state: State::Disconnected | State::AllRetriesFailed, .. } => break,
            Event::State { state, .. } => eprintln!("{state}"),
            other => eprintln!("{other:?}"),
        }
    }
    stream.close().await;

    // Without users the line ends and closes its pipes, and the proxy ends with them.
    drop(client);
    running.await??;
    child.wait().await?;
    Ok(())
}
