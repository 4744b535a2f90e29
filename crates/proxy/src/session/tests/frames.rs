//! Frames that others follow.

use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Direction, Flags, ToProxy};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex, split};

use super::super::Peer;
use super::support::*;
use crate::FrameSelection;
use crate::observe::{FrameFeed, Observer, ReadFrames, SeenFrame, SessionFrames};

fn observed() -> (Rig<DuplexStream>, Arc<Observer>) {
    let observer = Observer::new();
    let (near, far) = duplex(64 * 1024);
    let (reader, writer) = split(near);
    (Rig::observed(far, reader, writer, Some(Arc::clone(&observer))), observer)
}

fn all(feed: &mut FrameFeed) -> Vec<SeenFrame> {
    std::iter::from_fn(|| feed.ready()).collect()
}

/// The types of frames, and how many bytes of them there are.
fn kinds(frames: &[SeenFrame]) -> Vec<(u8, usize)> {
    frames.iter().map(|frame| (frame.bytes[0], frame.bytes.len())).collect()
}

fn select(change: impl FnOnce(&mut FrameSelection)) -> FrameSelection {
    let mut selection = FrameSelection::default();
    change(&mut selection);
    selection
}

fn streamtype(name: &str) -> Vec<u8> {
    let (version, pid, tx_credit, name) = (1, 77, CREDIT_UNLIMITED, name.as_bytes());
    encoded(ToProxy::Streamtype(Streamtype { version, pid, tx_credit, name }))
}

