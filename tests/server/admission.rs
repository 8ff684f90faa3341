//! Admission: allowed address ranges, connection limits, and what happens to refused connections.

use super::support::{
    PATIENCE, Program, await_until, connect, connect_from, connect_unix, echo, expect_closed, expect_refusal, has_ipv6,
    skipped, still_sending, uninterrupted,
};
use super::{logging_server, server, still_serves};
use multiconn::cli::AddressRepr;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PER_ADDRESS: &str = "refused: too many connections from the address";
const NOT_ALLOWED: &str = "refused: the address is not allowed";
const AT_LIMIT: &str = "refused: too many connections";

/// A peer that was admitted.
#[track_caller]
fn admitted(source: &str, address: SocketAddr) -> TcpStream {
    let mut peer = connect_from(source, address);
    echo(&mut peer, b"Hello");
    peer
}

/// Connects from `source`, and expects an immediate close and a log line.
#[track_caller]
fn expect_refused(server: &Program, source: &str, why: &str) {
    let mut peer = connect_from(source, server.address());
    let name = peer.local_addr().unwrap();
    expect_closed(&mut peer);
    server.await_stderr(&format!("connection refused peer={name} reason=\"{why}\""));
}

/// Closes the connection, and waits until the server has noticed.
fn leave(server: &Program, peer: TcpStream) {
    let name = peer.local_addr().unwrap();
    drop(peer);
    server.await_stderr(&format!("Closing connection to {}", AddressRepr(name)));
}

#[test]
fn each_address_has_its_own_limit() {
    let mut server = logging_server(&["--max-per-address", "2"]);
    let address = server.address();
    let mut second: Vec<_> = (0..2).map(|_| admitted("127.0.0.2", address)).collect();
    expect_refused(&server, "127.0.0.2", PER_ADDRESS);
    let third: Vec<_> = (0..2).map(|_| admitted("127.0.0.3", address)).collect();
    expect_refused(&server, "127.0.0.3", PER_ADDRESS);
    // A closed connection frees a slot for the same address only.
    leave(&server, second.pop().unwrap());
    expect_refused(&server, "127.0.0.3", PER_ADDRESS);
    second.push(admitted("127.0.0.2", address));
    expect_refused(&server, "127.0.0.2", PER_ADDRESS);
    for mut peer in second.into_iter().chain(third) {
        echo(&mut peer, b"undisturbed");
    }
    server.await_closed(5);
    let exit = still_serves(&mut server);
    exit.expect_counts(&[("closed by peer", 6), (PER_ADDRESS, 4)]);
    assert!(exit.stdout[1].starts_with("Served 6 connections"), "{exit:#?}");
}

/// The workers share the count: the limit holds for any number of simultaneous connects.
#[test]
fn the_limit_per_address_holds_over_all_workers() {
    const PEERS: usize = 60;
    let mut server = server(&["--max-per-address", "5", "--workers", "4"]);
    let address = server.address();
    server.pause();
    let mut peers: Vec<_> = (0..PEERS).map(|_| connect_from("127.0.0.9", address)).collect();
    // Threads, because sequential connects would not be simultaneous.
    server.resume();
    let mut admitted = Vec::new();
    for mut peer in peers.drain(..) {
        // A refused peer may notice that here already.
        let is_served = peer.write_all(b"?").is_ok() && matches!(uninterrupted(|| peer.read(&mut [0])), Ok(1));
        if is_served {
            admitted.push(peer);
        }
    }
    assert_eq!(admitted.len(), 5);
    drop(admitted);
    let exit = still_serves(&mut server);
    assert_eq!(exit.counted(PER_ADDRESS), PEERS as u64 - 5, "{exit:#?}");
}

#[test]
fn only_allowed_addresses_are_admitted() {
    let mut server = logging_server(&["--allow", "127.0.0.2/32", "--allow", "127.1.0.0/16"]);
    let address = server.address();
    let mut allowed = [admitted("127.0.0.2", address), admitted("127.1.2.3", address)];
    for source in ["127.0.0.1", "127.0.0.3", "127.2.0.0"] {
        expect_refused(&server, source, NOT_ALLOWED);
    }
    // Also when their data has already arrived: not a byte of it is read.
    server.pause();
    let mut peers: Vec<_> = (0..10).map(|_| connect(address)).collect();
    for peer in &mut peers {
        peer.write_all(&[b'x'; 10_000]).unwrap();
    }
    if still_sending(address).is_some() {
        await_until("the arrival of all data", || still_sending(address) == Some(0));
    } else {
        skipped("data that lies there when its sender is turned away", "the sockets' state cannot be read here");
    }
    server.resume();
    peers.iter_mut().for_each(expect_closed);
    for peer in &mut allowed {
        echo(peer, b"12345");
    }
    drop(allowed);
    server.await_closed(2);
    let exit = server.terminate();
    exit.expect_counts(&[("closed by peer", 2), (NOT_ALLOWED, 13)]);
    assert!(exit.stdout[1].contains("20 B received, 20 B sent"), "{exit:#?}");
    assert_eq!(exit.told(&["connection refused peer=", NOT_ALLOWED]), 13, "{exit:#?}");
}

