//! TLS to a proxy, over a socket that whoever calls waits for.

use std::format;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error};
use rustls::{RootCertStore, client::Resumption};
use sspc_address::TlsAddress;

/// Most bytes of a file.
const FILE_MAX: u64 = 1024 * 1024;
/// What TLS may hold of what the socket does not take yet, in bytes.
const BUFFER: usize = 16 * 1024;
/// Who may read a private key: its owner and its group.
const EVERYONE: u32 = 0o007;

/// The client's side of one connection. Its calls fail with [`io::ErrorKind::WouldBlock`] where the
/// socket's do; nothing is lost then.
#[derive(Debug)]
pub(crate) struct Tls {
    connection: ClientConnection,
    /// Bytes of the caller that TLS has and the socket does not have yet. The caller gives them again.
    taken: usize,
}

impl Tls {
    /// Reads the files; nothing is sent yet.
    pub(crate) fn new(address: &TlsAddress) -> io::Result<Self> {
        let mut anchors = RootCertStore::empty();
        for certificate in certificates(&address.ca)? {
            anchors.add(certificate).map_err(|error| wrong(&address.ca, &error))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(anchors);
        let mut config = match &address.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let bytes = read(&identity.key, true)?;
                let key = PrivateKeyDer::from_pem_slice(&bytes);
                let key = key.map_err(|error| wrong(&identity.key, &error))?;
                let chain = certificates(&identity.cert)?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong(&identity.cert, &error))?
            }
        };
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(address.host.clone()).map_err(|_| {
            let text = "no certificate can be for this host's name";
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let connection = ClientConnection::new(Arc::new(config), name);
        let mut connection = connection.map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(BUFFER));
        Ok(Self { connection, taken: 0 })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking() || self.connection.wants_write()
    }

    /// True if it waits to send, too, where a call failed with `WouldBlock`.
    pub(crate) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// One step of the handshake.
    pub(crate) fn step(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        if self.connection.wants_write() {
            return self.flush(socket);
        }
        match self.receive(socket)? {
            0 => {
                let text = "it closed during the TLS handshake: it does not use TLS at this address, or \
                            turns too many clients away";
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, text))
            }
            _ => Ok(()),
        }
    }

    /// Reads what there is; 0 at the end.
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buf: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Frames say by themselves whether they are whole.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            // What fails here fails the next write.
            let _ = self.flush(socket);
            if self.receive(socket)? == 0 {
                return Ok(0);
            }
        }
    }

    /// Writes what goes. After `WouldBlock` the same bytes, or more, have to be given again.
    pub(crate) fn write(
        &mut self,
        socket: &mut (impl Read + Write),
        bytes: &[u8],
    ) -> io::Result<usize> {
        self.flush(socket)?;
        if self.taken == 0 {
            self.taken = self.connection.writer().write(bytes)?;
            self.flush(socket)?;
        }
        Ok(std::mem::take(&mut self.taken))
    }

    fn flush(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                // A proxy that refused this client has said why.
                Err(error) if is_closed(&error) => {
                    return Err(self.receive(socket).err().filter(said_why).unwrap_or(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<usize> {
        let length = self.connection.read_tls(socket)?;
        if let Err(error) = self.connection.process_new_packets() {
            // The proxy's log then says why; if it does not go at once it is left out.
            let _ = self.connection.write_tls(socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, explain(&error)));
        }
        Ok(length)
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn said_why(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// What went wrong, for who has to put it right.
fn explain(error: &Error) -> String {
    use AlertDescription as A;
    use CertificateError as C;
    let text = match error {
        Error::InvalidCertificate(error) => match error {
            C::UnknownIssuer => "the proxy's certificate was not issued by one of the file ca=",
            C::Expired | C::ExpiredContext { .. } => "the proxy's certificate has expired",
            C::NotValidYet | C::NotValidYetContext { .. } => {
                "the proxy's certificate is not valid yet; is this machine's clock right?"
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "the proxy's certificate is not for the host of its address"
            }
            other => return format!("the proxy's certificate is bad: {other}"),
        },
        Error::InvalidMessage(_) => "the proxy does not use TLS at this address",
        Error::AlertReceived(A::CertificateRequired) => {
            "the proxy asks for a certificate; add cert=/path&key=/path to its address"
        }
        Error::AlertReceived(A::UnknownCA) => {
            "the proxy refused this client's certificate: it does not know who issued it"
        }
        Error::AlertReceived(A::CertificateExpired) => {
            "the proxy refused this client's certificate: it has expired"
        }
        Error::AlertReceived(
            alert @ (A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateUnknown
            | A::AccessDenied
            | A::DecryptError),
        ) => return format!("the proxy refused this client's certificate: {alert:?}"),
        other => return format!("TLS: {other}"),
    };
    text.to_string()
}

fn wrong(path: &Path, why: &dyn core::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path, false)?).collect();
    let all = all.map_err(|error| wrong(path, &error))?;
    match all.is_empty() {
        true => {
            Err(wrong(path, &"there is no certificate; PEM with `BEGIN CERTIFICATE` is expected"))
        }
        false => Ok(all),
    }
}

fn read(path: &Path, is_secret: bool) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), wrong(path, &error).to_string());
    let file = File::open(path).map_err(named)?;
    let mode = file.metadata().map_err(named)?.mode();
    if is_secret && mode & EVERYONE != 0 {
        let why = "every user may read this key; take that right from them (chmod o=)";
        return Err(wrong(path, &why));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(named)?;
    match bytes.len() as u64 > FILE_MAX {
        true => Err(wrong(path, &format!("it is longer than {FILE_MAX} bytes"))),
        false => Ok(bytes),
    }
}
