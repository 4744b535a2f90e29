use sspc::tokio::{Client, Event, State, Timeout};

pub async fn page(client: &Client) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut stream = client.open("hello").await?;
    stream.set_timeout(Timeout::Millis(10_000));
    stream.connect();
    let mut page = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => page.extend_from_slice(&data),
            Event::State { state, .. } => match state {
                State::QosAckRemote => return Ok(page),
                State::QosNackRemote // a 404, say
                | State::Disconnected // the server hung up
                | State::AllRetriesFailed | State::AuthFailed // it cannot be reached
                | State::Timeout // the 10 s are over
                | State::UpstreamLinkRetry // the proxy is gone
                => return Err(format!("no page: {state}").into()),
                _ => {} // under way
            },
            _ => {}
        }
    }
    Err("the proxy ended the stream".into())
}
