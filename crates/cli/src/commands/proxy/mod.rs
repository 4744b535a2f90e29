//! `sspc proxy`: everything is checked first, then served, then drained.

mod access;
mod access_log;
mod admin;
mod capture;
mod cookie_file;
mod credentials;
mod knobs;
#[cfg(feature = "otel")]
mod otlp;
mod reloader;
mod remote;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use sspc_admin::PolicyWatch;
use sspc_policy::Report;
use sspc_proxy::{AllowTo, Classes, Config, Handle, ListenAddress, Proxy, Sharing, SmdBridge, Via};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep};

use crate::args::parse_seconds;
use crate::capture_to::CaptureTo;
use crate::console::{Console, count};
use crate::exit::{Exit, Failure};
use crate::policy_files::{self, Loaded};
use crate::service::{self, Passed, SignalEvent, Signals, notify};
use access_log::AccessLog;
use admin::AdminArg;
use capture::Capture;
use cookie_file::CookieFile;
use knobs::Setting;
use reloader::{Reloader, Why};

/// Run the proxy that fulfils streams by its policy
///
/// Listens for clients, looks up each stream's name in the policy, and makes the connections: h1, h2,
/// websocket and mqtt, clear or over TLS. Prints one line to stderr when ready.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ProxyArgs {
    /// The policy: a file or an https: URL; without one, an embedded default
    ///
    /// A policy from a URL is fetched at start, at SIGHUP and every --policy-interval; so is one that a
    /// file's streamtype `fetch_policy` leads to. A wrong one never takes the place of a good one.
    /// The embedded default has the streamtype `__default`, which gets the https URL that the client
    /// sets as metadata `endpoint`.
    #[arg(short, long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    pub(crate) policy: Option<PathBuf>,

    #[command(flatten)]
    remote: remote::RemoteArgs,

    /// Apply a second policy on top of the first; may be given several times
    #[arg(short, long = "overlay", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) overlays: Vec<PathBuf>,

    /// Listen here: uds:@NAME, uds:/PATH, tcp:HOST:PORT, serial:/DEVICE?baud=N or
    /// udp:HOST:PORT?keys=FILE; may be given several times
    ///
    /// `uds:@NAME` is a name in Linux' abstract namespace, without a file. `uds:/PATH` makes a socket
    /// file and removes it at the end; `uds:/PATH?mode=0660&owner=USER:GROUP` sets who may use it.
    /// `serial:/dev/ttyS1?baud=2000000&rtscts=1&profile=fast` is a line to one device, whose
    /// streams share it; both ends need the same baud rate, and the default is 115200.
    /// `tcp:HOST:PORT?cert=FILE&key=FILE` serves clients over TLS, with `&client_ca=FILE` only those that
    /// have a certificate of it; without TLS, addresses that other machines reach need `?tls=off`.
    /// `udp:HOST:PORT?keys=FILE` and `tcp:HOST:PORT?keys=FILE` serve any number of devices over a
    /// network, each on an encrypted line of its own; the file has their ids and keys. The default
    /// address is `uds:@proxy.ss.lws`, where every client looks first, unless a service manager
    /// passes sockets (see below).
    #[arg(short, long = "listen", value_name = "ADDR")]
    pub(crate) listen: Vec<ListenAddress>,

    /// Show what the proxy does here: uds:@NAME, uds:/PATH, http:127.0.0.1:PORT or none
    ///
    /// For `sspc status`, browsers and Prometheus: a status page, a JSON API, metrics and health.
    /// It only shows. A Unix socket serves root and the proxy's own user; with `http:` everyone on this
    /// machine may look, and nobody else. The default is the first Unix socket that the proxy listens at,
    /// with `.admin` behind its name, or `uds:@proxy.ss.lws.admin` if it listens at none; if that cannot
    /// be, the proxy warns and goes on without.
    #[arg(long, value_name = "ADDR|none")]
    admin: Option<AdminArg>,

    #[command(flatten)]
    access: access::AccessArgs,

    /// Let clients lead streams to this network, address or name, though it is not public; may be given
    /// several times
    ///
    /// Where the policy lets the client choose the host, as the embedded one does, the client may
    /// choose public addresses only: not this machine (127.0.0.0/8, ::1), private networks or the link.
    /// This allows more: `10.0.0.0/8`, `127.0.0.1:8080` for one port, `printer.lan` for a name whatever
    /// its addresses, `0.0.0.0/0` and `::/0` for all.
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_to: Vec<AllowTo>,

    /// What the device knows and clients never see, as TOML or JSON; read again at SIGHUP
    ///
    /// Values for the headers of `http_auth_header`, `http_dsn_header`, `http_fwv_header` and
    /// `http_devtype_header`: `auth`, `serial_number`, `firmware_version`, `device_type`; for mqtt brokers
    /// `mqtt_client_id`, `mqtt_user`, `mqtt_password`; for `client_cert` `client_cert.N.certificate` and
    /// `client_cert.N.key`; for `use_auth` `auth_1` to `auth_3`, `sigv4.N` and `oauth2.N`. Each is a text, {"file": PATH}, {"env": NAME},
    /// {"credential": NAME} for what systemd's LoadCredential= passes, or {"command": [PROGRAM,
    /// ARGUMENT, …], "lifetime": SECONDS} for what a program prints. Nobody but its owner, this user or
    /// root, may read the file.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,

    /// Keep cookies of `http_cookies` in this file, for the next start
    ///
    /// Those that a server wants kept for longer than the session, of each client apart: of users, hosts,
    /// lines and devices. The file is made if there is none, and written within seconds of a change and at the
    /// end. Nobody but its owner, this user or root, may read it; each proxy needs a file of its own.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cookie_file: Option<PathBuf>,

    /// Connect to all servers through this proxy: socks5://[USER:PASSWORD@]HOST:PORT or
    /// http://[USER:PASSWORD@]HOST:PORT
    ///
    /// It resolves the servers' names; an HTTP proxy has to take CONNECT. Without this option
    /// `https_proxy`, `http_proxy`, `socks_proxy`, `all_proxy` and `no_proxy` of the environment count,
    /// but not for this machine. A policy's `via-socks5` comes before both. A password here can be seen
    /// by others on this machine; in the environment or the policy it cannot.
    #[arg(long, value_name = "URL")]
    via: Option<Via>,

    /// Seconds that streams have to finish after SIGTERM; the same as --timeout drain=SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) grace: Option<Duration>,

    /// Threads that serve streams; one for each processor by default
    ///
    /// A client's streams share one thread as long as that one can keep up.
    #[arg(long, value_name = "NUMBER")]
    threads: Option<NonZeroUsize>,

    /// Who may share an onward connection that is open already
    #[arg(long, value_name = "WHO", default_value = "client")]
    pub(crate) share_connections: ShareConnections,

    /// Refuse clients the bus for system messages, the streamtype `_lws_smd`
    #[arg(long)]
    no_smd: bool,

    /// Exchange system messages with other proxies at this MQTT broker: mqtt://HOST[:PORT]/PREFIX, or
    /// mqtts:// over TLS
    ///
    /// What one proxy's clients say, the clients of all hear, once. The topics are one level below PREFIX;
    /// `mqtts://...?trust_store=NAME` trusts what the policy's trust store has, else the platform's is used;
    /// user and password are `mqtt_user` and `mqtt_password` of --credentials. While the broker cannot be
    /// reached each proxy's clients have themselves alone.
    #[arg(long, value_name = "URL")]
    smd_bridge: Option<SmdBridge>,

    /// What travels over --smd-bridge, both ways
    ///
    /// Names as of `sspc smd --class`. With system_state or network other proxies can say what this one says
    /// of itself, and ask it to do what its clients may ask.
    #[arg(long, value_name = "CLASSES", default_value_t = Classes::USER | Classes::INTERACTION)]
    #[arg(requires = "smd_bridge")]
    smd_bridge_classes: Classes,

    /// Write a line for each transaction: to a file, to stdout with `-`, or to systemd's journal with `journal`
    ///
    /// Who, streamtype, server, status, outcome, bytes each way, the times of all parts, and whether the
    /// connection was open before. `--log json` makes it JSON. The file is opened again at SIGHUP, so that
    /// logrotate can move it. Lines hold no payload, no metadata and no paths.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    access_log: Option<access_log::To>,

    /// Write all frames of all clients to this file, for Wireshark: FILE[,SIZE]
    ///
    /// A pcapng file with a packet for each frame between clients and the proxy, which says whose it is;
    /// `contrib/wireshark/sspc.lua` shows the fields. It holds all payload and metadata, with every secret in
    /// them; only this user can read it. The newest frames are in FILE and the older half beside it in
    /// `FILE.old`, in front of the extension; both together never have more than SIZE, 64MiB by default.
    #[arg(long, value_name = "FILE[,SIZE]")]
    capture: Option<CaptureTo>,

    #[cfg(feature = "otel")]
    #[command(flatten)]
    otlp: otlp::OtlpArgs,

    /// Change a limit, such as sessions=1000; may be given several times
    #[arg(
        long = "limit",
        value_name = "NAME=VALUE",
        value_parser = Setting::limit,
        long_help = knobs::limits_help(),
        help_heading = "Limits"
    )]
    limits: Vec<Setting>,

    /// Change a timeout, such as connect=10; may be given several times
    #[arg(
        long = "timeout",
        value_name = "NAME=SECONDS",
        value_parser = Setting::timeout,
        long_help = knobs::timeouts_help(),
        help_heading = "Limits"
    )]
    timeouts: Vec<Setting>,
}

