//! A socket's two halves, plain or with TLS: what `transport` reads from and writes to.
//!
//! Writing is the same either way: whoever has something tries, from any thread, and what the system does not take is
//! for who waits until it can be written to. With TLS the bytes go through one `rustls` connection that both halves
//! lock for moments; on a plain socket nothing is locked or copied.

use std::{
    fmt,
    io::{self, ErrorKind, IoSlice, Read, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{
    io::AsyncReadExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    error::{Error, Result},
    io::lock,
    opening::{Channel, End, OPENING, Opening, Refusal},
    security::{Guard, Tls},
    transport::plain,
};

/// The name that certificates of `phalanx cluster keys` have, whatever machine they are used on.
const NAME: &str = "phalanx";
/// What is read from the system at once, encrypted.
const READ: usize = 64 << 10;
/// How much may lie encrypted between a program and the system, which does not take it yet.
const ENCRYPTED: usize = 256 << 10;
/// How long somebody who was refused has to hear why before the socket is closed under his words.
const LINGER: Duration = Duration::from_secs(1);

/// The reading half of a connection.
pub(crate) struct ReadHalf {
    tcp: OwnedReadHalf,
    tls: Option<Reading>,
}

struct Reading {
    session: Session,
    /// What came and is not decrypted.
    came: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The writing half of a connection; the direction ends when it is dropped.
pub(crate) struct WriteHalf {
    tcp: OwnedWriteHalf,
    tls: Option<Session>,
}

type Session = Arc<Mutex<Connection>>;

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadHalf").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHalf").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl ReadHalf {
    /// Reads once into `space`; 0 at the end. Can be dropped and called again.
    pub(crate) async fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(space).await };
        loop {
            if let Some(n) = tls.decrypted(space)? {
                return Ok(n);
            }
            self.tcp.readable().await?;
            match self.tcp.try_read(&mut tls.came) {
                // Frames say where they end, so an end without TLS's own farewell hides nothing.
                Ok(0) => return Ok(0),
                Ok(n) => (tls.start, tls.end) = (0, n),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Reading {
    /// What can be read without waiting; none where more has to come first.
    fn decrypted(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let mut session = lock(&self.session);
        loop {
            match session.reader().read(space) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(n) => return Ok(Some(n)),
                Err(error) => return Err(error),
            }
            if self.start == self.end {
                return Ok(None);
            }
            self.start += session.read_tls(&mut &self.came[self.start..self.end])?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl WriteHalf {
    /// Writes what the system takes now; how much that was.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing now, or the connection is broken.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(session) = &self.tls else { return self.tcp.try_write_vectored(slices) };
        let mut session = lock(session);
        // Before more is encrypted.
        push(&mut session, self.tcp.as_ref())?;
        let n = session.writer().write_vectored(slices)?;
        match push(&mut session, self.tcp.as_ref()) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(n),
        }
    }

    /// Hands on what was taken by [`try_write_vectored`](Self::try_write_vectored) and lies encrypted.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match &self.tls {
            Some(session) => push(&mut lock(session), self.tcp.as_ref()),
            None => Ok(()),
        }
    }

    /// Waits until the system may take something.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.tcp.writable().await
    }

    /// Writes all of a few bytes.
    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut flushed = false;
        while !bytes.is_empty() || !flushed {
            let tried = match bytes {
                [] => self.try_flush().map(|()| flushed = true),
                _ => self.try_write_vectored(&[IoSlice::new(bytes)]).map(|n| bytes = &bytes[n..]),
            };
            match tried {
                Err(error) if is_passing(&error) => self.writable().await?,
                tried => tried?,
            }
        }
        Ok(())
    }
}

/// A socket of a system's that does not wait, as `rustls` likes it.
struct Raw<'a>(&'a TcpStream);

