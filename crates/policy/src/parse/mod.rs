//! From text to [`Policy`].

use crate::{Policy, Report, Source};

/// What a successful parse gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// The policy.
    pub policy: Policy,
    /// What its author should look at; never contains an error.
    pub warnings: Report,
}

impl Policy {
    /// Parses one document and checks it.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn parse(source: &Source) -> Result<Parsed, Report> {
        Self::parse_layers(source, &[])
    }

    /// Parses a document and overlays it with others, the last one on top, and checks the result.
    ///
    /// Unlike [`Policy::parse`] and then [`Policy::with_overlay`], what the base leaves out an
    /// overlay may supply.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn parse_layers(base: &Source, overlays: &[Source]) -> Result<Parsed, Report> {
        let _ = (base, overlays);
        Err(Report::default())
    }

    /// Applies an overlay and checks what it touches. `self` stays as it is.
    ///
    /// # Errors
    /// Everything that was found, warnings too, if there is at least one error.
    pub fn with_overlay(&self, overlay: &Source) -> Result<Parsed, Report> {
        let _ = overlay;
        Err(Report::default())
    }
}
