use sspc::embedded_io_async::{Error, Handle, StreamBuffers};
use sspc::{Event, State, Timeout};

/// 2048 bytes for what comes, 1361 for what goes, 128 for metadata, each stream.
type Buffers = StreamBuffers<2048, 1361, 128>;

/// True if it was told.
pub async fn tell(handle: Handle<'_, Buffers>) -> Result<bool, Error> {
    let stream = handle.open("mintest").await?;
    stream.set_timeout(Timeout::Millis(10_000));
    stream.send(b"21.5 C").await?;
    let mut buf = [0; 256];
    while let Some(event) = stream.next(&mut buf).await {
        match event {
            Event::Payload { data: _, .. } => {} // the answer, or a part of it
            Event::State { state, .. } => match state {
                State::QosAckRemote => return Ok(true),
                State::QosNackRemote
                | State::Disconnected
                | State::AllRetriesFailed
                | State::AuthFailed
                | State::Timeout => return Ok(false),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(false)
}
