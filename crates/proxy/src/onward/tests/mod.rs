//! Against real servers on loopback.

mod h1;
mod support;
