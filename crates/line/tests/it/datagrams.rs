//! Lines over datagrams that are lost, doubled and overtake each other, in the runtime's virtual time.

use std::future::pending;
use std::io;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use sspc_line::{Datagrams, Key, Line, LineConfig, LineKeys, OwnKey, Priority, Role};
use sspc_sim::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The longest datagram.
const LONGEST: u16 = 222;

/// One end of a radio that carries 6,250 bytes a second each way, 100 ms away.
struct Radio {
    air: mpsc::UnboundedSender<Vec<u8>>,
    incoming: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    rng: StdMutex<Rng>,
    /// In thousandths.
    lost: u64,
    /// When it has sent what it was given.
    free_at: Mutex<Instant>,
}

impl Radio {
    fn pair(lost: u64) -> [Self; 2] {
        let (first, second) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let end = |air, incoming, seed| Self {
            air,
            incoming: Mutex::new(incoming),
            rng: StdMutex::new(Rng::new(seed)),
            lost,
            free_at: Mutex::new(Instant::now()),
        };
        [end(first.0, second.1, 1), end(second.0, first.1, 2)]
    }
}

impl Datagrams for Radio {
    async fn send(&self, datagram: &[u8]) -> io::Result<()> {
        assert!(datagram.len() <= LONGEST.into());
        let mut free_at = self.free_at.lock().await;
        *free_at += Duration::from_micros(160) * datagram.len() as u32;
        sleep_until(*free_at).await;
        let mut rng = self.rng.lock().unwrap();
        if rng.below(1000) < self.lost {
            return Ok(());
        }
        let late = if rng.below(20) == 0 { rng.below(100) } else { 0 };
        let copies = if rng.below(50) == 0 { 2 } else { 1 };
        for copy in 0..copies {
            let (air, datagram) = (self.air.clone(), datagram.to_vec());
            tokio::spawn(async move {
                sleep(Duration::from_millis(100 + late + 30 * copy)).await;
                // The other end may be gone.
                let _ = air.send(datagram);
            });
        }
        Ok(())
    }

    async fn receive(&self, room: &mut [u8]) -> io::Result<usize> {
        match self.incoming.lock().await.recv().await {
            Some(datagram) => {
                room[..datagram.len()].copy_from_slice(&datagram);
                Ok(datagram.len())
            }
            None => pending().await,
        }
    }
}

fn config(keys: Option<LineKeys>) -> LineConfig {
    let mut config = LineConfig::datagrams(LONGEST);
    config.keys = keys;
    // Both ends draw from it, and each run is the same.
    config.seed = 7;
    config
}

fn key() -> Option<LineKeys> {
    Some(LineKeys::new(OwnKey::new("buoy", Key::new([7; 32]))))
}

#[tokio::test(start_paused = true)]
async fn every_byte_arrives_over_a_radio_that_loses_a_fifth() {
    for keys in [None, key()] {
        let is_keyed = keys.is_some();
        let [here, there] = Radio::pair(200);
        let config = config(keys);
        let (device, running) = Line::over_datagrams(here, Role::Client, config.clone(), |_| {});
        let running = tokio::spawn(running);
        let (gateway, serving) = Line::over_datagrams(there, Role::Proxy, config, |_| {});
        tokio::spawn(serving);
        let opening = device.open_channel(Priority::default());
        let mut ours = timeout(Duration::from_secs(60), opening).await.unwrap().unwrap();
        let mut theirs = gateway.accept().await.unwrap();
        let sent: Vec<u8> = (0..60_000_u32).map(|at| (at ^ at >> 8) as u8).collect();
        let (whole, mut heard, mut back) = (sent.clone(), vec![0; sent.len()], vec![0; sent.len()]);
        let echo = tokio::spawn(async move {
            theirs.read_exact(&mut heard).await.unwrap();
            theirs.write_all(&heard).await.unwrap();
            // The last of it is lost like any other.
            theirs
        });
        ours.write_all(&sent).await.unwrap();
        ours.read_exact(&mut back).await.unwrap();
        assert!(back == whole, "bytes came wrong");
        assert!(device.status().packets.resent > 0, "nothing was lost");
        assert_eq!(device.device().as_deref(), is_keyed.then_some("buoy"));
        drop(echo.await.unwrap());
        // What was written last arrives, though it may be lost.
        drop((ours, device));
        running.await.unwrap().unwrap();
        let mut ended = gateway.status().channels;
        while ended > 0 {
            sleep(Duration::from_millis(100)).await;
            ended = gateway.status().channels;
        }
    }
}

/// What the network says of a datagram, such as that nobody listens there yet, ends no line.
#[tokio::test]
async fn a_line_over_udp_waits_for_its_peer() {
    let place = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(address).await.unwrap();
    let own = socket.local_addr().unwrap();
    let (device, running) = Line::over_datagrams(socket, Role::Client, config(key()), |_| {});
    let running = tokio::spawn(running);
    // Longer than the first HELLO takes to come back as an error.
    while device.status().bytes_out < 150 {
        sleep(Duration::from_millis(1)).await;
    }
    let socket = UdpSocket::bind(address).await.unwrap();
    socket.connect(own).await.unwrap();
    let (gateway, serving) = Line::over_datagrams(socket, Role::Proxy, config(key()), |_| {});
    tokio::spawn(serving);
    let mut ours = device.open_channel(Priority::default()).await.unwrap();
    ours.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    gateway.accept().await.unwrap().read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    assert!(!running.is_finished());
}

/// The end of what carries datagrams is the line's.
#[tokio::test]
async fn a_line_ends_with_its_datagrams() {
    struct Broken(io::ErrorKind);
    impl Datagrams for Broken {
        async fn send(&self, _: &[u8]) -> io::Result<()> {
            pending().await
        }

        async fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }
    for (kind, is_error) in [(io::ErrorKind::UnexpectedEof, false), (io::ErrorKind::Other, true)] {
        let (line, running) =
            Line::over_datagrams(Broken(kind), Role::Client, config(None), |_| {});
        assert_eq!(running.await.is_err(), is_error);
        assert!(line.open_channel(Priority::default()).await.is_err());
    }
}
