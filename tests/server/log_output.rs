//! Log output of the server: quiet, default, -v and -vv, in the tutorial's words.

use super::server;
use super::support::{Program, connect, echo, echo_all, expect_end};
use multiconn::codec::message::Head;
use std::io::Write;
use std::net::SocketAddr;

/// Exchanges the tutorial's first message, closes, and returns the peer's address.
fn visit(server: &Program) -> SocketAddr {
    let mut peer = connect(server.address());
    let address = peer.local_addr().unwrap();
    echo(&mut peer, b"Message 1 from client.");
    address
}

#[test]
fn by_default_connections_are_not_logged() {
    let mut server = server(&[]);
    visit(&server);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0));
    let is_of_connection = |line: &String| line.contains("connection") && !line.starts_with("shutting down: ");
    assert!(!exit.stderr.iter().any(is_of_connection), "{exit:#?}");
    assert!(exit.stdout[1].starts_with("Served 1 connection"), "{exit:#?}");
    assert!(exit.stdout[1].contains("22 B received, 22 B sent"), "{exit:#?}");
}

#[test]
fn verbose_logs_each_connection() {
    let mut server = server(&["-v"]);
    let peer = visit(&server);
    server.await_stderr(&format!("Accepted connection from {peer}"));
    server.await_stderr(&format!("Closing connection to {peer}: closed by peer"));
    let exit = server.terminate();
    assert!(!exit.stderr.iter().any(|line| line.contains("Message 1")), "the bytes take -vv: {exit:#?}");
}

#[test]
fn more_verbose_logs_bytes_as_python_repr() {
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
fn quiet_prints_only_the_listen_address() {
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
fn rust_log_is_the_default_log_level() {
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
fn options_override_rust_log() {
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

/// Terminal control sequences never reach the log, whether they arrive as bytes, in a message or in a path.
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

/// Requests are logged as the tutorial's server prints them, with hostile text escaped.
#[test]
fn verbose_logs_decoded_requests_in_python_notation() {
    let mut server = server(&["-v", "--service", "search"]);
    let ask = |message: Vec<u8>| {
        let mut peer = connect(server.address());
        peer.write_all(&message).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
        peer.local_addr().unwrap().port()
    };
    let json = |content: &str| Head::json().message(content.as_bytes()).unwrap();
    let port = ask(json(r#"{"action": "search", "value": "morpheus"}"#));
    let expected = format!("Received request {{'action': 'search', 'value': 'morpheus'}} from ('127.0.0.1', {port})");
    server.await_stderr(&expected);
    ask(json(r#"{"action": "it's", "value": "\u001b[2J\r\n\u202e🐶"}"#));
    server.await_stderr(r#"Received request {'action': "it's", 'value': '\x1b[2J\r\n\u202e🐶'} from ('127.0.0.1', "#);
    let head = Head { content_type: "binary/odd\u{1b}", content_encoding: "binary", keeps_alive: false };
    ask(head.message(b"binaryx").unwrap());
    server.await_stderr("Received binary/odd\\x1b request from ('127.0.0.1', ");
    ask(json(&format!(r#"{{"action": "search", "value": "{}"}}"#, "x".repeat(10_000))));
    server.await_stderr("xxx... (10,033 bytes) from ('127.0.0.1', ");
    server.terminate().expect_safe_text();
}

/// The warning is rate-limited and contains the total count.
#[test]
fn malformed_messages_cause_warnings_without_verbose() {
    for (arguments, input, words) in [
        (&["--service", "search"][..], &b"\0\x02{}"[..], "Missing required header 'byteorder'."),
        (&["--frame", "digits:5"], b"one: x", "is not written in ASCII digits"),
        (&["--frame", "fixed:64"], b"Hello", "the input ended 59 bytes short of a whole frame"),
    ] {
        const COUNT: usize = 50;
        let mut server = server(&[arguments, &["--workers", "1"]].concat());
        let send = |server: &Program| {
            let mut peer = connect(server.address());
            peer.write_all(input).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            expect_end(&mut peer);
        };
        (0..COUNT).for_each(|_| send(&server));
        server.await_stderr("malformed message from 127.0.0.1:");
        // The next warning is due a second after the first.
        super::support::await_until("a warning with the count", || {
            send(&server);
            server.stderr().len() > 1
        });
        let exit = server.terminate();
        let warnings: Vec<_> = exit.stderr.iter().filter(|line| line.starts_with("warning: malformed")).collect();
        assert!(
            warnings.len() < COUNT && warnings[0].contains(words) && warnings[0].ends_with("(so far: 1)"),
            "{exit:#?}"
        );
        let last = warnings.last().and_then(|line| line.rsplit_once("(so far: ")).unwrap().1;
        assert!(last.trim_end_matches(')').parse::<usize>().unwrap() > COUNT, "{exit:#?}");
    }
}

#[test]
fn quiet_does_not_warn_of_malformed_messages() {
    let mut server = server(&["-q", "--service", "search"]);
    let mut peer = connect(server.address());
    peer.write_all(b"\0\x02{}").unwrap();
    expect_end(&mut peer);
    drop(peer);
    let exit = server.terminate();
    assert!(exit.stderr.is_empty(), "{exit:#?}");
}
