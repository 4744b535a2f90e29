use sspc_mux::Role;

use crate::protection::{Order, Protection, Refusal};

/// One of two ways to protect packets, chosen when the program runs.
#[derive(Clone, Copy, Debug)]
pub enum Either<A, B> {
    /// The one.
    This(A),
    /// The other.
    That(B),
}

/// Calls the same of whichever it is.
macro_rules! call {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::This(one) => one.$method($($argument),*),
            Self::That(other) => other.$method($($argument),*),
        }
    };
}

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl<A: Protection, B: Protection> Protection for Either<A, B> {
    const AROUND_MAX: usize = max(A::AROUND_MAX, B::AROUND_MAX);
    const GREETING_MAX: usize = max(A::GREETING_MAX, B::GREETING_MAX);

    fn before(&self) -> usize {
        call!(self.before())
    }

    fn after(&self) -> usize {
        call!(self.after())
    }

    fn encrypts(&self) -> bool {
        call!(self.encrypts())
    }

    fn crc32(&mut self, first: &[u8], rest: &[u8]) -> u32 {
        call!(self.crc32(first, rest))
    }

    fn begin(&mut self, epoch: u32) {
        call!(self.begin(epoch));
    }

    fn greet(&mut self, role: Role, hello: &[u8], is_answer: bool, out: &mut [u8]) -> usize {
        call!(self.greet(role, hello, is_answer, out))
    }

    fn check(
        &mut self,
        role: Role,
        hello: &[u8],
        rest: &[u8],
        is_answer: bool,
    ) -> Result<(), Refusal> {
        call!(self.check(role, hello, rest, is_answer))
    }

    fn start(&mut self, role: Role, client: u32, proxy: u32, in_order: bool) {
        call!(self.start(role, client, proxy, in_order));
    }

    fn seal(&mut self, buf: &mut [u8]) {
        call!(self.seal(buf));
    }

    fn open(&mut self, buf: &mut [u8]) -> Option<Order> {
        call!(self.open(buf))
    }
}
