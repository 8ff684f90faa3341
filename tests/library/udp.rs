//! Custom and built-in UDP responders on real sockets.

use multiconn::error::Error;
use multiconn::server::{DatagramConfig, DropReason, MakeResponder, Server, ServerConfig, Summary};
use multiconn::service::{
    ChargenDatagram, DaytimeDatagram, Echo, Reply, Responder, ReverseDatagram, SHORT_REPLY_BYTES, TimeDatagram,
    UpperDatagram,
};
use multiconn::socket::Endpoint;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Serves responders created by `make` while `talk` communicates with the server.
fn serve<R: Responder + 'static>(
    longest_reply: Option<usize>,
    make: impl Fn() -> R + Send + Sync + 'static,
    talk: impl FnOnce(&dyn Fn(&[u8]) -> Option<Vec<u8>>),
) -> Summary {
    let endpoint = Endpoint::tcp("127.0.0.1", 0);
    let mut config = ServerConfig::at(endpoint.clone());
    config.listen.clear();
    config.workers = 1;
    let mut datagrams = DatagramConfig::at(endpoint, MakeResponder::new(make));
    datagrams.longest_reply = longest_reply;
    config.datagrams = Some(datagrams);
    let server = Server::bind(config, |_| Echo).unwrap();
    let (port, handle) = (server.datagram_addresses()[0].port().unwrap(), server.handle());
    let server = std::thread::spawn(|| server.run());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    talk(&|request| {
        let mut room = [0; 2000];
        socket.send(request).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(if request == b"panic" { 1 } else { 20 }))).unwrap();
        socket.recv(&mut room).ok().map(|count| room[..count].to_vec())
    });
    handle.drain();
    server.join().unwrap().unwrap()
}

#[test]
fn each_small_service_answers() {
    serve(None, || UpperDatagram, |ask| assert_eq!(ask("grüße".as_bytes()), Some("GRÜSSE".into())));
    serve(None, || ReverseDatagram, |ask| assert_eq!(ask("aé🐰".as_bytes()), Some("🐰éa".into())));
    serve(None, ChargenDatagram::default, |ask| {
        assert_eq!(ask(b"12345"), Some(b" !\"#$".to_vec()));
        assert_eq!(ask(b""), Some(Vec::new()));
    });
    let clock = || Duration::from_secs(784_111_777);
    serve(
        None,
        move || DaytimeDatagram(clock),
        |ask| {
            assert_eq!(ask(b""), Some(b"Sun Nov  6 08:49:37 1994\r\n".to_vec()));
        },
    );
    serve(
        None,
        move || TimeDatagram(clock),
        |ask| {
            let seconds = u32::from_be_bytes(ask(b"").unwrap().try_into().unwrap());
            assert_eq!(u64::from(seconds), 784_111_777 + 2_208_988_800);
        },
    );
}

/// Replies with a thousand bytes to every datagram.
struct Talkative;

impl Responder for Talkative {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        assert!(request != b"panic", "as it was told to");
        reply.write(&[b'x'; 1000]);
        true
    }
}

#[test]
fn amplification_is_limited_unless_permitted() {
    serve(
        None,
        || Talkative,
        |ask| {
            for (request, reply) in [(0, SHORT_REPLY_BYTES), (1, SHORT_REPLY_BYTES), (27, 27), (999, 999), (1500, 1000)]
            {
                assert_eq!(ask(&vec![0; request]).map(|bytes| bytes.len()), Some(reply));
            }
        },
    );
    serve(Some(500), || Talkative, |ask| assert_eq!(ask(b"").map(|bytes| bytes.len()), Some(500)));
}

#[test]
fn a_panic_loses_one_datagram() {
    let summary = serve(
        None,
        || Talkative,
        |ask| {
            assert!(ask(b"before").is_some() && ask(b"panic").is_none() && ask(b"after").is_some());
        },
    );
    assert_eq!((summary.datagrams.received, summary.datagrams.sent), (3, 2));
    assert_eq!(summary.datagrams.dropped.get(&DropReason::Panicked), Some(&1));
}

/// Panics when its server ends.
struct PanicsOnDrop;

impl Responder for PanicsOnDrop {
    fn respond(&mut self, request: &[u8], reply: &mut Reply<'_>, _now: Instant) -> bool {
        reply.write(request) == request.len()
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a panic that the test asked for");
    }
}

#[test]
fn a_responder_that_panics_on_drop_keeps_the_summary() {
    let summary = serve(None, || PanicsOnDrop, |ask| assert_eq!(ask(b"echo"), Some(b"echo".to_vec())));
    assert_eq!(summary.datagrams.sent, 1);
}

#[test]
fn a_panic_of_the_responder_factory_ends_the_server_with_an_error() {
    for workers in [1, 2] {
        let endpoint = Endpoint::tcp("127.0.0.1", 0);
        let mut config = ServerConfig::at(endpoint.clone());
        config.workers = workers;
        let make = || -> UpperDatagram { panic!("a panic that the test asked for") };
        config.datagrams = Some(DatagramConfig::at(endpoint, MakeResponder::new(make)));
        let error = Server::bind(config, |_| Echo).unwrap().run().expect_err("nobody answers datagrams");
        assert!(matches!(error, Error::Panic(_)), "{error}");
    }
}
