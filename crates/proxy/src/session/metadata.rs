//! What the client set: its metadata, as it is now and as it was when it began a message.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sspc_policy::{MetadataItem, StreamType};
use sspc_wire::Piece;
use sspc_wire::limits::METADATA_NAME_MAX;
use tracing::debug;

use super::close_reason::{CloseReason, ProtocolError};
use crate::access::Pass;
use crate::memory::{Account, Way};
use crate::onward::MessageSettings;

/// The client's metadata by the policy's names.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    values: Vec<(String, Bytes)>,
    /// A value that is still coming, by its name.
    gathering: Option<(String, BytesMut)>,
    /// What a message that was begun since the last change took along.
    taken: Option<Arc<MessageSettings>>,
}

impl Metadata {
    pub(super) fn values(&self) -> &[(String, Bytes)] {
        &self.values
    }

    /// How much memory the values take, in bytes.
    pub(super) fn size(&self) -> usize {
        let gathering = self.gathering.as_ref().map_or(0, |(_, value)| value.capacity());
        self.values.iter().map(|(_, value)| value.len()).sum::<usize>() + gathering
    }

    /// A piece of METADATA.
    pub(super) fn handle(
        &mut self,
        streamtype: &StreamType,
        pass: &Pass,
        name: &[u8],
        value: &Piece<'_>,
    ) -> Result<(), CloseReason> {
        if value.is_first() {
            let item = metadata_item(streamtype, name, value.total.into())?;
            self.gathering = Some((item.name.clone(), BytesMut::new()));
        }
        if let Some((_, gathered)) = &mut self.gathering {
            gathered.extend_from_slice(value.data);
        }
        if value.is_last()
            && let Some((name, gathered)) = self.gathering.take()
        {
            debug!(name, bytes = gathered.len(), "METADATA");
            pass.may_set(&name, &gathered)?;
            let value = gathered.freeze();
            match self.values.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => self.values.push((name, value)),
            }
            self.taken = None;
        }
        Ok(())
    }

    /// What holds for a message that begins now.
    pub(super) fn for_message(
        &mut self,
        length_hint: Option<u32>,
        account: &Arc<Account>,
    ) -> Arc<MessageSettings> {
        let known = self.taken.as_ref().filter(|taken| taken.length_hint == length_hint);
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let size = self.values.iter().map(|(name, value)| name.len() + value.len()).sum();
        let held = account.hold(Way::Onward, size);
        let taken = Arc::new(MessageSettings { metadata: self.values.clone(), length_hint, held });
        self.taken = Some(Arc::clone(&taken));
        taken
    }
}

/// The metadata item that a client may set to a value of this length.
pub(crate) fn metadata_item<'s>(
    streamtype: &'s StreamType,
    name: &[u8],
    length: usize,
) -> Result<&'s MetadataItem, ProtocolError> {
    let item = std::str::from_utf8(name)
        .ok()
        .filter(|name| name.len() <= METADATA_NAME_MAX)
        .and_then(|name| streamtype.metadata_item(name));
    let streamtype = || streamtype.name.clone();
    let Some(item) = item else {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(ProtocolError::UndeclaredMetadata { streamtype: streamtype(), name });
    };
    if length == 0 {
        let name = item.name.clone();
        return Err(ProtocolError::EmptyMetadata { streamtype: streamtype(), name });
    }
    Ok(item)
}
