//! PROXY protocol: headers of both versions from peers of the test, from our client and from HAProxy.

use super::process_chain::ProcessChain;
use super::support::{
    Program, closing, connect, connect_from, connect_unix, echo, expect_closed, expect_end, expect_refusal, has_ipv6,
    skipped, works,
};
use super::{logging_server, server};
use multiconn::cli::AddressRepr;
use multiconn::socket::{Address, ProxyVersion};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use tempfile::TempDir;

/// Options of a server behind a proxy on this machine.
const BEHIND_PROXY: [&str; 3] = ["--proxy-protocol", "--proxy-from", "127.0.0.0/8"];

const BOTH: [ProxyVersion; 2] = [ProxyVersion::V1, ProxyVersion::V2];

const INVALID: &str = "invalid PROXY header";

/// A version 2 header of a connection of the proxy itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The header of a connection from `source`.
fn header(version: ProxyVersion, source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().unwrap();
    let destination = if source.is_ipv4() { "192.0.2.2:443" } else { "[2001:db8::2]:443" };
    version.header(&Address::Ip(source), &Address::Ip(destination.parse().unwrap()))
}

/// A connection that begins with `bytes`.
fn begun_with(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut peer = connect(address);
    peer.set_nodelay(true).unwrap();
    peer.write_all(bytes).unwrap();
    peer
}

#[test]
fn the_header_names_the_peer() {
    let mut server = logging_server(&BEHIND_PROXY);
    let sources = ["192.0.2.1:56324", "[2001:db8::1]:1"];
    for (version, source) in BOTH.into_iter().flat_map(|version| sources.map(|source| (version, source))) {
        let mut peer = begun_with(server.address(), &[&header(version, source)[..], b"early "].concat());
        let mut early = [0; 6];
        peer.read_exact(&mut early).unwrap();
        assert_eq!(&early, b"early ");
        echo(&mut peer, b"Hello");
        drop(peer);
        let named = format!("Received PROXY header for {}", AddressRepr(source.parse().unwrap()));
        server.await_stderr(&named);
        server.await_stderr(&closing(source, "closed by peer"));
    }
    let mut peer = begun_with(server.address(), LOCAL);
    echo(&mut peer, b"Hello");
    let own = peer.local_addr().unwrap();
    drop(peer);
    server.await_stderr(&closing(own, "closed by peer"));
    server.await_closed(5);
    let exit = server.terminate();
    exit.expect_counts(&[("closed by peer", 5)]);
    // The header does not count.
    assert!(exit.stdout[1].contains(": 49 B received, 49 B sent"), "{exit:#?}");
}

#[test]
fn a_header_may_arrive_byte_by_byte() {
    let mut server = logging_server(&BEHIND_PROXY);
    for version in BOTH {
        let mut peer = connect(server.address());
        peer.set_nodelay(true).unwrap();
        for byte in [&header(version, "192.0.2.1:1")[..], b"Hello"].concat() {
            peer.write_all(&[byte]).unwrap();
            std::thread::yield_now();
        }
        let mut reply = [0; 5];
        peer.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"Hello");
    }
    server.await_closed(2);
    server.terminate().expect_counts(&[("closed by peer", 2)]);
}

/// At the first wrong byte, without waiting for more.
#[test]
fn anything_else_is_closed_at_once() {
    let mut server = logging_server(&[&BEHIND_PROXY[..], &["--handshake-timeout", "0"]].concat());
    let bad: [&[u8]; 6] = [
        b"G",
        b"PROXX",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIX",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
    ];
    for bytes in bad {
        expect_closed(&mut begun_with(server.address(), bytes));
    }
    server.await_stderr("invalid PROXY header; connection closed connection=1 ");
    let mut client = begun_with(server.address(), &header(ProxyVersion::V1, "192.0.2.1:1"));
    echo(&mut client, b"Hello");
    drop(client);
    server.await_closed(7);
    let exit = server.terminate();
    exit.expect_counts(&[("closed by peer", 1), (INVALID, 6)]);
}

#[test]
fn an_end_before_or_within_a_header_is_invalid() {
    let mut server = server(&BEHIND_PROXY);
    for begin in [&b""[..], b"PROXY TCP4", &header(ProxyVersion::V2, "192.0.2.1:1")[..20]] {
        let mut peer = begun_with(server.address(), begin);
        peer.shutdown(Shutdown::Write).unwrap();
        expect_closed(&mut peer);
    }
    server.await_closed(3);
    server.terminate().expect_counts(&[(INVALID, 3)]);
}

#[test]
fn a_missing_header_ends_with_the_handshake_timeout() {
    let mut server = server(&[&BEHIND_PROXY[..], &["--handshake-timeout", "2s"]].concat());
    let begins = [&b""[..], b"PROXY TCP4", &header(ProxyVersion::V2, "192.0.2.1:1")[..20]];
    let peers = begins.map(|begin| begun_with(server.address(), begin));
    for mut peer in peers {
        expect_closed(&mut peer);
    }
    server.await_closed(3);
    server.terminate().expect_counts(&[("handshake timeout", 3)]);
}

