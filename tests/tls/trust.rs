//! Certificate verification, and the errors of both sides when it fails.

use super::support::{Program, connect};
use super::{Authority, Peer, address, client, logging_server, server};
use std::io::{Read, Write};

/// Expects that every connection fails with an error that contains `words`.
#[track_caller]
fn expect_failure(mut client: Program, words: &str) {
    let exit = client.await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("TLS: ") && line.contains(words)), "no {words:?}: {exit:#?}");
}

#[test]
fn an_unknown_issuer_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = logging_server(&authority, &[]);
    expect_failure(client(address(&server), &["2"]), "no trusted authority issued");
    expect_failure(client(address(&server), &["2", "--tls-ca", &other.path("ca.pem")]), "no trusted authority issued");
    server.await_stderr(
        r#"reason="handshake failed" tls_fault="the peer ended the connection: it does not know the issuer of our certificate"#,
    );
}

#[test]
fn a_wrong_name_or_date_is_refused() {
    let authority = Authority::new();
    let ca = authority.path("ca.pem");
    let named = server(&authority, &[]);
    expect_failure(client(address(&named), &["--tls-ca", &ca, "--server-name", "example.org"]), "for another name");
    let (cert, key) = (authority.path("expired.pem"), authority.path("expired.key"));
    let expired = Program::server(&["127.0.0.1", "0", "--tls-cert", &cert, "--tls-key", &key]);
    expect_failure(client(address(&expired), &["--tls-ca", &ca]), "has expired");
    let (cert, key) = (authority.path("elsewhere.pem"), authority.path("elsewhere.key"));
    let elsewhere = Program::server(&["127.0.0.1", "0", "--tls-cert", &cert, "--tls-key", &key]);
    expect_failure(client(address(&elsewhere), &["--tls-ca", &ca]), "for another name");
    let exit = client(address(&elsewhere), &["--tls-ca", &ca, "--server-name", "example.org"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn clients_are_asked_for_a_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.path("ca.pem");
    let mut server = logging_server(&authority, &["--tls-client-ca", &ca]);
    let with = |authority: &Authority| {
        let (cert, key) = (authority.path("client.pem"), authority.path("client.key"));
        client(address(&server), &["5", "--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key])
    };
    assert_eq!(with(&authority).await_exit().code, Some(0));
    expect_failure(with(&other), "the peer ended the connection: it does not know the issuer of our certificate");
    expect_failure(client(address(&server), &["5", "--tls-ca", &ca]), "it requires a certificate");
    server.await_closed(15);
    let exit = server.terminate();
    assert_eq!(
        exit.told(&[r#"tls_fault="no trusted authority issued the client's certificate (see the client CAs)"#]),
        5,
        "{exit:#?}"
    );
    assert_eq!(exit.told(&[r#"tls_fault="the peer sent no certificate"#]), 5, "{exit:#?}");
    exit.expect_counts(&[("closed by peer", 5), ("handshake failed", 10)]);
}

/// A self-signed client certificate is trusted when it is in the file of authorities; another one like it is not.
#[test]
fn a_named_self_signed_client_certificate_is_trusted() {
    let authority = Authority::new();
    let ca = authority.path("ca.pem");
    for (file, year) in [("own", 4000), ("alike", 4000), ("past", 2001)] {
        authority.self_sign(file, &["client"], year);
    }
    let named: String =
        ["own.pem", "past.pem"].map(|file| std::fs::read_to_string(authority.path(file)).unwrap()).concat();
    let named_path = authority.path("named.pem");
    std::fs::write(&named_path, named).unwrap();
    let mut server = logging_server(&authority, &["--tls-client-ca", &named_path]);
    let with = |file: &str| {
        let (cert, key) = (authority.path(&format!("{file}.pem")), authority.path(&format!("{file}.key")));
        client(address(&server), &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key])
    };
    let exit = with("own").await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    // The same name, another key.
    expect_failure(with("alike"), "the peer ended the connection");
    expect_failure(with("past"), "our certificate has expired");
    expect_failure(with("client"), "it does not know the issuer of our certificate");
    server.await_closed(4);
    let exit = server.terminate();
    assert_eq!(exit.told(&["(see the client CAs)"]), 2, "{exit:#?}");
    assert_eq!(exit.told(&["(trust its CA,"]), 0, "{exit:#?}");
    exit.expect_counts(&[("closed by peer", 1), ("handshake failed", 3)]);
}

/// The certificate alone proves nothing: with TLS 1.2 and 1.3 its owner must sign the handshake.
#[test]
fn a_named_certificate_needs_its_key() {
    let authority = Authority::new();
    authority.self_sign("own", &["client"], 4000);
    let mut server = logging_server(&authority, &["--tls-client-ca", &authority.path("own.pem")]);
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for (key, is_trusted) in [("own.key", true), ("client.key", false)] {
        for version in versions {
            let config = authority.client_config_with(&[version], "own.pem", key);
            let session = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
            let mut peer = Peer::new(session, connect(address(&server)));
            let mut reply = [0; 2];
            let result = peer.write_all(b"hi").and_then(|()| peer.read_exact(&mut reply));
            assert_eq!(result.is_ok(), is_trusted, "{result:?}");
        }
    }
    let exit = server.terminate();
    assert_eq!((exit.counted("handshake failed"), exit.told(&["TLS handshake complete"])), (2, 2), "{exit:#?}");
}

/// A certificate as `openssl req -x509` makes it: its own authority, used as a server certificate.
#[test]
fn a_named_self_signed_server_certificate_is_trusted() {
    let authority = Authority::new();
    authority.self_sign("own", &["127.0.0.1"], 4000);
    let (cert_path, key_path) = (authority.path("own.pem"), authority.path("own.key"));
    let server = Program::server(&["127.0.0.1", "0", "--tls-cert", &cert_path, "--tls-key", &key_path]);
    let exit = client(address(&server), &["--tls-ca", &cert_path]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    expect_failure(client(address(&server), &["--tls-ca", &cert_path, "--server-name", "example.org"]), "another name");
    expect_failure(client(address(&server), &[]), "no trusted authority issued");
}
