//! The access file: which clients of a proxy may do what, and how much of it.
//!
//! A file is TOML: a default, and rules. The first rule whose client part matches decides about a client:
//! which streamtypes it may open, which metadata it may set to what, which classes of system messages it may
//! exchange, and its quotas. `docs/access.md` describes the file.
//!
//! Nothing here knows sockets or clocks. [`Access::parse`] reads a file and reports every mistake in it;
//! [`Access::rights`] says what a client may do; [`TokenBucket`] holds it to a rate.
//!
//! ```
//! use sspc_access::{Access, Client, SystemNames};
//!
//! let text = r#"
//! default = "refuse"
//! [[rule]]
//! name = "root's"
//! user = 0
//! streamtypes = ["meter-*"]
//! "#;
//! let access = Access::parse(text, "access.toml", &SystemNames)?;
//! let root = access.rights(&Client { uid: Some(0), ..Client::default() });
//! assert!(root.may_open("meter-1").is_ok());
//! let denial = root.may_open("door").unwrap_err();
//! assert_eq!(
//!     denial.to_string(),
//!     r#"rule "root's" (access.toml:3) does not let it open streamtype "door": its streamtypes are "meter-*""#
//! );
//! # Ok::<(), sspc_access::Mistakes>(())
//! ```

mod against_policy;
mod bucket;
mod file;
mod glob;
mod mistakes;
mod names;
mod rights;
mod rule;
mod size;
#[cfg(test)]
mod tests;

pub use bucket::{Rate, TokenBucket};
pub use file::{FILE_MAX, parse_fingerprint};
pub use glob::Glob;
pub use mistakes::{Mistake, Mistakes};
pub use names::{Names, SystemNames};
pub use rights::{Denial, Rights};
pub use rule::{Access, Asks, Certificate, Client, Default as AccessDefault, Quotas, Rule};
pub use size::parse_size;