/// The library's [`Sharing`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShareConnections {
    /// The streams of one client: of one user of this machine, one host, or one line
    Client,
    /// All streams: the fewest connections, for clients that trust each other
    Everyone,
}

impl From<ShareConnections> for Sharing {
    fn from(who: ShareConnections) -> Self {
        match who {
            ShareConnections::Client => Sharing::Client,
            ShareConnections::Everyone => Sharing::Everyone,
        }
    }
}

const HELP: &str = "\
Examples:
  sspc proxy
      Use the embedded policy and the default address.

  sspc proxy --policy policy.json --overlay site.json -v
      Use a policy with a site's changes on top, and log what happens.

  sspc proxy --allow-to 127.0.0.1:8080
      Let local programs have the web server of this machine, too.

  sspc proxy -p policy.json -l 'uds:/run/sspc.sock?mode=0660' -l tcp:127.0.0.1:7681
      Listen at two addresses.

  sspc proxy -p policy.json -l 'serial:/dev/ttyS1?baud=2000000&profile=fast'
      Serve a device at the other end of a serial line.

Signals:
  SIGHUP           reads policy and overlays again, for new streams; if they are wrong, says
                   so and keeps the old ones
  SIGTERM, SIGINT  accept no more clients, let transactions finish for --grace seconds, and
                   exit with 0; a second one ends it at once, with 143 or 130. Clients find the
                   next proxy by themselves

