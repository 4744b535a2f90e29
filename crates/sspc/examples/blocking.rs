//! Sends a message to a streamtype and prints what comes back within a second.
//!
//! `cargo run -p sspc --features std --example blocking -- wsecho "hello" uds:@proxy.ss.lws`

use std::io::Write;
use std::time::Duration;

use sspc::Error;
use sspc::blocking::{Event, Stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let streamtype = arguments.next().unwrap_or_else(|| "wsecho".into());
    let message = arguments.next().unwrap_or_else(|| "hello".into());
    let address = arguments.next().map_or(Ok(Default::default()), |text| text.parse())?;

    let mut stream = Stream::open(&address, &streamtype)?;
    stream.send_message(message.as_bytes(), Some(Duration::from_secs(10)))?;
    loop {
        match stream.next(Some(Duration::from_secs(1))) {
            Ok(Some(Event::Payload { data, .. })) => std::io::stdout().write_all(&data)?,
            Ok(Some(Event::State { state, .. })) => eprintln!("{state}"),
            Ok(Some(other)) => eprintln!("{other:?}"),
            Ok(None) | Err(Error::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
    }
    stream.close();
    Ok(())
}
