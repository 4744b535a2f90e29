//! A byte stream to a remote peer, whatever it runs over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::client_cert::Presented;
use super::explain::later;
use super::scope::Scope;
use crate::descriptors::Descriptor;
use crate::observe::Connection;

/// A connected socket, and the right to its descriptor.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream, Descriptor),
    /// Through a proxy, behind which the peer is.
    Via(TcpStream, Descriptor),
    Unix(UnixStream, Descriptor),
}

/// A connected socket, encrypted or not: what the protocols run over.
#[derive(Debug)]
pub(crate) enum Transport {
    Clear(Socket),
    /// With what was presented to the peer.
    Tls(Box<TlsStream<Socket>>, Option<Presented>),
}

impl Transport {
    /// What the peer's address is; one that is not known counts as public, which reaches least.
    pub(crate) fn peer(&self) -> Scope {
        match self.socket() {
            Socket::Tcp(stream, _) => {
                stream.peer_addr().map_or(Scope::Global, |address| Scope::of(address.ip()))
            }
            Socket::Via(..) => Scope::Global,
            Socket::Unix(..) => Scope::Loopback,
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Transport::Clear(socket) => socket,
            Transport::Tls(stream, _) => stream.get_ref().0,
        }
    }

    /// Observers see it as long as it is open.
    pub(crate) fn set_observed(&mut self, connection: Connection) {
        let socket = match self {
            Transport::Clear(socket) => socket,
            Transport::Tls(stream, _) => stream.get_mut().0,
        };
        match socket {
            Socket::Tcp(_, descriptor)
            | Socket::Via(_, descriptor)
            | Socket::Unix(_, descriptor) => descriptor.connection = Some(connection),
        }
    }

    /// The number by which observers know it.
    pub(crate) fn observed(&self) -> Option<u64> {
        match self.socket() {
            Socket::Tcp(_, descriptor)
            | Socket::Via(_, descriptor)
            | Socket::Unix(_, descriptor) => descriptor.connection.as_ref().map(Connection::id),
        }
    }

    /// The protocol that TLS negotiated, if it did.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Transport::Clear(_) => None,
            Transport::Tls(stream, _) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

impl Socket {
    fn explain(&self, error: io::Error) -> io::Error {
        error
    }
}

impl Transport {
    /// An error, with what TLS says of it. An alert may be found with whatever is done next.
    fn explain(&self, error: io::Error) -> io::Error {
        match self {
            Transport::Clear(_) => error,
            Transport::Tls(_, presented) => later(error, presented.as_ref()),
        }
    }
}

/// Forwards the four methods of a stream to whichever variant it is.
macro_rules! forward {
    ($stream:ty, $($variant:path),+) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                let read = match this {
                    $($variant(stream, ..) => Pin::new(stream).poll_read(cx, buf),)+
                };
                read.map_err(|error| this.explain(error))
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                let this = self.get_mut();
                let done = match this {
                    $($variant(stream, ..) => Pin::new(stream).poll_write(cx, bytes),)+
                };
                done.map_err(|error| this.explain(error))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let this = self.get_mut();
                let done = match this {
                    $($variant(stream, ..) => Pin::new(stream).poll_write_vectored(cx, slices),)+
                };
                done.map_err(|error| this.explain(error))
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($variant(stream, ..) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                let done = match this {
                    $($variant(stream, ..) => Pin::new(stream).poll_flush(cx),)+
                };
                done.map_err(|error| this.explain(error))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let this = self.get_mut();
                let done = match this {
                    $($variant(stream, ..) => Pin::new(stream).poll_shutdown(cx),)+
                };
                done.map_err(|error| this.explain(error))
            }
        }
    };
}

forward!(Socket, Socket::Tcp, Socket::Via, Socket::Unix);
forward!(Transport, Transport::Clear, Transport::Tls);