#[tokio::test(start_paused = true)]
async fn each_frame_is_seen_whole_however_its_bytes_come() {
    let sent = [
        streamtype("ws"),
        encoded(ToProxy::OnwardConnect),
        payload(&[7; 3000], Flags::SOM),
        payload(b"", Flags::EOM),
        encoded(ToProxy::Destroying),
    ];
    let bytes = sent.concat();
    for cut in [1, 2, 7, 1000, bytes.len()] {
        let (mut rig, observer) = observed();
        let mut feed = observer.follow(FrameSelection::default());
        for part in bytes.chunks(cut) {
            rig.client.send_bytes(part).await;
            tokio::task::yield_now().await;
        }
        let mut heard = Vec::new();
        rig.client.link.read_to_end(&mut heard).await.unwrap();
        let (mut to_proxy, mut to_client) = (Vec::new(), Vec::new());
        for frame in all(&mut feed) {
            assert_eq!((frame.session(), frame.peer(), frame.client()), (1, "unknown", "unknown"));
            assert_eq!(frame.streamtype(), Some("ws"));
            assert_eq!((frame.length, frame.missed, &frame.fault), (frame.bytes.len(), 0, &None));
            match frame.direction {
                Direction::ToProxy => to_proxy.push(frame.bytes.to_vec()),
                Direction::ToClient => to_client.extend_from_slice(&frame.bytes),
            }
        }
        assert_eq!(to_proxy, sent, "cut at {cut}");
        // What waited when the client ended its stream was never written.
        assert!(heard == to_client, "cut at {cut}");
        assert!(to_client.len() > 20 || cut == bytes.len(), "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_the_middle_of_a_frame_sees_the_next_one() {
    let (mut rig, observer) = observed();
    let _attempt = rig.connected("ws").await;
    let (frame, next) = (payload(b"hello", Flags::SOM), payload(b"there", Flags::EOM));
    rig.client.send_bytes(&frame[..10]).await;
    tokio::task::yield_now().await;
    let mut feed = observer.follow(FrameSelection::default());
    rig.client.send_bytes(&frame[10..]).await;
    rig.client.send_bytes(&next).await;
    let seen = feed.next().await.unwrap();
    assert_eq!((&seen.bytes[..], seen.streamtype()), (&next[..], Some("ws")));
}

#[tokio::test(start_paused = true)]
async fn each_follower_has_its_own_filter_length_and_bound() {
    let (mut rig, observer) = observed();
    let follow = |change: fn(&mut FrameSelection)| observer.follow(select(change));
    let mut mine = follow(|s| {
        s.streamtype = Some("ws".to_owned());
        s.client = Some("unknown".to_owned());
        s.session = Some(1);
    });
    let mut others = [
        follow(|s| s.streamtype = Some("get".to_owned())),
        follow(|s| s.client = Some("user 0".to_owned())),
        follow(|s| s.session = Some(2)),
    ];
    let mut short = follow(|s| s.snap = 4);
    let mut slow = follow(|s| s.queue = 600);
    let _attempt = rig.connected("ws").await;
    let seen = all(&mut mine);
    let mut expected = vec![(0xaa, 14), (0x56, 11), (0x57, 8), (0xab, 3), (0x57, 8), (0x57, 8)];
    assert_eq!(kinds(&seen), expected);
    assert!(others.iter_mut().all(|feed| feed.ready().is_none() && feed.missed() == 0));
    let cut = all(&mut short);
    assert!(cut.iter().zip(&expected).all(|(frame, (_, length))| frame.length == *length));
    expected.iter_mut().for_each(|(_, length)| *length = (*length).min(4));
    assert_eq!(kinds(&cut), expected);

    // It holds up nobody, and hears how many it lost.
    let kept = all(&mut slow);
    let lost = slow.missed();
    assert!(!kept.is_empty() && lost > 0 && kept.len() as u64 + lost == 6, "{lost}");
    rig.client.payload("x", Flags::SOM).await;
    let next = slow.next().await.unwrap();
    assert_eq!((next.bytes[0], next.missed, slow.missed()), (0xad, lost, 0));
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_session_is_seen_and_a_refusal_too() {
    let (mut rig, observer) = observed();
    let mut feed = observer.follow(FrameSelection::default());
    rig.open("ws").await;
    rig.client.send_bytes(&[0xab, 0, 1, 0, 0]).await;
    assert_eq!(rig.client.next().await, "EOF");
    let seen = all(&mut feed);
    let last = seen.iter().rfind(|frame| frame.direction == Direction::ToProxy).unwrap();
    assert_eq!(&last.bytes[..], [0xab, 0, 1]);
    assert_eq!(last.fault.as_deref(), Some("frame type 0xab cannot have a body of 1 bytes"));

    let (mut rig, observer) = observed();
    let mut feed = observer.follow(FrameSelection::default());
    rig.client.streamtype("nosuch", 77, CREDIT_UNLIMITED).await;
    while rig.client.next().await != "EOF" {}
    let seen = all(&mut feed);
    assert_eq!(kinds(&seen), [(0xaa, 18), (0x56, 8)]);
    assert!(seen.iter().all(|frame| frame.streamtype() == Some("nosuch")));
}

#[tokio::test(start_paused = true)]
async fn once_nobody_follows_nothing_is_kept() {
    let (mut rig, observer) = observed();
    let feeds = [1, 2].map(|_| observer.follow(FrameSelection::default()));
    let frames = SessionFrames::new(&observer, 7, &Peer::Unknown);
    assert!(frames.are_followed());
    let [first, second] = feeds;
    drop(first);
    assert!(frames.are_followed());
    drop(second);
    assert!(!frames.are_followed());
    let _attempt = rig.connected("ws").await;
    // And who follows a proxy that is gone hears so.
    let mut feed = observer.follow(FrameSelection::default());
    drop((rig, frames, observer));
    tokio::task::yield_now().await;
    while feed.next().await.is_some() {}
}

/// Clients that send the beginnings of long frames, and no more.
#[tokio::test(start_paused = true)]
async fn frames_without_an_end_have_a_bound_together() {
    const HEADS: usize = 400;
    let observer = Observer::new();
    let mut feed = observer.follow(select(|s| s.queue = 1 << 30));
    let frames = SessionFrames::new(&observer, 7, &Peer::Unknown);
    let mut sessions: Vec<_> = (0..HEADS).map(|_| ReadFrames::new(frames.clone())).collect();
    let part = vec![0xad; 60_000];
    for session in &mut sessions {
        assert!(session.begin(true));
        session.pass(&part, false, None);
    }
    for session in &mut sessions {
        session.pass(&part[..5000], true, None);
    }
    let seen = all(&mut feed);
    assert_eq!(seen.len(), HEADS);
    assert!(seen.iter().all(|frame| frame.length == 65_000));
    let whole = seen.iter().filter(|frame| frame.bytes.len() == 65_000).count();
    let empty = seen.iter().filter(|frame| frame.bytes.is_empty()).count();
    assert_eq!((whole, empty), ((16 << 20) / 60_000, HEADS - (16 << 20) / 60_000));
    // And what they took is free again.
    let mut session = ReadFrames::new(frames);
    assert!(session.begin(true));
    session.pass(&part, false, None);
    session.pass(&part[..5], true, None);
    assert_eq!(all(&mut feed)[0].bytes.len(), 60_005);
}
