//! The proxy's memory among clients that do not know one another.

use std::time::Duration;

use sspc_policy::Policy;
use sspc_wire::{Flags, PayloadHead, Piece, State, ToProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::support::{Client, Origin, Seen, in_virtual_time, proxy};
use crate::memory::{ALWAYS, LOOK_AGAIN};
use crate::{Config, MemoryBound, Proxy};

const MIB: usize = 1 << 20;
const MOMENT: Duration = Duration::from_millis(1);

fn config(memory: usize) -> Config {
    let mut config = Config::new(Policy::default());
    config.limits.memory = MemoryBound::Bytes(memory);
    config.limits.stream_buffer = u32::MAX;
    config.limits.ahead_buffer = u32::MAX;
    config.timeouts.response = Duration::MAX;
    config
}

/// A stream of a client that nobody knows, and its server's end of it.
async fn connected(proxy: &Proxy, origin: &Origin) -> (Client<DuplexStream>, UnixStream) {
    let mut client = Client::connecting(proxy).await;
    client.until(Seen::State(State::Connected)).await;
    (client, origin.accept().await)
}

fn held(proxy: &Proxy) -> usize {
    proxy.handle().counters().memory_held.try_into().unwrap()
}

/// 40 clients do not read, and as many servers. For all others the proxy goes on as if it were
/// empty: nothing waits for its memory, which would take [`LOOK_AGAIN`].
#[test]
fn who_holds_little_gets_all_its_bytes_at_once_while_others_fill_the_memory() {
    const GREEDY: usize = 40;
    const LENGTH: usize = 4 * MIB;
    in_virtual_time(async {
        let origin = Origin::new();
        let settings = origin.settings(r#""protocol": "raw", "opportunistic": true"#);
        let proxy = proxy(config(16 * MIB), &settings);
        let mut greedy = Vec::new();
        for _ in 0..GREEDY {
            let (mut client, mut server) = connected(&proxy, &origin).await;
            while timeout(MOMENT, server.write_all(&[b'x'; 10_000])).await.is_ok() {}
            while timeout(MOMENT, client.payload(&[b'x'; 10_000], Flags::NONE)).await.is_ok() {}
            greedy.push((client, server));
        }
        // Each way overruns by one read.
        let most = 16 * MIB + GREEDY * 2 * (ALWAYS + 64 * 1024);
        assert!((15 * MIB..most).contains(&held(&proxy)), "{}", held(&proxy));

        let (mut client, mut server) = connected(&proxy, &origin).await;
        let start = Instant::now();
        let serving = tokio::spawn(async move {
            let piece = [b'y'; 16 * 1024];
            for _ in 0..LENGTH / piece.len() {
                server.write_all(&piece).await.unwrap();
            }
            let mut got = 0;
            while got < LENGTH {
                got += server.read(&mut [0; 16 * 1024]).await.unwrap();
            }
            server
        });
        let mut read = 0;
        let mut buffer = [0; 16 * 1024];
        while read < LENGTH {
            read += client.link.read(&mut buffer).await.unwrap();
        }
        let piece = [b'z'; 1024];
        for _ in 0..LENGTH / piece.len() {
            client.payload(&piece, Flags::NONE).await;
        }
        serving.await.unwrap();
        assert!(start.elapsed() < LOOK_AGAIN, "{:?}", start.elapsed());

        // Nothing is held for those who are gone.
        drop((greedy, client));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(held(&proxy), 0);
    });
}

/// What one byte of payload took was 65 bytes by the account, and 150 in truth.
#[test]
fn an_upload_in_frames_of_one_byte_takes_its_length() {
    const LENGTH: usize = 200_000;
    in_virtual_time(async {
        let origin = Origin::new();
        let settings = origin.settings(r#""protocol": "ws", "opportunistic": true"#);
        let mut config = config(usize::MAX);
        config.limits.ahead_buffer = 256 * 1024;
        let proxy = proxy(config, &settings);
        // Its server takes the connection and says nothing.
        let mut client = Client::connecting(&proxy).await;
        let mut frame = [0; 64];
        let (head, piece) = (PayloadHead::new(Flags::NONE), Piece::whole(b"x").unwrap());
        let frame_length =
            ToProxy::Payload { head, rideshare: None, piece }.encode(&mut frame).unwrap();
        let frames = frame[..frame_length].repeat(1000);
        for _ in 0..LENGTH / 1000 {
            timeout(MOMENT, client.link.write_all(&frames)).await.expect("it is read").unwrap();
        }
        sleep(MOMENT).await;
        assert!((LENGTH..LENGTH * 5 / 4).contains(&held(&proxy)), "{}", held(&proxy));
    });
}

/// A client that has used up what it may hold goes on as soon as others, or it itself, give back.
#[test]
fn who_had_to_stop_goes_on() {
    in_virtual_time(async {
        let origin = Origin::new();
        let settings = origin.settings(r#""protocol": "raw", "opportunistic": true"#);
        let proxy = proxy(config(MIB), &settings);
        let (first, mut first_server) = connected(&proxy, &origin).await;
        while timeout(MOMENT, first_server.write_all(&[b'x'; 10_000])).await.is_ok() {}
        let of_first = held(&proxy);
        let (mut second, mut second_server) = connected(&proxy, &origin).await;
        while timeout(MOMENT, second_server.write_all(&[b'x'; 10_000])).await.is_ok() {}
        let of_second = held(&proxy) - of_first;

        // The other one goes: there is memory again.
        drop((first, first_server));
        sleep(LOOK_AGAIN * 4).await;
        assert!(held(&proxy) > of_second + 20_000, "{of_second}, then {}", held(&proxy));

        // It reads: everything comes.
        let end = tokio::spawn(async move { second_server.write_all(&[b'x'; 2 * MIB]).await });
        let mut buffer = [0; 16 * 1024];
        while !end.is_finished() {
            assert!(second.link.read(&mut buffer).await.unwrap() > 0);
        }
        end.await.unwrap().unwrap();
    });
}
