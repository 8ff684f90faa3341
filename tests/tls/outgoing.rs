//! TLS on outgoing connections of a service.

use super::support::{PATIENCE, connect, echo};
use super::{Authority, address, server};
use multiconn::service::{ConnectOptions, Context, Echo, Handle, Input, Output, Service, Wait};
use multiconn::socket::{Address, TlsClientOptions, TlsConnector};
use multiconn::{CloseReason, Endpoint, Server, ServerConfig};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Opened(String),
    Received(Vec<u8>),
    Closed(CloseReason),
}

/// Sends "hello" and reports what happens.
struct Probe {
    is_open: bool,
    events: Sender<Event>,
}

impl Service for Probe {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if !self.is_open {
            self.is_open = true;
            let tls = context.tls().expect("it is called after the handshake");
            self.events.send(Event::Opened(tls.version.to_owned())).unwrap();
            output.write(b"hello");
        }
        if !input.is_empty() {
            self.events.send(Event::Received(input.bytes().to_vec())).unwrap();
            input.clear();
            return Wait::Close;
        }
        Wait::Input
    }

    fn closed(&mut self, reason: CloseReason) {
        let _ = self.events.send(Event::Closed(reason));
    }
}

/// A server that connects to `upstream` with TLS for the connection that it accepts.
struct Caller {
    peer: TcpStream,
    events: Receiver<Event>,
    handle: Receiver<Handle>,
}

impl Caller {
    fn new(authority: &Authority, upstream: SocketAddr, name: &str) -> Self {
        Self::configured(authority, upstream, name, |options| options.limits.handshake = Some(PATIENCE))
    }

    fn configured(
        authority: &Authority,
        upstream: SocketAddr,
        name: &str,
        change: impl Fn(&mut ConnectOptions),
    ) -> Self {
        let mut tls = TlsClientOptions::new(name);
        tls.ca = Some(authority.path("ca.pem").into());
        let mut options = ConnectOptions::to(Endpoint::tcp(upstream.ip().to_string(), upstream.port()));
        options.tls = Some(TlsConnector::new(&tls).unwrap());
        change(&mut options);
        let (sender, events) = channel();
        let (handles, handle) = channel();
        let factory = Mutex::new((sender, handles));
        let server = Server::bind(ServerConfig::at(Endpoint::tcp("127.0.0.1", 0)), move |context| {
            let (sender, handles) = &*factory.lock().unwrap();
            let probe = Probe { is_open: false, events: sender.clone() };
            handles.send(context.connect(options.clone(), probe)).unwrap();
            Echo
        })
        .unwrap();
        let [Address::Ip(address)] = server.addresses()[..] else { panic!("one address") };
        let address = *address;
        // It ends with the test program.
        std::thread::spawn(move || server.run().unwrap());
        let mut peer = connect(address);
        echo(&mut peer, b"the loop runs");
        Self { peer, events, handle }
    }

    #[track_caller]
    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event in time")
    }

    /// The next event is the end, and nothing follows.
    #[track_caller]
    fn expect_closed(&mut self, reason: CloseReason) {
        assert_eq!(self.next(), Event::Closed(reason));
        echo(&mut self.peer, b"the loop runs");
        assert!(self.events.try_recv().is_err(), "`closed` is called once");
    }
}

#[test]
fn an_outgoing_connection_exchanges_bytes_over_tls() {
    let authority = Authority::new();
    let upstream = server(&authority, &[]);
    let mut caller = Caller::new(&authority, address(&upstream), "localhost");
    assert_eq!(caller.next(), Event::Opened("TLS 1.3".to_owned()));
    assert_eq!(caller.next(), Event::Received(b"hello".to_vec()));
    caller.expect_closed(CloseReason::Completed);
}

#[test]
fn a_certificate_for_another_name_fails_before_the_service_is_called() {
    let authority = Authority::new();
    let upstream = server(&authority, &[]);
    let mut caller = Caller::new(&authority, address(&upstream), "example.org");
    caller.expect_closed(CloseReason::HandshakeFailed);
}

#[test]
fn the_preamble_precedes_the_handshake_and_silence_is_a_handshake_timeout() {
    let (authority, listener) = (Authority::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut caller = Caller::configured(&authority, listener.local_addr().unwrap(), "localhost", |options| {
        options.limits.handshake = Some(Duration::from_secs(1));
        options.preamble = b"PREAMBLE".to_vec();
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut start = [0; 9];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"PREAMBLE\x16", "a handshake record follows (RFC 8446, section 5.1)");
    caller.expect_closed(CloseReason::HandshakeTimeout);
}

#[test]
fn a_close_or_reset_abandons_a_handshake() {
    let authority = Authority::new();
    for use_handle in [
        |handle: &Handle| handle.close(CloseReason::Idle),
        |handle: &Handle| {
            handle.send(&b"lost"[..]).unwrap();
            handle.reset(CloseReason::Idle);
        },
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut caller = Caller::new(&authority, listener.local_addr().unwrap(), "localhost");
        let (mut stream, _) = listener.accept().unwrap();
        // The handshake has begun.
        stream.read_exact(&mut [0; 100]).unwrap();
        use_handle(&caller.handle.recv_timeout(PATIENCE).unwrap());
        caller.expect_closed(CloseReason::Idle);
    }
}
