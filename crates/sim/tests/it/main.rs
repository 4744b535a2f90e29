//! The simulation, as the tests of other crates use it.

mod link;
