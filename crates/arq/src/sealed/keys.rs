//! Whose key is which.

use super::secret::Key;

/// The longest id of a device, in bytes.
pub const ID_MAX: usize = 32;

/// The keys that an end knows.
pub trait Keys {
    /// What a client calls itself: 1 to [`ID_MAX`] bytes of text. A proxy has no id.
    fn own_id(&self) -> &[u8];

    /// The key that is shared with the client of this id.
    fn key(&self, id: &[u8]) -> Option<Key>;
}

macro_rules! keys_behind {
    ($pointer:ty) => {
        impl<K: Keys + ?Sized> Keys for $pointer {
            fn own_id(&self) -> &[u8] {
                (**self).own_id()
            }

            fn key(&self, id: &[u8]) -> Option<Key> {
                (**self).key(id)
            }
        }
    };
}

keys_behind!(&K);
#[cfg(feature = "host")]
keys_behind!(std::boxed::Box<K>);
#[cfg(feature = "host")]
keys_behind!(std::sync::Arc<K>);

/// A device's own key and id.
#[derive(Clone, Debug)]
pub struct OwnKey<I> {
    id: I,
    key: Key,
}

impl<I: AsRef<[u8]>> OwnKey<I> {
    /// With an id of 1 to [`ID_MAX`] bytes. Of a longer one the beginning counts.
    pub const fn new(id: I, key: Key) -> Self {
        Self { id, key }
    }
}

impl<I: AsRef<[u8]>> Keys for OwnKey<I> {
    fn own_id(&self) -> &[u8] {
        let id = self.id.as_ref();
        id.get(..ID_MAX).unwrap_or(id)
    }

    fn key(&self, id: &[u8]) -> Option<Key> {
        (id == self.own_id()).then(|| self.key.clone())
    }
}

/// The keys of a proxy, by the ids of its clients.
#[cfg(feature = "host")]
pub type KeyTable = std::collections::BTreeMap<std::vec::Vec<u8>, Key>;

#[cfg(feature = "host")]
impl Keys for KeyTable {
    fn own_id(&self) -> &[u8] {
        &[]
    }

    fn key(&self, id: &[u8]) -> Option<Key> {
        self.get(id).cloned()
    }
}

/// The id of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id {
    bytes: [u8; ID_MAX],
    length: u8,
}

impl Id {
    pub(super) const NONE: Self = Self { bytes: [0; ID_MAX], length: 0 };

    /// `None` if it is too long.
    pub(super) fn new(id: &[u8]) -> Option<Self> {
        let mut new = Self::NONE;
        new.bytes.get_mut(..id.len())?.copy_from_slice(id);
        new.length = id.len() as u8;
        Some(new)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}