/// TLS takes its memory when a connection is accepted.
#[test]
fn connections_without_a_header_are_within_the_memory_limit() {
    let options = ["--tls-self-signed", "--memory-limit", "1MiB", "--handshake-timeout", "5m"];
    let mut server = server(&[&BEHIND_PROXY[..], &options].concat());
    let address = server.address_of(" (tls, ");
    // One that exceeds the limit is reset: maybe before connect(2) returns, or before it has sent anything.
    let mut peers: Vec<_> = (0..110).filter_map(|_| TcpStream::connect(address).ok()).collect();
    for peer in &mut peers {
        let _ = peer.write_all(b"PROXY ");
    }
    // The limit is 102 times 10 KiB.
    server.await_closed(8);
    drop(peers);
    server.await_closed(110);
    server.terminate().expect_counts(&[("memory limit", 8), (INVALID, 102)]);
}

#[test]
fn headers_are_taken_from_trusted_proxies_only() {
    let mut server = logging_server(&["--proxy-protocol", "--proxy-from", "127.0.0.2", "--proxy-from", "127.1.0.0/16"]);
    let header = header(ProxyVersion::V2, "192.0.2.1:1");
    for proxy in ["127.0.0.2", "127.1.2.3"] {
        let mut peer = connect_from(proxy, server.address());
        peer.write_all(&header).unwrap();
        echo(&mut peer, b"Hello");
    }
    expect_closed(&mut connect_from("127.0.0.3", server.address()));
    let why = "refused: the peer is not a trusted proxy";
    server.await_stderr(&format!("reason=\"{why}\""));
    server.await_closed(2);
    server.terminate().expect_counts(&[("closed by peer", 2), (why, 1)]);
}

#[test]
fn limits_are_those_of_the_client() {
    let limits = ["--allow", "192.0.2.0/24", "--max-per-address", "1"];
    let mut server = logging_server(&[&BEHIND_PROXY[..], &limits].concat());
    let of = |source: &str| begun_with(server.address(), &header(ProxyVersion::V1, source));
    let mut first = of("192.0.2.1:1");
    echo(&mut first, b"Hello");
    expect_closed(&mut of("192.0.2.1:2"));
    let mut other = of("192.0.2.2:1");
    echo(&mut other, b"Hello");
    expect_closed(&mut of("198.51.100.1:1"));
    // A header without an address leaves that of the proxy.
    expect_closed(&mut begun_with(server.address(), LOCAL));
    drop(first);
    server.await_closed(4);
    let mut again = of("192.0.2.1:3");
    echo(&mut again, b"Hello");
    drop((other, again));
    server.await_closed(6);
    let exit = server.terminate();
    exit.expect_counts(&[
        ("closed by peer", 3),
        ("refused after its PROXY header", 3),
        ("refused: too many connections from the address", 1),
        ("refused: the address is not allowed", 2),
    ]);
}

#[test]
fn peers_over_a_unix_socket_are_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut server = Program::spawn_logging(Program::server_command().args(["--proxy-protocol", "--unix"]).arg(&path));
    server.await_stdout("Listening on ");
    let mut peer = connect_unix(&path);
    peer.write_all(&header(ProxyVersion::V1, "192.0.2.1:1")).unwrap();
    echo(&mut peer, b"Hello");
    drop(peer);
    server.await_stderr(&closing("192.0.2.1:1", "closed by peer"));
    let client = ["--unix", path.to_str().unwrap(), "-c", "3", "--proxy-protocol", "v2"];
    let exit = Program::client(&client).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    server.await_closed(4);
    server.terminate().expect_counts(&[("closed by peer", 4)]);
}

#[test]
fn our_client_and_server_agree() {
    for host in ["127.0.0.1", "::1"] {
        if host == "::1" && !has_ipv6("headers over IPv6") {
            return;
        }
        for (tls, of_client) in [(None, &[][..]), (Some("--tls-self-signed"), &["--tls", "--tls-insecure"])] {
            let options = ["--proxy-protocol", "--proxy-from", host];
            let mut server = Program::spawn(Program::server_command().args([host, "0"]).args(options).args(tls));
            let address = server.address_of(if tls.is_some() { " (tls, " } else { " (tcp, " });
            for version in ["v1", "v2"] {
                let target = [host, &address.port().to_string(), "50", "--proxy-protocol", version];
                let exit = Program::client(&[&target[..], of_client].concat()).await_exit();
                assert_eq!(exit.code, Some(0), "{exit:#?}");
            }
            server.await_closed(100);
            let exit = server.terminate();
            exit.expect_counts(&[("closed by peer", 100)]);
            assert!(exit.stdout.iter().any(|line| line.contains(": 4.3 KiB received")), "{exit:#?}");
        }
    }
}

