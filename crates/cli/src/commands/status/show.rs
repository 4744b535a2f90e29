//! What the API answered, for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::table::{Align, Cell, write};
use crate::console::{Painter, Style, count, printable, size};
use crate::shown::{error, link, number, round_trip, rows, since, state_style, text};

/// Lines, failures and connections in one look.
const SHOWN: usize = 10;

/// The whole look.
pub(super) fn status(all: &Value, painter: Painter) -> String {
    let mut out = String::new();
    head(&mut out, all, painter);
    let now = number(&all["proxy"]["now"]);
    lines(&mut out, &all["lines"], now, painter);
    sessions(&mut out, &all["sessions"], now, painter);
    connections(&mut out, &all["connections"], painter);
    failures(&mut out, &all["failures"], now, painter);
    out
}

fn counted(n: u64, noun: &str) -> String {
    count(usize::try_from(n).unwrap_or(usize::MAX), noun)
}

fn head(out: &mut String, all: &Value, painter: Painter) {
    let (proxy, counters, policy) = (&all["proxy"], &all["counters"], &all["policy"]);
    let ready = match all["ready"].as_bool() {
        Some(true) => painter.paint(Style::Good, "ready"),
        _ => painter.paint(Style::Bad, "takes no clients"),
    };
    let listeners: Vec<_> = rows(&proxy["listeners"]).iter().map(text).map(printable).collect();
    let now = number(&proxy["now"]);
    let _ = writeln!(
        out,
        "{} {}, {ready}, up {}, pid {}, at {}",
        painter.paint(Style::Bold, "sspc proxy"),
        printable(text(&proxy["version"])),
        since(now, &proxy["started_at"]),
        number(&proxy["pid"]),
        listeners.join(", ")
    );
    let failed: u64 = ["upstream", "client", "policy", "local"]
        .iter()
        .map(|whose| number(&counters[format!("failures_{whose}")]))
        .sum();
    let _ = writeln!(
        out,
        "sessions  {} of {}; {} so far, {} over a limit, {} refused",
        number(&proxy["sessions"]),
        number(&proxy["sessions_max"]),
        number(&counters["sessions_total"]),
        number(&counters["over_limit"]),
        number(&counters["refused"])
    );
    let _ = writeln!(
        out,
        "memory    {} of {} wait",
        size(number(&proxy["memory_held"])),
        size(number(&proxy["memory_max"]))
    );
    let _ = writeln!(
        out,
        "payload   {} to clients, {} from them; {}, {failed} failed",
        size(number(&counters["bytes_to_clients"])),
        size(number(&counters["bytes_from_clients"])),
        counted(number(&counters["attempts"]), "attempt")
    );
    let warnings = match number(&policy["warnings_total"]) {
        0 => String::new(),
        warnings => format!(", {}", painter.paint(Style::Bad, counted(warnings, "warning"))),
    };
    let _ = writeln!(
        out,
        "policy    {}, {}{warnings}",
        printable(text(&policy["source"])),
        counted(number(&policy["streamtypes"]), "streamtype")
    );
    if let Some(why) = policy["last_error"].as_str() {
        let why = printable(why);
        let _ = writeln!(
            out,
            "          {}",
            painter.paint(Style::Bad, format!("not replaced: {why}"))
        );
    }
}

fn title(out: &mut String, painter: Painter, name: &str, shown: usize, total: usize) {
    let _ = write!(out, "\n{}", painter.paint(Style::Bold, name));
    let _ = match shown < total {
        true => writeln!(out, "  {shown} of {total}"),
        false => writeln!(out, "  {total}"),
    };
}

fn lines(out: &mut String, lines: &Value, now: u64, painter: Painter) {
    let total = usize::try_from(number(&lines["total"])).unwrap_or(usize::MAX);
    let shown: Vec<_> = rows(&lines["rows"]).iter().take(SHOWN).collect();
    if total == 0 {
        return;
    }
    title(out, painter, "Lines", shown.len(), total);
    let columns = [
        ("LINE", Align::Left),
        ("LINK", Align::Left),
        ("FRAMING", Align::Left),
        ("ROUND TRIP", Align::Right),
        ("CHANNELS", Align::Right),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("DAMAGED", Align::Right),
        ("RESENT", Align::Right),
        ("LOSSES", Align::Right),
        ("LAST LOSS", Align::Left),
    ];
    let row = |line: &&Value| {
        let (said, style) = link(line, now);
        vec![
            Cell::new(text(&line["name"])),
            Cell::styled(said, style),
            Cell::new(text(&line["framing"])),
            Cell::new(round_trip(line)),
            Cell::new(number(&line["channels"]).to_string()),
            Cell::new(size(number(&line["bytes_in"]))),
            Cell::new(size(number(&line["bytes_out"]))),
            Cell::new(number(&line["packets_damaged"]).to_string()),
            Cell::new(number(&line["packets_resent"]).to_string()),
            Cell::new(number(&line["losses"]).to_string()),
            Cell::new(text(&line["last_loss"])),
        ]
    };
    write(out, painter, &columns, &shown.iter().map(row).collect::<Vec<_>>());
}

