//! What was sent and what came back.

use std::fmt;
use std::time::Duration;

/// Counts as ping(8) does.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    answered: u64,
    sum: Duration,
    range: Option<(Duration, Duration)>,
}

impl Tally {
    /// An answer came after this time.
    pub(crate) fn answer(&mut self, time: Duration) {
        self.answered += 1;
        self.sum += time;
        self.range = Some(match self.range {
            Some((least, most)) => (least.min(time), most.max(time)),
            None => (time, time),
        });
    }

    pub(crate) fn has_answers(&self) -> bool {
        self.answered > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, answered, sum, range } = self;
        write!(f, "{sent} sent, {answered} answered, {} lost", sent.saturating_sub(*answered))?;
        if let Some((least, most)) = range {
            let average = sum.div_f64((*answered).max(1) as f64);
            let [least, average, most] = [*least, average, *most].map(millis);
            write!(f, "; min/avg/max {least:.3}/{average:.3}/{most:.3} ms")?;
        }
        Ok(())
    }
}

/// As a number of milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_answered_is_lost() {
        let mut tally = Tally { sent: 3, ..Tally::default() };
        assert_eq!(tally.to_string(), "3 sent, 0 answered, 3 lost");
        assert!(!tally.has_answers());
        tally.answer(Duration::from_micros(2500));
        tally.answer(Duration::from_micros(500));
        let expected = "3 sent, 2 answered, 1 lost; min/avg/max 0.500/1.500/2.500 ms";
        assert_eq!(tally.to_string(), expected);
    }
}
