//! What the images keep of their two streams and of the time, and how it is shown. Nothing here
//! knows of boards: `cargo test` runs it on a host.
#![no_std]
#![forbid(unsafe_code)]

mod page;
mod prices;
mod wall;

pub use page::Page;
pub use prices::Prices;
pub use wall::WallClock;
