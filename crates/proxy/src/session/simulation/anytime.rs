//! Everything by chance: chunks, pauses, lengths, buffers, credit, peers that fail, links that are
//! lost at any time and as often as the seed has it.

use super::run;
use super::setup::Setup;

/// How many lives each test lives; the environment may ask for more.
fn lives() -> u64 {
    const DEFAULT: u64 = 500;
    let more = std::env::var("SSPC_SIMULATED_LIVES").ok();
    more.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT)
}

fn live_by_chance(first_seed: u64) {
    let (mut links, mut tries) = (0, 0);
    for seed in first_seed..first_seed + lives() {
        let outcome = run(Setup::wild(seed));
        links += u64::from(outcome.links);
        tries += u64::from(outcome.attempts);
    }
    assert!(links > lives() * 5 / 4, "{links} links are too few");
    assert!(tries > lives() * 3, "{tries} attempts are too few");
}

#[test]
fn whatever_breaks_the_user_gets_whole_payload_in_the_end() {
    live_by_chance(0);
}

#[test]
fn whatever_breaks_the_user_gets_whole_payload_in_the_end_again() {
    live_by_chance(1 << 32);
}
