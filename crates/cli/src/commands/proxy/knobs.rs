//! `--limit` and `--timeout`: each names one knob of the library, which knows them all.

use std::fmt::Write as _;

use sspc_proxy::{Config, Knob, KnobError, Limits, Timeouts};

/// `NAME=VALUE`.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    name: String,
    value: String,
}

impl Setting {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) => Ok(Self { name: name.to_owned(), value: value.to_owned() }),
            None => Err("expected NAME=VALUE".to_owned()),
        }
    }

    /// One of `--limit`, checked.
    pub(super) fn limit(text: &str) -> Result<Self, String> {
        let setting = Self::parse(text)?;
        let checked = Limits::default().set(&setting.name, &setting.value);
        checked.map(|()| setting).map_err(|error| error.to_string())
    }

    /// One of `--timeout`, checked.
    pub(super) fn timeout(text: &str) -> Result<Self, String> {
        let setting = Self::parse(text)?;
        let checked = Timeouts::default().set(&setting.name, &setting.value);
        checked.map(|()| setting).map_err(|error| error.to_string())
    }
}

/// Sets them; the last one of a name counts.
pub(super) fn apply(
    limits: &[Setting],
    timeouts: &[Setting],
    config: &mut Config,
) -> Result<(), KnobError> {
    for Setting { name, value } in limits {
        config.limits.set(name, value)?;
    }
    for Setting { name, value } in timeouts {
        config.timeouts.set(name, value)?;
    }
    Ok(())
}

/// The help of `--limit`.
pub(super) fn limits_help() -> String {
    let about =
        "Change a limit; may be given several times. Sizes are written as 100000, 64KiB or 1MiB";
    help(about, &Limits::knobs())
}

/// The help of `--timeout`.
pub(super) fn timeouts_help() -> String {
    help("Change a timeout, in seconds; may be given several times", &Timeouts::knobs())
}

fn help(about: &str, knobs: &[Knob]) -> String {
    let mut text = format!("{about}:\n");
    for Knob { name, help, default, .. } in knobs {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name}={default}: {help}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a table of docs/cli.md, as they must be.
    fn rows(knobs: &[Knob], unit: &str) -> String {
        knobs
            .iter()
            .map(|Knob { name, default, help, .. }| {
                format!("| `{name}` | {default}{unit} | {help} |\n")
            })
            .collect()
    }

    #[test]
    fn docs_cli_md_lists_every_knob() {
        let page = include_str!("../../../../../docs/cli.md");
        for table in [rows(&Limits::knobs(), ""), rows(&Timeouts::knobs(), " s")] {
            assert!(page.contains(&table), "docs/cli.md must have these rows:\n{table}");
        }
    }
}
