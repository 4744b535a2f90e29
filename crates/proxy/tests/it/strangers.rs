//! Clients that do not know each other, one of them rude, at a real server: what the others see.

use futures_util::future::join_all;
use sspc::Address;
use sspc_wire::{Piece, ToProxy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::nginx;
use crate::support::Client;
use crate::user::{PATIENCE, User};
use crate::world::{Streamtype, World};

const OK: &str = "CREATING CONNECTING CONNECTED SOM EOM QOS_ACK_REMOTE DISCONNECTED";

/// Whether the rude client counts as somebody else than the polite ones, or as one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Stranger,
    OneOfThem,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A client that writes its own frames: to the proxy it is another host, or the user of this
/// process as the polite ones are.
async fn rude(world: &World, who: Who) -> Client<Box<dyn Io>> {
    let link: Box<dyn Io> = match who {
        Who::OneOfThem => Box::new(UnixStream::connect(&world.socket).await.unwrap()),
        Who::Stranger => {
            let mut tcp = world.more_addresses().iter().filter_map(|address| match address {
                Address::Tcp { host, port } => Some((host.clone(), *port)),
                _ => None,
            });
            Box::new(TcpStream::connect(tcp.next().unwrap()).await.unwrap())
        }
    };
    Client::new(link)
}

impl Client<Box<dyn Io>> {
    async fn connect_with(&mut self, metadata: &[(&str, &str)]) {
        self.streamtype("rude").await;
        self.until("CREATING").await;
        for (name, value) in metadata {
            let value = Piece::whole(value.as_bytes()).unwrap();
            self.send(ToProxy::Metadata { name: name.as_bytes(), value }).await;
        }
        self.send(ToProxy::OnwardConnect).await;
    }
}

async fn world() -> World {
    // What waits for its answer waits until the rude ones are done.
    let configure = |config: &mut sspc_proxy::Config| config.timeouts.response = 10 * PATIENCE;
    World::custom(nginx::Options::default(), configure, |ports, _| {
        let rude = Streamtype::at("rude", ports.h2c).h2().path("${path}").opportunistic();
        vec![rude.with(r#""metadata": [{"path": ""}, {"big": "x-big:"}]"#)]
    })
    .await
}

/// A stream in the middle of a download, and one whose request is not answered yet.
struct Polite {
    feed: crate::origin::Feed,
    download: User,
    waiting: User,
}

impl Polite {
    async fn at_work(world: &World) -> Self {
        let feed = world.origin.feed();
        let mut download = world.open_at("h2-clear", "origin/fed").await;
        download.connect();
        feed.write("half").await;
        download.until_length(4).await;
        let waiting = world.open_at("h2-clear", "origin/held").await;
        waiting.connect();
        world.origin.holds(1).await;
        Self { feed, download, waiting }
    }

    async fn see_nothing(self, world: &World) {
        let Self { feed, mut download, mut waiting } = self;
        feed.write(" and half").await;
        drop(feed);
        assert_eq!(download.end().await, OK);
        assert_eq!(download.text(), "half and half");
        world.origin.open();
        assert_eq!(waiting.end().await, OK);
        assert_eq!(waiting.text(), "at last");
        world.origin.close();
    }
}

/// nginx ends the connection: the download heard DISCONNECTED, the waiting GET ALL_RETRIES_FAILED.
#[tokio::test]
async fn a_head_that_no_server_takes_harms_nobody_else() {
    let world = world().await;
    let heads = [("big", 17_000), ("path", 40_000), ("big", 12_000), ("path", 12_000)];
    for who in [Who::Stranger, Who::OneOfThem] {
        for (name, length) in heads {
            let polite = Polite::at_work(&world).await;
            let mut rude = rude(&world, who).await;
            rude.connect_with(&[(name, &"x".repeat(length))]).await;
            rude.until("UNREACHABLE").await;
            polite.see_nothing(&world).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_streams_opened_and_dropped_harm_nobody_else() {
    const AT_ONCE: usize = 20;
    let total: usize = std::env::var("DROPPED").map_or(1_000, |count| count.parse().unwrap());
    for who in [Who::Stranger, Who::OneOfThem] {
        let world = world().await;
        let polite = Polite::at_work(&world).await;
        let paths = ["mib.bin", "small.txt", "origin/long", "origin/held"];
        let world = &world;
        let workers = (0..AT_ONCE).map(|worker| async move {
            for turn in 0..total / AT_ONCE {
                let path = paths[turn % paths.len()];
                let mut rude = rude(world, who).await;
                rude.connect_with(&[("path", path)]).await;
                rude.until("CONNECTING").await;
                // Some leave at once, some when an answer comes.
                if worker % 2 == 0 && path != "origin/held" {
                    rude.until("CONNECTED").await;
                }
            }
        });
        timeout(10 * PATIENCE, join_all(workers)).await.expect("the rude ones hang");
        polite.see_nothing(world).await;
    }
}
