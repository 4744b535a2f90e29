use sspc::tokio::{Client, Event, State, Timeout};

pub async fn report(client: &Client) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut stream = client.open("report").await?;
    stream.set_metadata("device", "kitchen")?;
    stream.set_timeout(Timeout::Millis(10_000));
    stream.send_message("21.5 °C").await?;
    let mut answer = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Event::Payload { data, .. } => answer.extend_from_slice(&data),
            Event::State { state, .. } => match state {
                State::QosAckRemote => {
                    stream.close().await;
                    return Ok(answer);
                }
                State::QosNackRemote
                | State::Disconnected
                | State::AllRetriesFailed
                | State::AuthFailed
                | State::Timeout
                | State::UpstreamLinkRetry => return Err(format!("not reported: {state}").into()),
                _ => {}
            },
            _ => {}
        }
    }
    Err("the proxy ended the stream".into())
}
