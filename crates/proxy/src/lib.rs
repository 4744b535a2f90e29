//! The Secure Streams proxy.

mod onward;
