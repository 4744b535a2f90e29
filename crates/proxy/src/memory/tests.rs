use super::*;

const MIB: usize = 1024 * 1024;

fn memory(bound: usize) -> (Arc<Memory>, Arc<Counts>) {
    let counts = Arc::<Counts>::default();
    (Memory::new(bound, Arc::clone(&counts)), counts)
}

fn user(uid: u32) -> Identity {
    Identity::User(uid)
}

/// Takes as much as it may, in pieces of 4 KiB.
fn fill(account: &Arc<Account>, way: Way) -> Held {
    let mut held = account.hold(way, 0);
    while account.may_take(way) {
        held.set(held.bytes() + 4096);
    }
    held
}

#[test]
fn one_client_gets_a_fifth_and_leaves_some_to_each_that_comes() {
    let (memory, counts) = memory(100 * MIB);
    let mut all = Vec::new();
    for (uid, least) in [(1, 20), (2, 16), (3, 12), (4, 10)] {
        let held = fill(&memory.open_account(user(uid)), Way::Back);
        assert!((least * MIB..(least + 1) * MIB).contains(&held.bytes()), "{}", held.bytes());
        all.push(held);
    }
    for uid in 5..1000 {
        let held = fill(&memory.open_account(user(uid)), Way::Back);
        assert!(held.bytes() >= ALWAYS);
        all.push(held);
    }
    let sum: usize = all.iter().map(Held::bytes).sum();
    assert_eq!(counts.snapshot().memory_held, sum as u64);
    assert!(sum <= 100 * MIB + 1000 * ALWAYS);
    drop(all);
    assert_eq!(counts.snapshot().memory_held, 0);
    assert!(memory.clients().is_empty());
}

#[test]
fn the_streams_of_a_client_share_what_it_may_hold() {
    let (memory, _) = memory(100 * MIB);
    let first = fill(&memory.open_account(user(1)), Way::Onward);
    let account = memory.open_account(user(1));
    let second = fill(&account, Way::Onward);
    assert_eq!(second.bytes(), ALWAYS, "and each the least");
    // The other way of the stream has its own.
    let back = fill(&account, Way::Back);
    assert_eq!(back.bytes(), ALWAYS);
    assert!(memory.open_account(user(2)).may_take(Way::Onward));
    drop((first, back));
    assert!(account.may_take(Way::Onward));
}

#[test]
fn payload_is_charged_until_its_last_share_is_gone() {
    let (memory, counts) = memory(MIB);
    let account = memory.open_account(user(1));
    let mut payload = account.attach(Way::Onward, Bytes::from_static(b"payload"), 1000);
    assert_eq!(payload, "payload");
    let part = payload.split_to(3);
    let copy = part.clone();
    drop((payload, part));
    assert_eq!(counts.snapshot().memory_held, 1000);
    drop(copy);
    assert_eq!(counts.snapshot().memory_held, 0);
}

#[tokio::test(start_paused = true)]
async fn who_must_wait_goes_on_as_soon_as_it_holds_little_or_others_gave_back() {
    let (memory, _) = memory(MIB);
    let account = memory.open_account(user(1));
    let mut own = fill(&account, Way::Back);
    let others = fill(&memory.open_account(user(1)), Way::Back);
    let start = tokio::time::Instant::now();
    let giving = async {
        tokio::task::yield_now().await;
        own.set(ALWAYS - 1);
    };
    tokio::join!(account.room(Way::Back), giving);
    assert_eq!(start.elapsed(), Duration::ZERO);

    own.set(300 * 1024);
    let giving = async {
        sleep(LOOK_AGAIN * 5 / 2).await;
        drop(others);
        own.set(100 * 1024);
    };
    tokio::join!(account.room(Way::Back), giving);
    assert_eq!(start.elapsed(), LOOK_AGAIN * 3);
}

#[test]
fn a_shared_connection_may_hold_more_than_a_client() {
    let (memory, _) = memory(MIB);
    assert!(memory.allows_connection(MIB / 2));
    assert!(!memory.allows_connection(MIB / 2 + 1));
    let _held = fill(&memory.open_account(user(1)), Way::Back);
    assert!(!memory.allows_connection(MIB / 2));
    assert!(memory.allows_connection(0));
}
