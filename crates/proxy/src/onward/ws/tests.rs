//! The protocol against real servers: `sspc-ws` in the server's role where it keeps the rules, and
//! scripted bytes where it does not.

mod closing;
mod flow;
mod messages;
mod opening;
mod over_h2;
mod pings;
mod pipe;
mod support;
mod validity;
mod whole;
