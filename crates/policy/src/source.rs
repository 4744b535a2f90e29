//! Policy text with its name, and positions in it.

use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of one policy document.
pub const SOURCE_MAX: usize = 16 << 20;

/// A policy document: its text and the name that messages call it by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// What messages call it; a path, usually.
    pub name: String,
    /// The JSON text.
    pub text: String,
}

impl Source {
    /// A document of this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Reads a document from a file, which then gives it its name.
    ///
    /// # Errors
    /// What reading gave; `InvalidData` if it is not UTF-8 or larger than [`SOURCE_MAX`].
    pub fn read(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let invalid =
            |message: String| std::io::Error::new(std::io::ErrorKind::InvalidData, message);
        // No more than that is taken into memory, whatever the file is.
        let most = SOURCE_MAX as u64 + 1;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
        if bytes.len() > SOURCE_MAX {
            return Err(invalid(format!("larger than {} MiB", SOURCE_MAX >> 20)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
                Err(invalid(format!("line {}: not UTF-8", line + 1)))
            }
        }
    }
}

/// A document under examination: shared by all that point into it.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) text: String,
    line_starts: Vec<usize>,
    /// How many characters begin before each block of [`BLOCK`] bytes: without it, finding columns
    /// in a document of one long line would take the square of its length.
    before_block: Vec<usize>,
}

const BLOCK: usize = 1_024;

/// How many characters begin in these bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

impl Document {
    pub(crate) fn new(source: &Source) -> Arc<Self> {
        let newlines = source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        let before_block = std::iter::once(0)
            .chain(source.text.as_bytes().chunks(BLOCK).scan(0, |sum, block| {
                *sum += characters(block);
                Some(*sum)
            }))
            .collect();
        let (name, text) = (source.name.clone(), source.text.clone());
        Arc::new(Self { name, text, line_starts, before_block })
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let offset = offset.min(self.text.len());
        (line, self.characters_before(offset).saturating_sub(self.characters_before(start)) + 1)
    }

    /// How many characters begin before a byte.
    fn characters_before(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        let bytes = self.text.as_bytes().get(block * BLOCK..offset).unwrap_or(&[]);
        self.before_block.get(block).copied().unwrap_or(0) + characters(bytes)
    }

    /// The text of a span; empty if it is none.
    pub(crate) fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or("")
    }
}

/// A location in a document.
#[derive(Clone)]
pub(crate) struct Location {
    pub(crate) document: Arc<Document>,
    pub(crate) span: Range<usize>,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", self.document.name, self.span)
    }
}

impl Location {
    /// The bytes `span` of a document, widened to whole characters that are in it.
    pub(crate) fn new(document: &Arc<Document>, span: Range<usize>) -> Self {
        // The parser sees blanks where the document has a character of several bytes, so what it
        // points at need not be whole.
        let start = document.text.floor_char_boundary(span.start);
        let end = document.text.ceil_char_boundary(span.end.max(start));
        Self { document: Arc::clone(document), span: start..end }
    }

    /// The location of a part of the text of the string that is here; the whole string if escapes
    /// hide the part.
    pub(crate) fn within(&self, part: Range<usize>) -> Self {
        let raw = self.document.slice(&self.span);
        let start = self.span.start + 1;
        if raw.contains('\\') || !raw.starts_with('"') || start + part.end >= self.span.end {
            return self.clone();
        }
        Self::new(&self.document, start + part.start..start + part.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let document = Document::new(&Source::new("p", "ab\né{\n"));
        assert_eq!(document.position(0), (1, 1));
        assert_eq!(document.position(2), (1, 3));
        assert_eq!(document.position(3), (2, 1));
        assert_eq!(document.position(5), (2, 2));
        assert_eq!(document.position(7), (3, 1));
        assert_eq!(document.position(99), (3, 1));
    }

    #[test]
    fn columns_are_right_however_long_the_line() {
        let document = Document::new(&Source::new("p", format!("\n{}", "é".repeat(3 * BLOCK))));
        for character in [0, 1, BLOCK / 2, BLOCK, 2 * BLOCK + 7, 3 * BLOCK] {
            assert_eq!(document.position(1 + 2 * character), (2, character + 1));
        }
    }
}
