//! The screen, of what is to be shown alone.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState};
use serde_json::Value;

use super::app::{App, Link};
use super::details;
use crate::console::{self, printable, size};
use crate::shown::{error, link, number, round_trip, rows, since, state_style, text};

/// Rows of lines and of failures at most.
const LINES_SHOWN: usize = 4;
const FAILURES_SHOWN: usize = 4;
/// From this width on there is room for who a client is exactly.
const WIDE: u16 = 110;

const HELP: &str = "\
Up Down PgUp PgDn   select a stream
Home End            the first, the last
Enter               its details
Esc                 back
s S                 next, previous order
r                   the other way round
/                   filter; Esc clears it
p                   pause, go on
q Ctrl-C            quit";

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let lines = rows(&app.snapshot["lines"]["rows"]);
    let failures = rows(&app.snapshot["failures"]["rows"]);
    let height = |count: usize, most: usize| match count.min(most) {
        0 => 0,
        shown => u16::try_from(shown).unwrap_or(u16::MAX) + 2,
    };
    let [head_at, body, foot_at] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    head(frame, head_at, app);
    if app.details.is_some() {
        details::draw(frame, body, app);
    } else {
        let [lines_at, streams_at, failures_at] = Layout::vertical([
            Constraint::Length(height(lines.len(), LINES_SHOWN)),
            Constraint::Min(5),
            Constraint::Length(height(failures.len(), FAILURES_SHOWN)),
        ])
        .areas(body);
        draw_lines(frame, lines_at, app, lines);
        draw_streams(frame, streams_at, app);
        draw_failures(frame, failures_at, app, failures);
    }
    foot(frame, foot_at, app);
    if app.has_help {
        help(frame, app);
    }
}

/// A style of the console's, if there are colours.
pub(super) fn style(app: &App, style: console::Style) -> Style {
    if !app.has_color {
        return Style::new();
    }
    match style {
        console::Style::Bold => Style::new().add_modifier(Modifier::BOLD),
        console::Style::Dim => Style::new().add_modifier(Modifier::DIM),
        console::Style::Good => Style::new().fg(Color::Green),
        console::Style::Bad => Style::new().fg(Color::Red),
        console::Style::State => Style::new().fg(Color::Cyan),
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// A table's title.
pub(super) fn title(name: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Span::styled(format!("{name} "), bold()))
}

/// A cell of what may come from anywhere.
pub(super) fn cell(text: &str) -> Cell<'static> {
    Cell::new(printable(text))
}

/// A cell of a number.
pub(super) fn right(text: String) -> Cell<'static> {
    Cell::new(Text::from(text).alignment(Alignment::Right))
}

/// Bytes a second; empty if that is not known yet.
pub(super) fn rate(rate: &Value) -> String {
    rate.as_u64().map(|bytes| format!("{}/s", size(bytes))).unwrap_or_default()
}

