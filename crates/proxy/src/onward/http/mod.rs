//! HTTP: one transaction, over whichever version of HTTP carries it.

pub(crate) mod auth;
mod download;
mod exchange;
pub(crate) mod h1;
pub(crate) mod h2;
#[cfg_attr(not(feature = "http3"), path = "h3_absent.rs")]
pub(crate) mod h3;
pub(crate) mod head;
pub(crate) mod multipart_decode;
pub(crate) mod multipart_encode;
pub(crate) mod occupancy;
mod piece;
pub(crate) mod remembered;
pub(crate) mod request;
pub(crate) mod response;
mod transaction;
mod upload;

pub(crate) use self::request::{own_headers, usual_headers};
pub(crate) use self::transaction::run;
