//! A real mosquitto of the test's own, what it logged, and its own clients.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process;
use tokio::time::{sleep, timeout};

use crate::certificates::{self, GOOD};
use crate::user::PATIENCE;

/// How often one is started that finds its ports taken.
const STARTS_MAX: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Whom the guarded port lets in.
pub(crate) const USER: &str = "gate";
pub(crate) const PASSWORD: &str = "keeper";

/// Where it listens, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// For all.
    pub(crate) clear: u16,
    /// The same with TLS.
    pub(crate) tls: u16,
    /// For [`USER`].
    pub(crate) guarded: u16,
    /// MQTT over websockets.
    pub(crate) ws: u16,
}

impl Ports {
    /// Free a moment ago: someone else may be faster, then mosquitto is started again with others.
    fn pick() -> Self {
        let held: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut free = held.iter().map(|socket| socket.local_addr().unwrap().port());
        let mut next = || free.next().unwrap();
        Self { clear: next(), tls: next(), guarded: next(), ws: next() }
    }
}

/// A running mosquitto; it ends when dropped.
pub(crate) struct Mosquitto {
    folder: TempDir,
    child: Child,
    pub(crate) ports: Ports,
    /// The authority behind its certificate, as policies take it.
    pub(crate) authority: String,
}

impl Mosquitto {
    /// Starts it, and waits until it accepts.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = certificates::write(folder.path());
        let passwords = folder.path().join("passwords");
        run("mosquitto_passwd", |command| {
            command.arg("-b").arg("-c").arg(&passwords).args([USER, PASSWORD]).status()
        });
        for _ in 0..STARTS_MAX {
            let ports = Ports::pick();
            let config = configuration(folder.path(), &ports);
            fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
            let mut child = spawn(folder.path(), false);
            if accepts(&mut child, folder.path(), 0).await {
                return Self { folder, child, ports, authority };
            }
        }
        panic!("mosquitto found its ports taken {STARTS_MAX} times");
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same ports, with the same log, without any session.
    pub(crate) async fn start_again(&mut self) {
        // Others may have a port for a moment, at their end of a connection.
        let coming_back = async {
            loop {
                let starts = self.count("mosquitto version");
                self.child = spawn(self.folder.path(), true);
                if accepts(&mut self.child, self.folder.path(), starts / 2).await {
                    break;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, coming_back).await.expect("someone else has the ports");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How many lines of its log have this text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until this many lines of its log have this text.
    pub(crate) async fn until_logged(&self, text: &str, count: usize) {
        let enough = async {
            while self.count(text) < count {
                sleep(LOOK_AGAIN).await;
            }
        };
        let in_time = timeout(PATIENCE, enough).await;
        assert!(in_time.is_ok(), "not {count} times {text:?}:\n{}", self.log());
    }

    /// Ends the connection of the proxy that came last, without a goodbye: another client takes its id.
    pub(crate) async fn kick(&self) {
        let log = self.log();
        let ids =
            log.lines().filter_map(|line| Some(line.split_once(" as ")?.1.split_once(' ')?.0));
        // As long as those that the proxy makes up.
        let id = ids.rev().find(|id| id.len() == 23).expect("the proxy has no connection");
        self.publish("kicked", b"", &["-i", id]).await;
    }

    /// Publishes with mosquitto's own client.
    pub(crate) async fn publish(&self, topic: &str, message: &[u8], options: &[&str]) {
        let file = self.folder.path().join("message");
        fs::write(&file, message).unwrap();
        let port = self.ports.clear.to_string();
        let publishing = process::Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-t", topic, "-f"])
            .arg(&file)
            .args(options)
            .status();
        let status = timeout(PATIENCE, publishing).await.expect("mosquitto_pub does not end");
        assert!(status.expect("mosquitto-clients is installed").success());
    }

    /// Subscribes with mosquitto's own client, until so many messages came.
    pub(crate) async fn subscribe(&self, id: &str, filter: &str, count: usize) -> Subscriber {
        let (port, count) = (self.ports.clear.to_string(), count.to_string());
        let child = process::Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port, "-i", id, "-t", filter, "-q", "2"])
            .args(["-C", &count, "-F", "%t %q %r %l %x"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("mosquitto-clients is installed");
        self.until_logged(&format!("Sending SUBACK to {id}"), 1).await;
        Subscriber { child }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have died by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `mosquitto_sub` at work.
pub(crate) struct Subscriber {
    child: process::Child,
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload: Vec<u8>,
}

impl Arrived {
    pub(crate) fn new(topic: &str, qos: u8, retain: bool, payload: &[u8]) -> Self {
        Self { topic: topic.to_owned(), qos, retain, payload: payload.to_vec() }
    }
}

impl Subscriber {
    /// All that came, once it was as much as was asked for.
    pub(crate) async fn arrived(self) -> Vec<Arrived> {
        let output = timeout(PATIENCE, self.child.wait_with_output()).await;
        let output = output.expect("fewer messages than were waited for").unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(arrived).collect()
    }
}

fn arrived(line: &str) -> Arrived {
    let [topic, qos, retain, length, hex] = line.splitn(5, ' ').collect::<Vec<_>>()[..] else {
        panic!("not a message: {line:?}");
    };
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let payload: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    assert_eq!(payload.len().to_string(), length);
    Arrived::new(topic, qos.parse().unwrap(), retain == "1", &payload)
}

fn configuration(folder: &Path, ports: &Ports) -> String {
    let Ports { clear, tls, guarded, ws } = ports;
    let folder = folder.display();
    format!(
        "per_listener_settings true\nuser root\nlog_dest file {folder}/log\nlog_type all\n\
         max_queued_messages 0\n\
         listener {clear} 127.0.0.1\nallow_anonymous true\n\
         listener {tls} 127.0.0.1\nallow_anonymous true\n\
         certfile {folder}/{GOOD}.pem\nkeyfile {folder}/{GOOD}.key\n\
         listener {ws} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n\
         listener {guarded} 127.0.0.1\nallow_anonymous false\npassword_file {folder}/passwords\n"
    )
}

/// Runs a program that may be in a folder of system programs, which are not in everyone's PATH.
fn run<T>(name: &str, start: impl Fn(&mut Command) -> std::io::Result<T>) -> T {
    let missing = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
    let started = match start(&mut Command::new(name)) {
        Err(error) if missing(&error) => start(&mut Command::new(format!("/usr/sbin/{name}"))),
        result => result,
    };
    match started {
        Ok(result) => result,
        Err(error) if missing(&error) => panic!(
            "{name} is not installed: these tests need a real broker; scripts/test installs it"
        ),
        Err(error) => panic!("{name} cannot be started: {error}"),
    }
}

fn spawn(folder: &Path, again: bool) -> Child {
    if !again {
        // What it says of taken ports is to be about these.
        let _ = fs::remove_file(folder.join("log"));
    }
    run("mosquitto", |command| {
        let stderr = File::create(folder.join("stderr")).unwrap();
        command
            .arg("-c")
            .arg(folder.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
    })
}

/// Waits until it has begun once more than `starts` times; false if a port was taken.
async fn accepts(child: &mut Child, folder: &Path, starts: usize) -> bool {
    let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let comes_up = async {
        // It says so when all sockets listen.
        while read("log").matches(" running").count() <= starts {
            if let Some(status) = child.try_wait().unwrap() {
                return Err(status);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    };
    let result = timeout(PATIENCE, comes_up).await;
    if let Ok(Ok(())) = result {
        return true;
    }
    let _ = child.kill();
    let _ = child.wait();
    let said = read("stderr") + &read("log");
    assert!(
        said.contains("Address already in use"),
        "mosquitto does not come up: {result:?}\n{said}"
    );
    false
}
