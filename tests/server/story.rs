//! What the server tells while it works: the tutorial's story, in the tutorial's words.

use super::server;
use super::support::{Program, connect, echo, echo_all, expect_end};
use std::io::Write;
use std::net::SocketAddr;

/// Exchanges the tutorial's first message, closes, and returns the address the peer had.
fn visit(server: &Program) -> SocketAddr {
    let mut peer = connect(server.address());
    let address = peer.local_addr().unwrap();
    echo(&mut peer, b"Message 1 from client.");
    address
}

#[test]
fn by_default_connections_are_not_told() {
    let mut server = server(&[]);
    visit(&server);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0));
    assert!(!exit.stderr.iter().any(|line| line.contains("connection")), "{exit:#?}");
    assert!(exit.stdout[1].starts_with("Served 1 connection"), "{exit:#?}");
    assert!(exit.stdout[1].contains("22 B received, 22 B sent"), "{exit:#?}");
}

#[test]
fn verbose_tells_of_each_connection() {
    let mut server = server(&["-v"]);
    let peer = visit(&server);
    server.await_stderr(&format!("Accepted connection from {peer}"));
    server.await_stderr(&format!("Closing connection to {peer}: closed by peer"));
    let exit = server.terminate();
    assert!(!exit.stderr.iter().any(|line| line.contains("Message 1")), "the bytes take -vv: {exit:#?}");
}

#[test]
fn more_verbose_tells_the_bytes_as_python_would() {
    let server = server(&["-vv"]);
    let peer = visit(&server);
    server.await_stderr(&format!("Received b'Message 1 from client.' from {peer}"));
    server.await_stderr(&format!("Echoing b'Message 1 from client.' to {peer}"));
    server.await_stderr(&format!("Closing connection to {peer}: closed by peer"));
    let mut peer = connect(server.address());
    let address = peer.local_addr().unwrap();
    echo_all(&mut peer, b"it's \"\\\"\t\r\n\x00\x7f\xff");
    server.await_stderr(&format!(r#"Echoing b'it\'s "\\"\t\r\n\x00\x7f\xff' to {address}"#));
    echo(&mut connect(server.address()), b"it's");
    server.await_stderr(r#"Echoing b"it's" to 127.0.0.1:"#);
}

#[test]
fn quiet_tells_nothing_but_where_it_listens() {
    let mut server = server(&["-q"]);
    visit(&server);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0));
    assert_eq!((exit.stdout.len(), exit.stderr.len()), (1, 0), "{exit:#?}");
}

fn with_log(setting: &str, arguments: &[&str]) -> Program {
    Program::spawn(Program::server_command().args(["127.0.0.1", "0"]).args(arguments).env("RUST_LOG", setting))
}

#[test]
fn the_log_setting_of_the_environment_is_a_default() {
    for setting in ["debug", "multiconn=debug"] {
        let server = with_log(setting, &[]);
        visit(&server);
        server.await_stderr("Accepted connection from ");
    }
    for setting in ["off", "error", "multiconn=error"] {
        let mut server = with_log(setting, &[]);
        visit(&server);
        let exit = server.terminate();
        assert!(exit.stderr.is_empty(), "RUST_LOG={setting}: {exit:#?}");
    }
}

#[test]
fn the_command_line_overrides_the_log_setting_of_the_environment() {
    for setting in ["off", "error", "multiconn=error", "no such level"] {
        let server = with_log(setting, &["-v"]);
        visit(&server);
        server.await_stderr("Accepted connection from ");
    }
    for setting in ["debug", "multiconn=trace"] {
        let mut server = with_log(setting, &["-q"]);
        visit(&server);
        let exit = server.terminate();
        assert!(exit.stderr.is_empty(), "RUST_LOG={setting}: {exit:#?}");
    }
}

/// What a terminal would obey does not reach the log, whether it comes as bytes, in a message or in a path.
#[test]
fn hostile_text_is_logged_as_safe_text() {
    const HOSTILE: &str = "\u{1b}[2J\u{7}\r\nok\u{9b}31m\u{202e}";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(HOSTILE).to_str().unwrap().to_owned();
    let mut server = server(&["-vv", "--service", "search", "--unix", &path]);
    let mut peer = connect(server.address());
    // JSON has no raw C0 characters; it has all others.
    let header = format!(
        r#"{{"byteorder": "little", "content-type": "text/json", "content-encoding": "{}", "content-length": 1}}"#,
        &HOSTILE[7..]
    );
    let length = u16::try_from(header.len()).unwrap().to_be_bytes();
    peer.write_all(&[&length[..], header.as_bytes(), HOSTILE.as_bytes()].concat()).unwrap();
    expect_end(&mut peer);
    drop(peer);
    server.await_stderr("unknown encoding ");
    let exit = server.terminate();
    exit.expect_safe_text();
    assert!(exit.stdout[0].contains(r"\x1b[2J\x07\r\nok\u{9b}31m\u{202e}"), "{exit:#?}");
    let mut wrong = Program::server(&["127.0.0.1", "0", "--tls-cert", &path, "--tls-key", HOSTILE]);
    let exit = wrong.await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(1), 1), "{exit:#?}");
    exit.expect_safe_text();
}
