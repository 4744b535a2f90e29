//! What is drawn, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::app::{Action, App, Link};
use super::draw::draw;

/// An event of `/api/v1/events`, as a proxy sent it.
const SNAPSHOT: &str = include_str!("snapshot.json");

fn snapshot() -> Value {
    serde_json::from_str(SNAPSHOT).expect("it is JSON")
}

/// With a line, and a stream whose texts are somebody's who wishes ill.
fn hostile() -> Value {
    let mut all = snapshot();
    all["lines"] = json!({"total": 1, "rows": [{
        "name": "/dev/ttyUSB0\u{1b}[2J", "is_up": true, "has_port": true, "up_at": all["proxy"]["started_at"],
        "round_trip_us": 2300, "channels": 3, "bytes_in": 5000, "bytes_out": 70000,
        "packets_resent": 4, "losses": 1,
    }]});
    let mut row = all["sessions"]["rows"][0].clone();
    row["id"] = json!(99);
    row["streamtype"] = json!("表示\u{1b}]0;x\u{7}\r\n名前の長い流れ");
    row["last_error"] = json!({"outcome": "nacked", "status": 404, "why": "a\u{9b}2Jb\nc"});
    all["sessions"]["rows"].as_array_mut().expect("rows").push(row);
    all
}

fn app(snapshot: Value) -> App {
    let mut app = App::new("uds:/run/sspc.sock.admin".to_owned(), true);
    app.update(snapshot);
    app
}

fn screen(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend in memory");
    terminal.draw(|frame| draw(frame, app)).expect("it draws");
    let shown = terminal.backend().to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    let line = |line: &str| {
        // The backend notes behind the line what wide characters hide.
        let line = line.split("\" Hidden by").next().unwrap_or_default();
        line.trim_matches('"').trim_end().to_owned() + "\n"
    };
    shown.lines().map(line).collect()
}

/// Compares with what is kept; `SSPC_WRITE_SCREENS=1` keeps it instead.
fn assert_screen(app: &App, width: u16, height: u16, name: &str) {
    let file = format!("{}/src/commands/top/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let shown = screen(app, width, height);
    if std::env::var_os("SSPC_WRITE_SCREENS").is_some() {
        std::fs::write(&file, &shown).expect("it can be kept");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(shown, kept, "{file}:\n{shown}");
}

fn press(app: &mut App, code: KeyCode) -> Action {
    app.press(KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_all(app: &mut App, keys: &str) {
    for key in keys.chars() {
        press(app, KeyCode::Char(key));
    }
}

#[test]
fn screens_are_as_they_were() {
    assert_screen(&app(snapshot()), 80, 24, "streams-80x24");
    assert_screen(&app(hostile()), 80, 24, "hostile-80x24");
    assert_screen(&app(hostile()), 120, 40, "hostile-120x40");
    let mut open = app(snapshot());
    press(&mut open, KeyCode::Enter);
    let id = open.details.expect("it is open");
    let mut more = snapshot();
    more["transactions"] = json!([{
        "id": 7, "session": id, "endpoint": "localhost:8080", "status": 200, "outcome": "acked",
        "began_at": more["proxy"]["started_at"], "from_client": 0, "to_client": 6,
        "times": {"total_us": 2044},
    }]);
    open.update(more);
    let frames = ["+0.000000 c1 → ONWARD_CONNECT", "+0.000117 c1 ← CONNSTATE CONNECTING\u{1b}[2J"];
    open.update_frames(id + 1, vec!["of another stream".to_owned()]);
    open.update_frames(id, frames.map(str::to_owned).to_vec());
    assert_screen(&open, 80, 24, "details-80x24");
    open.update_session(id, Value::Null);
    assert!(screen(&open, 80, 24).contains("It has ended."));
}

#[test]
fn no_size_is_too_small() {
    let mut app = app(hostile());
    for (width, height) in [(1, 1), (3, 2), (10, 5), (20, 3), (200, 100)] {
        for key in ['?', 'x', '/'] {
            press(&mut app, KeyCode::Char(key));
            screen(&app, width, height);
        }
        press(&mut app, KeyCode::Esc);
        press(&mut app, KeyCode::Enter);
        screen(&app, width, height);
        press(&mut app, KeyCode::Esc);
    }
}

#[test]
fn a_proxy_that_is_gone_shows_with_what_was_seen_last() {
    let mut app = App::new("uds:@x".to_owned(), false);
    assert!(screen(&app, 80, 24).contains("asking uds:@x"));
    app.update(snapshot());
    app.lose("uds:@x hung up".to_owned());
    let shown = screen(&app, 80, 24);
    assert!(shown.contains("GONE, trying again: uds:@x hung up"), "{shown}");
    assert!(shown.contains("readings"), "{shown}");
    app.update(snapshot());
    assert_eq!(app.link, Link::Live);
}

#[test]
fn keys_choose_the_order_and_the_filter() {
    let mut app = app(snapshot());
    let path = |app: &App| app.want().path;
    assert!(path(&app).contains("sort=-rate&"), "{}", path(&app));
    type_all(&mut app, "sss");
    assert!(path(&app).contains("sort=client&"), "{}", path(&app));
    type_all(&mut app, "Sr");
    assert!(path(&app).contains("sort=bytes&"), "{}", path(&app));
    type_all(&mut app, "SSS");
    assert!(path(&app).contains("sort=-error&"), "{}", path(&app));
    type_all(&mut app, "/q&é");
    assert!(app.is_typing);
    press(&mut app, KeyCode::Enter);
    assert!(path(&app).ends_with("&text=q%26%C3%A9"), "{}", path(&app));
    type_all(&mut app, "/");
    type_all(&mut app, &"x".repeat(1000));
    assert_eq!(app.filter.len(), 200);
    press(&mut app, KeyCode::Esc);
    assert!(path(&app).ends_with("&text="), "{}", path(&app));
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Quit);
    type_all(&mut app, "/");
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.press(interrupt), Action::Quit);
}

#[test]
fn the_selection_stays_with_its_stream() {
    let mut app = app(hostile());
    press(&mut app, KeyCode::PageDown);
    let last = app.streams().len() - 1;
    assert_eq!(app.index(), Some(last));
    let mut turned = hostile();
    turned["sessions"]["rows"].as_array_mut().expect("rows").reverse();
    app.update(turned);
    assert_eq!(app.index(), Some(0));
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.want().details, Some(99));
    press(&mut app, KeyCode::Esc);
    // One that has ended leaves the selection where it was.
    app.update(snapshot());
    assert_eq!(app.index(), Some(0));
    app.update(json!({}));
    assert_eq!(app.index(), None);
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.want().details, None);
}

#[test]
fn what_is_paused_stays() {
    let mut app = app(snapshot());
    type_all(&mut app, "p");
    app.update(json!({}));
    assert!(!app.streams().is_empty());
    assert!(screen(&app, 80, 24).contains("PAUSED"));
    type_all(&mut app, "p");
    app.update(json!({}));
    assert!(app.streams().is_empty());
}

#[test]
fn transactions_have_a_bound() {
    let mut app = app(snapshot());
    for _ in 0..20 {
        let mut more = snapshot();
        more["transactions"] = json!(vec![json!({"session": 1}); 50]);
        app.update(more);
    }
    assert_eq!(app.transactions.len(), 500);
}
