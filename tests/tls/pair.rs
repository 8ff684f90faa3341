//! Our client and our server over TLS.

use super::support::{Program, expect_refusal};
use super::{Authority, address, client, logging_client, logging_server, server};

#[test]
fn every_byte_is_echoed() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let ca = authority.path("ca.pem");
    for arguments in [&["200"][..], &["-c", "4", "--size", "1MiB", "--messages", "3"], &["--message", "x"]] {
        let exit = client(address(&server), &[&["--tls-ca", &ca], arguments].concat()).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert!(exit.stdout.iter().any(|line| line.trim_start().starts_with("handshake ")), "{exit:#?}");
    }
    server.await_closed(205);
    let exit = server.terminate();
    exit.expect_counts(&[("closed by peer", 205)]);
    assert_eq!(exit.told(&["TLS handshake complete", "TLS 1.3, TLS13_AES_256_GCM_SHA384, no ALPN"]), 205);
}

/// The log reports a handshake once, and before the bytes that follow it.
#[test]
fn a_handshake_is_logged_once_and_first() {
    let authority = Authority::new();
    let mut server = server(&authority, &["-vv"]);
    let ca = authority.path("ca.pem");
    let exit = client(address(&server), &["--tls-ca", &ca, "-vv"]).await_exit();
    server.await_closed(1);
    let words = |lines: &[String]| -> Vec<String> {
        let of_connections = lines.iter().filter(|line| line.contains("connection") || line.contains("b'"));
        of_connections.map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(words(&exit.stderr), ["Starting", "TLS", "Sending", "Sending", "Received", "Closing"], "{exit:#?}");
    let mut told = words(&server.terminate().stderr);
    told.retain(|word| !["Counters", "options", "shutting"].contains(&&**word));
    assert_eq!(told, ["Accepted", "TLS", "Received", "Echoing", "Closing"]);
}

#[test]
fn sessions_are_resumed() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    let ca = authority.path("ca.pem");
    // One at a time: the first connection receives the tickets for the others.
    let exit = logging_client(address(&server), &["20", "--tls-ca", &ca, "--max-connecting", "1"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let (resumed, full) =
        (exit.told(&["TLS handshake complete", "resumed"]), exit.told(&["TLS handshake complete", "full handshake"]));
    assert!(resumed > 0 && resumed + full == 20, "{resumed} resumed, {full} full: {exit:#?}");
    assert_eq!(server.terminate().told(&["TLS handshake complete", "resumed"]), resumed);
}

#[test]
fn an_application_protocol_is_negotiated() {
    let authority = Authority::new();
    let server = logging_server(&authority, &["--tls-alpn", "echo/2", "--tls-alpn", "echo/1"]);
    let ca = authority.path("ca.pem");
    let exit = logging_client(address(&server), &["--tls-ca", &ca, "--tls-alpn", "echo/1"]).await_exit();
    assert_eq!((exit.code, exit.told(&["ALPN echo/1"])), (Some(0), 1), "{exit:#?}");
    server.await_stderr("ALPN echo/1");
    let exit = client(address(&server), &["--tls-ca", &ca, "--tls-alpn", "other"]).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("no application protocol in common")), "{exit:#?}");
}

#[test]
fn a_self_signed_certificate_is_served() {
    let server = Program::server(&["127.0.0.1", "0", "--tls-self-signed"]);
    let line = server.await_stdout("SHA-256 fingerprint ");
    assert_eq!(line.rsplit(' ').next().unwrap().split(':').count(), 32, "{line}");
    let exit = client(address(&server), &["3", "--tls-insecure"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let exit = Program::client(&["--embedded", "--tls", "-c", "10"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn tls_works_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").to_str().unwrap().to_owned();
    let mut server = Program::server(&["--unix", &path, "--tls-self-signed"]);
    server.await_stdout("(unix tls, echo)");
    let exit = Program::client(&["--unix", &path, "--tls", "--tls-insecure", "-c", "5"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    server.await_closed(5);
    server.terminate().expect_counts(&[("closed by peer", 5)]);
}

#[test]
fn a_wrong_command_line_is_refused() {
    for (arguments, parts) in [
        (&["--tls-client-ca", "ca.pem"][..], &["--tls-client-ca", "--tls-self-signed"][..]),
        (&["--tls-cert", "a.pem"], &["--tls-key"]),
        (&["--handshake-timeout", "soon"], &["soon", "--handshake-timeout"]),
    ] {
        expect_refusal(Program::server(arguments), 2, parts);
    }
    for (arguments, parts) in [
        (&["--tls-insecure"][..], &["--tls-insecure", "give --tls"][..]),
        (&["--tls", "--server-name", "a b"], &["\"a b\"", "such as example.org (--server-name)"]),
    ] {
        expect_refusal(Program::client(&[&["127.0.0.1", "1"], arguments].concat()), 2, parts);
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    let authority = Authority::new();
    let (cert, key, ca) = (authority.path("server.pem"), authority.path("server.key"), authority.path("ca.pem"));
    for (cert, key, parts) in [
        ("/nowhere.pem", &*key, &["/nowhere.pem", "no such file"][..]),
        (&*key, &*key, &[&*key, "no certificate in it", "BEGIN CERTIFICATE"]),
        (&*cert, &*cert, &[&*cert, "no private key in it"]),
        (&*ca, &*key, &[&*key, "does not belong to the certificate in", &*ca]),
    ] {
        expect_refusal(Program::server(&["127.0.0.1", "0", "--tls-cert", cert, "--tls-key", key]), 1, parts);
    }
    let refused = Program::client(&["127.0.0.1", "1", "--tls", "--tls-ca", &key]);
    expect_refusal(refused, 1, &[&key, "no certificate in it"]);
}
