//! What a service learns of TLS, and that it exists only once the handshake is complete.

use super::Peer;
use super::authority::Authority;
use super::support::{PATIENCE, await_until, connect};
use multiconn::connection::CloseReason;
use multiconn::server::{Server, ServerConfig, ServerHandle, Summary};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::{Address, Endpoint, Identity, TlsServerOptions};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The numbers of the connections for which a service was made, and how those ended that were told.
#[derive(Default)]
struct Seen {
    made: Mutex<Vec<u64>>,
    told: Mutex<Vec<(u64, CloseReason)>>,
}

/// Sends what its context tells of TLS: three lines and the client's certificate. Then it echoes.
struct Facts {
    id: u64,
    seen: Arc<Seen>,
    told: Vec<u8>,
}

impl Facts {
    fn new(context: &mut Context<'_>, seen: &Arc<Seen>) -> Self {
        seen.made.lock().unwrap().push(context.id());
        let tls = context.tls().expect("the handshake is complete");
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        let facts = format!("{}\n{:?}\n{:?}\n", tls.version, text(tls.alpn), tls.server_name);
        let told = [facts.as_bytes(), tls.peer_certificate.unwrap_or_default()].concat();
        Self { id: context.id(), seen: Arc::clone(seen), told }
    }
}

impl Service for Facts {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        output.write(&std::mem::take(&mut self.told));
        output.take(input);
        Wait::Input
    }

    fn closed(&mut self, reason: CloseReason) {
        self.seen.told.lock().unwrap().push((self.id, reason));
    }
}

/// A server of [`Facts`] that speaks `alpha` and `beta` (ALPN).
struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<Summary>,
    seen: Arc<Seen>,
}

impl Running {
    fn start(authority: &Authority, asks_for_certificate: bool) -> Self {
        Self::with_handshake_timeout(authority, asks_for_certificate, 3 * PATIENCE)
    }

    fn with_handshake_timeout(authority: &Authority, asks_for_certificate: bool, timeout: Duration) -> Self {
        let [certificate, key] = ["server.pem", "server.key"].map(|file| authority.path(file).into());
        let mut tls = TlsServerOptions::new(Identity::Files { certificate, key });
        tls.alpn = vec!["alpha".to_owned(), "beta".to_owned()];
        tls.client_ca = asks_for_certificate.then(|| authority.path("ca.pem").into());
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 1;
        config.tls = Some(tls);
        config.limits.handshake = Some(timeout);
        let seen = Arc::<Seen>::default();
        let theirs = Arc::clone(&seen);
        let server = Server::bind(config, move |context| Facts::new(context, &theirs)).unwrap();
        let &Address::Ip(address) = server.addresses()[0] else { panic!("a TCP address") };
        let handle = server.handle();
        Self { address, handle, thread: std::thread::spawn(move || server.run().unwrap()), seen }
    }

    fn connect(&self, config: ClientConfig, name: &'static str) -> Peer {
        let session = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        StreamOwned::new(session, connect(self.address))
    }

    fn drain(self) -> Summary {
        self.handle.drain();
        self.thread.join().unwrap()
    }
}

