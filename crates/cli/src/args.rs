//! What more than one command takes from its command line.

use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use sspc_wire::limits::METADATA_NAME_MAX;

/// What is logged, and how. Logs go to stderr.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// Log more to stderr: -v what happens, -vv how, -vvv every frame
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Format of the logs
    #[arg(long = "log", global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line, for machines
    Json,
}

/// A time in seconds, as in `--timeout 0.5`.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 5 or 0.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected more than 0 seconds".to_owned()),
    }
}

/// A metadata item, as in `--meta NAME=VALUE`.
pub(crate) fn parse_metadata(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) | None => Err("expected NAME=VALUE".to_owned()),
        // Deployed proxies hang up on an empty value.
        Some((name, "")) => Err(format!("the value of {name} is empty; leave it out instead")),
        Some((name, _)) if name.len() > METADATA_NAME_MAX => {
            Err(format!("a name has at most {METADATA_NAME_MAX} bytes, this one {}", name.len()))
        }
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_but_not_be_nothing() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "NaN", "inf", "1e300", "soon"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metadata_splits_at_its_first_equals_sign() {
        let split = parse_metadata("endpoint=https://x/?a=b").unwrap();
        assert_eq!(split, ("endpoint".to_owned(), "https://x/?a=b".to_owned()));
        for wrong in ["endpoint", "=x", "endpoint=", ""] {
            assert!(parse_metadata(wrong).is_err(), "{wrong:?}");
        }
    }
}
