//! A message of ours that waits for its acknowledgement.

use std::time::Instant;

use bytes::Bytes;

use crate::Qos;

/// Which answer is the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// PUBACK.
    Acknowledge,
    /// PUBREC.
    Receive,
    /// PUBCOMP.
    Complete,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) token: u64,
    pub(super) stage: Stage,
    head: Bytes,
    pub(super) payload: Bytes,
    /// When it is sent again, or given up; `None` while it is not written.
    pub(super) until: Option<Instant>,
    /// How many times it is still sent again.
    pub(super) resends: u32,
}

impl InFlight {
    pub(super) fn new(token: u64, qos: Qos, head: Bytes, payload: Bytes) -> Self {
        let stage = if qos == Qos::ExactlyOnce { Stage::Receive } else { Stage::Acknowledge };
        Self { token, stage, head, payload, until: None, resends: 0 }
    }

    /// The broker has it: from here on it is not sent again, but that it was heard is.
    pub(super) fn release(&mut self, resends: u32, until: Option<Instant>) {
        self.stage = Stage::Complete;
        (self.head, self.payload) = (Bytes::new(), Bytes::new());
        (self.resends, self.until) = (resends, until);
    }

    /// The head of a copy: with DUP.
    pub(super) fn copy_of_head(&self) -> Vec<u8> {
        let mut head = self.head.to_vec();
        if let Some(first) = head.first_mut() {
            *first |= 8;
        }
        head
    }
}
