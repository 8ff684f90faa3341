//! Listen addresses: every way to write one, and connections to each.

use super::support::{Program, connect, connect_unix, echo, expect_end, has_ipv6, read_to_end};
use rustix::process::Signal;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

/// The addresses printed on stdout; all of them once `last` is printed.
fn listening(server: &Program, last: &str) -> Vec<String> {
    server.await_stdout(last);
    let told = |line: &String| line.strip_prefix("Listening on ").map(str::to_owned);
    server.stdout().iter().filter_map(told).collect()
}

#[test]
fn an_empty_host_is_every_interface() {
    let mut server = Program::server(&["", "0", "-v"]);
    let port = server.address().port();
    assert_ne!(port, 0);
    echo(&mut connect((Ipv4Addr::LOCALHOST, port).into()), b"over IPv4");
    server.await_stderr("Accepted connection from ('127.0.0.1', ");
    if has_ipv6("every interface over IPv6") {
        echo(&mut connect((Ipv6Addr::LOCALHOST, port).into()), b"over IPv6");
        server.await_stderr("Accepted connection from ('::1', ");
        assert_eq!(server.stdout(), [format!("Listening on [::]:{port} (tcp, echo)")]);
    }
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn the_ipv6_loopback_address() {
    if !has_ipv6("listening on ::1") {
        return;
    }
    for host in ["::1", "[::1]"] {
        let server = Program::server(&[host, "0"]);
        let address = server.address();
        assert_eq!(server.stdout(), [format!("Listening on [::1]:{} (tcp, echo)", address.port())]);
        echo(&mut connect(address), b"over IPv6");
    }
}

/// Every one-word form of an address is equivalent to HOST and PORT.
#[test]
fn the_server_listens_on_a_one_word_address() {
    for address in ["127.0.0.1:0", "tcp://127.0.0.1:0", "127.0.0.1 0"] {
        let server = Program::server(&[address, "--metrics", address]);
        server.await_stdout("(tcp, metrics)");
        let address = server.address();
        assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
        echo(&mut connect(address), b"in one word");
    }
    let mut server = Program::server(&[":0"]);
    let port = server.address().port();
    echo(&mut connect((Ipv4Addr::LOCALHOST, port).into()), b"every interface");
    assert_eq!(server.terminate().code, Some(0));
    if has_ipv6("listening on [::1]:0") {
        echo(&mut connect(Program::server(&["[::1]:0"]).address()), b"over IPv6");
    }
}

#[test]
fn the_server_listens_on_a_unix_socket_in_one_word() {
    let folder = tempfile::tempdir().unwrap();
    let [echoes, pages] = ["m.sock", "metrics.sock"].map(|name| folder.path().join(name));
    let in_words = |path: &Path| format!("unix:{}", path.display());
    let mut server = Program::server(&[&in_words(&echoes), "--metrics", &in_words(&pages)]);
    let told = [format!("{} (unix, echo)", echoes.display()), format!("{} (unix, metrics)", pages.display())];
    assert_eq!(listening(&server, "(unix, metrics)"), told);
    echo(&mut connect_unix(&echoes), b"over a Unix socket");
    let mut page = connect_unix(&pages);
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_to_end(&mut page).starts_with(b"HTTP/1.1 200 "));
    assert_eq!(server.terminate().code, Some(0));
    assert!(!echoes.exists() && !pages.exists(), "the names are removed at the end");
}

#[test]
fn a_name_listens_on_all_its_addresses_with_one_port() {
    let mut expected: Vec<SocketAddr> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    expected.dedup();
    let server = Program::server(&["localhost", "0"]);
    let port = server.address().port();
    for address in &mut expected {
        address.set_port(port);
        if std::net::TcpListener::bind((address.ip(), 0)).is_err() {
            // Listed in the hosts file but disabled: skipped with a warning.
            server.await_stderr(&format!("not listening on {address}"));
            continue;
        }
        server.await_stdout(&format!("Listening on {address} (tcp, echo)"));
        echo(&mut connect(*address), b"by name");
    }
}

#[test]
fn a_unix_socket() {
    for workers in ["1", "4"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        let mut server = Program::server(&["--unix", path.to_str().unwrap(), "--workers", workers]);
        assert_eq!(listening(&server, "unix"), [format!("{} (unix, echo)", path.display())]);
        let mut peers: Vec<_> = (0..50).map(|_| connect_unix(&path)).collect();
        for peer in &mut peers {
            echo(peer, b"Message 1 from client.");
        }
        server.signal(Signal::TERM);
        peers.iter_mut().for_each(expect_end);
        drop(peers);
        let exit = server.await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert!(!path.exists(), "the name is removed at the end");
    }
}

#[test]
fn a_unix_socket_beside_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1.sock"), folder.path().join("2.sock"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let server = Program::server(&["--unix", &path(&first), "127.0.0.1", "0", "--unix", &path(&second)]);
    let address = server.address();
    let mut all = listening(&server, "(tcp, ");
    all.sort();
    let mut expected = vec![format!("{address} (tcp, echo)")];
    expected.extend([&first, &second].map(|path| format!("{} (unix, echo)", path.display())));
    expected.sort();
    assert_eq!(all, expected);
    for _ in 0..5 {
        echo(&mut connect(address), b"over TCP");
        echo(&mut connect_unix(&first), b"over a Unix socket");
        echo(&mut connect_unix(&second), b"over the other");
    }
}

/// The server closes first, so its port is in TIME_WAIT. `SO_REUSEADDR` lets the next server bind it.
#[test]
fn the_port_can_be_bound_again_right_after_a_stop() {
    // Another test could take the port of 127.0.0.1 meanwhile.
    const HOST: &str = "127.0.0.63";
    for workers in ["1", "2"] {
        let mut first = Program::server(&[HOST, "0", "--workers", workers]);
        let address = first.address();
        let mut peers: Vec<_> = (0..20).map(|_| connect(address)).collect();
        for peer in &mut peers {
            echo(peer, b"before");
        }
        first.signal(Signal::TERM);
        peers.iter_mut().for_each(expect_end);
        drop(peers);
        assert_eq!(first.await_exit().code, Some(0));
        let port = address.port().to_string();
        let second = Program::server(&[HOST, &port, "--workers", workers]);
        assert_eq!(second.address(), address);
        echo(&mut connect(address), b"after");
    }
}