/// Reads what [`Facts`] sends at first.
#[track_caller]
fn facts(peer: &mut Peer, certificate: &[u8]) -> String {
    peer.write_all(b"!").unwrap();
    let mut received = Vec::new();
    while received.last() != Some(&b'!') {
        let mut room = [0; 4096];
        let count = peer.read(&mut room).unwrap();
        received.extend_from_slice(&room[..count]);
    }
    let text = received.strip_suffix(&[certificate, b"!"].concat()[..]).expect("the certificate");
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn a_context_knows_what_was_negotiated() {
    let authority = Authority::new();
    let server = Running::start(&authority, false);
    for (version, name) in [(&TLS12, "TLS 1.2"), (&TLS13, "TLS 1.3")] {
        let mut config = (*authority.client_config_for(&[version])).clone();
        let mut plain = server.connect(config.clone(), "127.0.0.1");
        assert_eq!(facts(&mut plain, b""), format!("{name}\nNone\nNone\n"));
        config.alpn_protocols = vec![b"beta".to_vec()];
        let mut named = server.connect(config, "localhost");
        assert_eq!(facts(&mut named, b""), format!("{name}\nSome(\"beta\")\nSome(\"localhost\")\n"));
    }
    assert_eq!(server.drain().accepted, 4);
}

/// A resumed session sends no certificate; its facts are those of the first one.
#[test]
fn a_context_knows_the_certificate_of_the_client() {
    let authority = Authority::new();
    let server = Running::start(&authority, true);
    let certificate = CertificateDer::from_pem_file(authority.path("client.pem")).unwrap();
    for (version, name) in [(&TLS12, "TLS 1.2"), (&TLS13, "TLS 1.3")] {
        let config = authority.client_config_with(&[version], "client.pem", "client.key");
        for _ in 0..3 {
            let mut peer = server.connect((*config).clone(), "localhost");
            assert_eq!(facts(&mut peer, &certificate), format!("{name}\nNone\nSome(\"localhost\")\n"));
        }
    }
    assert_eq!(server.drain().accepted, 6);
}

#[test]
fn a_failed_handshake_makes_no_service() {
    let authority = Authority::new();
    let server = Running::with_handshake_timeout(&authority, true, Duration::from_secs(5));
    // Never completes, is no TLS, ends at once, and has no certificate.
    let silent = connect(server.address);
    let mut plain = connect(server.address);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(connect(server.address));
    let config = authority.client_config();
    let mut unknown = server.connect((*config).clone(), "localhost");
    let _ = unknown.write_all(b"!");
    assert!(unknown.read_to_end(&mut Vec::new()).is_err(), "the alert is fatal");
    let _ = (&silent).read(&mut [0]);
    drop((silent, plain, unknown));
    let seen = Arc::clone(&server.seen);
    let summary = server.drain();
    assert_eq!(summary.closed.get(&CloseReason::HandshakeTimeout), Some(&1), "{summary}");
    assert_eq!(summary.closed.values().sum::<u64>(), 4, "{summary}");
    assert_eq!((seen.made.lock().unwrap().len(), seen.told.lock().unwrap().len()), (0, 0));
}

#[test]
fn a_fault_after_the_handshake_is_told() {
    let authority = Authority::new();
    let server = Running::start(&authority, false);
    let config = authority.client_config();
    let mut damaged = server.connect((*config).clone(), "127.0.0.1");
    facts(&mut damaged, b"");
    damaged.sock.write_all(&[23, 3, 3, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    damaged.sock.write_all(&[0; 18]).unwrap();
    let _ = damaged.sock.read_to_end(&mut Vec::new());
    let mut truncated = server.connect((*config).clone(), "127.0.0.1");
    facts(&mut truncated, b"");
    truncated.sock.shutdown(Shutdown::Write).unwrap();
    let _ = truncated.sock.read_to_end(&mut Vec::new());
    let mut ended = server.connect((*config).clone(), "127.0.0.1");
    facts(&mut ended, b"");
    ended.conn.send_close_notify();
    ended.flush().unwrap();
    ended.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = ended.read_to_end(&mut Vec::new());
    drop((damaged, truncated, ended));
    let seen = Arc::clone(&server.seen);
    await_until("three ends", || seen.told.lock().unwrap().len() >= 3);
    let mut told = seen.told.lock().unwrap().clone();
    told.sort_unstable();
    assert_eq!(told, [(1, CloseReason::Damaged), (2, CloseReason::Truncated), (3, CloseReason::PeerClosed)]);
    let summary = server.drain();
    assert_eq!(summary.closed, told.into_iter().map(|(_, reason)| (reason, 1)).collect());
}
