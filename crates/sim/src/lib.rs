//! What the tests of the other crates share: recorded streams of a deployed client and proxy, and
//! two-ended simulation in virtual time.

pub mod vectors;
