//! Proxy: real programs and sockets on both sides.

#![allow(clippy::float_cmp, reason = "the numbers of a page are whole and below 2^53")]

use super::handover::{connect_tcp, under_load};
use super::metrics::page;
use super::process_chain::ProcessChain;
use super::support::{
    Exit, PATIENCE, Program, await_until, bytes, connect, connect_narrow, connect_with_buffers, echo, expect_closed,
    expect_end, expect_refusal, expect_reset, expect_reset_of_new, push_all_and_read_back, push_until_blocked,
    read_to_end, reset, skipped, works,
};
use super::{logging_server, server};
use multiconn::socket::{Address, ProxyVersion};
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// Memory of a proxy besides the buffers of its connections, in bytes.
const FIXED: u64 = 6 << 20;

/// How long a connection lingers by default.
const LINGER: Duration = Duration::from_secs(5);

/// A proxy to `upstream`, with further arguments.
fn proxy(upstream: impl Display, arguments: &[&str]) -> Program {
    logging_server(&[&["--upstream", &upstream.to_string()], arguments].concat())
}

/// An upstream on which the test accepts connections itself.
struct Backend(TcpListener);

impl Backend {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A client of `proxy` and its connection here.
    fn pair(&self, proxy: &Program) -> (TcpStream, TcpStream) {
        let client = connect(proxy.address());
        (client, self.accept())
    }
}

/// An address on which nothing listens, and the socket that keeps it from others.
fn unused_address() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// A free port of a loopback address that only this test uses: it stays free.
fn own_address(ip: [u8; 4]) -> SocketAddr {
    TcpListener::bind(SocketAddr::from((ip, 0))).unwrap().local_addr().unwrap()
}

/// A listener whose backlog is full: a connect to it gets no answer.
fn full_backlog() -> (Socket, Vec<Socket>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address);
        waiting.push(client);
    }
    (socket, waiting, address.as_socket().unwrap())
}

/// Reads exactly `count` bytes.
fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Ends the proxy, which must not have failed.
#[track_caller]
fn finish(proxy: &mut Program) -> Exit {
    let exit = proxy.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(!exit.stderr.iter().any(|line| line.contains("panicked")), "{exit:#?}");
    exit
}

#[test]
fn an_echo_comes_back_through_the_proxy() {
    let upstream = server(&[]);
    let mut proxy = proxy(upstream.address(), &[]);
    let line = proxy.await_stdout("Listening on ");
    assert!(line.ends_with(&format!(" (tcp, proxy to {})", upstream.address())), "{line}");
    let mut client = connect(proxy.address());
    for size in [1, 64, 16_384, 200_000] {
        client.write_all(&bytes(1, size)).unwrap();
        assert!(read_exactly(&mut client, size) == bytes(1, size));
    }
    client.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut client);
    proxy.await_closed(1);
    let exit = finish(&mut proxy);
    let upstream_line = format!("1 to upstream {}, 0 failed", upstream.address());
    assert!(exit.stdout.iter().any(|line| line.trim() == upstream_line), "{exit:#?}");
    assert_eq!((exit.counted("closed by peer"), exit.counted("outgoing: closed by peer")), (1, 1), "{exit:#?}");
}

#[test]
fn many_connections_are_verified_by_the_client() {
    let upstream = server(&[]);
    let mut proxy = proxy(upstream.address(), &["--workers", "2"]);
    let address = proxy.address().to_string();
    for extra in [&["--size", "64"][..], &["--size", "100000"], &["--reconnect-every", "1"]] {
        let load = [&[&*address, "-c", "50", "--messages", "20"], extra].concat();
        let exit = Program::client(&load).await_exit();
        assert_eq!(exit.code, Some(0), "{extra:?}: {exit:#?}");
    }
    finish(&mut proxy);
}

