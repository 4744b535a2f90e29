//! Lines that encrypt, with keys out of files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sspc_line::{Line, LineEvent, Priority, Role, SerialAddress};
use sspc_sim::Cable;

/// Longer than anything takes; only a failure waits so long.
const LONG: Duration = Duration::from_secs(30);

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn open(
    cable: &Cable,
    side: usize,
    role: Role,
    keys: Option<&Path>,
) -> (Line, Receiver<LineEvent>) {
    let (tell, events) = channel();
    let mut address: SerialAddress =
        format!("serial:{}?baud=2000000&profile=fast", cable.port(side).display()).parse().unwrap();
    address.keys = keys.map(Path::to_owned);
    let line = Line::open(&address, role, move |event| {
        let _ = tell.send(event);
    });
    (line.unwrap(), events)
}

fn refusal(events: &Receiver<LineEvent>) -> String {
    let refused = std::iter::from_fn(|| events.recv_timeout(LONG).ok())
        .find(|event| matches!(event, LineEvent::Refused { .. }));
    refused.unwrap().to_string()
}

#[test]
fn a_device_with_the_right_key_is_served_and_no_other() {
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    let folder = tempfile::tempdir().unwrap();
    let table = file(folder.path(), "table", &format!("pump-3 {one}\npump-4 {two}\n"));
    let own = file(folder.path(), "own", &format!("pump-4 {two}"));
    let cable = Cable::new(folder.path()).unwrap();
    let (gateway, events) = open(&cable, 1, Role::Proxy, Some(&table));
    let (device, _) = open(&cable, 0, Role::Client, Some(&own));
    let ours = device.channel(Priority::default(), Some(LONG)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let theirs = runtime.block_on(gateway.accept()).unwrap();
    ours.write_within(b"hello", Some(LONG)).unwrap();
    let mut room = [0; 16];
    assert_eq!(theirs.read_within(&mut room, Some(LONG)).unwrap(), Some(5));
    assert_eq!(&room[..5], b"hello");
    let up = events.try_iter().find(|event| matches!(event, LineEvent::Up { .. })).unwrap();
    assert!(up.to_string().ends_with("encrypted for \"pump-4\" with forward secrecy"), "{up}");
    drop((ours, device));
    for (text, expected) in [
        (Some(format!("pump-3 {two}")), "the peer has another key for its id"),
        (Some(format!("pump-5 {two}")), "the peer's id is not among the keys of this end"),
        (None, "the peer does not encrypt"),
    ] {
        let own = text.map(|text| file(folder.path(), "own", &text));
        let _device = open(&cable, 0, Role::Client, own.as_deref());
        let refused = refusal(&events);
        assert!(refused.starts_with(expected), "{refused}");
        assert!(!gateway.status().up);
    }
}
