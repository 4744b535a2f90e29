//! Asking a running proxy what it does, for every command that shows it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde_json::Value;
use sspc_address::{Address, AdminAddress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::exit::{Exit, Failure};

/// How long a proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer.
const ANSWER_MAX: usize = 32 << 20;

/// Which proxy is asked.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhichProxy {
    /// The proxy, as its clients find it: uds:@NAME or uds:/PATH
    ///
    /// What it shows is at that address with `.admin` behind it, unless the proxy was started with --admin.
    #[arg(short, long, value_name = "ADDR", conflicts_with = "admin")]
    proxy: Option<Address>,

    /// Where the proxy shows what it does, as of its own --admin: uds:@NAME, uds:/PATH or
    /// http:127.0.0.1:PORT
    #[arg(long, value_name = "ADDR")]
    admin: Option<AdminAddress>,
}

impl WhichProxy {
    /// Where to ask; `command` is who asks.
    pub(crate) fn admin(&self, command: &'static str) -> Result<AdminAddress, Failure> {
        match (&self.admin, &self.proxy) {
            (Some(admin), _) => Ok(admin.clone()),
            (None, None) => Ok(AdminAddress::default()),
            (None, Some(proxy)) => AdminAddress::beside_proxy(proxy).ok_or_else(|| {
                let message = format!(
                    "nothing is shown beside {proxy}; say with --admin where the proxy shows what it does"
                );
                Failure::usage(command, message)
            }),
        }
    }
}

/// What a path answers.
pub(crate) async fn get(admin: &AdminAddress, path: &str) -> Result<Value, Failure> {
    let answer = async {
        let body = open(admin, path).await?;
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|error| broken(admin, &error.to_string()))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|error| broken(admin, &error.to_string()))
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(silent(admin)))
}

/// Asks for a path, and gives the body of the answer.
pub(crate) async fn open(admin: &AdminAddress, path: &str) -> Result<Incoming, Failure> {
    match admin {
        AdminAddress::Abstract(name) => {
            let link = UnixStream::connect(format!("\0{name}")).await;
            ask(link.map_err(|error| unreachable(admin, &error))?, admin, path).await
        }
        AdminAddress::Path(file) => {
            let link = UnixStream::connect(file).await;
            ask(link.map_err(|error| unreachable(admin, &error))?, admin, path).await
        }
        AdminAddress::Http(at) => {
            let link = TcpStream::connect(at).await;
            ask(link.map_err(|error| unreachable(admin, &error))?, admin, path).await
        }
    }
}

async fn ask<L>(link: L, admin: &AdminAddress, path: &str) -> Result<Incoming, Failure>
where
    L: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::error::Error| broken(admin, &error.to_string());
    let host = match admin {
        AdminAddress::Http(at) => at.to_string(),
        AdminAddress::Abstract(_) | AdminAddress::Path(_) => "localhost".to_owned(),
    };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(link)).await.map_err(|error| failed(&error))?;
    // It ends with the body, or with the sender if there is none.
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer.into_body());
    }
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let said: Value = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok())
        .unwrap_or_default();
    let part = |name: &str| said[name].as_str().unwrap_or("no reason given").to_owned();
    if status == StatusCode::FORBIDDEN {
        return Err(Failure::new(format!(
            "may not look at {admin}: {}, and this is user {}; {}",
            part("why"),
            geteuid().as_raw(),
            part("help")
        )));
    }
    Err(Failure::new(format!("{admin}: {}: {}; {}", part("what"), part("why"), part("help"))))
}

/// Takes the first server-sent event that is whole out of what has come, if there is one.
pub(crate) fn take_event(come: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = come.windows(2).position(|two| two == b"\n\n")?;
    Some(come.drain(..end + 2).collect())
}

fn unreachable(admin: &AdminAddress, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(format!(
            "may not look at {admin}: it is for root and the proxy's own user, and this is user {}; \
             try it with sudo",
            geteuid().as_raw()
        )),
        _ => Failure::new(format!(
            "no proxy shows itself at {admin}: {error}; start one, or say with --proxy or --admin where \
             it is"
        ))
        .with_exit(Exit::NoProxy),
    }
}

fn silent(admin: &AdminAddress) -> Failure {
    let seconds = PATIENCE.as_secs();
    Failure::new(format!("{admin} does not answer within {seconds} seconds"))
        .with_exit(Exit::NoProxy)
}

fn broken(admin: &AdminAddress, why: &str) -> Failure {
    Failure::new(format!("{admin} does not answer as a proxy does: {why}"))
}
