//! `sspc demo`: an origin, a proxy and a client, a serial line between these two, and what passes.

mod expect;
mod line;
mod origin;
mod pattern;
mod player;
mod screen;
mod show;
mod socket;
mod stage;
mod summary;

use std::path::Path;
use std::time::Instant;

use crate::args::DemoArgs;
use crate::exit::{Exit, Failure};
use crate::log::Voice;
use origin::Origin;
use screen::Screen;
use show::Show;
use stage::Stage;
use tokio::sync::mpsc::unbounded_channel;

/// Runs the command to its end.
pub(crate) fn run(args: &DemoArgs, voice: Voice) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    if let Some(file) = &args.serve {
        return runtime.block_on(serve(file, args.mebibytes, voice));
    }
    let mut screen = Screen::new();
    let wrong = runtime.block_on(demo(args, &mut screen));
    runtime.shutdown_background();
    screen.finish()?;
    match wrong? {
        0 => Ok(Exit::Ok),
        wrong => Err(Failure::new(format!("{wrong} of the demo's acts went wrong, see above"))),
    }
}

/// The origin alone, until a signal ends the process.
async fn serve(file: &Path, mebibytes: u32, voice: Voice) -> Result<Exit, Failure> {
    let origin = Origin::start()
        .await
        .map_err(|error| Failure::new(format!("cannot start the demo's origin: {error:#}")))?;
    std::fs::write(file, stage::policy(&origin, mebibytes))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))?;
    voice.say(&format!("sspc demo: ready: policy in {}", file.display()));
    std::future::pending().await
}

/// Gives the number of acts that went wrong.
async fn demo(args: &DemoArgs, screen: &mut Screen) -> Result<usize, Failure> {
    let start = Instant::now();
    let stage = Stage::set(args.mebibytes)
        .await
        .map_err(|error| Failure::new(format!("cannot set the demo up: {error:#}")))?;
    screen.line("Secure Streams for a device with a serial line and no network: it opens streams");
    screen.line("by name, and the proxy at the line's other end does the rest.");
    screen.line("");
    for line in stage.picture() {
        screen.line(&line);
    }
    let (tell, told) = unbounded_channel();
    let mut show = Show::new(&stage, screen, told);
    show.play_on_line(&tell).await;
    show.play_on_socket(tell, args.mebibytes).await;
    let wrong = show.summary(start.elapsed());
    stage.strike().await;
    Ok(wrong)
}
