//! Of what comes from a server, only what the key signed is taken, whatever came instead.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A policy of this server that was signed, and the key.
struct World {
    remote: Remote,
    good: Known,
    newer: Known,
    older: Known,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    const START: &[u8] = b"Ed12345678";
    let signed = |policy: &str, time: u64| {
        let comment = format!("timestamp:{time}\tfile:p.json");
        let own = key.sign(policy.as_bytes());
        let global = key.sign(&[own.as_ref(), comment.as_bytes()].concat());
        let line = BASE64_STANDARD.encode([START, own.as_ref()].concat());
        let global = BASE64_STANDARD.encode(global.as_ref());
        let text = format!("untrusted comment: x\n{line}\ntrusted comment: {comment}\n{global}\n");
        Known {
            source: "http://127.0.0.1/p.json".to_owned(),
            etag: None,
            policy: policy.to_owned(),
            signature: Some(text),
        }
    };
    let public = BASE64_STANDARD.encode([START, key.public_key().as_ref()].concat());
    let options = Options {
        key: Some(PublicKey::from_base64(&public).unwrap()),
        trust_store: None,
        cache: None,
        interval: AGAIN,
    };
    let origin = PolicyOrigin::from_url("http://127.0.0.1/p.json", None).unwrap();
    let mut remote = Remote::new(origin, &Arc::new(options)).unwrap();
    let good = signed(r#"{"s":[{"good":{"endpoint":"e","port":1}}]}"#, 100);
    remote.known = Some(good.clone());
    let newer = signed(r#"{"s":[{"newer":{"endpoint":"e","port":1}}]}"#, 101);
    let older = signed(r#"{"s":[{"older":{"endpoint":"e","port":1}}]}"#, 99);
    World { remote, good, newer, older }
});

/// What may come in place of a text: another one, or the same with some of it changed, cut out or put
/// in between.
fn changed(text: String) -> impl Strategy<Value = String> {
    let edits = vec((any::<prop::sample::Index>(), 0_usize..3, vec(any::<char>(), 0..4)), 0..4);
    let edited = edits.prop_map(move |edits| {
        let mut letters: Vec<char> = text.chars().collect();
        for (at, cut, new) in edits {
            let at = at.index(letters.len() + 1);
            let end = (at + cut).min(letters.len());
            letters.splice(at..end, new);
        }
        letters.into_iter().collect()
    });
    prop_oneof![9 => edited, 1 => ".*", 1 => "(untrusted comment: .*\n)?[A-Za-z0-9+/=]{0,120}\n.*\n.*"]
}

#[test]
fn what_was_signed_is_taken_unless_it_is_older() {
    let World { remote, good, newer, older } = &*WORLD;
    assert_eq!(remote.judge(good), Ok(()));
    assert_eq!(remote.judge(newer), Ok(()));
    assert_eq!(remote.judge(older), Err("it was signed before the one in use".to_owned()));
    let swapped = Known { signature: good.signature.clone(), ..newer.clone() };
    assert!(remote.judge(&swapped).is_err());
    assert!(remote.judge(&Known { signature: None, ..newer.clone() }).is_err());
}

proptest! {
    // The key is another one each time, so what was found once is not found again by its seed.
    #![proptest_config(ProptestConfig {
        cases: 3_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_else_is_taken(
        signature in prop_oneof![
            changed(WORLD.newer.signature.clone().unwrap()),
            changed(WORLD.good.signature.clone().unwrap()),
            changed(WORLD.older.signature.clone().unwrap()),
        ],
        policy in prop_oneof![
            Just(WORLD.newer.policy.clone()),
            Just(WORLD.older.policy.clone()),
            changed(WORLD.newer.policy.clone()),
        ],
    ) {
        let World { remote, newer, good, .. } = &*WORLD;
        let came = Known { policy, signature: Some(signature), ..newer.clone() };
        if remote.judge(&came).is_ok() {
            prop_assert!(came.policy == newer.policy || came.policy == good.policy, "{}", came.policy);
        }
    }
}
