//! `sspc bridge`: programs, bridge, line, proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::Signal;
use sspc_sim::{Cable, DeployedReader};
use sspc_wire::limits::{CREDIT_UNLIMITED, MUX_CHANNELS_MAX};
use sspc_wire::{Flags, PayloadHead, Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};

use crate::support::line::{Bridge, FAST, Gateway, PATIENT, serial};
use crate::support::origin::{HELLO, MESSAGES, Origin};
use crate::support::{
    Proxy, Stderr, assert_exit, finish, random_address, run, signal, sspc, text, wait,
};

#[test]
fn programs_use_the_line_at_the_same_time() {
    let gateway = Gateway::start(PATIENT);
    let bridge = Bridge::start(&gateway);
    let large = bridge.cat_spawn(&["any", "--meta", "path=zeros/400000"]);
    let messages = bridge.cat_spawn(&["messages"]);
    let hello = bridge.cat_spawn(&["hello"]);
    let [large, messages, hello] = [large, messages, hello].map(|child| finish(child, b""));
    assert_exit(&large, 0);
    assert!(large.stdout == vec![0; 400_000], "{} bytes", large.stdout.len());
    assert_exit(&messages, 0);
    assert_eq!(text(&messages.stdout), MESSAGES.concat());
    assert_exit(&hello, 0);
    assert_eq!(hello.stdout, HELLO);
}

#[test]
fn the_default_profile_of_clients_and_all_kinds_of_sockets_work() {
    let gateway = Gateway::start(PATIENT);
    let dir = tempfile::tempdir().unwrap();
    let file = format!("uds:{}", dir.path().join("proxy.sock").display());
    let more = ["--listen", &format!("{file}?mode=0600"), "--listen", "tcp:127.0.0.1:0"];
    let mut command = sspc(&["bridge", "--proxy", &gateway.device(), "--listen"]);
    let mut child =
        command.arg(random_address()).args(more).stderr(Stdio::piped()).spawn().unwrap();
    let ready = Stderr::of(&mut child).wait_for("ready: listening on ");
    let listed = ready.split_once("listening on ").unwrap().1.split_once(", to the proxy").unwrap();
    let addresses: Vec<_> = listed.0.split(", ").collect();
    assert_eq!(addresses.len(), 3, "{ready}");
    for address in addresses {
        let address = address.split('?').next().unwrap();
        let output = run(&["cat", "--proxy", address, "hello"]);
        assert_exit(&output, 0);
        assert_eq!(output.stdout, HELLO);
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(wait(&mut child).code(), Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the socket file is left");
}

#[test]
fn cat_needs_no_bridge_for_itself() {
    let gateway = Gateway::start(PATIENT);
    for _ in 0..2 {
        let output = run(&["cat", "--proxy", &gateway.device(), "hello", "--timeout", "40"]);
        assert_exit(&output, 0);
        assert_eq!(output.stdout, HELLO);
    }
    gateway.cable.cut();
    let output = run(&["cat", "--proxy", &gateway.device(), "hello"]);
    assert_exit(&output, 8);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("nobody answers at the other end of the line"), "{stderr}");
}

#[test]
fn a_cut_cable_ends_streams_and_they_come_back_with_it() {
    let gateway = Gateway::start(FAST);
    let mut bridge = Bridge::start(&gateway);
    // It may be up before the bridge is ready.
    bridge.stderr.wait_for_once("link up");
    let mut silent = bridge.cat_spawn(&["silent", "--states"]);
    let mut states = BufReader::new(silent.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(states.any(|line| line.ends_with(" CONNECTING")));

    gateway.cable.cut();
    bridge.stderr.wait_for("link down");
    let rest: Vec<_> = states.collect();
    assert_eq!(wait(&mut silent).code(), Some(8), "{rest:?}");
    // A new connection waits for the line, and is closed when that does not come up.
    let output = bridge.cat(&["hello"]);
    assert_exit(&output, 8);
    // It said that there is no proxy, and to start one at the bridge's address.
    let stderr = text(&output.stderr);
    assert!(stderr.contains("closed the connection before it answered"), "{stderr}");
    assert!(stderr.contains("its line is down"), "{stderr}");
    bridge.stderr.wait_for("turned away: nobody answers at the other end of the line");

    gateway.cable.restore();
    bridge.stderr.wait_for("link up");
    // A busy machine may lose the link once more.
    while bridge.cat(&["hello"]).stdout != HELLO {}
}

#[test]
fn a_connection_waits_for_the_link() {
    let gateway = Gateway::start(FAST);
    gateway.cable.cut();
    let bridge = Bridge::start(&gateway);
    let waiting = bridge.cat_spawn(&["hello"]);
    thread::sleep(Duration::from_millis(300));
    gateway.cable.restore();
    let output = finish(waiting, b"");
    assert_exit(&output, 0);
    assert_eq!(output.stdout, HELLO);
}

#[test]
fn either_side_may_be_killed_and_come_back() {
    let mut gateway = Gateway::start(PATIENT);
    let mut bridge = Bridge::start(&gateway);
    for round in 0..4 {
        let mut child = bridge.cat_spawn(&["any", "--meta", "path=zeros/100000000"]);
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 5000]).unwrap();
        if round % 2 == 0 {
            bridge.restart(&gateway);
        } else {
            gateway.restart();
        }
        assert_exit(&finish(child, b""), 8);
        assert_eq!(bridge.cat(&["hello"]).stdout, HELLO);
    }
}

