//! Encryption: what two ends with keys do, whatever somebody between them does.

mod attacks;
mod ends;
mod handshake;
mod packets;
mod secrecy;
mod strangers;
