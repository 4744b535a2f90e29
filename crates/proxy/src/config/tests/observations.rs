//! What clients and servers see of each knob.

use std::future::{pending, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Response;
use sspc_line::{Line, Priority, Role};
use sspc_wire::limits::{FRAME_HEAD, PAYLOAD_FIXED, PID_CREDIT_BIT};
use sspc_wire::{Flags, Piece, State, ToProxy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::support::{Client, Origin, Seen, ms_since, proxy, proxy_with};
use crate::onward::NameServer;
use crate::{Config, Counters, LineConfig, ListenAddress, Proxy, Sharing};

/// Virtual time passes only when nobody has anything to do: after this all is done that needs no
/// waiting.
const MOMENT: Duration = Duration::from_millis(1);

const GET: &str = r#""opportunistic": true"#;
const POST: &str = r#""http_method": "POST", "opportunistic": true"#;
const WS: &str = r#""protocol": "ws", "opportunistic": true"#;
const RAW: &str = r#""protocol": "raw", "opportunistic": true"#;
const H2: &str = r#""protocol": "h2", "opportunistic": true"#;

// ---- timeouts

pub(super) use super::network::silence_before_the_link;

pub(super) async fn silence_before_streamtype(config: Config) -> u64 {
    let (mut client, _) = Client::over_pipe(&Proxy::new(config).unwrap(), 64);
    let start = Instant::now();
    assert_eq!(client.next().await, Seen::Closed);
    ms_since(start)
}

/// Time until a client hears of a state.
async fn time_until(client: &mut Client<DuplexStream>, state: State) -> u64 {
    let start = Instant::now();
    client.until(Seen::State(state)).await;
    ms_since(start)
}

pub(super) async fn silent_tls_handshake(config: Config) -> u64 {
    let key = rcgen::KeyPair::generate().unwrap();
    let anchor = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let anchor = STANDARD.encode(anchor.der());
    let anchors = format!(r#""certs": [{{"c": "{anchor}"}}], "trust_stores": [{{"t": ["c"]}}]"#);
    let origin = Origin::new();
    let settings = origin.settings(r#""tls": true, "tls_trust_store": "t", "opportunistic": true"#);
    let mut client = Client::connecting(&proxy_with(config, &anchors, &settings)).await;
    time_until(&mut client, State::Unreachable).await
}

pub(super) async fn silent_http_server(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(GET))).await;
    time_until(&mut client, State::Unreachable).await
}

pub(super) async fn silent_websocket_server(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(WS))).await;
    time_until(&mut client, State::Unreachable).await
}

pub(super) async fn silence_inside_a_body(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(GET))).await;
    let _link = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1").await;
    client.until(Seen::State(State::Connected)).await;
    time_until(&mut client, State::Disconnected).await
}

/// The server has answered; the client does not send the rest of its message.
pub(super) async fn silence_inside_an_answered_request(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(POST))).await;
    client.until(Seen::State(State::Connected)).await;
    client.payload(b"begun", Flags::SOM).await;
    let _link = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    time_until(&mut client, State::QosAckRemote).await
}

/// Time until an idle connection is closed.
pub(super) async fn idle_h1_connection(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(GET))).await;
    let mut link = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    client.until(Seen::State(State::Disconnected)).await;
    let start = Instant::now();
    assert_eq!(link.read(&mut [0]).await.unwrap(), 0);
    ms_since(start)
}

pub(super) async fn idle_h2_connection(config: Config) -> u64 {
    let origin = Origin::new();
    let mut client = Client::connecting(&proxy(config, &origin.settings(H2))).await;
    let mut connection = h2::server::handshake(origin.accept().await).await.unwrap();
    let (_, mut answer) = connection.accept().await.unwrap().unwrap();
    answer.send_response(Response::new(()), true).unwrap();
    let start = Instant::now();
    let idle = async {
        assert!(connection.accept().await.is_none());
        ms_since(start)
    };
    tokio::join!(idle, client.until(Seen::State(State::Disconnected))).0
}

const BUSY: &str = "HTTP/1.1 503 Later\r\nretry-after: 99999999\r\ncontent-length: 0\r\n\r\n";

