//! States by their numbers on the wire, which take a device less code and less room than [`State`]s.

use sspc_wire::State;

/// No state yet.
pub(super) const NONE: u8 = 0;

pub(super) const CREATING: u32 = State::Creating.code();
pub(super) const DISCONNECTED: u32 = State::Disconnected.code();
pub(super) const UNREACHABLE: u32 = State::Unreachable.code();
pub(super) const AUTH_FAILED: u32 = State::AuthFailed.code();
pub(super) const CONNECTED: u32 = State::Connected.code();
pub(super) const CONNECTING: u32 = State::Connecting.code();
pub(super) const DESTROYING: u32 = State::Destroying.code();
pub(super) const POLL: u32 = State::Poll.code();
pub(super) const ALL_RETRIES_FAILED: u32 = State::AllRetriesFailed.code();
pub(super) const QOS_ACK_REMOTE: u32 = State::QosAckRemote.code();
pub(super) const QOS_NACK_REMOTE: u32 = State::QosNackRemote.code();
pub(super) const TIMEOUT: u32 = State::Timeout.code();
pub(super) const EVENT_WAIT_CANCELLED: u32 = State::EventWaitCancelled.code();
pub(super) const UPSTREAM_LINK_RETRY: u32 = State::UpstreamLinkRetry.code();
