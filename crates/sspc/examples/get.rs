//! Opens a streamtype, prints its states on stderr and its payload on stdout.
//!
//! `cargo run -p sspc --features tokio --example get -- mintest uds:@proxy.ss.lws`

use std::io::Write;

use sspc::tokio::{Client, Event, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let streamtype = arguments.next().unwrap_or_else(|| "mintest".into());
    let address = arguments.next().map_or(Ok(Default::default()), |text| text.parse())?;

    let mut stream = Client::new(address).open(&streamtype).await?;
    stream.connect();
    let mut good = false;
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => std::io::stdout().write_all(&data)?,
            Event::Metadata { name, value } => {
                eprintln!("{name}: {}", String::from_utf8_lossy(&value));
            }
            Event::State { state, .. } => {
                eprintln!("{state}");
                good |= state == State::QosAckRemote;
                if let State::Disconnected
                | State::AllRetriesFailed
                | State::AuthFailed
                | State::UpstreamLinkRetry = state
                {
                    break;
                }
            }
            other => eprintln!("{other:?}"),
        }
    }
    stream.close().await;
    if good { Ok(()) } else { Err("the transaction did not end well".into()) }
}
