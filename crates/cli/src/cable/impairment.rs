//! What a wire does to bytes: noise, delay, a limited rate; as options and commands ask for it.

use std::str::FromStr;
use std::time::Duration;

use sspc_wire::Direction;

/// Bytes of a burst, at most, by default.
const BURST_LONGEST: u32 = 16;
/// All bytes, in cases per million.
const ALWAYS: u32 = 1_000_000;

/// What happens to bytes in one direction. How often is in cases per million bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Impairments {
    /// One bit of the byte is flipped.
    pub(crate) flips: u32,
    /// The byte is lost.
    pub(crate) drops: u32,
    /// The byte comes twice.
    pub(crate) doubles: u32,
    /// A burst begins: this byte and the next ones become other bytes.
    pub(crate) bursts: u32,
    /// A burst is 1 to this many bytes long.
    pub(crate) burst_longest: u32,
    /// From a byte's leaving to its arrival.
    pub(crate) delay: Duration,
    /// Up to this much more, by chance.
    pub(crate) jitter: Duration,
    /// Bits per second; `None` for no limit.
    pub(crate) rate: Option<u64>,
}

/// A new value of one setting, for one direction or for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    direction: Option<Direction>,
    setting: Setting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Flips(u32),
    Drops(u32),
    Doubles(u32),
    Bursts { often: u32, longest: u32 },
    Delay(Duration),
    Jitter(Duration),
    Rate(Option<u64>),
}

impl Change {
    /// The names of the settings, in the order in which they apply.
    pub(crate) const NAMES: [&str; 7] =
        ["flip", "drop", "double", "burst", "delay", "jitter", "rate"];

    /// What `--NAME VALUE` or the command `NAME VALUE` asks for.
    pub(crate) fn parse(name: &str, value: &str) -> Result<Self, String> {
        let (direction, value) = match value.split_once(':') {
            Some(("c2p", rest)) => (Some(Direction::ToProxy), rest),
            Some(("p2c", rest)) => (Some(Direction::ToClient), rest),
            _ => (None, value),
        };
        let setting = match name {
            "flip" => Setting::Flips(parse_often(value)?),
            "drop" => Setting::Drops(parse_often(value)?),
            "double" => Setting::Doubles(parse_often(value)?),
            "burst" => {
                let (often, longest) = match value.split_once(':') {
                    Some((often, longest)) => (often, parse_longest(longest)?),
                    None => (value, BURST_LONGEST),
                };
                Setting::Bursts { often: parse_often(often)?, longest }
            }
            "delay" => Setting::Delay(parse_time(value)?),
            "jitter" => Setting::Jitter(parse_time(value)?),
            "rate" => Setting::Rate(parse_rate(value)?),
            _ => return Err(format!("there is no setting {name:?}")),
        };
        Ok(Self { direction, setting })
    }

    /// Whether it says something about this direction.
    pub(crate) fn is_for(self, direction: Direction) -> bool {
        self.direction.is_none_or(|only| only == direction)
    }

    pub(crate) fn apply(self, impairments: &mut Impairments) {
        match self.setting {
            Setting::Flips(often) => impairments.flips = often,
            Setting::Drops(often) => impairments.drops = often,
            Setting::Doubles(often) => impairments.doubles = often,
            Setting::Bursts { often, longest } => {
                impairments.bursts = often;
                impairments.burst_longest = longest;
            }
            Setting::Delay(delay) => impairments.delay = delay,
            Setting::Jitter(jitter) => impairments.jitter = jitter,
            Setting::Rate(rate) => impairments.rate = rate,
        }
    }
}

/// When the wire is cut, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Since the start.
    pub(crate) at: Duration,
    /// For good if there is none.
    pub(crate) lasts: Option<Duration>,
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, lasts) = match text.split_once(':') {
            Some((at, lasts)) => (at, Some(parse_time(lasts)?)),
            None => (text, None),
        };
        Ok(Self { at: parse_time(at)?, lasts })
    }
}

