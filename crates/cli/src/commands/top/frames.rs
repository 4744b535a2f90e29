//! The last frames of the stream whose details are shown.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use http_body_util::BodyExt as _;
use sspc_address::AdminAddress;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::app::{FRAMES_MAX, Want};
use super::feed::News;
use crate::admin_client::{open, take_event};
use crate::seen_frame::{Lines, SeenFrame, data};
use crate::trace::LiveTrace;

/// How often new ones are shown.
const EVERY: Duration = Duration::from_millis(250);
/// The longest event: a frame in hex with who it is of.
const EVENT_MAX: usize = 256 * 1024;

/// Follows the frames of the stream that is wanted, until nobody wants any.
pub(super) async fn follow(
    admin: AdminAddress,
    mut want: watch::Receiver<Want>,
    news: mpsc::Sender<News>,
) {
    loop {
        let details = want.borrow_and_update().details;
        let following = async {
            if let Some(id) = details {
                let why = one(&admin, id, &news).await;
                let line = format!("(no frames: {why})");
                // Nobody to tell is nothing to tell.
                let _ = news.send(News::Frames(id, vec![line])).await;
            }
            pending::<()>().await
        };
        tokio::select! {
            () = following => {}
            changed = want.wait_for(|want| want.details != details) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Follows the frames of a session; why there are no more.
async fn one(admin: &AdminAddress, id: u64, news: &mpsc::Sender<News>) -> String {
    let mut body = match open(admin, &format!("/api/v1/frames?session={id}")).await {
        Ok(body) => body,
        Err(failure) => return failure.message,
    };
    let lines = Lines::default();
    let mut live = LiveTrace::frames(lines.clone(), false, false);
    let mut latest = VecDeque::from(["(following)".to_owned()]);
    let mut is_new = true;
    let mut held = Vec::new();
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {
                let shown = News::Frames(id, latest.iter().cloned().collect());
                if std::mem::take(&mut is_new) && news.send(shown).await.is_err() {
                    return String::new();
                }
            }
            frame = body.frame() => {
                let Some(Ok(frame)) = frame else { return format!("{admin} hung up") };
                held.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(event) = take_event(&mut held) {
                    let Some(seen) = data(&event).and_then(SeenFrame::parse) else { continue };
                    if seen.missed > 0 {
                        latest.push_back(format!("({} frames were missed)", seen.missed));
                    }
                    if seen.show(&mut live).and_then(|()| live.flush()).is_ok() {
                        latest.extend(lines.take());
                        is_new = true;
                    }
                    while latest.len() > FRAMES_MAX {
                        latest.pop_front();
                    }
                }
                if held.len() > EVENT_MAX {
                    return format!("{admin} does not answer as a proxy does");
                }
            }
        }
    }
}
