//! A real nginx of the test's own, and what it logged.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::certificates::{self, EXPIRED, GOOD, SELF_SIGNED, WRONG_HOST};
use crate::content;
use crate::user::PATIENCE;

/// What `small.txt` holds.
pub(crate) const SMALL: &[u8] = b"Hello from nginx.\n";
/// How long `mib.bin` is: content from its beginning.
pub(crate) const MIB: u64 = 1 << 20;
/// How long `big.bin` is, if it was asked for.
pub(crate) const BIG: u64 = 64 << 20;

/// How long `page.bin` is, of the same content.
pub(crate) const PAGE: usize = 20_000;

/// How often an nginx is started that finds its ports taken.
const STARTS_MAX: usize = 5;
const PID_FILE: &str = "nginx.pid";
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What tests may choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// `http2_max_concurrent_streams`; nginx's default if `None`.
    pub(crate) h2_streams: Option<u32>,
    /// Whether `big.bin` is there: writing it takes its time.
    pub(crate) big: bool,
    /// `keepalive_requests`: after so many a connection is closed, with h2 by a GOAWAY.
    pub(crate) requests_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { h2_streams: Some(256), big: false, requests_max: 10_000 }
    }
}

/// Where it listens, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// Without TLS, http/1.1.
    pub(crate) clear: u16,
    /// With TLS, http/1.1 only.
    pub(crate) tls: u16,
    /// With TLS, h2 and http/1.1.
    pub(crate) h2: u16,
    /// Without TLS, h2 by prior knowledge.
    pub(crate) h2c: u16,
    pub(crate) wrong_host: u16,
    pub(crate) expired: u16,
    pub(crate) self_signed: u16,
}

impl Ports {
    /// Free a moment ago: someone else may be faster, then nginx is started again with others.
    fn pick() -> Self {
        let held: Vec<_> = (0..7).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut free = held.iter().map(|socket| socket.local_addr().unwrap().port());
        let mut next = || free.next().unwrap();
        Self {
            clear: next(),
            tls: next(),
            h2: next(),
            h2c: next(),
            wrong_host: next(),
            expired: next(),
            self_signed: next(),
        }
    }
}

/// A request, as nginx logged it at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The number of the TCP connection that it came over.
    pub(crate) connection: u64,
    /// The how manyth of that connection, from 1.
    pub(crate) nth: u64,
    /// The port that it came to.
    pub(crate) port: u16,
    /// For instance `HTTP/2.0`.
    pub(crate) protocol: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// 499 if the client went away.
    pub(crate) status: u16,
}

/// A running nginx; it ends when dropped.
pub(crate) struct Nginx {
    folder: TempDir,
    child: Child,
    pub(crate) ports: Ports,
    /// The authority behind the good certificates, as policies take it.
    pub(crate) authority: String,
}

impl Nginx {
    /// Starts it, with what it passes to `origin`, and waits until it accepts.
    pub(crate) async fn start(origin: SocketAddr, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = certificates::write(folder.path());
        write_files(&folder.path().join("www"), options.big);
        for _ in 0..STARTS_MAX {
            let ports = Ports::pick();
            let config = configuration(folder.path(), &ports, origin, options);
            fs::write(folder.path().join("nginx.conf"), config).unwrap();
            // What it says of taken ports is to be about these.
            let _ = fs::remove_file(folder.path().join("error.log"));
            let mut child = spawn(folder.path());
            if accepts(&mut child, folder.path()).await {
                return Self { folder, child, ports, authority };
            }
        }
        panic!("nginx found its ports taken {STARTS_MAX} times");
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::remove_file(self.folder.path().join(PID_FILE)).unwrap();
    }