/// The names of columns, those of numbers on the right.
pub(super) fn names(app: &App, names: &[(&'static str, bool)]) -> Row<'static> {
    let name = |(name, is_number): &(&'static str, bool)| match is_number {
        true => right((*name).to_owned()),
        false => Cell::new(*name),
    };
    names.iter().map(name).collect::<Row<'_>>().style(style(app, console::Style::Dim))
}

fn head(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let proxy = &app.snapshot["proxy"];
    let bad = style(app, console::Style::Bad).add_modifier(Modifier::BOLD);
    let mut first = vec![Span::styled("sspc proxy ", bold())];
    if !proxy.is_null() {
        let listeners: Vec<_> = rows(&proxy["listeners"]).iter().map(text).collect();
        let now = number(&proxy["now"]);
        first.push(Span::raw(format!("up {}, ", since(now, &proxy["started_at"]))));
        first.push(match app.snapshot["ready"].as_bool() {
            Some(true) => Span::styled("ready", style(app, console::Style::Good)),
            _ => Span::styled("takes no clients", bad),
        });
        first.push(Span::raw(format!(", at {}", printable(&listeners.join(", ")))));
    }
    let second = match &app.link {
        Link::Connecting => Line::raw(format!("asking {} …", printable(&app.admin))),
        Link::Gone(why) => Line::styled(format!("GONE, trying again: {}", printable(why)), bad),
        Link::Live => Line::raw(format!(
            "sessions {} of {}, memory {} of {}, streams {}{}",
            number(&proxy["sessions"]),
            number(&proxy["sessions_max"]),
            size(number(&proxy["memory_held"])),
            size(number(&proxy["memory_max"])),
            number(&app.snapshot["sessions"]["total"]),
            if app.is_paused { ", PAUSED" } else { "" }
        )),
    };
    frame.render_widget(Paragraph::new(vec![Line::from(first), second]), area);
}

fn draw_lines(frame: &mut Frame<'_>, area: Rect, app: &App, lines: &[Value]) {
    let now = number(&app.snapshot["proxy"]["now"]);
    let row = |line: &Value| {
        let (said, how) = link(line, now);
        Row::new([
            cell(text(&line["name"])),
            Cell::new(said).style(style(app, how)),
            right(round_trip(line)),
            right(number(&line["channels"]).to_string()),
            right(size(number(&line["bytes_in"]))),
            right(size(number(&line["bytes_out"]))),
            right(number(&line["packets_resent"]).to_string()),
            right(number(&line["losses"]).to_string()),
        ])
    };
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    let columns = [
        ("LINE", false),
        ("LINK", false),
        ("TRIP", true),
        ("CHANNELS", true),
        ("IN", true),
        ("OUT", true),
        ("RESENT", true),
        ("LOSSES", true),
    ];
    let table = Table::new(lines.iter().take(LINES_SHOWN).map(row), widths);
    let total = number(&app.snapshot["lines"]["total"]);
    let block = title(&format!("Lines {total}"));
    frame.render_widget(table.header(names(app, &columns)).block(block), area);
}

fn draw_streams(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let (now, is_wide) = (number(&app.snapshot["proxy"]["now"]), area.width >= WIDE);
    let row = |stream: &Value| {
        let state = text(&stream["state"]);
        let who = if is_wide { &stream["peer"] } else { &stream["client"] };
        let bytes = number(&stream["from_client"]).saturating_add(number(&stream["to_client"]));
        Row::new([
            cell(text(who)),
            cell(text(&stream["streamtype"])),
            cell(state).style(style(app, state_style(state))),
            right(size(bytes)),
            right(rate(&stream["rate"])),
            right(since(now, &stream["created_at"])),
            cell(&error(&stream["last_error"])).style(style(app, console::Style::Bad)),
        ])
    };
    let widths = [
        if is_wide { Constraint::Length(26) } else { Constraint::Length(9) },
        if is_wide { Constraint::Fill(2) } else { Constraint::Length(12) },
        Constraint::Length(if is_wide { 18 } else { 12 }),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Fill(3),
    ];
    let columns = [
        ("CLIENT", false),
        ("STREAMTYPE", false),
        ("STATE", false),
        ("BYTES", true),
        ("RATE", true),
        ("AGE", true),
        ("LAST ERROR", false),
    ];
    let sessions = &app.snapshot["sessions"];
    let order = if app.is_descending { "descending" } else { "ascending" };
    let mut name = format!("Streams {} by {}, {order}", number(&sessions["matching"]), app.sort());
    if !app.filter.is_empty() {
        name.push_str(&format!(", with \"{}\"", printable(&app.filter)));
    }
    let table = Table::new(app.streams().iter().map(row), widths)
        .header(names(app, &columns))
        .block(title(&name))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selected = TableState::new().with_selected(app.index());
    frame.render_stateful_widget(table, area, &mut selected);
}

fn draw_failures(frame: &mut Frame<'_>, area: Rect, app: &App, failures: &[Value]) {
    let now = number(&app.snapshot["proxy"]["now"]);
    let row = |failure: &Value| {
        Row::new([
            cell(text(&failure["kind"])).style(style(app, console::Style::Bad)),
            cell(text(&failure["whose"])),
            cell(text(&failure["streamtype"])),
            right(number(&failure["count"]).to_string()),
            right(since(now, &failure["last_at"])),
            cell(text(&failure["why"])),
        ])
    };
    let widths = [
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Fill(2),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Fill(4),
    ];
    let columns = [
        ("KIND", false),
        ("WHOSE", false),
        ("STREAMTYPE", false),
        ("COUNT", true),
        ("AGO", true),
        ("LAST CAUSE", false),
    ];
    let table = Table::new(failures.iter().take(FAILURES_SHOWN).map(row), widths);
    let total = number(&app.snapshot["failures"]["total"]);
    let block = title(&format!("Recent failures {total}"));
    frame.render_widget(table.header(names(app, &columns)).block(block), area);
}

fn foot(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let said = if app.is_typing {
        format!("filter: {}_  Enter: done, Esc: none", printable(&app.filter))
    } else if app.details.is_some() {
        "Esc back  p pause  ? help  q quit".to_owned()
    } else {
        "Enter details  s sort  r reverse  / filter  p pause  ? help  q quit".to_owned()
    };
    frame.render_widget(Paragraph::new(said).style(style(app, console::Style::Dim)), area);
}

fn help(frame: &mut Frame<'_>, app: &App) {
    let all = frame.area();
    let height = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX) + 2;
    let area = all.centered(Constraint::Length(52), Constraint::Length(height));
    let block = Block::bordered().title("Keys").style(style(app, console::Style::State));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(block), area);
}
