//! Certificate and key files in unusual formats: usable ones are accepted; for others the error names the format.

use super::support::{Program, expect_refusal, works};
use super::{Authority, address, client, has_openssl, server};
use std::process::Command;

/// An encrypted PKCS#1 key; only the part that is readable without the passphrase is valid.
const ENCRYPTED_PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                               DEK-Info: AES-128-CBC,BA1E90BD8E9369084A4FAE06492F7348\n\nAAECAwQF\n\
                               -----END RSA PRIVATE KEY-----\n";

/// Rewrites the file `name` of `authority`.
fn rewrite(authority: &Authority, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = authority.path(name);
    std::fs::write(&path, change(std::fs::read(&path).unwrap())).unwrap();
}

/// Expects that both programs refuse the key with an error that contains `parts`.
#[track_caller]
fn expect_refused_key(certificate: &str, key: &str, parts: &[&str]) {
    let credentials = ["--tls-cert", certificate, "--tls-key", key];
    expect_refusal(Program::server(&[&["127.0.0.1", "0"], &credentials[..]].concat()), 1, parts);
    expect_refusal(Program::client(&[&["127.0.0.1", "1", "--tls"], &credentials[..]].concat()), 1, parts);
}

#[test]
fn a_byte_order_mark_is_ignored() {
    let authority = Authority::new();
    let mark = |bytes: Vec<u8>| [b"\xef\xbb\xbf", &bytes[..]].concat();
    for name in ["ca.pem", "server.pem", "server.key"] {
        rewrite(&authority, name, mark);
    }
    // Two joined files: the mark of the second one is in the middle.
    let (ca, joined) = (authority.path("ca.pem"), authority.path("joined.pem"));
    let other = Authority::new();
    std::fs::write(&joined, [std::fs::read(other.path("ca.pem")).unwrap(), std::fs::read(&ca).unwrap()].concat())
        .unwrap();
    let server = server(&authority, &[]);
    for ca in [&ca, &joined] {
        let exit = client(address(&server), &["--tls-ca", ca]).await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
    }
}

#[test]
fn errors_name_the_format_of_the_file() {
    let authority = Authority::new();
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    let encrypted = authority.path("encrypted.key");
    for text in [ENCRYPTED_PKCS1, &ENCRYPTED_PKCS1.replace("RSA", "EC")] {
        std::fs::write(&encrypted, text).unwrap();
        expect_refused_key(&certificate, &encrypted, &["encrypted.key", "passphrase", "openssl pkey -in FILE"]);
    }
    rewrite(&authority, "client.pem", |_| der_start());
    expect_refused_key(&authority.path("client.pem"), &key, &["client.pem", "DER", "openssl x509 -inform der"]);
    rewrite(&authority, "server.pem", |bytes| [vec![0xff, 0xfe], bytes].concat());
    expect_refused_key(&certificate, &key, &["server.pem", "UTF-16", "iconv"]);
}

/// The beginning of a certificate in DER.
fn der_start() -> Vec<u8> {
    vec![0x30, 0x82, 0x01, 0x00, 0x30, 0x81]
}

#[test]
fn errors_name_the_type_of_an_unsupported_key() {
    if !has_openssl("genpkey") {
        return;
    }
    let authority = Authority::new();
    let (certificate, key) = (authority.path("server.pem"), authority.path("other.key"));
    for (algorithm, option, key_type) in [
        ("EC", "ec_paramgen_curve:P-521", "an ECDSA P-521 key"),
        ("RSA", "rsa_keygen_bits:1024", "an RSA key of fewer than 2,048 bits"),
    ] {
        let arguments = ["genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", &key];
        assert!(works(Command::new("openssl").args(arguments)), "{key_type}");
        expect_refused_key(&certificate, &key, &["other.key", key_type, "not supported", "P-256", "2,048", "genpkey"]);
    }
}

#[test]
fn both_sides_report_a_missing_subject_alternative_name() {
    let authority = Authority::new();
    authority.issue("localhost", &[], 4000);
    let (certificate, key) = (authority.path("localhost.pem"), authority.path("localhost.key"));
    let server = Program::server(&["127.0.0.1", "0", "--tls-cert", &certificate, "--tls-key", &key]);
    server.await_stderr("localhost.pem has no Subject Alternative Name");
    let to = address(&server);
    let (ca, name) = (authority.path("ca.pem"), ["--server-name", "localhost"]);
    let exit = client(to, &[&["--tls-ca", &ca], &name[..]].concat()).await_exit();
    let parts = ["no Subject Alternative Name", "Common Name is not used", "-addext subjectAltName="];
    let is_explained = |line: &String| parts.iter().all(|part| line.contains(part));
    assert!(exit.code == Some(1) && exit.stdout.iter().any(is_explained), "{exit:#?}");
}

#[test]
fn a_certificate_with_names_gets_no_warning() {
    let authority = Authority::new();
    let mut server = server(&authority, &[]);
    address(&server);
    let exit = server.terminate();
    assert!(!exit.stderr.iter().any(|line| line.contains("Alternative Name")), "{exit:#?}");
}

/// The zone selects the interface of an address and is never part of a certificate.
#[cfg(target_os = "linux")]
#[test]
fn a_link_local_address_matches_without_its_zone() {
    let script = "ip link set lo up && ip addr add fe80::1/64 dev lo nodad";
    super::support::in_own_network("TLS to a link-local address", script, || {
        let authority = Authority::new();
        authority.issue("local", &["fe80::1"], 4000);
        let (certificate, key) = (authority.path("local.pem"), authority.path("local.key"));
        let server = Program::server(&["fe80::1%lo", "0", "--tls-cert", &certificate, "--tls-key", &key]);
        let (port, ca) = (address(&server).port().to_string(), authority.path("ca.pem"));
        for host in ["fe80::1%lo", "[fe80::1%lo]"] {
            let exit = Program::client(&[host, &port, "--tls", "--tls-ca", &ca]).await_exit();
            assert_eq!(exit.code, Some(0), "{exit:#?}");
        }
    });
}
