//! `sspc demo`: an origin, a proxy and a client, and what passes between them.

mod acts;
mod expect;
mod origin;
mod pattern;
mod play;
mod screen;
mod stage;

use std::time::Instant;

use crate::args::DemoArgs;
use crate::exit::{Exit, Failure};
use acts::Acts;
use screen::Screen;
use stage::Stage;

/// Runs the command to its end.
pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let mut screen = Screen::new();
    let wrong = runtime.block_on(demo(args, &mut screen));
    runtime.shutdown_background();
    screen.finish()?;
    match wrong? {
        0 => Ok(Exit::Ok),
        wrong => Err(Failure::new(format!("{wrong} of the demo's acts went wrong, see above"))),
    }
}

/// Gives the number of acts that went wrong.
async fn demo(args: &DemoArgs, screen: &mut Screen) -> Result<usize, Failure> {
    let start = Instant::now();
    let stage = Stage::set(args.mebibytes)
        .await
        .map_err(|error| Failure::new(format!("cannot set the demo up: {error:#}")))?;
    screen.line("Secure Streams: an application opens a stream by name, a proxy does the rest.");
    screen.line("");
    for line in stage.picture() {
        screen.line(&line);
    }
    let mut acts = Acts::new(&stage, screen);
    acts.play_all(args.mebibytes).await;
    let wrong = acts.summary(start.elapsed());
    stage.strike().await;
    Ok(wrong)
}
