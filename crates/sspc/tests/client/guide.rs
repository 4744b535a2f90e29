//! The numbers in `docs/client.md` are those of the code.

use sspc::{Config, Options};

const GUIDE: &str = include_str!("../../../../docs/client.md");

#[track_caller]
fn says(row: &str) {
    assert!(GUIDE.lines().any(|line| line.starts_with(row)), "docs/client.md has no line {row}");
}

#[test]
fn the_table_of_the_configuration_tells_the_defaults() {
    let (device, host) = (Config::DEFAULT, Config::HOST);
    assert_eq!(device.window, Config::UNLIMITED);
    says(&format!("| `window` | unlimited | {} |", host.window));
    says(&format!("| `honour_credit` | {} | {} |", device.honour_credit, host.honour_credit));
    says(&format!("| `frame_payload` | {} | {} |", device.frame_payload, host.frame_payload));
    says(&format!(
        "| `frame_payload_managed` | {} | {} |",
        device.frame_payload_managed, host.frame_payload_managed
    ));
    says(&format!("| `handshake_ms` | {} | {} |", device.handshake_ms, host.handshake_ms));
    let waits = device.backoff_ms.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(device.backoff_ms, host.backoff_ms);
    says(&format!("| `backoff_ms` | {waits} | the same |"));
    says(&format!("| `jitter_percent` | {} | {} |", device.jitter_percent, host.jitter_percent));
    says(&format!("| `reconnect` | {} | {} |", device.reconnect, host.reconnect));
    let room = Options::default().metadata_room;
    says(&format!(
        "| metadata value | 1 byte to what fits the storage (`metadata_room`, {room} bytes on hosts) |"
    ));
}