/// A program of the plainest kind: unlimited credit, no retries.
struct Program {
    socket: UnixStream,
    decoder: ToClientDecoder,
    /// Bytes that came.
    payload: u64,
    /// How many of the first of them may be anything; the others are zeros.
    skip: usize,
    states: Vec<State>,
}

impl Program {
    fn connect(bridge: &Bridge) -> Self {
        let name = bridge.address.strip_prefix("uds:@").unwrap();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixStream::connect_addr(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, decoder: ToClientDecoder::new(), payload: 0, skip: 0, states: Vec::new() }
    }

    fn send(&mut self, frame: &ToProxy<'_>) {
        let mut bytes = [0; 300];
        let length = frame.encode(&mut bytes).unwrap();
        self.socket.write_all(&bytes[..length]).unwrap();
    }

    fn open(&mut self, name: &[u8]) {
        let tx_credit = CREDIT_UNLIMITED;
        self.send(&ToProxy::Streamtype(Streamtype { version: 1, pid: 7, tx_credit, name }));
    }

    /// Opens a stream that brings so many bytes.
    fn ask(&mut self, bytes: u64) {
        self.open(b"any");
        self.ask_path(bytes);
    }

    fn ask_path(&mut self, bytes: u64) {
        let path = format!("zeros/{bytes}");
        let value = Piece::whole(path.as_bytes()).unwrap();
        self.send(&ToProxy::Metadata { name: b"path", value });
        self.send(&ToProxy::OnwardConnect);
    }

    /// The first CREATE_RESULT; `None` at the end of the connection.
    fn result(&mut self) -> Option<u8> {
        loop {
            let mut byte = [0];
            if self.socket.read(&mut byte).unwrap() == 0 {
                return None;
            }
            // Byte by byte, so that nothing behind it is taken.
            if let Some(ToClient::CreateResult { result, .. }) =
                self.decoder.next(&mut &byte[..]).unwrap()
            {
                return Some(result);
            }
        }
    }

    /// Reads until so many bytes of payload came, at least.
    fn read(&mut self, bytes: u64) {
        while self.payload < bytes {
            self.read_some();
        }
    }

    /// Reads until this state came.
    fn read_to(&mut self, state: State) {
        while !self.states.contains(&state) {
            self.read_some();
        }
    }

