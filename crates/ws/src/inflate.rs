//! Receiving compressed messages (RFC 7692 §7.2.2), into a buffer of any size.

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::DecodeError;
use crate::params::Direction;

/// What a sender cuts off the end of each message, and the receiver must put back: the rest of an
/// empty stored block after its three header bits.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The inflating half of a connection.
///
/// ```text
///            feed                   finish
/// boundary ──────► inside a message ──────► boundary
///     ▲                  │ a block with BFINAL
///     └──────────────────┘
/// ```
#[derive(Debug)]
pub(crate) struct Inflater {
    keep_context: bool,
    /// Made with the first compressed message, so that a peer that never compresses costs nothing.
    stream: Option<Decompress>,
    /// The stream has context that is not to be kept.
    is_used: bool,
    /// The last call filled its output: more may come without more input.
    more_output: bool,
    /// Nothing was fed since the message began or since a final block ended.
    at_boundary: bool,
}

/// What one call took and gave, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) consumed: usize,
    pub(crate) produced: usize,
    /// What follows is not DEFLATE; what was produced came before that.
    pub(crate) invalid: bool,
}

impl Inflater {
    pub(crate) fn new(terms: Direction) -> Self {
        Self {
            keep_context: terms.keep_context,
            stream: None,
            is_used: false,
            more_output: false,
            at_boundary: true,
        }
    }

    /// Whether there is a stream that the next message can do without.
    pub(crate) fn has_spare(&self) -> bool {
        self.is_used && self.stream.is_some()
    }

    /// Gives that stream back.
    pub(crate) fn release(&mut self) {
        if self.has_spare() {
            self.stream = None;
        }
    }

    /// Whether [`feed`](Self::feed) has output left without input.
    pub(crate) fn has_more_output(&self) -> bool {
        self.more_output
    }

    /// Inflates from `input` into `output`, which must not be empty, until one of them is used up
    /// or a final block ends. Everything that `input` determines is written if it fits.
    pub(crate) fn feed(&mut self, input: &[u8], output: &mut [u8]) -> Progress {
        // Always the largest window: it reads data of every smaller one (also of the 8 bits that
        // compressors of the zlib family take for 9), and the library allocates it in any case.
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        if std::mem::take(&mut self.is_used) {
            stream.reset(false);
        }
        let (total_in, total_out) = (stream.total_in(), stream.total_out());
        let status = stream.decompress(input, output, FlushDecompress::None);
        let mut progress = Progress {
            consumed: (stream.total_in() - total_in) as usize,
            produced: (stream.total_out() - total_out) as usize,
            invalid: status.is_err(),
        };
        self.more_output = progress.produced == output.len();
        if progress.consumed > 0 {
            self.at_boundary = false;
        }
        if matches!(status, Ok(Status::StreamEnd)) {
            // A block with BFINAL (RFC 7692 §7.2.3.4): the sender's compressor has ended its
            // stream, and starts the next one without context.
            stream.reset(false);
            self.more_output = false;
            self.at_boundary = true;
        } else if progress.consumed == 0 && progress.produced == 0 && !input.is_empty() {
            // Cannot be with room on both sides; never let it become an endless loop.
            progress.invalid = true;
        }
        progress
    }

    /// Ends the message, once all of it was fed and there is no more output.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        // At a boundary there is no block that the tail could complete: the message was empty, or
        // its sender left out the byte that RFC 7692 §7.2.3.4 puts after a final block.
        if !self.at_boundary {
            let mut probe = [0];
            let progress = self.feed(&TAIL, &mut probe);
            let expected = Progress { consumed: TAIL.len(), produced: 0, invalid: false };
            // The tail completes an empty block. If it means anything else, the message was cut.
            if progress != expected || self.at_boundary {
                return Err(DecodeError::InvalidDeflate);
            }
        }
        self.at_boundary = true;
        self.is_used = !self.keep_context;
        Ok(())
    }
}
