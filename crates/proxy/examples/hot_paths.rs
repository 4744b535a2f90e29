//! The paths that payload takes, for `.ci/steps/benches` to count their instructions: `hot_paths NAME
//! TIMES` runs one so many times. What the runs have in common, a second count with fewer takes off.

use sspc_mux::{Config as MuxConfig, Event as MuxEvent, Instant, Mux, Priority, Role as MuxRole};
use sspc_policy::{Policy, Source};
use sspc_proxy::{Config, Proxy};
use sspc_wire::limits::{CREDIT_UNLIMITED, VERSION};
use sspc_wire::{
    Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy,
    ToProxyDecoder,
};
use sspc_ws::{Decoder, DeflateParams, Encoder, Event, MessageKind, Piece as WsPiece, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};
use tokio::net::TcpListener;

type Failed = Box<dyn std::error::Error>;

const MESSAGE: &[u8; 64] =
    b"{\"symbol\":\"SSPC\",\"seq\":123456,\"price\":101.2500,\"of\":\"yesterday\"}";
/// What one transfer is.
const TRANSFER: usize = 64 * 1024;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, times] = arguments.as_slice() else {
        return Err("usage: hot_paths NAME TIMES".into());
    };
    let times = times.parse()?;
    match path.as_str() {
        "wire" => wire(times),
        "mux" => mux(times),
        "ws-plain" => ws(times, None, MESSAGE),
        "ws-deflate" => ws(times, Some(DeflateParams::default()), MESSAGE),
        "ws-long" => ws(times, None, &[7; TRANSFER]),
        "relay-messages" => current_thread(relay(times, true)),
        "relay-transfers" => current_thread(relay(times, false)),
        _ => Err("the names are in .ci/instructions".into()),
    }
}

/// 64 KiB in frames of 1 KiB, from the proxy to the client and back.
fn wire(times: usize) -> Result<(), Failed> {
    let data = [7; 1024];
    let head = PayloadHead::new(Flags::NONE);
    let piece = Piece::whole(&data).ok_or("too long")?;
    let (mut down, mut up) = ([0; 2048], [0; 2048]);
    let to_client = ToClient::Payload { head, rideshare: None, piece }.encode(&mut down)?;
    let to_proxy = ToProxy::Payload { head, rideshare: None, piece }.encode(&mut up)?;
    let (mut client, mut proxy) = (ToClientDecoder::new(), ToProxyDecoder::new());
    client.next(&mut [0x56, 0, 5, 0, 0, 0, 0, 0].as_slice())?;
    let mut first = [0; 64];
    let length = streamtype().encode(&mut first)?;
    proxy.next(&mut first.get(..length).unwrap_or_default())?;
    for _ in 0..times * TRANSFER / data.len() {
        let mut bytes = 0;
        let mut input = down.get(..to_client).unwrap_or_default();
        while let Some(frame) = client.next(&mut input)? {
            if let ToClient::Payload { piece, .. } = frame {
                bytes += piece.data.len();
            }
        }
        let mut input = up.get(..to_proxy).unwrap_or_default();
        while let Some(frame) = proxy.next(&mut input)? {
            if let ToProxy::Payload { piece, .. } = frame {
                bytes += piece.data.len();
            }
        }
        check(bytes, 2 * data.len())?;
    }
    Ok(())
}

/// 64 KiB over a channel.
fn mux(times: usize) -> Result<(), Failed> {
    let mut ends = [
        Mux::new(MuxRole::Client, MuxConfig::DEFAULT, 1),
        Mux::new(MuxRole::Proxy, MuxConfig::DEFAULT, 2),
    ];
    let (mut left, mut received) = (times * TRANSFER, 0);
    let (mut now, mut buffer) = (1_u64, [0; 2048]);
    while received < times * TRANSFER {
        now += 10;
        let now = Instant::from_micros(now);
        for sender in [0, 1] {
            let [client, proxy] = &mut ends;
            let (from, to) = if sender == 0 { (client, proxy) } else { (proxy, client) };
            let length = from.transmit(now, &mut buffer, &mut |_, room| {
                let length = room.len().min(left);
                left -= length;
                length
            })?;
            let mut input = buffer.get(..length).unwrap_or_default();
            loop {
                match to.receive(now, &mut input) {
                    Some(MuxEvent::LinkUp { .. }) if sender == 1 => {
                        to.open(Priority::HIGHEST)?;
                    }
                    Some(MuxEvent::ChannelRequested { channel }) => {
                        to.accept(channel, Priority::HIGHEST)?;
                    }
                    Some(MuxEvent::Opened { channel }) => to.wants_to_send(channel, true),
                    Some(MuxEvent::Data { piece, .. }) => received += piece.len(),
                    Some(MuxEvent::LinkDown { why }) => return Err(why.to_string().into()),
                    Some(_) => {}
                    None => break,
                }
            }
            to.handle_timeout(now);
        }
    }
    Ok(())
}

