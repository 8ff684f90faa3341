//! The TLS side of a peer or an upstream: a session of rustls between its stream and the simulated socket.
//!
//! Lengths must follow from the seed. So the certificate and its signatures are of Ed25519, and no session is resumed.

use super::plan::{TlsConduct, TlsPlan};
use crate::server::tls_reload::ReloadableTls;
use crate::simulated_kernel::Kernel;
use crate::socket::{TlsAcceptor, TlsConnector};
use rcgen::{CertificateParams, KeyPair, SerialNumber};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

const NAME: &str = "localhost";

const WRONG_NAME: &str = "example.org";

/// What precedes the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const KEY_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What all worlds share, because it takes long to make.
struct Shared {
    server: Arc<ReloadableTls>,
    /// Of TLS 1.2 and TLS 1.3.
    clients: [Arc<ClientConfig>; 2],
    upstreams: [Arc<ServerConfig>; 2],
    /// For the name of the certificate, and for another one.
    connectors: [TlsConnector; 2],
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| {
    let key = || PrivatePkcs8KeyDer::from([&KEY_PREFIX[..], &[7; 32]].concat());
    let signing_key = KeyPair::try_from(&key()).expect("the key has 32 bytes");
    let mut params = CertificateParams::new([NAME.to_owned()]).expect("a name");
    params.serial_number = Some(SerialNumber::from(1));
    let certificate = params.self_signed(&signing_key).expect("the certificate is signed");
    let chain = vec![CertificateDer::from(certificate)];
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).expect("the certificate can be parsed");
    let clients = [&TLS12, &TLS13].map(|version| {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("the provider has suites for it");
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    });
    let upstreams = [&TLS12, &TLS13].map(|version| {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("the provider has suites for it");
        let builder = builder.with_no_client_auth();
        let mut config = builder.with_single_cert(chain.clone(), key().into()).expect("the key belongs to it");
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Arc::new(config)
    });
    let connectors = [NAME, WRONG_NAME].map(|name| TlsConnector::trusting(name, &chain).expect("a name"));
    let acceptor = TlsAcceptor::presenting(chain, key().into()).expect("the key belongs to the certificate");
    Shared { server: Arc::new(ReloadableTls::new(acceptor)), clients, upstreams, connectors }
});

/// TLS of the server.
pub(super) fn server() -> Arc<ReloadableTls> {
    Arc::clone(&SHARED.server)
}

/// TLS of connections to an upstream, which expect the name of its certificate, or another one.
pub(super) fn connector(is_wrong: bool) -> TlsConnector {
    SHARED.connectors[usize::from(is_wrong)].clone()
}

/// The TLS client of a peer, or the TLS server of an upstream.
pub(super) struct TlsEndpoint {
    plan: TlsPlan,
    session: Connection,
    /// Made by the session, and not sent yet.
    output: Vec<u8>,
    /// Bytes that were sent.
    sent_bytes: usize,
    /// Bytes of plaintext.
    written_bytes: usize,
    /// Longest part that is read or sent at once.
    part: usize,
    is_finishing: bool,
    is_shut: bool,
    /// A record was damaged on its way.
    pub(super) has_damaged: bool,
}

impl TlsEndpoint {
    pub(super) fn client(plan: TlsPlan, part: usize) -> Self {
        let config = &SHARED.clients[usize::from(plan.is_newest)];
        let name = ServerName::try_from(NAME).expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).expect("the configuration is complete");
        Self::new(plan, session.into(), part)
    }

    pub(super) fn server(plan: TlsPlan, part: usize) -> Self {
        let config = &SHARED.upstreams[usize::from(plan.is_newest)];
        let session = ServerConnection::new(Arc::clone(config)).expect("the configuration is complete");
        Self::new(plan, session.into(), part)
    }

    fn new(plan: TlsPlan, session: Connection, part: usize) -> Self {
        Self {
            plan,
            session,
            output: Vec::new(),
            sent_bytes: 0,
            written_bytes: 0,
            part,
            is_finishing: false,
            is_shut: false,
            has_damaged: false,
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Reads plaintext. An end without close_notify is an error, as is a fault of the other end.
    pub(super) fn read(&mut self, kernel: &mut Kernel, endpoint: usize, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut received = [0; 256];
            let part = received.len().min(self.part);
            let count = kernel.read(endpoint, &mut received[..part])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut left = &received[..count];
            while !left.is_empty() {
                self.session.read_tls(&mut left)?;
                self.session.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            }
        }
    }

    /// Takes plaintext, unless earlier output waits.
    pub(super) fn write(&mut self, kernel: &mut Kernel, bytes: &[u8]) -> io::Result<usize> {
        self.take_output();
        if self.session.is_handshaking() || !self.output.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.plan.updates_keys && self.plan.is_newest && kernel.rng.one_in(4) {
            self.session.refresh_traffic_keys().map_err(io::Error::other)?;
        }
        let count = self.session.writer().write(bytes)?;
        self.written_bytes += count;
        self.take_output();
        if let TlsConduct::Damages(after) = self.plan.conduct
            && self.written_bytes > after
            && let Some(last) = self.output.last_mut().filter(|_| !self.has_damaged)
        {
            *last ^= 1;
            self.has_damaged = true;
        }
        Ok(count)
    }

    /// Ends the output. Returns whether the other end learns that this is its end.
    pub(super) fn finish(&mut self) -> bool {
        self.is_finishing = true;
        let breaks = matches!(self.plan.conduct, TlsConduct::Truncates | TlsConduct::CutAt(_));
        let is_orderly = !self.session.is_handshaking() && !breaks;
        if is_orderly {
            self.session.send_close_notify();
        }
        is_orderly
    }

    /// Sends a part of what waits, and then the end. Returns whether it has sent a part.
    pub(super) fn flush(&mut self, kernel: &mut Kernel, endpoint: usize) -> io::Result<bool> {
        self.take_output();
        let left = if let TlsConduct::CutAt(end) = self.plan.conduct { end - self.sent_bytes } else { usize::MAX };
        let count = self.output.len().min(self.part).min(left);
        if count > 0 && !self.is_shut {
            let count = match kernel.write(endpoint, &self.output[..count]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                result => result?,
            };
            self.output.drain(..count);
            self.sent_bytes += count;
        }
        let is_last = self.output.is_empty() || self.session.is_handshaking() || self.is_cut();
        if self.is_finishing && !self.is_shut && is_last {
            self.is_shut = true;
            kernel.shut(endpoint);
        }
        Ok(count > 0 && !self.is_shut)
    }

    /// Whether everything was sent, and the end if it was wanted.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_shut || (self.output.is_empty() && !self.is_finishing)
    }

    /// Whether it sends no more, in the middle of the handshake.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.plan.conduct, TlsConduct::CutAt(end) if self.sent_bytes >= end)
    }

    fn take_output(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.output).expect("a vector takes everything");
        }
    }
}