/// Time until a request comes again.
pub(super) async fn busy_before_connected(config: Config) -> u64 {
    let origin = Origin::new();
    let settings = origin.settings(r#""retry": "soon", "opportunistic": true"#);
    let _client = Client::connecting(&proxy(config, &settings)).await;
    drop(origin.answer(BUSY).await);
    let start = Instant::now();
    origin.answer(BUSY).await;
    ms_since(start)
}

pub(super) async fn busy_after_connected(config: Config) -> u64 {
    let origin = Origin::new();
    let settings =
        origin.settings(r#""retry": "soon", "http_method": "POST", "opportunistic": true"#);
    let mut client = Client::connecting(&proxy(config, &settings)).await;
    client.payload(b"whole", Flags::WHOLE).await;
    sleep(MOMENT).await;
    drop(origin.answer(BUSY).await);
    let start = Instant::now();
    origin.answer(BUSY).await;
    ms_since(start)
}

/// Time until the proxy has ended.
pub(super) async fn transaction_at_shutdown(config: Config) -> u64 {
    let origin = Origin::new();
    // A request that no other timeout ends, and that is never answered.
    let proxy = proxy(config, &origin.settings(&format!(r#"{H2}, "long_poll": true"#)));
    let mut client = Client::connecting(&proxy).await;
    let mut connection = h2::server::handshake(origin.accept().await).await.unwrap();
    let _unanswered = connection.accept().await.unwrap().unwrap();
    tokio::spawn(async move { connection.accept().await.is_some() });
    let start = Instant::now();
    // It closes its link as soon as the proxy does.
    tokio::spawn(async move { while client.next().await != Seen::Closed {} });
    proxy.run(ready(())).await;
    ms_since(start)
}

/// Time until its link is given up.
pub(super) async fn refused_client_that_stays(config: Config) -> u64 {
    let proxy = Proxy::new(config).unwrap();
    let (mut client, serving) = Client::over_pipe(&proxy, 64);
    client.create(7, "unknown").await;
    let start = Instant::now();
    serving.await.unwrap();
    ms_since(start)
}

/// Whole transactions of each HTTP version, a stream on a line, and the proxy's end.
pub(super) async fn transactions(config: Config) {
    let origin = Origin::new();
    let proxy = proxy(config.clone(), &origin.settings(GET));
    let mut client = Client::connecting(&proxy).await;
    let _kept = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    client.until(Seen::State(State::QosAckRemote)).await;
    let channel = line(&proxy).open_channel(Priority::default()).await.unwrap();
    assert!(Client::new(channel).is_served().await);
    drop(client);
    proxy.run(ready(())).await;

    let shared = Config { sharing: Sharing::Everyone, ..config };
    let proxy = self::proxy(shared, &origin.settings(H2));
    let mut client = Client::connecting(&proxy).await;
    let mut connection = h2::server::handshake(origin.accept().await).await.unwrap();
    let (_, mut answer) = connection.accept().await.unwrap().unwrap();
    answer.send_response(Response::new(()), true).unwrap();
    tokio::select! {
        _ = connection.accept() => panic!("it is to be kept"),
        () = client.until(Seen::State(State::QosAckRemote)) => {}
    }
    // The next one shares it.
    let mut client = Client::connecting(&proxy).await;
    let (_, mut answer) = connection.accept().await.unwrap().unwrap();
    answer.send_response(Response::new(()), true).unwrap();
    tokio::select! {
        _ = connection.accept() => panic!("it is to be kept"),
        () = client.until(Seen::State(State::QosAckRemote)) => {}
    }
}

/// What the kernel's timer for the proxy's end of a connection says, in real time: half of the knob
/// goes by before the first probe.
pub(super) async fn keepalive_of_a_tcp_client(config: Config) -> u64 {
    let mut proxy = proxy(config, &Origin::new().settings(GET));
    let address = proxy.listen(&"tcp:127.0.0.1:0".parse().unwrap()).unwrap();
    let ListenAddress::Tcp { port, .. } = address else { panic!("{address}") };
    tokio::spawn(proxy.run(pending()));
    let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let ours = format!("0100007F:{port:04X}");
    for _ in 0..100_000 {
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let timer = sockets.lines().find_map(|line| {
            // The number, both addresses, the state, the queues, the timer.
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_ours = fields[1] == ours && fields[3] == "01";
            fields[5].strip_prefix("02:").filter(|_| is_ours)
        });
        if let Some(hundredths) = timer {
            let hundredths = u64::from_str_radix(hundredths, 16).unwrap();
            return rounded(2 * hundredths * 10, 1_000);
        }
        // The clock stands still while somebody has something to do.
        tokio::task::yield_now().await;
    }
    panic!("no keepalive");
}

// ---- limits

pub(super) use super::cookies::{cookies_of_a_server, servers_with_cookies};
pub(super) use super::heads::{largest_http_head, largest_websocket_head};
pub(super) use super::mqtt::{
    largest_announced_message, largest_message_among_strangers, unacknowledged_message,
};
pub(super) use super::network::{lines_of_many_hosts, lines_of_one_host};
pub(super) use super::smd::{age_of_messages, messages_of_a_second, waiting_messages};
pub(super) use super::tls::{
    handshakes_of_many_hosts, handshakes_of_one_host, silence_before_the_handshake,
};

pub(super) async fn served_links(config: Config) -> u64 {
    let asked = config.limits.sessions + 3;
    let proxy = proxy(config, &Origin::new().settings(GET));
    let mut clients: Vec<_> = (0..asked).map(|_| Client::over_pipe(&proxy, 64).0).collect();
    let mut served = 0;
    for client in &mut clients {
        served += u64::from(client.is_served().await);
    }
    served
}

/// Links over a Unix socket, all of this process.
pub(super) async fn served_sockets(config: Config) -> u64 {
    let asked = config.limits.sessions_per_client + 3;
    let mut proxy = proxy(config, &Origin::new().settings(GET));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ss");
    proxy.listen(&format!("uds:{}", path.display()).parse().unwrap()).unwrap();
    tokio::spawn(proxy.run(pending()));
    let (mut served, mut clients) = (0, Vec::new());
    for _ in 0..asked {
        let mut client = Client::new(UnixStream::connect(&path).await.unwrap());
        served += u64::from(client.is_served().await);
        clients.push(client);
    }
    served
}

/// Names that a silent server is asked for, by clients that each want one of their own.
async fn names_asked_for<L: AsyncRead + AsyncWrite + Unpin>(
    server: &NameServer,
    mut clients: Vec<Client<L>>,
) -> u64 {
    for (number, client) in clients.iter_mut().enumerate() {
        client.create(7, "s").await;
        client.until(Seen::State(State::Creating)).await;
        let value = format!("silent{number}.example");
        client
            .send(ToProxy::Metadata {
                name: b"host",
                value: Piece::whole(value.as_bytes()).unwrap(),
            })
            .await;
        client.send(ToProxy::OnwardConnect).await;
        client.until(Seen::State(State::Connecting)).await;
    }
    sleep(MOMENT).await;
    server.names().len().try_into().unwrap()
}

const ANY_HOST: &str =
    r#""endpoint": "${host}", "port": 80, "metadata": [{"host": ""}], "opportunistic": true"#;

/// Each client is at a pipe of its own.
pub(super) async fn names_asked_for_many_clients(mut config: Config) -> u64 {
    let (server, _folder) = NameServer::for_config(&mut config).await;
    let asked = config.limits.lookups + 3;
    let proxy = proxy(config, ANY_HOST);
    let clients = (0..asked).map(|_| Client::over_pipe(&proxy, 4096).0).collect();
    names_asked_for(&server, clients).await
}

/// All streams are one user's.
pub(super) async fn names_asked_for_one_client(mut config: Config) -> u64 {
    let (server, folder) = NameServer::for_config(&mut config).await;
    let asked = config.limits.lookups_per_client + 3;
    let mut proxy = proxy(config, ANY_HOST);
    let path = folder.path().join("ss");
    proxy.listen(&format!("uds:{}", path.display()).parse().unwrap()).unwrap();
    tokio::spawn(proxy.run(pending()));
    let mut clients = Vec::new();
    for _ in 0..asked {
        clients.push(Client::new(UnixStream::connect(&path).await.unwrap()));
    }
    names_asked_for(&server, clients).await
}

/// A device's end of a line that the proxy serves.
fn line(proxy: &Proxy) -> Line {
    let (near, far) = duplex(4096);
    let (reader, writer) = split(far);
    tokio::spawn(proxy.handle().serve_line(reader, writer, LineConfig::default(), "line"));
    let (reader, writer) = split(near);
    let (line, running) = Line::over(reader, writer, Role::Client, LineConfig::default(), |_| {});
    tokio::spawn(running);
    line
}

/// Channels of one line.
pub(super) async fn served_channels(config: Config) -> u64 {
    let asked = config.limits.sessions_per_client + 3;
    let proxy = proxy(config, &Origin::new().settings(GET));
    let line = line(&proxy);
    let (mut served, mut clients) = (0, Vec::new());
    for _ in 0..asked {
        // A channel that is not served is closed at once.
        let Ok(channel) = line.open_channel(Priority::default()).await else { continue };
        let mut client = Client::new(channel);
        served += u64::from(client.is_served().await);
        clients.push(client);
    }
    served
}

/// What a client that honours credit may send.
pub(super) async fn first_credit(config: Config) -> u64 {
    let (mut client, _) = Client::over_pipe(&proxy(config, &Origin::new().settings(WS)), 64);
    client.create(PID_CREDIT_BIT | 7, "s").await;
    assert_eq!(client.next().await, Seen::Created(0));
    match client.next().await {
        Seen::Credit(credit) => credit.try_into().unwrap(),
        other => panic!("{other:?} instead of TXCR_UPDATE"),
    }
}

/// A number to the nearest of these steps.
fn rounded(number: u64, step: u64) -> u64 {
    (number + step / 2) / step * step
}

/// What the proxy counts once a server has sent all that it takes for a client that does not read.
async fn filled(config: Config) -> Counters {
    let origin = Origin::new();
    let proxy = proxy(config, &origin.settings(RAW));
    let mut client = Client::connecting(&proxy).await;
    client.until(Seen::State(State::Connected)).await;
    let mut link = origin.accept().await;
    while timeout(MOMENT, link.write_all(&[b'x'; 10_000])).await.is_ok() {}
    proxy.handle().counters()
}

/// What is taken from the server. What lies in the pipe and the last piece are too much, the heads
/// of frames too little.
pub(super) async fn held_for_a_client_that_does_not_read(config: Config) -> u64 {
    rounded(filled(config).await.bytes_to_clients, 50_000)
}

/// What a client can send while its stream has no connection. What lies in the pipe is too much,
/// what each piece costs beside its bytes too little.
pub(super) async fn sent_ahead(mut config: Config) -> u64 {
    config.timeouts.response = Duration::MAX;
    let origin = Origin::new();
    let (mut client, _) = Client::over_pipe(&proxy(config, &origin.settings(WS)), 8192);
    client.create(7, "s").await;
    let mut sent = 0;
    while timeout(MOMENT, client.payload(&[b'x'; 8000], Flags::NONE)).await.is_ok() {
        sent += 8000;
    }
    rounded(sent, 100_000)
}

/// What a client can send on a channel that its session does not read, frames and all, until the
/// channel is closed. What the session takes before it stops reading is too much.
pub(super) async fn sent_on_a_channel(mut config: Config) -> u64 {
    config.timeouts.response = Duration::MAX;
    config.limits.stream_buffer = 1;
    config.limits.ahead_buffer = 1;
    let origin = Origin::new();
    let proxy = proxy(config, &origin.settings(WS));
    let line = line(&proxy);
    let mut client = Client::new(line.open_channel(Priority::default()).await.unwrap());
    client.create(7, "s").await;
    let mut sent = 0;
    while proxy.handle().counters().overflows == 0 {
        client.payload(&[b'x'; 1000 - FRAME_HEAD - PAYLOAD_FIXED], Flags::NONE).await;
        sleep(MOMENT).await;
        sent += 1000;
    }
    rounded(sent, 10_000)
}

/// A client alone may hold a quarter of what is left: a fifth of all.
fn all_of(held_of_one: u64) -> u64 {
    rounded(5 * held_of_one, 500_000)
}

/// What waits for a client that does not read.
pub(super) async fn held_for_one_client(mut config: Config) -> u64 {
    config.limits.stream_buffer = u32::MAX;
    all_of(filled(config).await.memory_held)
}

/// What waits of a client whose server does not read.
pub(super) async fn held_of_one_client(mut config: Config) -> u64 {
    config.timeouts.response = Duration::MAX;
    config.limits.ahead_buffer = u32::MAX;
    let origin = Origin::new();
    let proxy = proxy(config, &origin.settings(WS));
    let (mut client, _) = Client::over_pipe(&proxy, 8192);
    client.create(7, "s").await;
    while timeout(MOMENT, client.payload(&[b'x'; 8000], Flags::NONE)).await.is_ok() {}
    all_of(proxy.handle().counters().memory_held)
}

pub(super) async fn streams_of_the_first_h2_connection(mut config: Config) -> u64 {
    config.sharing = Sharing::Everyone;
    let asked = config.limits.h2_streams + 3;
    let origin = Origin::new();
    let proxy = proxy(config, &origin.settings(H2));
    let mut clients = Vec::new();
    for _ in 0..asked {
        clients.push(Client::connecting(&proxy).await);
    }
    let mut first = h2::server::handshake(origin.accept().await).await.unwrap();
    let mut streams = Vec::new();
    while let Ok(Some(stream)) = timeout(MOMENT, first.accept()).await {
        streams.push(stream.unwrap());
    }
    streams.len().try_into().unwrap()
}

/// SETTINGS_INITIAL_WINDOW_SIZE as the server reads it.
pub(super) async fn h2_window(config: Config) -> u64 {
    const PREFACE: usize = 24;
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let origin = Origin::new();
    let _client = Client::connecting(&proxy(config, &origin.settings(H2))).await;
    let mut link = origin.accept().await;
    link.read_exact(&mut [0; PREFACE]).await.unwrap();
    let mut head = [0; 9];
    link.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS comes first");
    let mut settings = vec![0; usize::from(head[2])];
    link.read_exact(&mut settings).await.unwrap();
    let mut items = settings.chunks_exact(6).map(|item| {
        let (id, value) = item.split_at(2);
        (u16::from_be_bytes(id.try_into().unwrap()), u32::from_be_bytes(value.try_into().unwrap()))
    });
    items.find(|(id, _)| *id == INITIAL_WINDOW_SIZE).expect("a window").1.into()
}
