//! What sessions see of brokers, good and bad. The time is paused: it moves only when nobody has
//! anything to do.

mod broken;
mod flow;
mod sharing;
mod support;
mod topics;