#[test]
fn upstreams_and_listeners_can_use_tls_and_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let unix = Program::server(&["--unix", path.to_str().unwrap()]);
    unix.await_stdout("Listening on ");
    let to_unix = proxy(format!("unix:{}", path.display()), &[]);
    echo(&mut connect(to_unix.address()), &bytes(2, 10_000));
    let secure = server(&["--tls-self-signed"]);
    let address = secure.address_of(" (tls, ");
    let to_secure = proxy(address, &["--upstream-tls", "--upstream-tls-insecure"]);
    echo(&mut connect(to_secure.address()), &bytes(3, 100_000));
    let both = proxy(address, &["--upstream-tls", "--upstream-tls-insecure", "--tls-self-signed"]);
    let front = both.address_of(" (tls, ").to_string();
    let exit = Program::client(&[&*front, "--tls", "--tls-insecure", "--size", "100000"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    // A certificate that nobody has issued is not trusted.
    let strict = proxy(address, &["--upstream-tls"]);
    expect_reset_of_new(strict.address());
    strict.await_stderr("upstream=");
}

#[test]
fn each_direction_ends_by_itself() {
    let upstream = Backend::new();
    let mut proxy = proxy(upstream.address(), &[]);
    for client_first in [true, false] {
        let (client, backend) = upstream.pair(&proxy);
        let (mut first, mut second) = if client_first { (client, backend) } else { (backend, client) };
        first.write_all(b"request").unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut second), b"request");
        let reply = bytes(4, 3_000_000);
        let received = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_to_end(&mut first));
            second.write_all(&reply).unwrap();
            second.shutdown(Shutdown::Write).unwrap();
            reader.join().unwrap()
        });
        assert!(received == reply, "{} of {} bytes", received.len(), reply.len());
    }
    proxy.await_closed(2);
    let exit = finish(&mut proxy);
    assert_eq!((exit.counted("closed by peer"), exit.counted("outgoing: closed by peer")), (2, 2), "{exit:#?}");
}

#[test]
fn a_stalled_client_stops_the_upstream_and_takes_little_memory() {
    let upstream = server(&[]);
    let mut proxy = proxy(upstream.address(), &["--workers", "1"]);
    echo(&mut connect(proxy.address()), b"one-time allocations");
    let before = proxy.resident_bytes();
    let data = bytes(5, 64 << 20);
    let client = connect_narrow(proxy.address());
    let pushed = push_until_blocked(std::slice::from_ref(&client), &data)[0];
    if let (Some(before), Some(now)) = (before, proxy.resident_bytes()) {
        assert!(now.saturating_sub(before) < FIXED, "{before} bytes grew to {now}");
    }
    drop(client);
    assert!(pushed < data.len(), "nothing stopped the sender");
    let (before_reading, back) = push_all_and_read_back(connect_narrow(proxy.address()), &data);
    assert!(
        before_reading < data.len() && back == data,
        "{before_reading} of {} bytes, {} back",
        data.len(),
        back.len()
    );
    finish(&mut proxy);
}

#[test]
fn few_descriptors_leave_some_for_upstreams() {
    let backend = server(&[]);
    let upstream = backend.address().to_string();
    let arguments = ["127.0.0.1", "0", "--workers", "1", "--upstream", &upstream];
    let mut proxy = Program::spawn(Program::server_with_descriptors(64).args(arguments));
    echo(&mut connect(proxy.address()), b"through the proxy");
    assert_eq!(finish(&mut proxy).code, Some(0));
}

#[test]
fn a_failed_handshake_is_followed_by_the_next_upstream_at_once() {
    let secure = server(&["--tls-self-signed"]);
    let second = secure.address_of(" (tls, ").to_string();
    let tls = ["--upstream", &second, "--upstream-tls", "--upstream-tls-insecure", "--workers", "1"];
    // A busy machine may take as long, but not each time.
    let is_at_once = |_| {
        let plain = Backend::new();
        let proxy = proxy(plain.address(), &tls);
        let since = Instant::now();
        let mut client = connect(proxy.address());
        let mut upstream = plain.accept();
        upstream.write_all(b"220 this is no TLS\r\n").unwrap();
        echo(&mut client, b"through the other upstream");
        drop(upstream);
        since.elapsed() < LINGER
    };
    assert!((0..3).any(is_at_once), "the connection to the failed upstream lingered first");
}