#[test]
fn ranges_of_both_families_on_one_listener() {
    if !has_ipv6("ranges of IPv6") {
        return;
    }
    let both = |allow: &str| {
        let server = Program::server(&["", "0", "--allow", allow]);
        let port = server.address().port();
        (server, SocketAddr::from(([127, 0, 0, 1], port)), format!("[::1]:{port}").parse::<SocketAddr>().unwrap())
    };
    let (server, v4, v6) = both("::1");
    echo(&mut connect(v6), b"allowed");
    expect_closed(&mut connect(v4));
    drop(server);
    // IPv4 peers of such a listener have IPv6 addresses (RFC 4291, section 2.5.5.2), and are still treated as IPv4.
    for allow in ["127.0.0.0/8", "::ffff:127.0.0.0/104", "::ffff:0:0/96"] {
        let (server, v4, v6) = both(allow);
        echo(&mut connect(v4), b"allowed");
        expect_closed(&mut connect(v6));
        drop(server);
    }
    let parts = ["::ffff:0:0/95", "--allow", "0.0.0.0/0"];
    expect_refusal(Program::server(&["127.0.0.1", "0", "--allow", "::ffff:0:0/95"]), 2, &parts);
}

#[test]
fn a_mapped_address_is_treated_as_ipv4() {
    let server = Program::server(&["::ffff:127.0.0.1", "0", "--allow", "::ffff:127.0.0.2"]);
    let address = server.address();
    assert!(address.is_ipv4(), "{address}");
    let port = address.port().to_string();
    for (host, source) in
        [("::ffff:127.0.0.1", "127.0.0.2"), ("127.0.0.1", "::ffff:127.0.0.2"), ("::ffff:127.0.0.1", "::ffff:127.0.0.2")]
    {
        let exit = Program::client(&[host, &port, "1", "--source", source]).await_exit();
        assert_eq!(exit.code, Some(0), "{host} from {source}: {exit:#?}");
    }
    assert_eq!(Program::client(&["::ffff:127.0.0.1", &port, "1"]).await_exit().code, Some(1));
}

#[test]
fn a_unix_socket_is_governed_by_its_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let limits = ["--allow", "10.0.0.0/8", "--max-per-address", "1"];
    let mut server = server(&[&["--unix", path.to_str().unwrap()], &limits[..]].concat());
    server.await_stdout("(unix, ");
    let mut peers: Vec<_> = (0..3).map(|_| connect_unix(&path)).collect();
    for peer in &mut peers {
        echo(peer, b"by path");
    }
    expect_closed(&mut connect(server.address()));
    drop(peers);
    assert_eq!(server.terminate().counted(NOT_ALLOWED), 1);
}

#[test]
fn connections_at_the_limit_are_refused() {
    let mut server = logging_server(&["--max-connections", "2", "--at-limit", "refuse", "--workers", "1"]);
    let address = server.address();
    let mut peers: Vec<_> = (0..2).map(|_| admitted("127.0.0.1", address)).collect();
    for _ in 0..3 {
        expect_refused(&server, "127.0.0.1", AT_LIMIT);
    }
    leave(&server, peers.pop().unwrap());
    peers.push(admitted("127.0.0.1", address));
    expect_refused(&server, "127.0.0.1", AT_LIMIT);
    for mut peer in peers {
        echo(&mut peer, b"undisturbed");
        leave(&server, peer);
    }
    still_serves(&mut server).expect_counts(&[("closed by peer", 4), (AT_LIMIT, 4)]);
}

#[test]
fn connections_at_the_limit_wait() {
    let mut server = logging_server(&["--max-connections", "1", "--at-limit", "wait", "--workers", "1"]);
    let first = admitted("127.0.0.1", server.address());
    let mut second = connect(server.address());
    second.write_all(b"Is there room?").unwrap();
    // The second peer waits as long as the first stays, which only the passage of time can show.
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = uninterrupted(|| second.read(&mut [0])).expect_err("the place is taken");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    leave(&server, first);
    let mut reply = [0; 14];
    second.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"Is there room?");
    leave(&server, second);
    still_serves(&mut server).expect_counts(&[("closed by peer", 3)]);
}

#[test]
fn wrong_values_are_refused() {
    let wrong = |option: &str, value: &str, parts: &[&str]| {
        let refused = Program::server(&["127.0.0.1", "0", &format!("{option}={value}")]);
        expect_refusal(refused, 2, &[&[option], parts].concat());
    };
    for value in ["0", "-5", "many", ""] {
        wrong("--max-per-address", value, &[&format!("{value:?}"), "like 1000"]);
    }
    for value in ["10.0.0.0/33", "::1/129", "localhost", "127.0.0.1:80", "10.0.0.0/8,::1", ""] {
        wrong("--allow", value, &[&format!("{value:?}"), "10.0.0.0/8", "2001:db8::/32"]);
    }
    for value in ["drop", "REFUSE!", ""] {
        wrong("--at-limit", value, &[value, "wait", "refuse"]);
    }
    for variable in ["MULTICONN_MAX_PER_ADDRESS", "MULTICONN_ALLOW", "MULTICONN_AT_LIMIT"] {
        let mut command = Program::server_command();
        command.args(["127.0.0.1", "0"]).env(variable, "none");
        expect_refusal(Program::spawn(&mut command), 2, &[variable, "none"]);
    }
}
