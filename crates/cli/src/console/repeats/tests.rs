use std::io;
use std::time::Duration;

use tracing::{error, info, warn, warn_span};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::table::{INFO_LINES, WINDOW};
use super::*;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Logs `events`, then what is due after each of these times. Gives all lines.
fn logged(events: impl FnOnce(), times: &[Duration]) -> Vec<String> {
    let log = Log::default();
    let repeats = Repeats::default();
    let format = tracing_subscriber::fmt::layer()
        .with_writer(log.clone())
        .without_time()
        .with_ansi(false)
        .with_target(false);
    let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(format);
    tracing::subscriber::with_default(subscriber, || {
        events();
        for time in times {
            let due = repeats.shared.table().due(Instant::now() + *time);
            due.iter().for_each(super::log);
        }
    });
    log.lines()
}

fn refuse(client: &str, name: &str) {
    let _inside = warn_span!("session", client).entered();
    warn!(kind = "refused", "session ended: no streamtype {name}");
}

/// There were 20,000 lines.
#[test]
fn what_one_client_does_again_and_again_is_a_line_and_a_sum() {
    let lines = logged(
        || (0..20_000).for_each(|number| refuse("user 7", &format!("n{number}"))),
        &[WINDOW / 2, WINDOW, WINDOW * 2],
    );
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].ends_with("session ended: no streamtype n0 kind=\"refused\""), "{lines:#?}");
    let sum = "19999 more like this within 60 s, the last: session ended: no streamtype n19999";
    assert!(lines[1].contains(sum) && lines[1].contains("client=\"user 7\""), "{lines:#?}");
}

#[test]
fn each_client_and_each_kind_has_its_first_line() {
    let lines = logged(
        || {
            for _ in 0..3 {
                refuse("user 7", "a");
                refuse("user 8", "a");
                warn!(client = "user 7", kind = "protocol", "session ended: two");
                error!("another place");
            }
        },
        &[],
    );
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn clients_that_come_in_numbers_are_summed_up_together() {
    let lines =
        logged(|| (0..20_000).for_each(|number| refuse(&format!("host {number}"), "a")), &[WINDOW]);
    assert!(lines.len() < 1_100, "{}", lines.len());
}

#[test]
fn what_verbose_shows_is_bounded_too() {
    let lines = logged(|| (0..5_000).for_each(|_| info!("stream created")), &[WINDOW]);
    assert_eq!(lines.len(), INFO_LINES as usize + 1);
}

#[test]
fn after_a_quiet_minute_the_next_line_is_logged() {
    let mut table = Table::default();
    let start = Instant::now();
    let place = {
        use tracing::callsite::{Callsite as _, DefaultCallsite};
        static PLACE: DefaultCallsite = {
            static META: Metadata<'static> = tracing::metadata! {
                name: "", target: "", level: Level::WARN,
                fields: &[], callsite: &PLACE, kind: tracing::metadata::Kind::EVENT,
            };
            DefaultCallsite::new(&META)
        };
        PLACE.metadata().callsite()
    };
    let note = |table: &mut Table, at: u64| {
        let key = Key { place: place.clone(), kind: None, client: None };
        table.note(start + Duration::from_secs(at), Level::WARN, key, String::new)
    };
    let due = |table: &mut Table, at: u64| table.due(start + Duration::from_secs(at)).len();
    assert!(note(&mut table, 0));
    assert!(!note(&mut table, 30));
    assert_eq!((due(&mut table, 59), due(&mut table, 60)), (0, 1));
    // Still going on: no line, and no sum before its minute is over.
    assert!(!note(&mut table, 70));
    assert_eq!((due(&mut table, 119), due(&mut table, 120), due(&mut table, 180)), (0, 1, 0));
    assert_eq!(table.next_due(), None);
    assert!(note(&mut table, 181));
}
