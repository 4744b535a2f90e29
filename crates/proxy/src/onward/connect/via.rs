//! Through a SOCKS5 or HTTP proxy to the server behind it.

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sspc_policy::Login;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::ways_out::Via;

/// The longest head of an HTTP proxy's answer, in bytes.
const HEAD_MAX: usize = 16 * 1024;

/// Asks the proxy at the other end of the stream for a connection to the server. Behind it the stream
/// is the server's, from its first byte on.
///
/// # Errors
/// What the proxy says, or that it does not speak its protocol.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    via: &Via,
    host: &str,
    port: u16,
) -> io::Result<()> {
    match via {
        Via::Socks5(server) => socks5(stream, server.login.as_ref(), host, port).await,
        Via::Http(server) => connect(stream, server.login.as_ref(), host, port).await,
    }
}

fn refused(why: impl Into<String>) -> io::Error {
    io::Error::other(why.into())
}

fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => refused("it closed the connection instead of an answer"),
        _ => error,
    }
}

const SOCKS: u8 = 5;
const NO_LOGIN: u8 = 0;
const WITH_LOGIN: u8 = 2;
const NONE_OF_THESE: u8 = 0xff;

/// RFC 1928, and RFC 1929 for user and password.
async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: Option<&Login>,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let methods: &[u8] = if login.is_some() { &[NO_LOGIN, WITH_LOGIN] } else { &[NO_LOGIN] };
    stream.write_all(&[&[SOCKS, methods.len() as u8], methods].concat()).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await.map_err(closed)?;
    match (answer, login) {
        ([SOCKS, NO_LOGIN], _) => {}
        ([SOCKS, WITH_LOGIN], Some(login)) => {
            let (user, password) = (login.user.as_bytes(), login.password.as_bytes());
            // Both are up to 255 bytes long.
            let lengths = [user, password].map(|text| u8::try_from(text.len()).unwrap_or(u8::MAX));
            let text = [&[1, lengths[0]], user, &[lengths[1]], password].concat();
            stream.write_all(&text).await?;
            stream.read_exact(&mut answer).await.map_err(closed)?;
            if answer[1] != 0 {
                return Err(refused("it refuses the user or the password"));
            }
        }
        ([SOCKS, NONE_OF_THESE], Some(_)) => {
            return Err(refused("it takes neither a user and password nor nobody"));
        }
        ([SOCKS, _], _) => return Err(refused("it wants to know who asks: user:password@")),
        _ => return Err(refused("it does not speak SOCKS5")),
    }
    let mut request = vec![SOCKS, 1, 0];
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Ok(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| refused("the name is too long"))?;
            request.extend([3, length]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(closed)?;
    let [SOCKS, reply, _, kind] = head else { return Err(refused("its answer is not SOCKS5")) };
    let length = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(closed)?),
        _ => return Err(refused("its answer is not SOCKS5")),
    };
    let mut bound = [0; 255 + 2];
    let bound = bound.get_mut(..length + 2).unwrap_or_default();
    if reply == 0 {
        stream.read_exact(bound).await.map_err(closed)?;
        return Ok(());
    }
    Err(refused(match reply {
        1 => "it failed".to_owned(),
        2 => "its rules do not allow it".to_owned(),
        3 => "the network is unreachable from there".to_owned(),
        4 => "the host is unreachable from there, or its name unknown".to_owned(),
        5 => "the server refused the connection".to_owned(),
        6 => "the connection took too long".to_owned(),
        7 => "it makes no connections".to_owned(),
        8 => "it does not take this kind of address".to_owned(),
        other => format!("it failed with code {other}"),
    }))
}