impl Read for Raw<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands what is encrypted to the system.
fn push(session: &mut Connection, tcp: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        if session.write_tls(&mut Raw(tcp))? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Whether trying again can help.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Begins a connection that this end has asked for, at a `host`'s port.
///
/// # Errors
/// Why there is none. Has no deadline of its own.
pub(crate) async fn connected(
    tcp: TcpStream,
    host: &str,
    channel: Channel,
    guard: &Guard,
) -> Result<(ReadHalf, WriteHalf), Refusal> {
    let session = match &guard.tls {
        Some(tls) => Some(tls.client(host)?),
        None => None,
    };
    open(tcp, session, End::Connects, channel, guard).await
}

/// Begins a connection that the other end has asked for.
///
/// # Errors
/// Why there is none. Has no deadline of its own.
pub(crate) async fn accepted(
    tcp: TcpStream,
    channel: Channel,
    guard: &Guard,
) -> Result<(ReadHalf, WriteHalf), Refusal> {
    let session = match &guard.tls {
        Some(tls) => Some(tls.server()?),
        None => None,
    };
    open(tcp, session, End::Accepts, channel, guard).await
}

async fn open(
    tcp: TcpStream,
    session: Option<Connection>,
    end: End,
    channel: Channel,
    guard: &Guard,
) -> Result<(ReadHalf, WriteHalf), Refusal> {
    // Without it a small message could wait for the answer to the one before. Failing only costs that.
    let _ = tcp.set_nodelay(true);
    let session = match session {
        Some(mut session) => {
            if let Err(refusal) = shake_hands(&tcp, &mut session).await {
                linger(&tcp).await;
                return Err(refusal);
            }
            Some(Arc::new(Mutex::new(session)))
        }
        None => None,
    };
    let (read, write) = tcp.into_split();
    let reading =
        |session: &Session| Reading { session: Arc::clone(session), came: vec![0; READ].into(), start: 0, end: 0 };
    let mut read = ReadHalf { tcp: read, tls: session.as_ref().map(reading) };
    let write = WriteHalf { tcp: write, tls: session };
    let (mut opening, say) = Opening::new(end, channel, guard.key.clone())?;
    write.write_all(say.bytes()).await.map_err(|error| refusal_of(&error))?;
    while opening.wants() > 0 {
        let mut came = [0; OPENING];
        let n = match read.read(&mut came[..opening.wants()]).await {
            Ok(0) if opening.is_judged() => return Err(Refusal::Proof),
            Ok(0) => return Err(Refusal::HungUp),
            Ok(n) => n,
            Err(error) => {
                // A refusal of the certificate is the more telling one.
                let refusal = refusal_of(&error);
                let is_tls = matches!(refusal, Refusal::Tls { .. });
                return Err(if opening.is_judged() && !is_tls { Refusal::Proof } else { refusal });
            }
        };
        let (say, refused) = match opening.take(&came[..n]) {
            Ok(say) => (say, None),
            Err((refusal, say)) => (say, Some(refusal)),
        };
        let said = write.write_all(say.bytes()).await;
        if let Some(refusal) = refused {
            return Err(refusal);
        }
        said.map_err(|error| refusal_of(&error))?;
    }
    Ok((read, write))
}

/// TLS's own handshake.
async fn shake_hands(tcp: &TcpStream, session: &mut Connection) -> Result<(), Refusal> {
    loop {
        match push(session, tcp) {
            Ok(()) if !session.is_handshaking() => return Ok(()),
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                tcp.writable().await.map_err(|error| refusal_of(&error))?;
                continue;
            }
            Err(error) => return Err(refusal_of(&error)),
        }
        tcp.readable().await.map_err(|error| refusal_of(&error))?;
        match session.read_tls(&mut Raw(tcp)) {
            Ok(0) => return Err(Refusal::HungUp),
            Ok(_) => {
                if let Err(error) = session.process_new_packets() {
                    // The other end is told what is wrong with what it sent.
                    let _ = push(session, tcp);
                    return Err(Refusal::Tls { reason: tls_reason(&error) });
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(refusal_of(&error)),
        }
    }
}

/// Hears out somebody who was refused, for a moment and a little: a socket that is closed with something unread in it
/// is reset, and the reason that was sent may be lost.
async fn linger(tcp: &TcpStream) {
    let hear = async {
        let mut unread = [0; 1_024];
        for _ in 0..64 {
            if tcp.readable().await.is_err() {
                return;
            }
            match tcp.try_read(&mut unread) {
                Ok(0) => return,
                Err(error) if !is_passing(&error) => return,
                _ => {}
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, hear).await;
}

fn refusal_of(error: &io::Error) -> Refusal {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Refusal::Tls { reason: tls_reason(tls) },
        None => Refusal::Io { reason: plain(error) },
    }
}

/// What TLS met with, in words that say what to do about it.
fn tls_reason(error: &rustls::Error) -> String {
    use rustls::{AlertDescription as Alert, Error as Tls};
    match error {
        Tls::InvalidMessage(_) => "the other end does not speak TLS; give it --tls-cert, --tls-key and --tls-ca".into(),
        Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the other end's certificate is not by the authority in --tls-ca".into()
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the other end's certificate is neither for the host in its address nor for the name `phalanx`".into(),
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the other end's certificate is no longer good; make a new set with `phalanx cluster keys`".into()
        }
        Tls::NoCertificatesPresented => "the other end has no certificate".into(),
        Tls::AlertReceived(Alert::UnknownCA | Alert::DecryptError | Alert::BadCertificate) => {
            "the other end refuses this program's certificate: it is not by the authority that it believes".into()
        }
        Tls::AlertReceived(Alert::CertificateExpired) => {
            "the other end says that this certificate is no longer good".into()
        }
        error => error.to_string(),
    }
}

/// What both kinds of ends of TLS connections are made with.
pub(crate) struct TlsEnds {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for TlsEnds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsEnds").finish_non_exhaustive()
    }
}

impl TlsEnds {
    /// Reads the files.
    pub(crate) fn load(files: &Tls) -> Result<Self> {
        let wrong = |what: &str, path: &Path, reason: String| Error::Security {
            what: format!("the {what} in {}", path.display()),
            reason,
        };
        let certificates = |what: &str, path: &Path| -> Result<Vec<CertificateDer<'static>>> {
            let failed = |error| wrong(what, path, pem_reason(error));
            let all = CertificateDer::pem_file_iter(path).map_err(failed)?;
            let all = all.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            if all.is_empty() { Err(wrong(what, path, "there is none".into())) } else { Ok(all) }
        };
        let chain = certificates("certificate", &files.cert)?;
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong("key", &files.key, pem_reason(error)))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates("authority", &files.ca)? {
            roots.add(certificate).map_err(|error| wrong("authority", &files.ca, error.to_string()))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
        let unusable = |reason: String| wrong("certificate", &files.cert, reason);
        let only_ours = |reason: rustls::Error| unusable(format!("{reason}; is {} its key?", files.key.display()));
        let version = &[&rustls::version::TLS13];

        let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let inner = inner.build().map_err(|error| unusable(error.to_string()))?;
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(version)
            .map_err(|error| unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfTheCluster { inner }))
            .with_client_auth_cert(chain.clone(), key.clone_key());
        let mut client = client.map_err(only_ours)?;
        // Nothing is remembered of a connection that has ended.
        client.resumption = Resumption::disabled();

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let verifier = verifier.build().map_err(|error| unusable(error.to_string()))?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(version)
            .map_err(|error| unusable(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key);
        let mut server = server.map_err(only_ours)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server) })
    }

    fn client(&self, host: &str) -> Result<Connection, Refusal> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let failed = |error: String| Refusal::Tls { reason: error };
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(format!("{host}: {error}")))?;
        let session =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(|error| failed(error.to_string()))?;
        Ok(bounded(session.into()))
    }

    fn server(&self) -> Result<Connection, Refusal> {
        let session = ServerConnection::new(Arc::clone(&self.server));
        Ok(bounded(session.map_err(|error| Refusal::Tls { reason: error.to_string() })?.into()))
    }
}

fn bounded(mut session: Connection) -> Connection {
    session.set_buffer_limit(Some(ENCRYPTED));
    session
}

fn pem_reason(error: rustls::pki_types::pem::Error) -> String {
    use rustls::pki_types::pem::Error as Pem;
    match error {
        Pem::Io(error) => plain(&error),
        Pem::NoItemsFound => "there is none in the file; expected PEM".into(),
        error => error.to_string(),
    }
}

/// Believes servers whose certificate is by the cluster's authority and for the host they were looked for at, or for
/// the name that all servers of a cluster have.
#[derive(Debug)]
struct OfTheCluster {
    inner: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OfTheCluster {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |name: &ServerName<'_>| self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match (verify(server_name), ServerName::try_from(NAME)) {
            (Err(for_host), Ok(name)) => verify(&name).map_err(|_| for_host),
            (verified, _) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
