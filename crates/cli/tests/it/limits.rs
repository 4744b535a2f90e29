//! `sspc proxy` and `sspc bridge` at their limits.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use sspc_wire::limits::CREDIT_UNLIMITED;
use sspc_wire::{Piece, State, Streamtype, ToClient, ToClientDecoder, ToProxy};

use crate::support::origin::{HELLO, Origin};
use crate::support::{Proxy, random_address, signal, wait};

/// A client that is written frame by frame.
struct Client {
    link: UnixStream,
    decoder: ToClientDecoder,
    input: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Self {
        let name = address.strip_prefix("uds:@").unwrap();
        let link =
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        link.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { link, decoder: ToClientDecoder::new(), input: Vec::new() }
    }

    fn send(&mut self, frame: ToProxy<'_>) {
        let mut bytes = [0; 200];
        let length = frame.encode(&mut bytes).unwrap();
        // A proxy that does not listen shows in what is read.
        let _ = self.link.write_all(&bytes[..length]);
    }

    /// Asks for a stream; the result, or `None` if the proxy just hangs up.
    fn create(&mut self, name: &str) -> Option<u8> {
        let (tx_credit, name) = (CREDIT_UNLIMITED, name.as_bytes());
        self.send(ToProxy::Streamtype(Streamtype { version: 1, pid: 7, tx_credit, name }));
        self.find(|frame| match frame {
            ToClient::CreateResult { result, .. } => Some(result),
            _ => None,
        })
    }

    /// Connects onward; whether it comes to that.
    fn is_connected(&mut self, path: &str) -> bool {
        let value = Piece::whole(path.as_bytes()).unwrap();
        self.send(ToProxy::Metadata { name: b"path", value });
        self.send(ToProxy::OnwardConnect);
        let state = self.find(|frame| match frame {
            ToClient::State { state: state @ (State::Connected | State::Unreachable), .. } => {
                Some(state)
            }
            _ => None,
        });
        state == Some(State::Connected)
    }

    /// The first frame that is wanted; `None` at the end of the link.
    fn find<T>(&mut self, wanted: impl Fn(ToClient<'_>) -> Option<T>) -> Option<T> {
        loop {
            let mut rest = &self.input[..];
            let frame = self.decoder.next(&mut rest).unwrap();
            let is_out = frame.is_none();
            let found = frame.and_then(&wanted);
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if found.is_some() {
                return found;
            }
            if is_out {
                let mut bytes = [0; 2048];
                match self.link.read(&mut bytes) {
                    Ok(0) | Err(_) => return None,
                    Ok(length) => self.input.extend_from_slice(&bytes[..length]),
                }
            }
        }
    }
}

/// `sspc proxy` that may open so many descriptors, in this shell's words of `ulimit`.
fn start_with(ulimit: &str) -> Proxy {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.json");
    std::fs::write(&file, Origin::start().policy()).unwrap();
    let address = random_address();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {ulimit} && exec \"$@\""), "sh"])
        .args([env!("CARGO_BIN_EXE_sspc"), "proxy", "--listen", &address])
        .args(["--policy", file.to_str().unwrap()])
        .env_remove("RUST_LOG");
    Proxy::spawn(command, &address, dir)
}

/// With 256 descriptors and 400 clients, 246 were accepted, none of them could connect onward, and
/// the others waited in vain.
#[test]
fn streams_that_there_are_descriptors_for_work_and_others_are_refused_at_once() {
    let mut proxy = start_with("-n 128");
    let said = proxy.wait_for("sessions at a time");
    assert!(said.contains("128 descriptors; raise the process's limit"), "{said}");
    let (mut served, mut refused) = (Vec::new(), 0);
    for _ in 0..200 {
        let mut client = Client::connect(&proxy.address);
        match client.create("any") {
            Some(0) => served.push(client),
            // Turned away with a word, or without one while many are.
            Some(1) | None => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(served.len() >= 36, "only {} are served", served.len());
    assert_eq!(served.len() + refused, 200);
    for (number, client) in served.iter_mut().enumerate() {
        assert!(client.is_connected("zeros/100000000000"), "{number} cannot connect");
    }
    // The next client knows at once, and has room when another leaves.
    assert_eq!(Client::connect(&proxy.address).create("any"), Some(1));
    let said = proxy.wait_for("refused");
    assert!(said.contains("no more fit in 128 descriptors"), "{said}");
    served.truncate(20);
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
    let mut proxy = start_with("-S -n 64");
    proxy.wait_for("ready");
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::connect(&proxy.address);
            assert_eq!(client.create("any"), Some(0));
            client
        })
        .collect();
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
    drop(clients);
}

#[test]
fn limits_and_timeouts_are_set_on_the_command_line() {
    let more = ["--limit", "sessions_per_client=1", "--timeout", "streamtype=0.2"];
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &random_address(), &more);
    let mut first = Client::connect(&proxy.address);
    assert_eq!(first.create("hello"), Some(0));
    assert_eq!(Client::connect(&proxy.address).create("hello"), Some(1));
    let said = proxy.wait_for("refused");
    assert!(said.contains("--limit sessions_per_client=N raises that"), "{said}");
    drop(first);
    assert_eq!(Client::connect(&proxy.address).find(|_| Some(())), None);
    proxy.wait_for("no STREAMTYPE within 200ms");
}

/// They found their connections closed, and the log said nothing.
#[test]
fn who_is_turned_away_without_an_answer_is_in_the_log() {
    let address = random_address();
    let limits = ["--limit", "sessions=1", "--timeout", "streamtype=60"];
    let mut proxy = Proxy::start_at(&Origin::start().policy(), &address, &limits);
    let mut served = Client::connect(&proxy.address);
    assert_eq!(served.create("any"), Some(0));
    // 64 at most are kept to be told so.
    let _others: Vec<_> = (0..100).map(|_| Client::connect(&proxy.address)).collect();
    let said = proxy.wait_for("turned away without an answer");
    assert!(said.contains("--limit sessions=N raises that"), "{said}");
}

/// There was a line for each of them.
#[test]
fn refusals_of_one_client_are_one_line() {
    let mut proxy = Proxy::start(&Origin::start().policy());
    for number in 0..500 {
        assert_eq!(Client::connect(&proxy.address).create(&format!("n{number}")), Some(1));
    }
    assert_eq!(proxy.cat(&["hello"]).stdout, HELLO);
    signal(&proxy.child, Signal::SIGTERM);
    assert_eq!(wait(&mut proxy.child).code(), Some(0));
    let said = proxy.rest();
    let lines: Vec<_> = said.iter().filter(|line| line.contains("no streamtype")).collect();
    assert_eq!(lines.len(), 1, "{said:#?}");
    let me = nix::unistd::getuid();
    assert!(lines[0].contains(&format!("client=\"user {me}\"")), "{lines:#?}");
}
