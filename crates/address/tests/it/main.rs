//! What addresses look like, and what is said of mistakes.
#![allow(clippy::unwrap_used, reason = "in helpers of tests too, a surprise is a failure")]

mod forms;
mod mistakes;
