//! A mux's memory, and what streams see of it: their channels.

use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};

use sspc_mux::Mux as Engine;

use crate::abi::{Channel, Context, Mux, Owner};
use crate::alloc;
use crate::list::lws_dll2_remove;
use crate::timer::Timer;

/// Of [`Channel::state`], as in the header.
pub(crate) mod state {
    pub(crate) const PENDING: u8 = 0;
    pub(crate) const ASKED: u8 = 1;
    pub(crate) const OPEN: u8 = 4;
    pub(crate) const LEAVING: u8 = 5;
    /// Its stream is being called about its end; then it is freed.
    pub(crate) const ENDING: u8 = 7;
}

/// The stream wants to write. Of [`Channel::todo`].
pub(crate) const WRITE: u8 = 1;
/// DESTROYING is to be sent to the proxy. Of [`Channel::todo`].
pub(crate) const DESTROYING_DUE: u8 = 2;
/// Any index, for [`MuxRef::find`].
pub(crate) const ANY: u16 = 0x100;

/// A mux: what C sees of it, which its pointers lead to, and what it does not see.
#[repr(C)]
pub(crate) struct MuxObject {
    pub(crate) public: UnsafeCell<Mux>,
    pub(crate) busy: Cell<bool>,
    /// How many calls that use the mux are under way.
    pub(crate) depth: Cell<u8>,
    pub(crate) pending_free: Cell<bool>,
    /// Where the channel that is being asked for bytes puts them, and how many there are then.
    pub(crate) room: Cell<*mut u8>,
    pub(crate) room_len: Cell<usize>,
    pub(crate) room_used: Cell<usize>,
    pub(crate) timer: Timer,
    pub(crate) engine: UnsafeCell<Engine>,
    #[cfg(feature = "arq")]
    pub(crate) packets: UnsafeCell<Option<crate::packets::Packets>>,
}

/// A mux by its address.
#[derive(Clone, Copy)]
pub(crate) struct MuxRef(pub(crate) NonNull<MuxObject>);

impl core::ops::Deref for MuxRef {
    type Target = MuxObject;

    fn deref(&self) -> &MuxObject {
        // SAFETY: what C gives is valid; one that is used by a call that is under way is not freed
        // before its end.
        unsafe { self.0.as_ref() }
    }
}

/// The mux that a channel is of; `None` if it is of none.
///
/// # Safety
/// The channel is null or valid.
pub(crate) unsafe fn mux_of(channel: *mut Channel) -> Option<MuxRef> {
    if channel.is_null() {
        return None;
    }
    // SAFETY: a channel's list is in its mux.
    unsafe {
        let owner = (*channel).list.owner;
        if owner.is_null() {
            return None;
        }
        MuxRef::from_c(owner.cast::<u8>().sub(offset_of!(Mux, owner)).cast())
    }
}

/// The buffer for a stream's bytes and its length, if the channel's mux asks it for some just now;
/// else null.
///
/// # Safety
/// The channel is null or valid.
pub(crate) unsafe fn room(channel: *mut Channel) -> (*mut u8, usize) {
    // SAFETY: the caller's promise.
    match unsafe { mux_of(channel) } {
        Some(mux) => (mux.room.get(), mux.room_len.get()),
        None => (null_mut(), 0),
    }
}

/// The stream uses its channel no more.
///
/// # Safety
/// The channel is null or valid.
pub(crate) unsafe fn release(channel: *mut Channel) {
    // SAFETY: the caller's promise.
    if let Some(channel) = unsafe { channel.as_mut() } {
        channel.priv_ = null_mut();
    }
}

/// DESTROYING is to be sent to the proxy before the channel is closed.
///
/// # Safety
/// The channel is null or valid.
pub(crate) unsafe fn announce_destroying(channel: *mut Channel) {
    // SAFETY: the caller's promise.
    if let Some(channel) = unsafe { channel.as_mut() }
        && channel.state == state::OPEN
    {
        channel.todo |= DESTROYING_DUE;
    }
}

impl MuxRef {
    pub(crate) fn from_c(mux: *mut Mux) -> Option<Self> {
        NonNull::new(mux.cast()).map(Self)
    }

    pub(crate) fn public(self) -> *mut Mux {
        self.public.get()
    }

    pub(crate) fn owner(self) -> *mut Owner {
        // SAFETY: only the address of the field is taken.
        unsafe { &raw mut (*self.public()).owner }
    }

    pub(crate) fn cx(self) -> *mut Context {
        // SAFETY: no reference to it is kept.
        unsafe { (*self.public()).cx }
    }

    /// The engine.
    ///
    /// # Safety
    /// It is not busy, and the reference is not used after C code ran.
    pub(crate) unsafe fn engine<'e>(self) -> &'e mut Engine {
        // SAFETY: nobody else has it: what could come in between marks it as busy.
        unsafe { &mut *self.engine.get() }
    }

    /// The channel with this index, or [`ANY`], and one of these states, a bit for each; null if
    /// there is none.
    #[inline(never)]
    pub(crate) fn find(self, index: u16, states: u8) -> *mut Channel {
        // SAFETY: what is in the list is a channel whose first field is its element.
        unsafe {
            let mut at = (*self.owner()).head.cast::<Channel>();
            while !at.is_null() {
                let is_it = index == ANY || u16::from((*at).ch_idx) == index;
                if is_it && states & 1 << ((*at).state & 7) != 0 {
                    break;
                }
                at = (*at).list.next.cast();
            }
            at
        }
    }

    /// Asks the firmware's transport for a chance to write.
    #[inline(never)]
    pub(crate) fn request_write(self) {
        // SAFETY: the path's operations and their argument are valid.
        unsafe {
            let path = (*self.public()).info.txp_cpath;
            if let Some(req_write) = path.ops_onw.as_ref().and_then(|ops| ops.req_write) {
                req_write(path.priv_onw);
            }
        }
    }

    /// # Safety
    /// The channel is one of this mux; nobody uses it any more.
    pub(crate) unsafe fn free(self, channel: *mut Channel) {
        // SAFETY: the caller's promise.
        unsafe {
            lws_dll2_remove(&raw mut (*channel).list);
            alloc::give_back(self.cx(), channel.cast());
        }
    }
}
