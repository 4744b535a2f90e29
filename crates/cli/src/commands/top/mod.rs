//! `sspc top`: a running proxy, live in a terminal.

mod app;
mod details;
mod draw;
mod feed;
mod frames;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use sspc_address::AdminAddress;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::admin_client::WhichProxy;
use crate::console::wants_color;
use crate::exit::{Exit, Failure};
use crate::service;
use app::{Action, App};
use feed::{News, follow};

/// How often the thread that reads keys looks whether somebody still wants them.
const LOOK: Duration = Duration::from_millis(200);
/// Keys and news that wait at most.
const QUEUE_MAX: usize = 16;

/// Watch what a running proxy does, live: its lines, streams and failures
///
/// Only root and the user that the proxy runs as may look.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    which: WhichProxy,
}

const HELP: &str = "\
Keys:
  Up, Down, PgUp, PgDn, Home, End  select a stream
  Enter, Esc                       its details with its last frames and transactions, and back
  s, S, r                          next order, previous order, the other way round
  /                                show the streams with this text alone
  p                                pause
  ?                                help
  q, Ctrl-C                        quit

Examples:
  sspc top
      The proxy at the default address.

  sudo sspc top --proxy uds:/run/sspc.sock
      One that runs as somebody else.

Exit codes:
  0    it was quit
  1    there is no terminal, or it cannot be used
  2    the command line is wrong
  130  SIGINT
  143  SIGTERM";

/// Runs the command to its end.
pub(crate) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    let admin = args.which.admin("top")?;
    if !io::stdout().is_terminal() {
        return Err(Failure::new(
            "stdout is no terminal, which `sspc top` needs; `sspc status` shows a proxy at one look",
        ));
    }
    let app = App::new(admin.to_string(), wants_color(&io::stdout()));
    let runtime = service::single_threaded()?;
    // Restores the terminal in a panic, too.
    let mut terminal = ratatui::try_init().map_err(|error| {
        ratatui::restore();
        broken(&error)
    })?;
    let ended = runtime.block_on(show(&mut terminal, app, admin));
    let restored = ratatui::try_restore();
    let exit = ended.map_err(|error| broken(&error))?;
    restored.map_err(|error| broken(&error))?;
    Ok(exit)
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(format!("cannot use the terminal: {error}"))
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut app: App,
    admin: AdminAddress,
) -> io::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (want, wanted) = watch::channel(app.want());
    let (tell, mut news) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(frames::follow(admin.clone(), wanted.clone(), tell.clone()));
    tokio::spawn(follow(admin, wanted, tell));
    let mut events = read_events()?;
    loop {
        terminal.draw(|frame| draw::draw(frame, &app))?;
        tokio::select! {
            _ = interrupt.recv() => return Ok(Exit::Interrupted),
            // The terminal is gone, or somebody ends it.
            _ = hang_up.recv() => return Ok(Exit::Terminated),
            _ = terminate.recv() => return Ok(Exit::Terminated),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if app.press(key) == Action::Quit {
                        return Ok(Exit::Ok);
                    }
                    want.send_if_modified(|want| {
                        let is_new = *want != app.want();
                        *want = app.want();
                        is_new
                    });
                }
                // A new size is taken when it is drawn.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("it gives no keys any more")),
            },
            Some(news) = news.recv() => match news {
                News::Snapshot(snapshot) => app.update(snapshot),
                News::Session(id, session) => app.update_session(id, session),
                News::Frames(id, frames) => app.update_frames(id, frames),
                News::Gone(why) => app.lose(why),
            },
        }
    }
}

/// Keys and new sizes, from a thread of their own.
fn read_events() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (tell, events) = mpsc::channel(QUEUE_MAX);
    let read = move || {
        while !tell.is_closed() {
            let event = match event::poll(LOOK) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let is_end = event.is_err();
            if tell.blocking_send(event).is_err() || is_end {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(events)
}
