//! Sessions between a scripted client and a scripted remote peer.

mod access;
mod ahead;
mod any;
mod credit;
mod drain;
mod flow;
mod frames;
mod life;
mod line;
mod misbehaviour;
mod support;
