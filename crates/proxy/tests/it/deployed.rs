//! Clients that read as deployed ones do: at most 2048 bytes at once, and what does not come in one
//! read goes to their application in parts, each with all the flags of its frame.
//!
//! EOM rode on the last frame of a message. Where that frame came in two reads the application saw
//! the end twice, the first time too early.

use sspc::Address;
use sspc_sim::{DeployedReader, Rng, Rx};
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::content;
use crate::user::PATIENCE;
use crate::world::{self, World};

trait Link: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Link for T {}

struct Deployed {
    link: Box<dyn Link>,
    reader: DeployedReader,
    decoder: ToClientDecoder,
    rng: Rng,
    states: Vec<State>,
    calls: Vec<Rx>,
}

impl Deployed {
    /// A stream of this type over a link to this address.
    async fn open(address: &Address, streamtype: &str) -> Self {
        let link: Box<dyn Link> = match address {
            Address::Path(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            tcp => {
                let address = tcp.to_string();
                let address = address.strip_prefix("tcp:").expect("a Unix socket's file or TCP");
                Box::new(TcpStream::connect(address).await.unwrap())
            }
        };
        let mut deployed = Self {
            link,
            reader: DeployedReader::default(),
            decoder: ToClientDecoder::new(),
            rng: Rng::new(1),
            states: Vec::new(),
            calls: Vec::new(),
        };
        let name = streamtype.as_bytes();
        let asked = Streamtype { version: 1, pid: 77, tx_credit: CREDIT_UNLIMITED, name };
        deployed.send(ToProxy::Streamtype(asked)).await;
        deployed.until(State::Creating).await;
        deployed
    }

    async fn send(&mut self, frame: ToProxy<'_>) {
        let mut bytes = [0; 2048];
        let length = frame.encode(&mut bytes).unwrap();
        self.link.write_all(&bytes[..length]).await.unwrap();
    }

    async fn message(&mut self, body: &[u8]) {
        let frames = body.len().div_ceil(1380);
        for (i, part) in body.chunks(1380).enumerate() {
            let som = if i == 0 { Flags::SOM } else { Flags::NONE };
            let eom = if i + 1 == frames { Flags::EOM } else { Flags::NONE };
            let head = PayloadHead { flags: som | eom, held_us: 0, written_us: 0 };
            let piece = Piece::whole(part).unwrap();
            self.send(ToProxy::Payload { head, rideshare: None, piece }).await;
        }
    }

    /// Reads once, after a pause at times.
    async fn read(&mut self) {
        if self.rng.chance(200_000) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let mut buffer = [0; DeployedReader::READ_MAX];
        let reading = timeout(PATIENCE, self.link.read(&mut buffer)).await;
        let length = reading.expect("nothing more comes").unwrap();
        assert!(length > 0, "the proxy hung up after {:?}", self.states);
        let mut input = &buffer[..length];
        self.calls.extend(self.reader.read(input));
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            if let ToClient::State { state, .. } = frame {
                self.states.push(state);
            }
        }
    }

    async fn until(&mut self, state: State) {
        while self.states.last() != Some(&state) {
            self.read().await;
        }
    }

    /// What the application made of its calls, with how often it began and ended.
    fn received(&mut self) -> (Vec<u8>, usize, usize) {
        let calls = std::mem::take(&mut self.calls);
        let count = |flag| calls.iter().filter(|call| call.flags.contains(flag)).count();
        let (starts, ends) = (count(Flags::SOM), count(Flags::EOM));
        if let Some(last) = calls.last() {
            assert!(last.flags.contains(Flags::EOM), "{}", last.flags);
        }
        (calls.into_iter().flat_map(|call| call.data).collect(), starts, ends)
    }
}

/// The ways to a proxy that such clients take.
async fn world() -> (World, [Address; 2]) {
    let world = World::with(|_, origin| {
        let port = origin.address.port();
        vec![
            world::Streamtype::at("echo", port).path("origin/echo").post().opportunistic(),
            world::Streamtype::at("ws", port).path("origin/ws").ws().with(r#""ws_binary": true"#),
        ]
    })
    .await;
    let tcp = world.more_addresses().iter().find(|address| address.to_string().starts_with("tcp"));
    let ways = [Address::Path(world.socket.clone()), tcp.unwrap().clone()];
    (world, ways)
}

#[tokio::test]
async fn each_body_begins_and_ends_once() {
    let (_world, ways) = world().await;
    for address in ways {
        let mut client = Deployed::open(&address, "echo").await;
        for length in [1, 2, 100, 1379, 1380, 1381, 1382, 2047, 2048, 2049, 2760, 9_000, 100_000] {
            let body = content::whole(length);
            client.send(ToProxy::LengthHint(u32::try_from(length).unwrap())).await;
            client.message(&body).await;
            client.until(State::Disconnected).await;
            let (received, starts, ends) = client.received();
            assert!(received == body, "{length} over {address}");
            assert_eq!((starts, ends), (1, 1), "{length} over {address}");
            assert!(client.states.contains(&State::QosAckRemote));
            client.states.clear();
        }
    }
}

/// Small applications take a call for a message: none that fits a frame may come in two.
#[tokio::test]
async fn each_websocket_message_that_fits_a_frame_is_one_call_over_a_unix_socket() {
    let (_world, [unix, tcp]) = world().await;
    let lengths = || (1370..1391_usize).chain(2020..2080).chain([1, 2, 3, 700, 5_000]);
    let mut client = Deployed::open(&unix, "ws").await;
    client.send(ToProxy::OnwardConnect).await;
    client.until(State::Connected).await;
    // Many at once, so that they wait for the client.
    for length in lengths() {
        client.message(&content::whole(length)).await;
    }
    for length in lengths() {
        while !client.calls.iter().any(|call| call.flags.contains(Flags::EOM)) {
            client.read().await;
        }
        let end = client.calls.iter().position(|call| call.flags.contains(Flags::EOM)).unwrap();
        let later = client.calls.split_off(end + 1);
        assert!(length > 1380 || client.calls.len() == 1, "{length}: {} calls", client.calls.len());
        let (received, starts, ends) = client.received();
        assert!(received == content::whole(length), "{length}");
        assert_eq!((starts, ends), (1, 1), "{length}");
        client.calls = later;
    }

    // Over TCP those of several frames begin and end once.
    let mut client = Deployed::open(&tcp, "ws").await;
    client.send(ToProxy::OnwardConnect).await;
    client.until(State::Connected).await;
    for length in lengths().filter(|length| *length > 1380) {
        client.message(&content::whole(length)).await;
        while !client.calls.last().is_some_and(|call| call.flags.contains(Flags::EOM)) {
            client.read().await;
        }
        let (received, starts, ends) = client.received();
        assert!(received == content::whole(length), "{length}");
        assert_eq!((starts, ends), (1, 1), "{length}");
    }
}
