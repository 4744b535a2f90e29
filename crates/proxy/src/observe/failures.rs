//! Recent failures, those of one kind together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::now;
use super::view::FailureView;

/// Kinds that are kept of one client, and of all. The oldest one goes of the client that has most: one
/// client's failures take no other's place as long as that has fewer.
const OF_CLIENT_MAX: usize = 16;
const ALL_MAX: usize = 256;
/// The longest text that is kept, in bytes.
const WHY_MAX: usize = 512;

/// One failure.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) kind: &'static str,
    pub(super) whose: &'static str,
    pub(super) client: String,
    pub(super) streamtype: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) why: String,
}

/// The latest ones.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<Vec<FailureView>>);

impl Failures {
    fn all(&self) -> MutexGuard<'_, Vec<FailureView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, seen: Seen) {
        let Seen { kind, whose, client, streamtype, status, mut why } = seen;
        why.truncate(why.floor_char_boundary(WHY_MAX));
        let mut all = self.all();
        let at = now();
        let known = all.iter_mut().find(|known| {
            known.kind == kind && known.client == client && known.streamtype == streamtype
        });
        if let Some(known) = known {
            (known.status, known.why, known.last_at) = (status, why, at);
            known.count += 1;
            return;
        }
        make_room(&mut all, &client);
        let count = 1;
        let (first_at, last_at) = (at, at);
        all.push(FailureView {
            kind,
            whose,
            client,
            streamtype,
            status,
            why,
            count,
            first_at,
            last_at,
        });
    }

    /// The latest first.
    pub(super) fn view(&self) -> Vec<FailureView> {
        let mut all = self.all().clone();
        all.sort_by_key(|failure| std::cmp::Reverse(failure.last_at));
        all
    }
}

fn make_room(all: &mut Vec<FailureView>, client: &str) {
    let of = |all: &[FailureView], client: &str| {
        all.iter().filter(|failure| failure.client == client).count()
    };
    let loses = if of(all, client) >= OF_CLIENT_MAX {
        client.to_owned()
    } else if all.len() >= ALL_MAX {
        let most = all.iter().max_by_key(|failure| of(all, &failure.client));
        let Some(most) = most else { return };
        most.client.clone()
    } else {
        return;
    };
    let oldest = all
        .iter()
        .enumerate()
        .filter(|(_, failure)| failure.client == loses)
        .min_by_key(|(_, failure)| failure.last_at)
        .map(|(index, _)| index);
    if let Some(oldest) = oldest {
        all.remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: &'static str, client: &str, streamtype: usize) -> Seen {
        Seen {
            kind,
            whose: "client",
            client: client.to_owned(),
            streamtype: Some(streamtype.to_string()),
            status: None,
            why: "why".to_owned(),
        }
    }

    #[test]
    fn failures_of_one_kind_are_one_with_a_count() {
        let failures = Failures::default();
        failures.add(seen("tls", "a", 1));
        failures.add(Seen { why: "é".repeat(400), ..seen("tls", "a", 1) });
        failures.add(seen("tls", "b", 1));
        let view = failures.view();
        let counts: Vec<_> = view.iter().map(|failure| (&*failure.client, failure.count)).collect();
        assert!(counts.contains(&("a", 2)) && counts.contains(&("b", 1)), "{counts:?}");
        let why = &view.iter().find(|failure| failure.client == "a").unwrap().why;
        assert_eq!(why.len(), 512);
    }

    #[test]
    fn a_client_with_many_failures_takes_nobody_elses_place() {
        let failures = Failures::default();
        failures.add(seen("tls", "quiet", 0));
        for streamtype in 0..1000 {
            failures.add(seen("tls", "loud", streamtype));
        }
        let of = |client: &str| {
            failures.view().iter().filter(|failure| failure.client == client).count()
        };
        assert_eq!((of("quiet"), of("loud")), (1, OF_CLIENT_MAX));
        for client in 0..1000 {
            failures.add(seen("tls", &format!("one of many {client}"), 0));
        }
        assert_eq!(failures.view().len(), ALL_MAX);
    }
}