#[test]
fn a_refused_upstream_resets_the_client_and_is_counted() {
    let (_unused, upstream) = unused_address();
    let mut proxy = proxy(upstream, &["--metrics", "127.0.0.1:0"]);
    let address = proxy.address();
    let since = Instant::now();
    expect_reset_of_new(address);
    proxy.await_closed(1);
    let page = page(&proxy);
    let label = format!("upstream=\"{upstream}\"");
    assert_eq!(page.sum("multiconn_upstream_failed_total", &[&label]), 1.0);
    assert_eq!(page.sum("multiconn_upstream_opened_total", &[&label]), 0.0);
    // It lasts a second at least.
    let is_over = since.elapsed() >= Duration::from_secs(1);
    assert!(page.sum("multiconn_upstream_backoff", &[&label]) == 1.0 || is_over);
    assert_eq!(page.sum("multiconn_connections_closed_total", &["reason=\"connect_refused\""]), 1.0);
    let exit = finish(&mut proxy);
    assert_eq!(
        (exit.counted("connect refused"), exit.counted("outgoing failed: connect refused")),
        (1, 1),
        "{exit:#?}"
    );
    assert_eq!(exit.told(&["warn", "cannot connect to upstream", "connect refused"]), 1, "{exit:#?}");
}

#[test]
fn a_connect_that_gets_no_answer_times_out() {
    let (_listener, _waiting, upstream) = full_backlog();
    let mut proxy = proxy(upstream, &["--connect-timeout", "300ms"]);
    let address = proxy.address();
    let since = Instant::now();
    expect_reset_of_new(address);
    assert!(since.elapsed().as_millis() >= 300);
    proxy.await_closed(1);
    assert_eq!(finish(&mut proxy).counted("connect timeout"), 1);
}

#[test]
fn a_client_that_leaves_early_abandons_the_connect() {
    let (_listener, _waiting, upstream) = full_backlog();
    let mut proxy = proxy(upstream, &["--connect-timeout", "5m"]);
    let client = connect(proxy.address());
    proxy.await_stderr("Connecting to ");
    reset(client);
    proxy.await_closed(1);
    let exit = finish(&mut proxy);
    assert_eq!((exit.counted("reset by peer"), exit.counted("outgoing failed: tunnel failed")), (1, 1), "{exit:#?}");
    assert_eq!(exit.told(&["cannot connect to upstream"]), 0, "the upstream did nothing wrong");
}

#[test]
fn connections_take_turns_and_avoid_an_upstream_that_is_down() {
    let (first, second) = (server(&[]), server(&[]));
    let addresses = [first.address(), own_address([127, 0, 0, 61]), second.address()];
    let [a, b, c] = addresses.map(|address| address.to_string());
    let mut proxy = proxy(a, &["--upstream", &b, "--upstream", &c, "--workers", "1", "--metrics", "127.0.0.1:0"]);
    for number in 0..30 {
        echo(&mut connect(proxy.address()), &bytes(number, 1000));
    }
    let opened = |address: SocketAddr| {
        page(&proxy).sum("multiconn_upstream_opened_total", &[&format!("upstream=\"{address}\"")])
    };
    assert_eq!(opened(addresses[0]) + opened(addresses[2]), 30.0);
    assert!(opened(addresses[0]) >= 8.0 && opened(addresses[2]) >= 8.0);
    // It returns, and is used again after its back-off.
    let port = addresses[1].port().to_string();
    let _returned = Program::server(&["127.0.0.61", &port]);
    await_until("the upstream to be used again", || {
        echo(&mut connect(proxy.address()), b"again");
        opened(addresses[1]) > 0.0
    });
    let exit = finish(&mut proxy);
    assert_eq!(exit.told(&["upstream accepts connections again"]), 1, "{exit:#?}");
    assert_eq!(exit.counted("connect refused"), 0, "no client noticed: {exit:#?}");
}