Service managers:
  Type=notify-reload: sends READY, RELOADING and STOPPING to $NOTIFY_SOCKET.
  Uses the Unix and TCP sockets in $LISTEN_FDS and adds each --listen to them. If there are
  some and there is no --listen, the default address is not used.

Exit codes:
  0  ended by a signal, and drained
  1  the policy is wrong or an address cannot be listened on; nothing was served
  2  the command line is wrong";

/// One thread for each processor, but for so few that most descriptors are left for streams.
fn threads() -> usize {
    const DESCRIPTORS_EACH: usize = 64;
    let affordable = service::descriptors_left() / DESCRIPTORS_EACH;
    available_parallelism().map_or(1, NonZeroUsize::get).min(affordable).max(1)
}

/// Runs the command to its end. To be called before there are threads: what a service manager
/// passes is taken out of the environment.
pub(crate) fn run(args: &ProxyArgs, console: Console) -> Result<Exit, Failure> {
    let passed = ListenFd::from_env();
    service::raise_descriptor_limit();
    let options = remote::Options::new(&args.remote)?;
    let mut reloader = Reloader::new(
        args.policy.as_deref(),
        &args.overlays,
        args.credentials.as_deref(),
        options,
    )?;
    // Streams have threads of their own.
    let runtime = service::multi_threaded(Some(1))?;
    let _inside = runtime.enter();
    let (parsed, credentials) = match runtime.block_on(reloader.start()) {
        Ok(loaded) => loaded,
        Err(error) => {
            // A file may be one that does not come to an end.
            runtime.shutdown_background();
            return Err(policy_files::refuse(error, console));
        }
    };
    let has_policy = parsed.is_some();
    let parsed = parsed.unwrap_or_else(Loaded::nothing);
    log_warnings(&parsed.warnings);
    let watch = PolicyWatch::default();
    admin::loaded(&watch, args.policy.as_deref(), &parsed);

    let mut config = Config::new(parsed.policy);
    credentials::warn_of_missing(&config.policy, &credentials.credentials);
    config.credentials.clone_from(&credentials.credentials);
    config.allow_to.clone_from(&args.allow_to);
    // The embedded policy asks a server that the user did not choose.
    config.find_portals = args.policy.is_some();
    config.ways_out = service::ways_out()?;
    config.ways_out.all.clone_from(&args.via);
    // Both were checked as they were parsed.
    knobs::apply(&args.limits, &args.timeouts, &mut config)
        .map_err(|error| Failure::new(error.to_string()))?;
    config.sharing = args.share_connections.into();
    config.threads = args.threads.map_or_else(threads, NonZeroUsize::get);
    config.smd = !args.no_smd;
    config.smd_bridge.clone_from(&args.smd_bridge);
    if let Some(bridge) = &mut config.smd_bridge {
        bridge.classes = args.smd_bridge_classes;
    }
    if let Some(grace) = args.grace {
        config.timeouts.drain = grace;
    }
    config.access = args.access.first(&config.policy, console)?;
    let cookie_file = match &args.cookie_file {
        Some(path) => {
            let (file, cookies) = CookieFile::open(path)?;
            config.cookies = cookies;
            Some(Arc::new(file))
        }
        None => None,
    };
    config.observe =
        args.access_log.is_some() || args.capture.is_some() || args.admin != Some(AdminArg::None);
    #[cfg(feature = "otel")]
    {
        config.observe |= args.otlp.is_given();
    }
    let mut proxy = Proxy::new(config).map_err(|error| Failure::new(error.to_string()))?;
    if !has_policy {
        let handle = proxy.handle();
        let loaded = runtime.block_on(reloader.fetch_first(&handle));
        let loaded = loaded.map_err(|error| policy_files::refuse(error, console))?;
        log_warnings(&loaded.warnings);
        admin::loaded(&watch, args.policy.as_deref(), &loaded);
        handle.reload(loaded.policy);
        credentials::warn_of_missing(&handle.policy(), &credentials.credentials);
    }
    listen(&mut proxy, args, passed)?;
    admin::start(args.admin.as_ref(), &proxy, &watch, &runtime)?;
    let first_fetch = reloader.first_wait(!has_policy);
    let handle = proxy.handle();
    if let Some(file) = &cookie_file {
        runtime.spawn(Arc::clone(file).keep(handle.clone()));
    }
    let access_log = match (&args.access_log, handle.observed()) {
        (Some(to), Some(observed)) => Some(AccessLog::start(to, console.format(), &observed)?),
        _ => None,
    };
    let capture = match (&args.capture, handle.observed()) {
        (Some(to), Some(observed)) => Some(Capture::start(to, &observed)?),
        _ => None,
    };
    #[cfg(feature = "otel")]
    let otlp = args.otlp.start(handle.clone(), &runtime)?;
    let audience = Audience {
        console,
        access_log: access_log.as_ref(),
        access: &args.access,
        policy_path: args.policy.as_deref(),
        policy: watch,
    };
    let exit = runtime.block_on(serve(proxy, reloader, first_fetch, credentials, &audience));
    if let Some(access_log) = access_log {
        access_log.finish();
    }
    #[cfg(feature = "otel")]
    if let Some(otlp) = otlp {
        otlp.finish(&runtime);
    }
    if let Some(capture) = capture {
        capture.finish();
    }
    if let Some(file) = &cookie_file {
        file.write(&handle);
    }
    let exit = exit?;
    // What is left has had its time.
    runtime.shutdown_background();
    Ok(exit)
}

