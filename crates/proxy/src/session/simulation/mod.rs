//! The client's engine at one end, the proxy's session at the other, a link that breaks between
//! them, and remote peers that fail: all in virtual time.
//!
//! The session is the real one with its real driver, in a runtime whose clock is paused; the engine
//! is driven by hand. All chance of a run comes from its [`Setup`], so that a failure tells how to
//! repeat it; only in which order the session takes what happens at the same time is chance of the
//! runtime's.
//!
//! What must hold is asserted where it is seen: [`user`] sees to what the application sees, [`peer`]
//! to what remote peers see, [`world`] to it that every run comes to its good end in bounded time.

mod anytime;
mod cable;
mod content;
mod everywhere;
mod peer;
mod play;
mod setup;
mod user;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use setup::Setup;
use world::Outcome;

/// What happened in a run, in short lines with the time; shown if the run fails.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn note(&self, line: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn show(&self) -> String {
        const LINES_MAX: usize = 300;
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
    }
}

/// Runs one life of a stream; if it fails, tells its setup and what happened.
fn run(setup: Setup) -> Outcome {
    let trace = Trace::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(world::live(setup.clone(), trace.clone()))
    }));
    result.unwrap_or_else(|panic| {
        eprintln!("{}\nfailed: {setup:?}", trace.show());
        resume_unwind(panic)
    })
}