    fn read_some(&mut self) {
        let mut room = [0; 2048];
        let length = self.socket.read(&mut room).unwrap();
        assert!(length > 0, "the stream ends after {} bytes", self.payload);
        let mut input = &room[..length];
        while let Some(frame) = self.decoder.next(&mut input).unwrap() {
            match frame {
                ToClient::Payload { piece, .. } => {
                    self.payload += piece.data.len() as u64;
                    let zeros = piece.data.get(self.skip..).unwrap_or_default();
                    self.skip = self.skip.saturating_sub(piece.data.len());
                    assert!(zeros.iter().all(|byte| *byte == 0));
                }
                ToClient::State { state, .. } => self.states.push(state),
                ToClient::TxCredit(_) => panic!("this one is for the bridge"),
                _ => {}
            }
        }
    }
}

/// Without the bridge's credit its line would have to keep all that comes for the program, and
/// close the channel.
#[test]
fn a_program_that_stops_reading_stalls_nobody_and_gets_every_byte_later() {
    const LARGE: u64 = 4 << 20;
    let gateway = Gateway::start(PATIENT);
    let mut bridge = Bridge::start(&gateway);
    let mut stalled = Program::connect(&bridge);
    stalled.ask(LARGE);
    stalled.read(1);
    // This one manages its credit, and gives more than a line keeps.
    let managing = bridge.cat_spawn(&["any", "--meta", "path=zeros/6000000"]);

    let other = bridge.cat(&["any", "--meta", "path=zeros/2000000"]);
    assert_exit(&other, 0);
    assert_eq!(other.stdout.len(), 2_000_000);
    assert_eq!(bridge.cat(&["hello"]).stdout, HELLO);

    stalled.read(LARGE);
    assert_eq!(stalled.payload, LARGE);
    let managing = finish(managing, b"");
    assert_exit(&managing, 0);
    assert_eq!(managing.stdout.len(), 6_000_000);
    signal(&bridge.child, Signal::SIGTERM);
    assert!(!bridge.stderr.rest().iter().any(|line| line.contains("reader is")));
}

/// A server that does not read the body of its one request before it is told to; then it gives it.
/// The bridge wrote while its program had not read all: frames came in two reads then, and deployed
/// programs hand those on as two, each with EOM.
#[test]
fn a_deployed_program_that_reads_slowly_hears_of_each_end_once() {
    let gateway = Gateway::start(PATIENT);
    let bridge = Bridge::start(&gateway);
    let mut program = Program::connect(&bridge);
    program.ask(150_000);
    let mut reader = DeployedReader::default();
    let (mut begun, mut ended, mut received) = (0, 0, 0);
    for turn in 0.. {
        let mut room = [0; DeployedReader::READ_MAX];
        let length = program.socket.read(&mut room).unwrap();
        assert!(length > 0, "the stream ends after {received} bytes");
        for call in reader.read(&room[..length]) {
            received += call.data.len();
            begun += usize::from(call.flags.contains(Flags::SOM));
            ended += usize::from(call.flags.contains(Flags::EOM));
        }
        assert!(reader.is_between_frames(), "a frame came in two reads");
        if ended > 0 {
            break;
        }
        if turn % 8 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    assert_eq!((received, begun, ended), (150_000, 1, 1));
}

/// A relay must not sleep with work left, however many frames come at once and however its program
/// reads.
#[test]
fn any_number_of_frames_at_once_goes_through() {
    let gateway = Gateway::start(PATIENT);
    let bridge = Bridge::start(&gateway);
    for count in [1_usize, 16, 17, 300, 5000] {
        for stops in [false, true] {
            let mut program = Program::connect(&bridge);
            program.open(b"upload");
            program.read_to(State::Creating);
            let mut out = Vec::new();
            let mut put = |frame: ToProxy<'_>| {
                let mut bytes = [0; 64];
                let length = frame.encode(&mut bytes).unwrap();
                out.extend_from_slice(&bytes[..length]);
            };
            put(ToProxy::LengthHint(3 * u32::try_from(count).unwrap()));
            put(ToProxy::OnwardConnect);
            for index in 0..count {
                let mut flags = Flags::NONE;
                if index == 0 {
                    flags |= Flags::SOM;
                }
                if index + 1 == count {
                    flags |= Flags::EOM;
                }
                let piece = Piece::whole(&[0; 3]).unwrap();
                put(ToProxy::Payload { head: PayloadHead::new(flags), rideshare: None, piece });
            }
            let mut socket = program.socket.try_clone().unwrap();
            let writing = thread::spawn(move || socket.write_all(&out));
            if stops {
                thread::sleep(Duration::from_millis(50));
            }
            let told = format!("length {}\n", 3 * count);
            program.skip = told.len();
            program.read_to(State::Disconnected);
            assert!(program.states.contains(&State::QosAckRemote), "{count}");
            assert_eq!(program.payload, (told.len() + 3 * count) as u64);
            writing.join().unwrap().unwrap();
        }
    }
}