#[test]
fn a_silent_client_reaches_the_next_upstream() {
    let backend = Backend::new();
    // Nothing else has the loop of the one worker run.
    let (_unused, first) = unused_address();
    let mut proxy = proxy(first, &["--upstream", &backend.address().to_string(), "--workers", "1"]);
    let mut client = connect(proxy.address());
    backend.0.set_nonblocking(true).unwrap();
    await_until("the second upstream to be connected to", || backend.0.accept().is_ok());
    expect_end(&mut client);
    drop(client);
    finish(&mut proxy);
}

#[test]
fn a_drain_finishes_a_transfer() {
    let upstream = Backend::new();
    let mut proxy = proxy(upstream.address(), &[]);
    let (mut client, mut backend) = upstream.pair(&proxy);
    echo_by_hand(&mut client, &mut backend, b"before");
    proxy.signal(Signal::TERM);
    proxy.await_stderr("shutting down: draining ");
    let data = bytes(6, 5_000_000);
    let received = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_to_end(&mut client));
        backend.write_all(&data).unwrap();
        drop(backend);
        reader.join().unwrap()
    });
    assert!(received == data);
    drop(client);
    let exit = proxy.await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// Sends `message` through the proxy and back.
fn echo_by_hand(client: &mut TcpStream, backend: &mut TcpStream, message: &[u8]) {
    client.write_all(message).unwrap();
    assert_eq!(read_exactly(backend, message.len()), message);
    backend.write_all(message).unwrap();
    assert_eq!(read_exactly(client, message.len()), message);
}

#[test]
fn handovers_under_load_lose_no_connection() {
    let upstream = server(&["--workers", "1"]);
    let arguments = ["127.0.0.1", "0", "--workers", "2", "--upstream", &upstream.address().to_string()];
    let mut process_chain = ProcessChain::new(&arguments);
    let address = process_chain.first.address();
    let made = under_load(|| connect_tcp(address), &mut process_chain, 2);
    assert_eq!(process_chain.end(), made);
}

#[test]
fn a_reset_passes_through_in_both_directions() {
    let upstream = Backend::new();
    let mut proxy = proxy(upstream.address(), &[]);
    let (mut client, mut backend) = upstream.pair(&proxy);
    echo_by_hand(&mut client, &mut backend, b"before");
    reset(backend);
    expect_reset(&mut client);
    let (mut client, mut backend) = upstream.pair(&proxy);
    echo_by_hand(&mut client, &mut backend, b"before");
    reset(client);
    expect_reset(&mut backend);
    // In the middle of a transfer that has stopped.
    let client = connect_with_buffers(proxy.address(), 16_384);
    let backend = [upstream.accept()];
    push_until_blocked(&backend, &vec![1; 64 << 20]);
    reset(client);
    await_until("the reset", || (&backend[0]).write(b"more").is_err());
    proxy.await_closed(3);
    let exit = finish(&mut proxy);
    assert_eq!((exit.counted("tunnel failed"), exit.counted("outgoing: tunnel failed")), (1, 2), "{exit:#?}");
}

#[test]
fn the_upstream_learns_the_address_of_the_client() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let upstream = Backend::new();
        let proxy = proxy(upstream.address(), &["--send-proxy", &version.to_string()]);
        let (mut client, mut backend) = upstream.pair(&proxy);
        let [peer, local] = [client.local_addr(), client.peer_addr()].map(|address| Address::Ip(address.unwrap()));
        let header = version.header(&peer, &local);
        assert_eq!(read_exactly(&mut backend, header.len()), header);
        echo_by_hand(&mut client, &mut backend, b"hello");
    }
}