    /// Starts it again at the same ports, with the same log.
    pub(crate) async fn start_again(&mut self) {
        // Others may have a port for a moment, at their end of a connection.
        let coming_back = async {
            loop {
                let _ = fs::remove_file(self.folder.path().join("error.log"));
                self.child = spawn(self.folder.path());
                if accepts(&mut self.child, self.folder.path()).await {
                    break;
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, coming_back).await.expect("someone else has the ports");
    }

    /// The requests that have ended so far. What was none at all, such as TLS to a clear port, is
    /// not among them.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        // The last line may still be on its way.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(parse).filter(|request| request.method != "-").collect()
    }

    /// Waits until this many requests have ended; those are all there were if none is running.
    pub(crate) async fn requests_when(&self, count: usize) -> Vec<Request> {
        let enough = async {
            while self.requests().len() < count {
                sleep(LOOK_AGAIN).await;
            }
        };
        let in_time = timeout(PATIENCE, enough).await.is_ok();
        let requests = self.requests();
        assert!(in_time && requests.len() == count, "not {count} requests: {requests:#?}");
        requests
    }

    /// How many TCP connections these requests came over.
    pub(crate) fn connections(requests: &[Request]) -> usize {
        requests.iter().map(|request| request.connection).collect::<BTreeSet<_>>().len()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have died by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    let start = |program: &str| {
        let stderr = File::create(folder.join("stderr.log")).unwrap();
        Command::new(program)
            .arg("-p")
            .arg(folder)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
    };
    let missing = |error: &std::io::Error| error.kind() == ErrorKind::NotFound;
    // Not everyone has the folders of system programs in the PATH.
    let started = match start("nginx") {
        Err(error) if missing(&error) => start("/usr/sbin/nginx"),
        result => result,
    };
    match started {
        Ok(child) => child,
        Err(error) if missing(&error) => panic!(
            "nginx is not installed: the end-to-end tests need a real server; scripts/test installs it"
        ),
        Err(error) => panic!("nginx cannot be started: {error}"),
    }
}

/// Waits until every port accepts; false if one was taken.
async fn accepts(child: &mut Child, folder: &Path) -> bool {
    let pid_file = folder.join(PID_FILE);
    let said = || {
        let read = |name| fs::read_to_string(folder.join(name)).unwrap_or_default();
        read("stderr.log") + &read("error.log")
    };
    // It is written when all sockets listen. To connect would not do: someone else may answer at
    // the port that this nginx did not get, and it does not give up at once.
    let listens = async {
        while !pid_file.exists() {
            if said().contains("Address already in use") {
                return Ok(false);
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Err(status);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(true)
    };
    let result = timeout(PATIENCE, listens).await;
    if let Ok(Ok(true)) = result {
        return true;
    }
    let _ = child.kill();
    let _ = child.wait();
    if let Ok(Ok(false)) = result {
        return false;
    }
    panic!("nginx does not come up: {result:?}\n{}", said());
}

fn write_files(folder: &Path, big: bool) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("small.txt"), SMALL).unwrap();
    fs::write(folder.join("empty.bin"), b"").unwrap();
    fs::write(folder.join("page.bin"), content::whole(PAGE)).unwrap();
    fs::write(folder.join("mib.bin"), content::whole(MIB as usize)).unwrap();
    if big {
        let mut file = File::create(folder.join("big.bin")).unwrap();
        let step = 1 << 19;
        for offset in (0..BIG).step_by(step) {
            file.write_all(&content::piece(offset, step)).unwrap();
        }
    }
}

fn configuration(folder: &Path, ports: &Ports, origin: SocketAddr, options: Options) -> String {
    let Ports { clear, tls, h2, h2c, wrong_host, expired, self_signed } = *ports;
    let folder = folder.display();
    let h2_streams = options
        .h2_streams
        .map_or(String::new(), |streams| format!("http2_max_concurrent_streams {streams};"));
    let requests_max = options.requests_max;
    let locations = locations(ports, origin);
    let server = |port: u16, how: &str, certificate: Option<&str>| {
        let certificate = certificate.map_or(String::new(), |name| {
            format!("ssl_certificate {name}.pem; ssl_certificate_key {name}.key;")
        });
        format!("server {{ listen 127.0.0.1:{port} {how}; {certificate}\n{locations} }}\n")
    };
    let servers = [
        server(clear, "", None),
        server(tls, "ssl", Some(GOOD)),
        server(h2, "ssl http2", Some(GOOD)),
        server(h2c, "http2", None),
        server(wrong_host, "ssl", Some(WRONG_HOST)),
        server(expired, "ssl", Some(EXPIRED)),
        server(self_signed, "ssl", Some(SELF_SIGNED)),
    ]
    .concat();
    format!(
        "daemon off; master_process off; pid {PID_FILE};
        events {{ worker_connections 4096; }}
        http {{
            log_format line '$connection $connection_requests $server_port $server_protocol '
                '$request_method $request_uri $status';
            access_log {folder}/access.log line;
            client_body_temp_path client; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi; scgi_temp_path scgi;
            types {{ text/plain txt; }}
            default_type application/octet-stream;
            root {folder}/www;
            client_max_body_size 0;
            keepalive_requests {requests_max};
            {h2_streams}
            {servers}
        }}\n"
    )
}

fn locations(ports: &Ports, origin: SocketAddr) -> String {
    let Ports { clear, tls, .. } = ports;
    format!(
        "location = /status/204 {{ return 204; }}
        location = /status/404 {{ return 404 'not here'; }}
        location = /status/500 {{ return 500 'broken'; }}
        location = /cookies {{
            add_header set-cookie 'session=7; Path=/';
            return 200 'had $http_cookie';
        }}
        location = /trailers {{
            try_files /small.txt =404;
            add_trailer grpc-status 0;
            add_trailer grpc-message fine;
        }}
        location = /redirect/301 {{ return 301 /small.txt; }}
        location = /redirect/302 {{ return 302 /small.txt; }}
        location = /redirect/303 {{ return 303 /small.txt; }}
        location = /redirect/307 {{ return 307 /origin/echo; }}
        location = /redirect/308 {{ return 308 /small.txt; }}
        location = /redirect/beside {{ return 302 ../small.txt; }}
        location = /redirect/root {{ absolute_redirect off; return 302 /small.txt; }}
        location = /redirect/loop {{ return 302 /redirect/loop; }}
        location = /redirect/1 {{ return 302 /redirect/302; }}
        location = /redirect/2 {{ return 302 /redirect/1; }}
        location = /redirect/3 {{ return 302 /redirect/2; }}
        location = /redirect/4 {{ return 302 /redirect/3; }}
        location = /redirect/to-tls {{ return 302 https://localhost:{tls}/small.txt; }}
        location = /redirect/to-clear {{ return 302 http://localhost:{clear}/small.txt; }}
        location /origin/ {{
            proxy_pass http://{origin};
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_buffering off;
            proxy_request_buffering off;
            add_header x-content-length $http_content_length always;
            add_header x-transfer-encoding $http_transfer_encoding always;
        }}
        location /origin/ws {{
            proxy_pass http://{origin};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}"
    )
}

fn parse(line: &str) -> Request {
    let words: Vec<_> = line.split(' ').collect();
    let [connection, nth, port, protocol, method, path, status] = words[..] else {
        panic!("not a line of the access log: {line:?}");
    };
    Request {
        connection: connection.parse().unwrap(),
        nth: nth.parse().unwrap(),
        port: port.parse().unwrap(),
        protocol: protocol.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        status: status.parse().unwrap(),
    }
}
