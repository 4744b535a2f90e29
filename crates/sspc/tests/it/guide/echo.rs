use sspc::Address;
use sspc::blocking::{Event, State, Stream};
use std::time::Duration;

pub fn echo(address: &Address) -> Result<String, Box<dyn std::error::Error>> {
    let limit = Some(Duration::from_secs(10));
    let mut stream = Stream::open(address, "wsecho")?;
    stream.send_message(b"hello", limit)?;
    while let Some(event) = stream.next(limit)? {
        match event {
            Event::Payload { data, .. } => return Ok(String::from_utf8(data)?),
            Event::State { state, .. } => match state {
                State::QosNackRemote
                | State::Disconnected
                | State::AllRetriesFailed
                | State::AuthFailed
                | State::UpstreamLinkRetry => return Err(format!("no echo: {state}").into()),
                _ => {}
            },
            _ => {}
        }
    }
    Err("the proxy ended the stream".into())
}
