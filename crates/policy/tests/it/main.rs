//! The policy from outside: what its keys mean, what its authors see, and what it is shown as.
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a surprise is a failure")]

mod dictionary;
mod docs;
mod endpoints;
mod faults;
mod limits;
mod meaning;
mod overlay;
mod properties;
mod reference;
mod show;
mod support;
mod syntax;
mod undone;
mod unused;
mod values;