fn sessions(out: &mut String, sessions: &Value, now: u64, painter: Painter) {
    let total = usize::try_from(number(&sessions["total"])).unwrap_or(usize::MAX);
    let shown = rows(&sessions["rows"]);
    title(out, painter, "Streams", shown.len(), total);
    if shown.is_empty() {
        return;
    }
    let columns = [
        ("SESSION", Align::Right),
        ("CLIENT", Align::Left),
        ("STREAMTYPE", Align::Left),
        ("STATE", Align::Left),
        ("LEADS TO", Align::Left),
        ("FROM CLIENT", Align::Right),
        ("TO CLIENT", Align::Right),
        ("AGE", Align::Right),
        ("LAST ERROR", Align::Left),
    ];
    let row = |session: &Value| {
        let state = text(&session["state"]);
        vec![
            Cell::new(number(&session["id"]).to_string()),
            Cell::new(text(&session["peer"])),
            Cell::new(text(&session["streamtype"])),
            Cell::styled(state, state_style(state)),
            Cell::new(text(&session["transaction"]["endpoint"])),
            Cell::new(size(number(&session["from_client"]))),
            Cell::new(size(number(&session["to_client"]))),
            Cell::new(since(now, &session["created_at"])),
            Cell::styled(error(&session["last_error"]), Style::Bad),
        ]
    };
    write(out, painter, &columns, &shown.iter().map(row).collect::<Vec<_>>());
}

fn connections(out: &mut String, connections: &Value, painter: Painter) {
    let all = rows(connections);
    if all.is_empty() {
        return;
    }
    let mut most: Vec<_> = all.iter().collect();
    most.sort_by_key(|connection| std::cmp::Reverse(rows(&connection["sessions"]).len()));
    most.truncate(SHOWN);
    title(out, painter, "Onward connections", most.len(), all.len());
    let columns = [
        ("LEADS TO", Align::Left),
        ("PROTOCOL", Align::Left),
        ("STREAMS", Align::Right),
        ("SHARED BY", Align::Left),
    ];
    let row = |connection: &&Value| {
        let tls = if connection["tls"].as_bool() == Some(true) { " over TLS" } else { "" };
        let client = connection["client"].as_str().unwrap_or("all clients");
        vec![
            Cell::new(text(&connection["endpoint"])),
            Cell::new(format!("{}{tls}", text(&connection["protocol"]))),
            Cell::new(rows(&connection["sessions"]).len().to_string()),
            Cell::new(client),
        ]
    };
    write(out, painter, &columns, &most.iter().map(row).collect::<Vec<_>>());
}

fn failures(out: &mut String, failures: &Value, now: u64, painter: Painter) {
    let all = rows(failures);
    let shown: Vec<_> = all.iter().take(SHOWN).collect();
    if shown.is_empty() {
        return;
    }
    title(out, painter, "Recent failures", shown.len(), all.len());
    let columns = [
        ("KIND", Align::Left),
        ("WHOSE", Align::Left),
        ("CLIENT", Align::Left),
        ("STREAMTYPE", Align::Left),
        ("COUNT", Align::Right),
        ("LAST", Align::Right),
        ("LAST CAUSE", Align::Left),
    ];
    let row = |failure: &&Value| {
        vec![
            Cell::styled(text(&failure["kind"]), Style::Bad),
            Cell::new(text(&failure["whose"])),
            Cell::new(text(&failure["client"])),
            Cell::new(text(&failure["streamtype"])),
            Cell::new(number(&failure["count"]).to_string()),
            Cell::new(format!("{} ago", since(now, &failure["last_at"]))),
            Cell::new(text(&failure["why"])),
        ]
    };
    write(out, painter, &columns, &shown.iter().map(row).collect::<Vec<_>>());
}
