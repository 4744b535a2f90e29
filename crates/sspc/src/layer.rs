//! What stands between a client and its line.

use sspc_mux::Mux;
use sspc_wire::Instant;

mod sealed {
    pub trait Sealed {}
}

/// What stands between a client and its line: [`Plain`], which is nothing, or with the feature `arq`
/// packets, a `DeviceFraming`.
pub trait Layer: sealed::Sealed {
    #[doc(hidden)]
    const IS_PLAIN: bool;

    #[doc(hidden)]
    fn receive<'s, 'i: 's>(
        &'s mut self,
        now: Instant,
        input: &mut &'i [u8],
        mux: &Mux,
    ) -> Option<Came<'s>>;

    #[doc(hidden)]
    fn transmit(
        &mut self,
        now: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize;

    #[doc(hidden)]
    fn deadline(&self, now: Instant) -> Option<Instant>;
}

/// What came off a line.
#[doc(hidden)]
#[derive(Debug)]
pub enum Came<'a> {
    Bytes(&'a [u8]),
    Reset,
}

/// The mux as it is: nothing stands between a client and its line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl sealed::Sealed for Plain {}

impl Layer for Plain {
    const IS_PLAIN: bool = true;

    #[inline(always)]
    fn receive<'s, 'i: 's>(
        &'s mut self,
        _: Instant,
        input: &mut &'i [u8],
        _: &Mux,
    ) -> Option<Came<'s>> {
        let bytes = core::mem::take(input);
        if bytes.is_empty() { None } else { Some(Came::Bytes(bytes)) }
    }

    #[inline(always)]
    fn transmit(
        &mut self,
        _: Instant,
        out: &mut [u8],
        source: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> usize {
        source(out)
    }

    #[inline(always)]
    fn deadline(&self, _: Instant) -> Option<Instant> {
        None
    }
}

#[cfg(feature = "arq")]
mod packets {
    use sspc_arq::{DeviceFraming, Input, Protection};

    use super::{Came, Instant, Layer, Mux, sealed};

    impl<P, R, T> sealed::Sealed for DeviceFraming<P, R, T> {}

    impl<P, R, T> Layer for DeviceFraming<P, R, T>
    where
        P: Protection,
        R: AsRef<[u8]> + AsMut<[u8]>,
        T: AsRef<[u8]> + AsMut<[u8]>,
    {
        const IS_PLAIN: bool = false;

        fn receive<'s, 'i: 's>(
            &'s mut self,
            now: Instant,
            input: &mut &'i [u8],
            mux: &Mux,
        ) -> Option<Came<'s>> {
            Some(match self.receive(now, input, mux)? {
                Input::Reset => Came::Reset,
                Input::Bytes(bytes) => Came::Bytes(bytes),
            })
        }

        fn transmit(
            &mut self,
            now: Instant,
            out: &mut [u8],
            source: &mut dyn FnMut(&mut [u8]) -> usize,
        ) -> usize {
            self.transmit(now, out, source)
        }

        fn deadline(&self, now: Instant) -> Option<Instant> {
            self.deadline(now)
        }
    }
}
