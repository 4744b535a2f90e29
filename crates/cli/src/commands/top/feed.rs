//! Follows the proxy, and comes back to it.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::Value;
use sspc_address::AdminAddress;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::app::Want;
use crate::admin_client::{get, open, take_event};

/// How long a proxy may take to answer and to say something, which it does each second.
const PATIENCE: Duration = Duration::from_secs(5);
/// From one try to the next.
const RETRY: Duration = Duration::from_secs(1);
/// The longest snapshot.
const SNAPSHOT_MAX: usize = 32 << 20;

/// What comes from the proxy.
#[derive(Debug)]
pub(super) enum News {
    Snapshot(Value),
    /// A session's details; null if it has ended.
    Session(u64, Value),
    /// The last frames of a session, a line each.
    Frames(u64, Vec<String>),
    /// The proxy is gone, and why.
    Gone(String),
}

/// Follows the proxy at this address until nobody wants it.
pub(super) async fn follow(
    admin: AdminAddress,
    mut want: watch::Receiver<Want>,
    news: mpsc::Sender<News>,
) {
    while !news.is_closed() {
        if let Err(why) = once(&admin, &mut want, &news).await {
            if news.send(News::Gone(why)).await.is_err() {
                return;
            }
            sleep(RETRY).await;
        }
    }
}

/// Follows it until another path is wanted, or it is gone.
async fn once(
    admin: &AdminAddress,
    want: &mut watch::Receiver<Want>,
    news: &mpsc::Sender<News>,
) -> Result<(), String> {
    let path = want.borrow_and_update().path.clone();
    let body = timeout(PATIENCE, open(admin, &path)).await;
    let mut body =
        body.map_err(|_| format!("{admin} does not answer"))?.map_err(|failure| failure.message)?;
    let mut held = Vec::new();
    loop {
        tokio::select! {
            changed = want.changed() => {
                if changed.is_err() || want.borrow().path != path {
                    return Ok(());
                }
            }
            frame = timeout(PATIENCE, body.frame()) => {
                let frame = frame.map_err(|_| format!("{admin} says nothing any more"))?;
                let frame = frame.ok_or_else(|| format!("{admin} hung up"))?;
                let frame = frame.map_err(|error| format!("{admin}: {error}"))?;
                held.extend_from_slice(&frame.into_data().unwrap_or_default());
                if held.len() > SNAPSHOT_MAX {
                    return Err(format!("{admin} sends a snapshot of more than 32 MiB"));
                }
                let Some(snapshot) = last_snapshot(&mut held) else { continue };
                if news.send(News::Snapshot(snapshot)).await.is_err() {
                    return Ok(());
                }
            }
        }
        let Some(id) = want.borrow().details else { continue };
        // One that has ended is not found; whether the proxy is gone, the snapshots say.
        let session = get(admin, &format!("/api/v1/sessions/{id}")).await.unwrap_or_default();
        if news.send(News::Session(id, session)).await.is_err() {
            return Ok(());
        }
    }
}

/// Takes the events that are whole, and gives the last one's data; the one before it had its second.
fn last_snapshot(held: &mut Vec<u8>) -> Option<Value> {
    let mut last = None;
    while let Some(event) = take_event(held) {
        for line in event.split(|byte| *byte == b'\n') {
            if let Some(data) = line.strip_prefix(b"data: ") {
                last = serde_json::from_slice(data).ok().or(last);
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_parts_and_together() {
        let mut held = b"event: snapshot\ndata: {\"a\":1}\n".to_vec();
        assert_eq!(last_snapshot(&mut held), None);
        held.extend_from_slice(b"\n: \n\nevent: snapshot\ndata: {\"a\":2}\n\neve");
        assert_eq!(last_snapshot(&mut held), Some(serde_json::json!({"a": 2})));
        assert_eq!(held, b"eve");
    }
}