#[test]
fn a_drain_waits_for_the_rest_of_a_header() {
    let mut server = server(&BEHIND_PROXY);
    let header = header(ProxyVersion::V2, "192.0.2.1:1");
    let mut peer = begun_with(server.address(), &header[..20]);
    server.signal(Signal::TERM);
    server.await_stderr("shutting down: draining ");
    peer.write_all(&[&header[20..], b"Hello"].concat()).unwrap();
    let mut reply = [0; 5];
    peer.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"Hello");
    expect_end(&mut peer);
    drop(peer);
    server.await_exit().expect_counts(&[("drained", 1)]);
}

#[test]
fn a_handover_leaves_a_header_to_the_old_process() {
    let mut process_chain = ProcessChain::new(&[&["127.0.0.1", "0"], &BEHIND_PROXY[..]].concat());
    let address = process_chain.first.address();
    let header = header(ProxyVersion::V1, "192.0.2.1:1");
    let mut old = begun_with(address, &header[..10]);
    let mut known = begun_with(address, &header);
    echo(&mut known, b"Hello");
    process_chain.handover();
    let mut new = begun_with(address, &header);
    echo(&mut new, b"Hello");
    old.write_all(&header[10..]).unwrap();
    echo(&mut old, b"Hello");
    drop((old, known, new));
    assert_eq!(process_chain.end(), 3);
}

/// HAProxy with these parameters of its listener and of its server. It accepts at the address.
fn haproxy(bind: &str, server: SocketAddr, send: &str) -> Option<(Program, SocketAddr, TempDir)> {
    if !works(Command::new("haproxy").arg("-v")) {
        skipped("headers of HAProxy", "there is no haproxy here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("haproxy.cfg");
    let times = "timeout connect 10s\n timeout client 30s\n timeout server 30s";
    let listen = format!("bind fd@0 {bind}\n server backend {server} {send}");
    std::fs::write(&path, format!("defaults\n mode tcp\n {times}\nlisten proxy\n {listen}\n")).unwrap();
    // Its standard input is the listener.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("haproxy");
    let (program, _) = Program::spawn_reading(command.args(["-db", "-f"]).arg(path), OwnedFd::from(listener));
    Some((program, address, folder))
}

#[test]
fn haproxy_sends_headers() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"] {
        let mut server = logging_server(&BEHIND_PROXY);
        let Some((_haproxy, address, _folder)) = haproxy("", server.address(), send) else { return };
        let mut peer = connect(address);
        let own = peer.local_addr().unwrap();
        echo(&mut peer, b"Hello");
        drop(peer);
        server.await_stderr(&closing(own, "closed by peer"));
        let exit = Program::client(&["127.0.0.1", &address.port().to_string(), "20"]).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        server.await_closed(21);
        server.terminate().expect_counts(&[("closed by peer", 21)]);
    }
}

/// HAProxy takes the headers of our client, and passes the addresses on.
#[test]
fn haproxy_receives_headers() {
    for version in ["v1", "v2"] {
        let mut server = logging_server(&BEHIND_PROXY);
        let found = haproxy("accept-proxy", server.address(), "send-proxy-v2");
        let Some((_haproxy, address, _folder)) = found else { return };
        let target = ["127.0.0.1", &address.port().to_string(), "20", "--proxy-protocol", version];
        let exit = Program::client(&target).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let mut peer = begun_with(address, &header(version.parse().unwrap(), "192.0.2.1:56324"));
        echo(&mut peer, b"Hello");
        drop(peer);
        server.await_stderr(&closing("192.0.2.1:56324", "closed by peer"));
        server.await_closed(21);
        server.terminate().expect_counts(&[("closed by peer", 21)]);
    }
}

#[test]
fn tls_passes_haproxy() {
    let mut server = server(&[&BEHIND_PROXY[..], &["--tls-self-signed"]].concat());
    let tls = server.address_of(" (tls, ");
    let Some((_haproxy, address, _folder)) = haproxy("", tls, "send-proxy") else { return };
    let exit =
        Program::client(&["127.0.0.1", &address.port().to_string(), "20", "--tls", "--tls-insecure"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    server.await_closed(20);
    server.terminate().expect_counts(&[("closed by peer", 20)]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    for (arguments, parts) in [
        (&["--proxy-protocol"][..], &["--proxy-from", "such as 127.0.0.1 or 10.0.0.0/8"][..]),
        (&["--proxy-from", "127.0.0.1"], &["--proxy-from", "--proxy-protocol"]),
        (&["--proxy-protocol", "--proxy-from", "here"], &["--proxy-from", "\"here\"", "10.0.0.0/8"]),
        (&["--udp", "--proxy-protocol", "--proxy-from", "::1"], &["--proxy-protocol", "--udp"]),
        (&["--handshake-timeout", "5s"], &["--handshake-timeout"]),
    ] {
        expect_refusal(Program::server(&[&["127.0.0.1", "0"], arguments].concat()), 2, parts);
    }
}
