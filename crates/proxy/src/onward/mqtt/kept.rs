//! The subscriptions that a broker keeps when a connection ends, by their filters.

use std::collections::HashMap;

use sspc_mqtt::Qos;

/// The most that is remembered of them, in bytes. The clients choose the filters, and each connection
/// may end with another one: what there is no room for is asked for again.
const KEPT_MAX: usize = 64 * 1024;
/// What one takes beside its filter, in bytes.
const COST: usize = 64;

pub(super) type Kept = HashMap<Vec<u8>, Subscription>;

/// A subscription that a broker has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) id: u32,
    pub(super) qos: Qos,
}

/// Those of the connection that ends, and as many as there is room for of those before it.
pub(super) fn remembered(newest: Kept, older: Kept) -> Kept {
    let mut all = Kept::new();
    let mut room = KEPT_MAX;
    for (name, subscription) in newest.into_iter().chain(older) {
        if let Some(rest) = room.checked_sub(name.len() + COST) {
            room = rest;
            all.entry(name).or_insert(subscription);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_has_a_bound_and_the_newest_have_their_place() {
        let mut kept = Kept::new();
        for n in 0..5000_u32 {
            let name = format!("{n:0>100}").into_bytes();
            let new = Kept::from([(name.clone(), Subscription { id: n, qos: Qos::AtMostOnce })]);
            kept = remembered(new, kept);
            assert!(kept.contains_key(&name));
        }
        let size: usize = kept.keys().map(|name| name.len() + COST).sum();
        assert!((KEPT_MAX / 2..=KEPT_MAX).contains(&size), "{size}");
    }

    #[test]
    fn a_subscription_of_this_connection_is_the_one_that_is_remembered() {
        let with = |id| Kept::from([(b"t".to_vec(), Subscription { id, qos: Qos::AtLeastOnce })]);
        assert_eq!(remembered(with(2), with(1))[&b"t"[..]].id, 2);
    }
}
