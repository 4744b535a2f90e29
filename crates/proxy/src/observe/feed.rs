//! Transactions as they end, for who follows them.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::view::TransactionView;

/// Transactions as they end. One that is not read in time misses some, and is told how many; it never
/// makes a stream wait.
#[derive(Debug)]
pub struct TransactionFeed(broadcast::Receiver<Arc<TransactionView>>);

/// A reader of a [`TransactionFeed`] was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} transactions were missed")]
pub struct Missed(
    /// How many.
    pub u64,
);

impl TransactionFeed {
    pub(super) const fn new(receiver: broadcast::Receiver<Arc<TransactionView>>) -> Self {
        Self(receiver)
    }

    /// The next one if it has ended already.
    pub fn ready(&mut self) -> Option<Result<Arc<TransactionView>, Missed>> {
        match self.0.try_recv() {
            Ok(transaction) => Some(Ok(transaction)),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                None
            }
        }
    }

    /// The next one; `None` when the proxy is gone. Cancel safe.
    ///
    /// # Errors
    /// Some were missed before it.
    pub async fn next(&mut self) -> Option<Result<Arc<TransactionView>, Missed>> {
        match self.0.recv().await {
            Ok(transaction) => Some(Ok(transaction)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Missed(missed))),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