/// RFC 9110, section 9.3.6.
async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: Option<&Login>,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let login = login.map(|Login { user, password }| {
        format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
    });
    let login = login.unwrap_or_default();
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await?;
    // Byte by byte: what is behind the head is the server's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_MAX {
            return Err(refused("the head of its answer is too long"));
        }
        head.push(stream.read_u8().await.map_err(closed)?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = std::str::from_utf8(line).ok().filter(|line| line.starts_with("HTTP/1."));
    let status = status.and_then(|line| line.split(' ').nth(1)).filter(|status| status.len() == 3);
    match status {
        Some(status) if status.starts_with('2') => Ok(()),
        Some("407") => {
            Err(refused("it wants to know who asks, and that is not the right user and password"))
        }
        Some(_) => {
            let line: String = String::from_utf8_lossy(line).chars().take(100).collect();
            Err(refused(format!("it answered {:?}", line.trim())))
        }
        None => Err(refused("it does not speak HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What is said of a proxy that answers this, and what was asked of it.
    async fn answered(via: &str, host: &str, answer: &[u8]) -> (Result<(), String>, Vec<u8>) {
        let (mut ours, mut theirs) = duplex(4096);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let result = ask(&mut ours, &via.parse().unwrap(), host, 443).await;
        drop(ours);
        let mut asked = Vec::new();
        theirs.read_to_end(&mut asked).await.unwrap();
        (result.map_err(|error| error.to_string()), asked)
    }

    #[tokio::test]
    async fn socks5_is_spoken_as_its_rfcs_have_it() {
        let (socks, login) = ("socks5://p:1", "socks5://me:secret@p:1");
        let (result, asked) =
            answered(socks, "e.org", b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50").await;
        assert_eq!(result, Ok(()));
        assert_eq!(asked, b"\x05\x01\x00\x05\x01\x00\x03\x05e.org\x01\xbb");
        let answer = [&b"\x05\x02\x01\x00\x05\x00\x00\x04"[..], &[0; 18]].concat();
        let (result, asked) = answered(login, "::1", &answer).await;
        assert_eq!(result, Ok(()));
        let expected = b"\x05\x02\x00\x02\x01\x02me\x06secret\x05\x01\x00\x04\
            \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
        assert_eq!(asked, expected);
        let (result, asked) =
            answered(login, "192.0.2.1", b"\x05\x00\x05\x00\x00\x03\x01h\x00\x50").await;
        assert_eq!(result, Ok(()), "it does not ask who it is, and names itself");
        assert_eq!(asked, b"\x05\x02\x00\x02\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb");
    }

    #[tokio::test]
    async fn each_refusal_says_why() {
        let (socks, login) = ("socks5://p:1", "socks5://me:secret@p:1");
        let http = "http://me:secret@p:1";
        for (via, answer, why) in [
            (socks, &b""[..], "it closed the connection instead of an answer"),
            (socks, b"\x05", "it closed the connection instead of an answer"),
            (socks, b"\x04\x00", "it does not speak SOCKS5"),
            (socks, b"HTTP/1.1 400", "it does not speak SOCKS5"),
            (socks, b"\x05\xff", "it wants to know who asks: user:password@"),
            (socks, b"\x05\x02", "it wants to know who asks: user:password@"),
            (login, b"\x05\xff", "it takes neither a user and password nor nobody"),
            (login, b"\x05\x02\x01\x01", "it refuses the user or the password"),
            (socks, b"\x05\x00\x05\x00\x00\x09", "its answer is not SOCKS5"),
            (socks, b"\x05\x00\x00\x00\x00\x01", "its answer is not SOCKS5"),
            (socks, b"\x05\x00\x05\x02\x00\x01", "its rules do not allow it"),
            (socks, b"\x05\x00\x05\x63\x00\x01", "it failed with code 99"),
            (
                socks,
                b"\x05\x00\x05\x00\x00\x01\x7f",
                "it closed the connection instead of an answer",
            ),
            (http, b"", "it closed the connection instead of an answer"),
            (http, b"HTTP/1.1 200 OK\r\n", "it closed the connection instead of an answer"),
            (http, b"\x05\x00\r\n\r\n", "it does not speak HTTP"),
            (
                http,
                b"HTTP/1.1 403 Forbid\x07den\r\n\r\n",
                r#"it answered "HTTP/1.1 403 Forbid\u{7}den""#,
            ),
            (
                http,
                b"HTTP/1.1 407 Who\r\n\r\n",
                "it wants to know who asks, and that is not the right user and password",
            ),
        ] {
            let (result, _) = answered(via, "e.org", answer).await;
            assert_eq!(result, Err(why.to_owned()), "{answer:?}");
        }
        let (result, _) = answered(socks, &"x".repeat(256), b"\x05\x00").await;
        assert_eq!(result, Err("the name is too long".to_owned()));
    }

    #[tokio::test]
    async fn what_is_behind_the_answer_is_the_servers() {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(b"HTTP/1.0 200 Yes\r\nVia: x\r\n\r\nhello").await.unwrap();
        let via = "http://me:secret@p:1".parse().unwrap();
        ask(&mut ours, &via, "fd00::1", 443).await.unwrap();
        let mut bytes = [0; 5];
        ours.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        let mut asked = vec![0; 200];
        let length = theirs.read(&mut asked).await.unwrap();
        let expected = "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n\
                        Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&asked[..length]), expected);
        theirs.write_all(&[b'x'; HEAD_MAX]).await.unwrap();
        let error = ask(&mut ours, &via, "e.org", 443).await.unwrap_err();
        assert_eq!(error.to_string(), "the head of its answer is too long");
    }
}
