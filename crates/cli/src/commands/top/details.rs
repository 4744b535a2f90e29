//! One stream, with its last transactions.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};
use serde_json::Value;

use super::app::App;
use super::draw::{cell, names, rate, right, style, title};
use crate::console::{self, printable, size};
use crate::shown::{error, number, since, state_style, text};

/// Draws the details of the stream that was opened.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let id = app.details.unwrap_or_default();
    let [about_at, frames_at, transactions_at] =
        Layout::vertical([Constraint::Length(8), Constraint::Fill(1), Constraint::Fill(1)])
            .areas(area);
    let about = Paragraph::new(about(app, id)).block(title(&format!("Session {id}")));
    frame.render_widget(about, about_at);
    frames(frame, frames_at, app);
    transactions(frame, transactions_at, app, id);
}

fn about(app: &App, id: u64) -> Vec<Line<'static>> {
    let session = &app.session;
    if session.is_null() {
        return vec![Line::styled("It has ended.", style(app, console::Style::Bad))];
    }
    let now = number(&app.snapshot["proxy"]["now"]);
    let row = app.streams().iter().find(|row| number(&row["id"]) == id);
    let rate = row.map(|row| rate(&row["rate"])).unwrap_or_default();
    let state = text(&session["state"]);
    let plain = console::Style::Bold;
    let labelled = |label: &str, said: &str, how: Option<console::Style>| {
        let how = how.map(|how| style(app, how)).unwrap_or_default();
        let label = Span::styled(format!("{label:<12}"), style(app, console::Style::Dim));
        Line::from(vec![label, Span::styled(printable(said), how)])
    };
    let (from, to) = (number(&session["from_client"]), number(&session["to_client"]));
    vec![
        labelled("client", text(&session["peer"]), None),
        labelled(
            "streamtype",
            &format!("{}, {}", text(&session["streamtype"]), text(&session["protocol"])),
            Some(plain),
        ),
        labelled("state", state, Some(state_style(state))),
        labelled("leads to", text(&session["transaction"]["endpoint"]), None),
        labelled(
            "payload",
            &format!("{} from client, {} to it  {rate}", size(from), size(to)),
            None,
        ),
        labelled(
            "age",
            &format!(
                "{}, transactions {}",
                since(now, &session["created_at"]),
                number(&session["transactions"])
            ),
            None,
        ),
        labelled("last error", &error(&session["last_error"]), Some(console::Style::Bad)),
    ]
}

fn frames(frame: &mut Frame<'_>, area: Rect, app: &App) {
    // One line is the title's.
    let height = usize::from(area.height).saturating_sub(1);
    let first = app.frames.len().saturating_sub(height);
    let lines = app.frames.iter().skip(first).map(|line| Line::from(printable(line)));
    let shown = Paragraph::new(lines.collect::<Vec<_>>());
    frame.render_widget(shown.block(title("Frames as they pass, the latest last")), area);
}

fn transactions(frame: &mut Frame<'_>, area: Rect, app: &App, id: u64) {
    let now = number(&app.snapshot["proxy"]["now"]);
    let row = |transaction: &Value| {
        let total = number(&transaction["times"]["total_us"]) as f64 / 1e3;
        let how = match text(&transaction["outcome"]) {
            "acked" => console::Style::Good,
            "left" | "closed" => console::Style::State,
            _ => console::Style::Bad,
        };
        Row::new([
            right(since(now, &transaction["began_at"])),
            cell(text(&transaction["endpoint"])),
            right(size(number(&transaction["from_client"]))),
            right(size(number(&transaction["to_client"]))),
            right(format!("{total:.1} ms")),
            cell(&error(transaction)).style(style(app, how)),
        ])
    };
    let widths = [
        Constraint::Length(8),
        Constraint::Fill(2),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Fill(3),
    ];
    let columns = [
        ("AGO", true),
        ("LED TO", false),
        ("FROM", true),
        ("TO CLIENT", true),
        ("TOOK", true),
        ("OUTCOME", false),
    ];
    let of_it = |transaction: &&Value| number(&transaction["session"]) == id;
    let height = usize::from(area.height);
    let last = app.transactions.iter().rev().filter(of_it).take(height);
    let table = Table::new(last.map(row), widths).header(names(app, &columns));
    let block = title("Transactions that ended meanwhile, the latest first");
    frame.render_widget(table.block(block), area);
}
