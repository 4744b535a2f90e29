//! What servers say beside their responses: their cookies, and proxies on the way to them.

use arbitrary::Arbitrary;
use http::HeaderValue;
use sspc_proxy::fuzzing::{CookieJar, ask_way_out};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{cuts, virtual_time};

/// Answers of a server, each to a request of a path.
#[derive(Arbitrary, Debug)]
pub struct Visits {
    tls: bool,
    visits: Vec<(String, Vec<Vec<u8>>)>,
}

/// Whatever servers ask to be kept, requests have little of it, and nothing that would be another header
/// or another cookie.
pub fn cookies(visits: Visits) {
    let jar = CookieJar::new(visits.tls);
    for (path, values) in visits.visits {
        let path = format!("/{path}");
        let values: Vec<HeaderValue> = values
            .into_iter()
            .filter_map(|value| HeaderValue::from_maybe_shared(bytes::Bytes::from(value)).ok())
            .collect();
        jar.take(&path, &values);
        let Some(header) = jar.header(&path) else { continue };
        let header = header.as_bytes();
        assert!(!header.is_empty() && header.len() <= CookieJar::MAX);
        assert!(header.iter().all(|&byte| byte == b'\t' || byte >= b' '));
        for pair in header.split(|&byte| byte == b';') {
            assert!(pair.contains(&b'='), "a cookie without a value");
        }
        // What goes out depends on nothing but what was kept.
        assert_eq!(jar.header(&path).map(|again| again.as_bytes().to_vec()), Some(header.to_vec()));
    }
}

/// A proxy on the way out that answers with these bytes, and then with none: it is refused or taken, in
/// time, and what it sends behind its answer is the server's.
pub fn way_out(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else { return };
    let (bytes, sizes) = cuts::split(input);
    let scheme = if choice & 1 == 0 { "socks5" } else { "http" };
    let login = if choice & 2 == 0 { "" } else { "user:password@" };
    let via = format!("{scheme}://{login}127.0.0.1:1");
    virtual_time::play(async {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let answering = async {
            let mut rest = bytes;
            for size in sizes {
                let (now, later) = rest.split_at(rest.len().min(size.max(1)));
                rest = later;
                if far.write_all(now).await.is_err() {
                    break;
                }
            }
            let _ = far.write_all(rest).await;
            let _ = far.shutdown().await;
            let mut asked = Vec::new();
            let _ = far.read_to_end(&mut asked).await;
            asked
        };
        let asking = async {
            let result = ask_way_out(&mut near, &via).await;
            let mut behind = Vec::new();
            if result.is_ok() {
                let _ = near.read_to_end(&mut behind).await;
                assert!(bytes.ends_with(&behind), "what is the server's was changed");
            }
            drop(near);
        };
        let (asked, ()) = tokio::join!(answering, asking);
        assert!(asked.len() < 1024, "{}", asked.len());
    });
}
