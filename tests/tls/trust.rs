//! Who is believed, and what both sides say when they do not believe.

use super::support::Program;
use super::{Authority, address, client, server};

/// Expects that every connection fails, for a cause that contains `words`.
#[track_caller]
fn expect_failure(mut client: Program, words: &str) {
    let exit = client.await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("TLS: ") && line.contains(words)), "no {words:?}: {exit:#?}");
}

#[test]
fn a_stranger_is_not_believed() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = server(&authority, &["-v"]);
    expect_failure(client(address(&server), &["2"]), "nobody trusted vouches for");
    expect_failure(client(address(&server), &["2", "--tls-ca", &other.path("ca.pem")]), "nobody trusted vouches for");
    server.await_stderr("handshake failed: the peer gave up: it does not know who vouches for our certificate");
}

#[test]
fn a_wrong_name_or_time_is_not_believed() {
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
    let mut server = server(&authority, &["-v", "--tls-client-ca", &ca]);
    let with = |authority: &Authority| {
        let (cert, key) = (authority.path("client.pem"), authority.path("client.key"));
        client(address(&server), &["5", "--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key])
    };
    assert_eq!(with(&authority).await_exit().code, Some(0));
    expect_failure(with(&other), "the peer gave up: it does not know who vouches for our certificate");
    expect_failure(client(address(&server), &["5", "--tls-ca", &ca]), "it wants a certificate");
    server.await_closed(15);
    let exit = server.terminate();
    assert_eq!(exit.told(&["handshake failed: nobody trusted vouches for the peer's certificate"]), 5, "{exit:#?}");
    assert_eq!(exit.told(&["handshake failed: the peer showed no certificate"]), 5, "{exit:#?}");
    exit.expect_counts(&[("closed by peer", 5), ("handshake failed", 10)]);
}

/// As `openssl req -x509` makes one: its own authority, and a server's all the same.
#[test]
fn a_self_signed_certificate_is_trusted_by_itself() {
    let authority = Authority::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (cert_path, key_path) = (authority.path("own.pem"), authority.path("own.key"));
    std::fs::write(&cert_path, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_path, key.serialize_pem()).unwrap();
    let server = Program::server(&["127.0.0.1", "0", "--tls-cert", &cert_path, "--tls-key", &key_path]);
    let exit = client(address(&server), &["--tls-ca", &cert_path]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    expect_failure(client(address(&server), &["--tls-ca", &cert_path, "--server-name", "example.org"]), "another name");
    expect_failure(client(address(&server), &[]), "nobody trusted vouches for");
}