fn slow_server(length: usize) -> (u16, Sender<()>, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        told.recv().unwrap();
        let mut body = vec![0; length];
        socket.read_exact(&mut body).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        body
    });
    (port, tell, server)
}

/// Without the bridge the proxy would have to keep all that such a program sends, and close the
/// channel.
#[test]
fn a_program_that_sends_faster_than_the_server_takes_is_slowed_down() {
    const LENGTH: usize = 8 << 20;
    let (port, go_on, server) = slow_server(LENGTH);
    let dir = tempfile::tempdir().unwrap();
    let cable = Cable::new(dir.path()).unwrap();
    let streamtype = |name, port, more| {
        format!(r#"{{"{name}": {{"endpoint": "127.0.0.1", "port": {port}, {more}}}}}"#)
    };
    let origin = Origin::start();
    let policy = format!(
        r#"{{"s": [{}, {}]}}"#,
        streamtype("slow", port, r#""http_url": "x", "http_method": "POST""#),
        streamtype("hello", origin.address.port(), r#""http_url": "hello""#),
    );
    let [device, gateway] = [0, 1].map(|side| serial(&cable, side, PATIENT));
    let _proxy = Proxy::start_at(&policy, &gateway, &[]);
    let bridge = Bridge::start_to(&random_address(), &device, &[]);

    let mut program = Program::connect(&bridge);
    program.open(b"slow");
    program.send(&ToProxy::LengthHint(LENGTH as u32));
    program.send(&ToProxy::OnwardConnect);
    program.read_to(State::Connected);
    let mut socket = program.socket.try_clone().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let writer = thread::spawn(move || {
        let pieces = LENGTH / 4096;
        for index in 0..pieces {
            let mut flags = Flags::NONE;
            if index == 0 {
                flags |= Flags::SOM;
            }
            if index + 1 == pieces {
                flags |= Flags::EOM;
            }
            let data = [index as u8; 4096];
            let piece = Piece::whole(&data).unwrap();
            let head = PayloadHead::new(flags);
            let mut frame = [0; 5000];
            let payload = ToProxy::Payload { head, rideshare: None, piece };
            let length = payload.encode(&mut frame).unwrap();
            socket.write_all(&frame[..length]).unwrap();
            counter.store(index, Ordering::Relaxed);
        }
    });
    // While it is held up, others are not.
    let mut seen = vec![0];
    while !matches!(*seen, [.., first, second, third] if first == second && second == third) {
        assert_eq!(bridge.cat(&["hello"]).stdout, HELLO);
        thread::sleep(Duration::from_millis(100));
        seen.push(written.load(Ordering::Relaxed));
    }
    assert!(!writer.is_finished(), "{seen:?}");
    go_on.send(()).unwrap();
    writer.join().unwrap();
    program.read_to(State::QosAckRemote);
    let body = server.join().unwrap();
    assert!(body.chunks(4096).enumerate().all(|(index, part)| part == [index as u8; 4096]));
}

/// Of 300 programs 47 got the end of their connection and no word, as if the line were down.
#[test]
fn more_programs_than_the_line_has_channels_are_refused_and_the_others_work() {
    let gateway = Gateway::start(PATIENT);
    let mut bridge = Bridge::start(&gateway);
    let mut programs: Vec<_> = (0..MUX_CHANNELS_MAX).map(|_| Program::connect(&bridge)).collect();
    for program in &mut programs {
        program.open(b"any");
        assert_eq!(program.result(), Some(0));
    }
    for _ in 0..47 {
        let mut program = Program::connect(&bridge);
        program.open(b"any");
        assert_eq!(program.result(), Some(1));
    }
    bridge.stderr.wait_for("turned away: all channels of the line are in use");
    let last = programs.last_mut().unwrap();
    last.ask_path(1000);
    last.read(1000);
    // There is room again when one leaves.
    programs.truncate(MUX_CHANNELS_MAX - 1);
    while bridge.cat(&["hello"]).stdout != HELLO {}
}

#[test]
fn what_is_wrong_on_one_connection_harms_that_one_alone() {
    let gateway = Gateway::start(PATIENT);
    let bridge = Bridge::start(&gateway);
    let mut good = Program::connect(&bridge);
    good.ask(300_000);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xaa, 0xff, 0xff, 1, 2, 3], &[0x58; 3000]] {
        let mut bad = Program::connect(&bridge);
        bad.socket.write_all(garbage).unwrap();
        // The proxy hangs up, or gives up waiting for the rest.
        let mut heard = Vec::new();
        let _ = bad.socket.read_to_end(&mut heard);
        assert_eq!(heard, b"");
    }
    good.read(300_000);
    assert_eq!(good.payload, 300_000);
}

#[test]
fn a_port_that_is_no_port_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let port = dir.path().join("none");
    let address = format!("serial:{}", port.display());
    let output = run(&["bridge", "--listen", &random_address(), "--proxy", &address]);
    assert_exit(&output, 1);
    let stderr = text(&output.stderr);
    assert!(stderr.contains(&address) && stderr.contains("plugged in"), "{stderr}");
    let output = run(&["bridge", "--listen", &address, "--proxy", &address]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("the line goes to --proxy"));
    let output = run(&["bridge", "--proxy", "uds:@name"]);
    assert_exit(&output, 2);
    assert!(text(&output.stderr).contains("write serial:/dev/name, udp:host:port?keys=/path or"));
}