fn listen(proxy: &mut Proxy, args: &ProxyArgs, passed: ListenFd) -> Result<(), Failure> {
    let sockets = service::listen_sockets(&args.listen, passed)?;
    for socket in sockets.passed {
        let adopted = match socket {
            Passed::Unix(socket) => proxy.adopt_unix(socket),
            Passed::Tcp(socket) => proxy.adopt_tcp(socket),
        };
        adopted.map_err(|error| Failure::new(error.to_string()))?;
    }
    for address in &sockets.addresses {
        proxy.listen(address).map_err(|error| service::cannot_listen(&error))?;
    }
    Ok(())
}

/// Who hears of what happens to a proxy that serves.
struct Audience<'a> {
    console: Console,
    access_log: Option<&'a AccessLog>,
    access: &'a access::AccessArgs,
    policy_path: Option<&'a Path>,
    policy: PolicyWatch,
}

/// How often messages can have the policy fetched.
const TRIGGERED_EVERY: Duration = Duration::from_secs(10);

/// Serves until a signal ends it.
async fn serve(
    proxy: Proxy,
    mut reloader: Reloader,
    first_fetch: Option<Duration>,
    credentials: credentials::Loaded,
    audience: &Audience<'_>,
) -> Result<Exit, Failure> {
    let Audience { console, access_log, .. } = *audience;
    // Before "ready", which others may answer with a signal.
    let mut signals = Signals::watch_reload()?;
    let handle = proxy.handle();
    reloader.refresh.start(credentials, &handle).await;
    let reloader = Mutex::new(reloader);
    let reload = |why| reload(&handle, &reloader, why, audience);
    let streamtypes = handle.policy().streamtypes.len();
    let listening: Vec<_> = proxy.addresses().cloned().collect();
    let addresses: Vec<_> = listening.iter().map(ToString::to_string).collect();
    let status =
        format!("{}, listening on {}", count(streamtypes, "streamtype"), addresses.join(", "));
    let (stop, stopped) = oneshot::channel();
    let running = proxy.run(async {
        let _ = stopped.await;
    });
    tokio::pin!(running);

    console.say(&format!("sspc proxy: ready: {status}"));
    audience.access.tell(listening.iter(), console);
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    // A file that does not come to an end must not keep signals from being taken.
    let mut reloading = None;
    let mut reload_again = false;
    let mut fetch = first_fetch.map(|wait| Box::pin(sleep(wait)));
    let mut last_fetch = Instant::now();
    let mut bus = handle.smd().subscribe(Classes::SYSTEM_STATE);
    loop {
        tokio::select! {
            () = &mut running => return Err(Failure::new("the proxy ended by itself")),
            signal = signals.next() => match signal {
                SignalEvent::End(how) => {
                    tracing::info!(?how, "stopping");
                    break;
                }
                SignalEvent::Reload | SignalEvent::Toggle => {
                    access_log.into_iter().for_each(AccessLog::reopen);
                    if reloading.is_some() {
                        // What is being read may have changed since.
                        reload_again = true;
                        console.say(
                            "sspc proxy: still reading the policy; will read it again after that",
                        );
                    } else {
                        reloading = Some(Box::pin(reload(Why::Asked)));
                    }
                }
            },
            next_fetch = done(&mut reloading) => {
                fetch = next_fetch.map(|wait| Box::pin(sleep(wait)));
                reloading = std::mem::take(&mut reload_again)
                    .then(|| Box::pin(reload(Why::Asked)));
            }
            message = bus.recv() => {
                let soon = last_fetch + TRIGGERED_EVERY;
                if let Some(fetch) = &mut fetch
                    && reloader::is_trigger(&message.text)
                    && soon < fetch.deadline()
                {
                    tracing::info!("a message asks for the policy to be fetched");
                    fetch.as_mut().reset(soon);
                }
            }
            () = done(&mut fetch), if reloading.is_none() => {
                fetch = None;
                last_fetch = Instant::now();
                reloading = Some(Box::pin(reload(Why::Due)));
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    // The receiver waits in `running`.
    let _ = stop.send(());
    tokio::select! {
        () = &mut running => Ok(Exit::Ok),
        exit = signals.end() => Ok(exit),
    }
}

/// Ready when it is; never if there is none.
async fn done<F: Future + Unpin>(task: &mut Option<F>) -> F::Output {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// Reads the policy again; keeps the old one if the new one is wrong. Gives how long to wait until a
/// server is to be asked for it.
async fn reload(
    handle: &Handle,
    reloader: &Mutex<Reloader>,
    why: Why,
    audience: &Audience<'_>,
) -> Option<Duration> {
    // A fetch that changes nothing is nobody's business.
    let is_asked = why == Why::Asked;
    if is_asked {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "cannot read the clock for the service manager"),
        }
        tracing::info!("reading the policy again");
    }
    let mut reloader = reloader.lock().await;
    let (read, next_fetch) = reloader.reload(handle, why).await;
    match read {
        Ok(None) => {}
        Ok(Some((parsed, credentials))) => {
            log_warnings(&parsed.warnings);
            admin::loaded(&audience.policy, audience.policy_path, &parsed);
            let streamtypes = count(parsed.policy.streamtypes.len(), "streamtype");
            handle.reload(parsed.policy);
            credentials::warn_of_missing(&handle.policy(), &credentials.credentials);
            reloader.refresh.start(credentials, handle).await;
            audience.console.say(&format!("sspc proxy: reloaded: {streamtypes}"));
        }
        Err(error) => {
            let why = reloader::why(&error);
            audience.policy.failed(&why);
            audience.console.say(&format!("sspc proxy: not reloaded, the old policy stays: {why}"));
        }
    }
    if is_asked {
        audience.access.reload(handle, audience.console);
        notify(&[NotifyState::Ready]);
    }
    next_fetch
}

fn log_warnings(warnings: &Report) {
    for warning in warnings.diagnostics() {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn who_may_share_connections_is_the_librarys_default_or_as_asked() {
        let sharing = |args: &[&str]| {
            let command = ProxyArgs::augment_args(Command::new("proxy"));
            let matches = command.get_matches_from([&["proxy"], args].concat());
            Sharing::from(ProxyArgs::from_arg_matches(&matches).unwrap().share_connections)
        };
        assert_eq!(sharing(&[]), Sharing::default());
        assert_eq!(sharing(&["--share-connections", "client"]), Sharing::Client);
        assert_eq!(sharing(&["--share-connections=everyone"]), Sharing::Everyone);
    }
}
