//! What is said at the end.

use std::time::Duration;

use super::output::{grouped, time};
use super::report::Report;
use super::step::Row;
use crate::console::{Style, count, size};

/// What a device needs for the line and three streams, with room for metadata.
type Device = sspc::Client<[sspc::Slot<[u8; 64]>; 3]>;

impl Report<'_> {
    /// The closing table; gives the number of steps that went wrong.
    pub(super) fn summary(&mut self, took: Duration) -> usize {
        let head = format!(
            "{:<30} {:<6} {:>7} {:>9} {:>9} {:>7}  bytes",
            "summary", "over", "streams", "sent", "received", "time"
        );
        self.line("");
        let head = self.paint(Style::Bold, head);
        self.line(&head);
        let rows = std::mem::take(&mut self.rows);
        for row in &rows {
            let (style, word) =
                if row.right { (Style::Good, "right") } else { (Style::Bad, "WRONG") };
            let title = row.title;
            let line = format!(
                "{:<30} {:<6} {:>7} {:>9} {:>9} {:>7}  {}",
                title.short,
                title.over,
                title.streams,
                size(title.sent),
                size(row.received),
                time(row.took),
                self.paint(style, word),
            );
            self.line(&line);
        }
        self.needs(&rows, took);
        rows.iter().filter(|row| !row.right).count()
    }

    /// What each side had to do for it.
    fn needs(&mut self, rows: &[Row], took: Duration) {
        let used = || rows.iter().flat_map(|row| &row.used);
        let new = used().filter(|used| used.new).count();
        let tls = used().filter(|used| used.new && used.tls.is_some()).count();
        let requests: u64 = used().map(|used| used.requests).sum();
        let streams: usize = rows.iter().map(|row| row.title.streams).sum();
        self.line("");
        let ram = grouped(size_of::<Device>() as u64);
        self.note(
            "client",
            &format!("{streams} streams; no TCP, no TLS, no HTTP, no certificates"),
        );
        self.note("", &format!("on a device: {ram} B of RAM for the line with three streams"));
        let [to_proxy, to_client] = self.testbed.cable.counts();
        let lost = size(to_proxy.cut + to_client.cut);
        let (to_proxy, to_client) = (size(to_proxy.passed), size(to_client.passed));
        let text = format!("{to_proxy} to the proxy, {to_client} to the client, {lost} lost");
        self.note("line", &text);
        let connections = count(new, "connection");
        self.note("proxy", &format!("{requests} requests on {connections}, {tls} of them TLS"));
        self.note("all in all", &time(took));
    }
}