#[test]
fn an_address_from_another_proxy_is_passed_on() {
    let upstream = Backend::new();
    let arguments = ["--send-proxy", "v1", "--proxy-protocol", "--proxy-from", "127.0.0.1/32"];
    let proxy = proxy(upstream.address(), &arguments);
    let mut client = connect(proxy.address());
    client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nhello").unwrap();
    let mut backend = upstream.accept();
    let source = Address::Ip("192.0.2.1:56324".parse().unwrap());
    let expected = [&*ProxyVersion::V1.header(&source, &Address::Ip(proxy.address())), b"hello"].concat();
    assert_eq!(read_exactly(&mut backend, expected.len()), expected);
}

#[test]
fn haproxy_accepts_the_header() {
    if !works(Command::new("haproxy").arg("-v")) {
        return skipped("headers read by HAProxy", "haproxy is not installed");
    }
    let (upstream, folder) = (server(&[]), tempfile::tempdir().unwrap());
    let (front, file) = (own_address([127, 0, 0, 62]), folder.path().join("haproxy.cfg"));
    let limits = "timeout connect 20s\n timeout client 20s\n timeout server 20s";
    let config = format!(
        "defaults\n mode tcp\n {limits}\nlisten echo\n bind {front} accept-proxy\n server one {}\n",
        upstream.address()
    );
    std::fs::write(&file, config).unwrap();
    let _haproxy = Program::spawn(Command::new("haproxy").arg("-f").arg(&file));
    await_until("haproxy", || TcpStream::connect(front).is_ok());
    for version in ["v1", "v2"] {
        let proxy = proxy(front, &["--send-proxy", version]);
        echo(&mut connect(proxy.address()), &bytes(7, 10_000));
    }
    // Without the header HAProxy closes the connection.
    let plain = proxy(front, &[]);
    let mut client = connect(plain.address());
    client.write_all(b"hello").unwrap();
    expect_closed(&mut client);
}

#[test]
fn options_that_do_not_fit_are_refused() {
    for (arguments, parts) in [
        (&["--upstream", "127.0.0.1:1", "--service", "upper"][..], &["--upstream", "--service"][..]),
        (&["--upstream", "127.0.0.1:1", "--frame", "lines"], &["--upstream", "--frame"]),
        (&["--upstream", "127.0.0.1:1", "--reply-delay", "1s"], &["--upstream", "--reply-delay"]),
        (&["--upstream", "127.0.0.1:1", "--udp"], &["--upstream", "--udp"]),
        (&["--upstream", "127.0.0.1"], &["--upstream", "127.0.0.1:65432"]),
        (&["--upstream", "unix:"], &["0 bytes", "/tmp/m.sock"]),
        (&["--upstream-tls"], &["--upstream-tls", "--upstream HOST:PORT"]),
        (&["--send-proxy", "v1"], &["--send-proxy", "--upstream HOST:PORT"]),
        (&["--connect-timeout", "1s"], &["--connect-timeout", "--upstream HOST:PORT"]),
        (&["--upstream", "127.0.0.1:1", "--send-proxy", "3"], &["--send-proxy", "v1 or v2"]),
        (&["--upstream", "127.0.0.1:1", "--connect-timeout", "0"], &["--connect-timeout", "5s"]),
        (&["--upstream", "127.0.0.1:1", "--upstream-server-name", "a"], &["--upstream-server-name", "--upstream-tls"]),
        (
            &["--upstream", "127.0.0.1:1", "--upstream-tls", "--upstream-server-name", "a b"],
            &["\"a b\"", "--upstream-server-name"],
        ),
    ] {
        expect_refusal(server(arguments), 2, parts);
    }
    let missing = ["--upstream", "127.0.0.1:1", "--upstream-tls", "--upstream-tls-ca", "none.pem"];
    expect_refusal(server(&missing), 1, &["none.pem"]);
}
