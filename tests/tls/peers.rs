//! OpenSSL and Python's ssl module as peers of both programs.

use super::support::{Program, await_until, has_python, works};
use super::{Authority, address, client, has_openssl, logging_client, logging_server};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

#[test]
fn openssl_s_client() {
    if !has_openssl("s_client") {
        return;
    }
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let (ca, to) = (authority.path("ca.pem"), address(&server).to_string());
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = ["s_client", "-connect", &to, "-CAfile", &ca, "-verify_return_error", "-brief", version];
        let mut command = Command::new("openssl");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"to OpenSSL and back\n").unwrap();
        let mut echoed = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut echoed).unwrap();
        assert_eq!(echoed, "to OpenSSL and back\n");
        // At the end of its input it sends close_notify.
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
    server.await_stderr("TLS 1.2, TLS_ECDHE_ECDSA_WITH");
    server.await_stderr("TLS 1.3, TLS13_");
    server.await_closed(2);
    server.terminate().expect_counts(&[("closed by peer", 2)]);
}

/// Client certificates as `openssl req -x509` makes them.
#[test]
fn self_signed_clients() {
    if !has_openssl("req -x509") {
        return;
    }
    let authority = Authority::new();
    let (cert, key, ca) = (authority.path("own.pem"), authority.path("own.key"), authority.path("ca.pem"));
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let names = ["-subj", "/CN=client", "-days", "2", "-keyout", &key, "-out", &cert];
    assert!(works(Command::new("openssl").args(kind).args(names)));
    let mut server = logging_server(&authority, &["--tls-client-ca", &cert]);
    let to = address(&server);
    let exit = client(to, &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let mut clients = 1;
    if has_python("Python's ssl with a certificate") {
        for version in ["TLSv1_2", "TLSv1_3"] {
            let port = to.port().to_string();
            let exit = Program::python("tls_client.py", &["127.0.0.1", &port, &ca, version, &cert, &key]).await_exit();
            assert_eq!(exit.code, Some(0), "{exit:#?}");
            clients += 1;
        }
    }
    server.await_closed(usize::try_from(clients).unwrap());
    server.terminate().expect_counts(&[("closed by peer", clients)]);
}

/// With nothing to send, its close_notify follows the end of the handshake immediately.
#[test]
fn openssl_s_client_with_nothing_to_send() {
    const TIMES: u32 = 8;
    if !has_openssl("s_client") {
        return;
    }
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let (ca, to) = (authority.path("ca.pem"), address(&server).to_string());
    for version in ["-tls1_2", "-tls1_3"] {
        for _ in 0..TIMES {
            let arguments = ["s_client", "-connect", &to, "-CAfile", &ca, "-verify_return_error", "-brief", version];
            assert!(works(Command::new("openssl").args(arguments)));
        }
    }
    server.await_closed(2 * TIMES as usize);
    let exit = server.terminate();
    assert_eq!(exit.told(&["TLS handshake complete"]), 2 * TIMES as usize, "{exit:#?}");
    exit.expect_counts(&[("closed by peer", u64::from(2 * TIMES))]);
}

/// A free port of a loopback address that no other test uses: it stays free. `openssl s_server -port 0` prints its port in
/// varying formats.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.71:0").unwrap().local_addr().unwrap()
}

#[test]
fn openssl_s_server() {
    if !has_openssl("s_server") {
        return;
    }
    let authority = Authority::new();
    let (cert, key, ca) = (authority.path("server.pem"), authority.path("server.key"), authority.path("ca.pem"));
    for (version, shown) in [("-tls1_2", "TLS 1.2"), ("-tls1_3", "TLS 1.3")] {
        let at = free_address();
        let accept = at.to_string();
        // It answers each line reversed.
        let arguments = ["s_server", "-accept", &accept, "-cert", &cert, "-key", &key, "-rev", version];
        let _server = Program::spawn(Command::new("openssl").args(arguments));
        await_until("s_server to listen", || TcpStream::connect(at).is_ok());
        // One connection each: s_server serves connections one after the other.
        let trust = ["1", "--tls-ca", &ca, "--server-name", "localhost"];
        let exit = logging_client(at, &[&trust[..], &["--message", "never odd or even\n"]].concat()).await_exit();
        // Only the handshake counts here: the reply is "neve ro ddo reven".
        assert_eq!(exit.told(&["TLS handshake complete", shown]), 1, "{exit:#?}");
        let exit = logging_client(at, &[&trust[..], &["--message", "abba\n"]].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
}

#[test]
fn python_as_a_client() {
    if !has_python("Python's ssl") {
        return;
    }
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let (port, ca) = (address(&server).port().to_string(), authority.path("ca.pem"));
    for version in ["TLSv1_2", "TLSv1_3"] {
        let exit = Program::python("tls_client.py", &["127.0.0.1", &port, &ca, version]).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert_eq!(exit.stdout, [format!("1048576 bytes over {}", version.replace('_', "."))]);
    }
    server.await_closed(2);
    server.terminate().expect_counts(&[("closed by peer", 2)]);
}

#[test]
fn python_as_a_server() {
    if !has_python("Python's ssl") {
        return;
    }
    let authority = Authority::new();
    let (cert, key, ca) = (authority.path("server.pem"), authority.path("server.key"), authority.path("ca.pem"));
    for (version, shown) in [("TLSv1_2", "TLS 1.2"), ("TLSv1_3", "TLS 1.3")] {
        let server = Program::python("tls_echo_server.py", &[&cert, &key, version]);
        let exit = logging_client(server.python_address(), &["3", "--tls-ca", &ca, "--size", "1MiB"]).await_exit();
        assert_eq!((exit.code, exit.told(&["TLS handshake complete", shown])), (Some(0), 3), "{exit:#?}");
    }
}
