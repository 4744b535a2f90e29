//! Who gives way where clients share a table that is full.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokio::time::Instant;

use crate::identity::Identity;

/// Which of these entries, each with its client and its time, has to go: the oldest of the client
/// that has the most. So nobody loses an entry to a client that has more of them.
pub(crate) fn gives_way<'a, T>(
    entries: impl Iterator<Item = (&'a Option<Identity>, Instant, T)>,
) -> Option<T> {
    let entries: Vec<_> = entries.collect();
    let mut counts = HashMap::new();
    for (client, ..) in &entries {
        *counts.entry(*client).or_insert(0_usize) += 1;
    }
    let rank = |client: &Option<Identity>, at| (counts.get(client).copied(), Reverse(at));
    let entries = entries.into_iter();
    entries.max_by_key(|(client, at, _)| rank(client, *at)).map(|(.., entry)| entry)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_of_the_client_that_has_the_most_gives_way() {
        let start = Instant::now();
        let of = |uid, ms| (Some(Identity::User(uid)), start + Duration::from_millis(ms));
        let loser = |entries: &[(Option<Identity>, Instant)]| {
            gives_way(entries.iter().enumerate().map(|(i, (client, at))| (client, *at, i)))
        };
        assert_eq!(loser(&[]), None);
        assert_eq!(loser(&[of(1, 0), of(2, 9), of(2, 5), of(2, 7)]), Some(2));
        assert_eq!(loser(&[of(1, 3), of(1, 2), of(2, 1), of(2, 4)]), Some(2));
    }
}