fn parse_often(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(often) if often <= ALWAYS => Ok(often),
        _ => Err(format!(
            "expected bytes in a million, 0 to {ALWAYS}, such as 100, c2p:100 or p2c:100"
        )),
    }
}

fn parse_longest(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(longest @ 1..=ALWAYS) => Ok(longest),
        _ => Err(format!("expected a burst of 1 to {ALWAYS} bytes, such as 100:32")),
    }
}

fn parse_rate(text: &str) -> Result<Option<u64>, String> {
    match text.parse() {
        _ if text == "off" => Ok(None),
        // Less than this is no line that anybody had, and times that do not fit.
        Ok(rate @ 10..=100_000_000_000) => Ok(Some(rate)),
        _ => Err("expected bits per second, 10 or more, such as 115200, or off".to_owned()),
    }
}

/// A time such as `20ms`; a number alone is in seconds.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    const HOURS_MOST: f64 = 1_000_000.0;
    let wrong = || "expected a time, such as 500us, 20ms, 1.5s or 2 (seconds)".to_owned();
    let (number, unit) = match text.strip_suffix('s') {
        Some(rest) => match (rest.strip_suffix('m'), rest.strip_suffix('u')) {
            (Some(number), _) => (number, 1e-3),
            (_, Some(number)) => (number, 1e-6),
            _ => (rest, 1.0),
        },
        None => (text, 1.0),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if seconds <= HOURS_MOST * 3600.0 => Ok(time),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(name: &str, value: &str) -> [Impairments; 2] {
        let change = Change::parse(name, value).unwrap();
        [Direction::ToProxy, Direction::ToClient].map(|direction| {
            let mut impairments = Impairments::default();
            if change.is_for(direction) {
                change.apply(&mut impairments);
            }
            impairments
        })
    }

    #[test]
    fn a_setting_is_for_both_directions_unless_it_names_one() {
        assert_eq!(both("flip", "100").map(|impairments| impairments.flips), [100, 100]);
        assert_eq!(both("drop", "c2p:7").map(|impairments| impairments.drops), [7, 0]);
        assert_eq!(both("double", "p2c:7").map(|impairments| impairments.doubles), [0, 7]);
        let bursts = both("burst", "p2c:5:32")
            .map(|impairments| (impairments.bursts, impairments.burst_longest));
        assert_eq!(bursts, [(0, 0), (5, 32)]);
        assert_eq!(
            both("burst", "5").map(|impairments| impairments.burst_longest),
            [BURST_LONGEST; 2]
        );
        assert_eq!(
            both("rate", "c2p:9600").map(|impairments| impairments.rate),
            [Some(9600), None]
        );
        assert_eq!(both("rate", "off").map(|impairments| impairments.rate), [None, None]);
        assert_eq!(
            both("delay", "p2c:20ms").map(|impairments| impairments.delay.as_millis()),
            [0, 20]
        );
        assert_eq!(both("jitter", "1").map(|impairments| impairments.jitter.as_secs()), [1, 1]);
    }

    #[test]
    fn times_have_units() {
        let times = ["500us", "20ms", "1.5s", "2", "0"].map(|text| parse_time(text).unwrap());
        assert_eq!(times.map(|time| time.as_micros()), [500, 20_000, 1_500_000, 2_000_000, 0]);
        for wrong in ["", "s", "ms", "-1", "1h", "NaN", "inf", "1e300", "99999999999"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cut_has_a_beginning_and_maybe_an_end() {
        let cut = |text: &str| text.parse::<Cut>().unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(cut("1"), Cut { at: second, lasts: None });
        assert_eq!(cut("1s:1000ms"), Cut { at: second, lasts: Some(second) });
        assert!("1s:".parse::<Cut>().is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = [
            ("flip", "1000001"),
            ("flip", "-1"),
            ("flip", "x2p:5"),
            ("flip", ""),
            ("burst", "5:0"),
            ("burst", "5:"),
            ("rate", "9"),
            ("rate", "fast"),
            ("delay", "long"),
            ("shake", "5"),
        ];
        for (name, value) in wrong {
            assert!(Change::parse(name, value).is_err(), "{name} {value}");
        }
    }
}
