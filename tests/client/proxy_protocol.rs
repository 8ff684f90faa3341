//! PROXY protocol: the header that the client sends before everything else.

use super::fake_server::{Fake, echo};
use super::support::{PATIENCE, Program, expect_refusal, has_ipv6};
use super::{client, outcome};
use multiconn::results::RunResults;
use multiconn::socket::{Address, ProxyVersion};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

/// Reads the header of `version`, with the addresses of the connection.
fn take_header(stream: &mut TcpStream, version: ProxyVersion) {
    let [peer, local] = [stream.peer_addr(), stream.local_addr()].map(|address| Address::Ip(address.unwrap()));
    let mut header = version.header(&peer, &local);
    let expected = header.clone();
    header.fill(0);
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header, expected);
}

/// A server that expects the header on each connection, and then echoes.
fn echo_behind_proxy(listener: TcpListener, version: ProxyVersion) -> Fake {
    Fake::on(listener, move |_, mut stream| {
        take_header(&mut stream, version);
        echo(stream);
        None
    })
}

#[test]
fn the_header_comes_first_and_is_not_counted() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let option = ["--proxy-protocol", &version.to_string()];
        let server = echo_behind_proxy(TcpListener::bind("127.0.0.1:0").unwrap(), version);
        outcome(server.address(), &[&option[..], &["-c", "5"]].concat()).expect_success(5, 10, 5 * 44);
        let reconnects = ["--reconnect-every", "1", "--messages", "3", "--message", "hello"];
        let exit = client(server.address(), &[&option[..], &reconnects].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        if has_ipv6("headers with IPv6 addresses") {
            let server = echo_behind_proxy(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap(), version);
            outcome(server.address(), &option).expect_success(1, 2, 44);
        }
    }
}

#[test]
fn a_unix_socket_has_no_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    for (version, header) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0")] {
        let mut program = Program::client(&["--unix", path, "--message", "hello", "--proxy-protocol", version]);
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = vec![0; header.len() + 5];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received, [header, b"hello"].concat());
        stream.write_all(b"hello").unwrap();
        drop(stream);
        let exit = program.await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
}

#[test]
fn the_header_is_part_of_the_stored_configuration() {
    let server = echo_behind_proxy(TcpListener::bind("127.0.0.1:0").unwrap(), ProxyVersion::V2);
    let exit = client(server.address(), &["--proxy-protocol", "v2", "--json", "-"]).await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    let stored = results.configuration.get("proxy-protocol").map(ToString::to_string);
    assert_eq!(stored.as_deref(), Some("\"v2\""));
}

#[test]
fn another_version_and_an_embedded_server_are_refused() {
    let other = ["127.0.0.1", "65432", "--proxy-protocol", "3"];
    expect_refusal(Program::client(&other), 2, &["--proxy-protocol", "\"3\"", "v1 or v2"]);
    let embedded = ["--embedded", "--proxy-protocol", "v1"];
    expect_refusal(Program::client(&embedded), 2, &["--proxy-protocol", "--embedded"]);
}
