//! The example for POSIX as it is run: at a serial port, with a proxy behind it or none.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use sspc::State;
use sspc_arq::{Arq, Checked, Choice, Config as Packets, Framing, Input, SoftCrc};
use sspc_mux::{Config, Event, Mux, Priority, Role};
use sspc_sim::Cable;
use sspc_sim::frames::{Owned, encode_all};
use sspc_wire::ToClientDecoder;

use crate::{PREFIX_WITH_PACKETS, compile, compile_with};

/// More than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn it_says_what_is_wrong() {
    let program = compile("posix", "gcc", &["-std=gnu99", "-Wshadow"], &["examples/c/posix.c"]);
    let output = Command::new(&program).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = Command::new(&program).args(["/dev/null/nothing", "page"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("/dev/null/nothing: "));
}

/// It runs at side 0 of the cable.
fn example(name: &str, cable: &Cable) -> Child {
    let program = compile(name, "gcc", &["-std=gnu99"], &["examples/c/posix.c"]);
    Command::new(&program).arg(cable.port(0)).arg("page").stderr(Stdio::piped()).spawn().unwrap()
}

/// Its exit code, and what it said.
fn end(mut example: Child) -> (Option<i32>, String) {
    let limit = Instant::now() + LIMIT;
    let status = loop {
        match example.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() < limit => std::thread::yield_now(),
            None => {
                example.kill().unwrap();
                panic!("it does not end");
            }
        }
    };
    (status.code(), std::io::read_to_string(example.stderr.take().unwrap()).unwrap())
}

/// It went on for ever, busy with reading nothing, when its port was gone.
#[test]
fn it_ends_when_its_port_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    let example = example("gone", &cable);
    let limit = Instant::now() + LIMIT;
    while cable.passed() == 0 {
        assert!(Instant::now() < limit, "it says nothing");
        std::thread::yield_now();
    }
    cable.unplug(0).unwrap();
    let (code, said) = end(example);
    assert_eq!(code, Some(2));
    assert!(said.contains(" is gone\n"), "{said}");
}

/// At a server without a verdict, or whose certificate is wrong, it waited for ever.
#[test]
fn it_ends_however_its_transaction_does() {
    use State::{
        AllRetriesFailed, AuthFailed, Connected, Connecting, Creating, Disconnected, QosAckRemote,
        QosNackRemote, Unreachable,
    };
    let ways = [
        (0, &[Creating, Connecting, Connected, QosAckRemote, Disconnected][..]),
        (1, &[Creating, Connecting, Connected, QosNackRemote, Disconnected]),
        (1, &[Creating, Connecting, Connected, Disconnected]),
        (1, &[Creating, Connecting, Unreachable, AllRetriesFailed]),
        (1, &[Creating, Connecting, AuthFailed]),
    ];
    for (code, states) in ways {
        let folder = tempfile::tempdir().unwrap();
        let cable = Cable::new(folder.path()).unwrap();
        let example = example("ends", &cable);
        let proxy = std::thread::spawn({
            let port = cable.port(1);
            let states = states.to_vec();
            move || proxy(&port, &states, Choice::Plain, 0)
        });
        let (ended, said) = end(example);
        assert_eq!(ended, Some(code), "{states:?}: {said}");
        cable.unplug(1).unwrap();
        proxy.join().unwrap();
    }
}

/// A line that loses each 150th byte costs no link and no stream.
#[test]
fn its_packets_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cable = Cable::new(folder.path()).unwrap();
    let options = ["-std=gnu99", "-Wall", "-Wextra", "-Werror", "-DPACKETS"];
    let source = ["examples/c/posix.c"];
    let program = compile_with(&PREFIX_WITH_PACKETS, "packets", "gcc", &options, &source);
    let example = Command::new(program)
        .arg(cable.port(0))
        .arg("page")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let port = cable.port(1);
    let states =
        [State::Creating, State::Connecting, State::Connected, State::QosAckRemote].to_vec();
    let proxy = std::thread::spawn(move || proxy(&port, &states, Choice::Auto, 150));
    let (ended, said) = end(example);
    assert_eq!(ended, Some(0), "{said}");
    cable.unplug(1).unwrap();
    proxy.join().unwrap();
}

/// A proxy that creates the first stream and tells it these states, until its port is gone. Of
/// what passes one byte of so many is lost; 0 if none.
fn proxy(port: &std::path::Path, states: &[State], choice: Choice, loses: usize) {
    let mut port = std::fs::File::options().read(true).write(true).open(port).unwrap();
    let (heard, hears) = mpsc::channel();
    let mut reads = port.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 500];
        while let Ok(length @ 1..) = reads.read(&mut buf) {
            if heard.send(buf[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let created = Owned::CreateResult { result: 0, client_buflen: 0, list: b",page".to_vec() };
    let frames: Vec<_> =
        [created].into_iter().chain(states.iter().map(|state| Owned::State(*state, 0))).collect();
    let mut says = encode_all::<ToClientDecoder>(&frames);
    let mut mux = Mux::new(Role::Proxy, Config::DEFAULT, 1);
    let (storage, replay) = (vec![0; 4096], vec![0; 4096]);
    let packets = Packets { packet_max: 200, ..Packets::DEFAULT };
    let arq = Arq::new(Role::Proxy, packets, 1, Checked::new(SoftCrc), storage, replay);
    let mut framing = Framing::new(choice, arq);
    let mut passed = 0;
    let mut wire = |bytes: &[u8]| -> Vec<u8> {
        let kept = bytes.iter().filter(|_| {
            passed += 1;
            loses == 0 || passed % loses > 0
        });
        kept.copied().collect()
    };
    let start = Instant::now();
    loop {
        let bytes = match hears.recv_timeout(Duration::from_millis(5)) {
            Ok(bytes) => bytes,
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let now = sspc::Instant::from_millis(1000 + start.elapsed().as_millis() as u64);
        let came = wire(&bytes);
        let mut came = &came[..];
        let mut is_all = false;
        while !is_all {
            let mut input: &[u8] = &[];
            match framing.receive(now, &mut came, &mux) {
                Some(Input::Bytes(bytes)) => input = bytes,
                Some(Input::Reset) => mux.reset(),
                None => is_all = true,
            }
            while let Some(event) = mux.receive(now, &mut input).or_else(|| mux.handle_timeout(now))
            {
                match event {
                    Event::ChannelRequested { channel } => {
                        mux.accept(channel, Priority::LOWEST).unwrap()
                    }
                    Event::Data { channel, .. } => mux.wants_to_send(channel, true),
                    _ => {}
                }
            }
        }
        let mut out = [0; 1500];
        let mut source = |_, buf: &mut [u8]| {
            let length = says.len().min(buf.len());
            buf.iter_mut().zip(says.drain(..length)).for_each(|(to, from)| *to = from);
            length
        };
        let mut mux = |room: &mut [u8]| mux.transmit(now, room, &mut source).unwrap();
        let length = framing.transmit(now, &mut out, &mut mux);
        if port.write_all(&wire(&out[..length])).is_err() {
            return;
        }
    }
}