#[test]
fn a_service_manager_is_told_how_it_goes() {
    let gateway = Gateway::start(PATIENT);
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).unwrap();
        text(&message[..length])
    };
    let (address, device) = (random_address(), gateway.device());
    let mut command = sspc(&["bridge", "--listen", &address, "--proxy", &device]);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let status = format!("listening on {address}, to the proxy at {device}");
    assert_eq!(told(), format!("READY=1\nSTATUS={status}\n"));
    signal(&child, Signal::SIGINT);
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(wait(&mut child).code(), Some(0));
}

/// Noise has the end that it reaches reset the link, so the other end hears of no more than that. Nobody
/// saw such losses without `-v`.
#[test]
fn a_link_that_the_peer_reset_is_a_warning_at_both_ends() {
    let mut gateway = Gateway::start(PATIENT);
    let mut bridge = Bridge::start(&gateway);
    assert_eq!(bridge.cat(&["hello"]).stdout, HELLO);
    bridge.restart(&gateway);
    let logged = gateway.proxy.wait_for("link down: the peer reset the link");
    assert!(logged.contains("WARN"), "{logged}");
    assert_eq!(bridge.cat(&["hello"]).stdout, HELLO);
    gateway.restart();
    let logged = bridge.stderr.wait_for("link down: the peer reset the link");
    assert!(logged.contains("WARN"), "{logged}");
}
