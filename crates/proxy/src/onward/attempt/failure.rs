//! Why an attempt failed.

use std::time::Duration;

/// Why an attempt did not become Connected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure {
    /// For logs: what failed, at which endpoint.
    pub(crate) why: String,
    /// No DNS server answered, as opposed to the name being unknown.
    pub(crate) no_dns: bool,
    /// The least time to wait before the next attempt, from the peer's Retry-After.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Failure { why: why.into(), ..Failure::default() }
    }
}
