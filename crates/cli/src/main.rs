//! The program `sspc`.
fn main() {}