/// A message from a client to a server.
fn ws(times: usize, deflate: Option<DeflateParams>, message: &[u8]) -> Result<(), Failed> {
    let mut encoder = Encoder::new(Role::Client, deflate);
    let mut decoder = Decoder::new(Role::Server, deflate);
    let (mut out, mut scratch) = (Vec::new(), [0; 4096]);
    for _ in 0..times {
        out.clear();
        let piece = WsPiece { kind: MessageKind::Text, first: true, last: true, bytes: message };
        encoder.piece(piece, [1, 2, 3, 4], &mut out)?;
        let (mut input, mut bytes) = (out.as_slice(), 0);
        while let Some(event) = decoder.decode(&mut input, &mut scratch)? {
            if let Event::Data(piece) = event {
                bytes += piece.bytes.len();
            }
        }
        check(bytes, message.len())?;
    }
    Ok(())
}

fn check(found: usize, expected: usize) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found} bytes instead of {expected}").into())
}

fn streamtype() -> ToProxy<'static> {
    ToProxy::Streamtype(Streamtype {
        version: VERSION,
        pid: 1,
        tx_credit: CREDIT_UNLIMITED,
        name: b"raw",
    })
}

fn current_thread(work: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// A session of a proxy with a raw stream: messages that come back, or transfers of 64 KiB to the
/// client.
async fn relay(times: usize, messages: bool) -> Result<(), Failed> {
    let origin = TcpListener::bind("127.0.0.1:0").await?;
    let port = origin.local_addr()?.port();
    tokio::spawn(async move {
        let (mut socket, _) = origin.accept().await?;
        if messages {
            let (mut reader, mut writer) = socket.split();
            tokio::io::copy(&mut reader, &mut writer).await?;
            return Ok(());
        }
        for _ in 0..times {
            socket.write_all(&[7; TRANSFER]).await?;
        }
        socket.read_u8().await?;
        Ok::<(), std::io::Error>(())
    });
    let policy = format!(
        r#"{{"s": [{{"raw": {{"endpoint": "127.0.0.1", "port": {port}, "protocol": "raw"}}}}]}}"#
    );
    let parsed = Policy::parse(&Source::new("policy", &policy));
    let policy = parsed.map_err(|report| format!("{report:?}"))?.policy;
    let proxy = Proxy::new(Config::new(policy))?;
    let (far, near) = duplex(TRANSFER);
    let (reader, writer) = split(near);
    tokio::spawn(proxy.handle().serve_link(reader, writer, "bench"));

    let mut client = Link { far, decoder: ToClientDecoder::new(), connected: false, received: 0 };
    client.send(streamtype()).await?;
    client.send(ToProxy::OnwardConnect).await?;
    while !client.connected {
        client.receive().await?;
    }
    for sent in 1..=times {
        let length = if messages { MESSAGE.len() } else { TRANSFER };
        if messages {
            let head = PayloadHead::new(Flags::SOM | Flags::EOM);
            let piece = Piece::whole(MESSAGE).ok_or("too long")?;
            client.send(ToProxy::Payload { head, rideshare: None, piece }).await?;
        }
        while client.received < sent * length {
            client.receive().await?;
        }
    }
    Ok(())
}

/// A client's end of a link.
struct Link {
    far: DuplexStream,
    decoder: ToClientDecoder,
    connected: bool,
    /// Bytes of payload.
    received: usize,
}

impl Link {
    async fn send(&mut self, frame: ToProxy<'_>) -> Result<(), Failed> {
        let mut buffer = [0; 256];
        let length = frame.encode(&mut buffer)?;
        Ok(self.far.write_all(buffer.get(..length).unwrap_or_default()).await?)
    }

    async fn receive(&mut self) -> Result<(), Failed> {
        let mut buffer = [0; 16 * 1024];
        let length = self.far.read(&mut buffer).await?;
        if length == 0 {
            return Err("the proxy closed".into());
        }
        let mut input = buffer.get(..length).unwrap_or_default();
        while let Some(frame) = self.decoder.next(&mut input)? {
            match frame {
                ToClient::State { state: State::Connected, .. } => self.connected = true,
                ToClient::Payload { piece, .. } => self.received += piece.data.len(),
                _ => {}
            }
        }
        Ok(())
    }
}
