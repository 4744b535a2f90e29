use core::fmt;

use crate::chip;

/// The UART for people. Writing waits for it.
#[derive(Debug)]
pub struct Log(());

impl Log {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Writes a line.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        // A UART has no errors, and they could be told nowhere.
        let _ = fmt::write(self, line);
        let _ = fmt::Write::write_str(self, "\r\n");
    }
}

impl fmt::Write for Log {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while !chip::write(chip::LOG, byte) {}
        }
        Ok(())
    }
}
