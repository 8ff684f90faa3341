//! Log output of the server: levels, the tutorial's lines, text, JSON, and systemd's journal.

use super::server;
use super::support::{Program, connect, echo, echo_all, expect_end, has_python};
use multiconn::cli::AddressRepr;
use multiconn::codec::message::Head;
use multiconn::is_unsafe;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

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
    let is_of_connection = |line: &String| line.contains("connection") && !line.contains(" info: shutting down: ");
    assert!(!exit.stderr.iter().any(is_of_connection), "{exit:#?}");
    assert!(exit.stdout[1].starts_with("Served 1 connection"), "{exit:#?}");
    assert!(exit.stdout[1].contains("22 B received, 22 B sent"), "{exit:#?}");
}

/// The lines of a server about one connection, without the line of its end.
fn tutorial_lines(lines: Vec<String>, server: SocketAddr) -> Vec<String> {
    let others = ["Listening on ", "Caught keyboard interrupt"];
    let is_tutorial =
        |line: &String| !line.contains("shutting down: ") && !others.iter().any(|start| line.starts_with(start));
    assert!(!lines.iter().any(|line| line.contains(&server.port().to_string()) && is_tutorial(line)), "{lines:#?}");
    lines.into_iter().filter(is_tutorial).collect()
}

#[test]
fn verbose_prints_the_lines_of_the_tutorial() {
    let mut server = server(&["-v"]);
    let address = server.address();
    let peer = AddressRepr(visit(&server));
    server.await_stderr("Closing connection");
    let expected = [
        format!("Accepted connection from {peer}"),
        format!("Echoing b'Message 1 from client.' to {peer}"),
        format!("Closing connection to {peer}"),
    ];
    assert_eq!(tutorial_lines(server.terminate().stderr, address), expected);
    if !has_python("the lines of the tutorial's server") {
        return;
    }
    let python = Program::python("multiconn_server.py", &["127.0.0.1", "0"]);
    let mut stream = connect(python.python_address());
    let theirs = AddressRepr(stream.local_addr().unwrap());
    echo(&mut stream, b"Message 1 from client.");
    drop(stream);
    python.await_stdout("Closing connection");
    let lines = tutorial_lines(python.stdout(), python.python_address());
    let lines: Vec<_> = lines.iter().map(|line| line.replace(&theirs.to_string(), &peer.to_string())).collect();
    assert_eq!(lines, expected, "the tutorial's server");
}

#[test]
fn payloads_are_logged_as_python_repr() {
    let server = server(&["-v"]);
    let mut peer = connect(server.address());
    let address = AddressRepr(peer.local_addr().unwrap());
    echo_all(&mut peer, b"it's \"\\\"\t\r\n\x00\x7f\xff");
    server.await_stderr(&format!(r#"Echoing b'it\'s "\\"\t\r\n\x00\x7f\xff' to {address}"#));
    echo(&mut connect(server.address()), b"it's");
    server.await_stderr(r#"Echoing b"it's" to ('127.0.0.1', "#);
}

/// `2026-11-28T19:09:10.123Z`
fn is_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

#[test]
fn lines_have_time_level_and_fields() {
    let mut server = server(&["-vv", "--workers", "1"]);
    let peer = visit(&server);
    server.await_stderr("Closing connection");
    let local = server.address();
    let exit = server.terminate();
    let lines: Vec<_> = exit.stderr.iter().map(|line| line.split_once(' ').unwrap()).collect();
    assert!(lines.iter().all(|(time, _)| is_time(time)), "{exit:#?}");
    assert!(lines.is_sorted_by_key(|(time, _)| time), "{exit:#?}");
    let python = AddressRepr(peer);
    let payload = "b'Message 1 from client.'";
    let expected = [
        format!("debug: options of {local}: no-delay on, "),
        format!("debug: Accepted connection from {python} connection=1 peer={peer} local={local}"),
        format!("trace: Received {payload} from {python} connection=1 peer={peer} bytes=22"),
        format!("trace: Echoing {payload} to {python} connection=1 peer={peer} bytes=22"),
        format!(
            "debug: Closing connection to {python} connection=1 peer={peer} reason=\"closed by peer\" \
             received_bytes=22 sent_bytes=22 open_seconds="
        ),
        "info: shutting down: draining 0 connections (repeat the signal to exit now)".to_owned(),
    ];
    assert_eq!(lines.len(), expected.len(), "{exit:#?}");
    for ((_, line), start) in lines.iter().zip(&expected) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
}

/// Parses each line as a JSON object, and checks the fields that all have.
fn json_lines(lines: &[String]) -> Vec<serde_json::Value> {
    let parse = |line: &String| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert!(is_time(object["time"].as_str().unwrap()), "{line}");
        let level = object["level"].as_str().unwrap();
        assert!(["error", "warning", "info", "debug", "trace"].contains(&level), "{line}");
        assert!(!object["message"].as_str().unwrap().contains(is_unsafe), "{line}");
        object
    };
    lines.iter().map(parse).collect()
}

#[test]
fn json_lines_have_fields() {
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0", "-v"]).env("MULTICONN_SERVER_LOG_FORMAT", "json");
    let mut server = Program::spawn(&mut command);
    let (peer, local) = (visit(&server), server.address());
    server.await_stderr("Closing connection");
    let exit = server.terminate();
    let mut objects = json_lines(&exit.stderr);
    for object in &mut objects {
        object.as_object_mut().unwrap().remove("time");
    }
    let python = AddressRepr(peer).to_string();
    let peer = peer.to_string();
    let payload = "b'Message 1 from client.'";
    assert!(objects[2]["open_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{exit:#?}");
    objects[2].as_object_mut().unwrap().remove("open_seconds");
    let expected = [
        serde_json::json!({
            "level": "debug", "message": format!("Accepted connection from {python}"),
            "connection": 1, "peer": peer, "local": local.to_string(),
        }),
        serde_json::json!({
            "level": "trace", "message": format!("Echoing {payload} to {python}"),
            "connection": 1, "peer": peer, "bytes": 22,
        }),
        serde_json::json!({
            "level": "debug", "message": format!("Closing connection to {python}"),
            "connection": 1, "peer": peer, "reason": "closed by peer", "received_bytes": 22, "sent_bytes": 22,
        }),
        serde_json::json!({
            "level": "info", "message": "shutting down: draining 0 connections (repeat the signal to exit now)",
        }),
    ];
    assert_eq!(objects, expected);
}

/// A warning and the error that ends the program, too.
#[test]
fn errors_are_json_lines() {
    let taken = server(&[]);
    let port = taken.address().port().to_string();
    let mut command = Program::server_command();
    command.args(["127.0.0.1", &port, "--log-format", "json"]).env("MULTICONN_SERVER_NO_SUCH", "1");
    let exit = Program::spawn(&mut command).await_exit();
    let objects = json_lines(&exit.stderr);
    let levels: Vec<_> = objects.iter().map(|object| object["level"].as_str().unwrap()).collect();
    assert_eq!((exit.code, levels), (Some(1), vec!["warning", "error"]), "{exit:#?}");
    assert!(objects[1]["message"].as_str().unwrap().contains(&format!("127.0.0.1:{port}")), "{exit:#?}");
}

/// systemd sets `JOURNAL_STREAM` to the device and inode of the stream to the journal. It adds the time itself, and takes
/// the level from a prefix.
#[test]
fn the_journal_takes_the_level_as_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let run = |is_journal: bool, arguments: &[&str]| {
        let file = std::fs::File::create(&log).unwrap().metadata().unwrap();
        let script = format!("exec \"$0\" \"$@\" 2>>{}", log.to_str().unwrap());
        let mut command = Program::server_under(&["sh", "-c", &script]);
        let inode = if is_journal { file.ino() } else { file.ino() + 1 };
        command.env("JOURNAL_STREAM", format!("{}:{inode}", file.dev())).args(arguments);
        let mut server = Program::spawn(&mut command);
        if arguments[0] == "127.0.0.1" {
            visit(&server);
            super::support::await_until("the end of the connection", || {
                std::fs::read_to_string(&log).unwrap().contains("Closing connection")
            });
            server.terminate();
        } else {
            assert_eq!(server.await_exit().code, Some(1));
        }
        std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let prefixes = |lines: &[String]| lines.iter().map(|line| line[..12].to_owned()).collect::<Vec<_>>();
    let loud = ["127.0.0.1", "0", "-v"];
    assert_eq!(prefixes(&run(true, &loud)), ["<7>Accepted ", "<7>Echoing b", "<7>Closing c", "<6>shutting "]);
    assert_eq!(prefixes(&run(true, &["no such host", "0"])), ["<3>cannot fi"]);
    let json = run(true, &[&loud[..], &["--log-format", "json"]].concat());
    assert!(json[0].starts_with(r#"<7>{"time":""#) && json[3].starts_with(r#"<6>{"time":""#), "{json:#?}");
    let elsewhere = run(false, &loud);
    assert!(elsewhere[0].starts_with("Accepted ") && is_time(&elsewhere[3][..24]), "{elsewhere:#?}");
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
        let mut server = with_log(setting, &[]);
        visit(&server);
        server.await_stderr("Closing connection to ");
        let exit = server.terminate();
        assert!(!exit.stderr.iter().any(|line| line.contains("Echoing")), "payloads have the level trace: {exit:#?}");
    }
    for setting in ["off", "error", "multiconn=error"] {
        let mut server = with_log(setting, &[]);
        visit(&server);
        let exit = server.terminate();
        assert!(exit.stderr.is_empty(), "RUST_LOG={setting}: {exit:#?}");
    }
}

/// An invalid filter is reported in the format of the log, and the default level applies.
#[test]
fn invalid_rust_log_is_a_warning() {
    for setting in ["multiconn=loud", "debug/a/b"] {
        let run = |arguments: &[&str]| {
            let mut server = with_log(setting, arguments);
            visit(&server);
            server.terminate()
        };
        let exit = run(&["--log-format", "json"]);
        let objects = json_lines(&exit.stderr);
        assert_eq!(
            (&objects[0]["level"], objects[1]["level"].as_str()),
            (&"warning".into(), Some("info")),
            "{exit:#?}"
        );
        assert!(objects[0]["message"].as_str().unwrap().starts_with("RUST_LOG is ignored: "), "{exit:#?}");
        let exit = run(&[]);
        assert!(exit.stderr[0].contains(" warning: RUST_LOG is ignored: "), "{exit:#?}");
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

/// The text of a peer or of the command line cannot look like another field.
#[test]
fn values_cannot_forge_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(r#"a\" peer=1.2.3.4 connection=7 b="\"#).to_str().unwrap().to_owned();
    let mut server = server(&["-vv", "--service", "search", "--unix", &path]);
    let mut peer = connect(server.address());
    let encoding = r#"x\\\" peer=1.2.3.4 count=9 y=\"\\"#;
    let header = format!(
        r#"{{"byteorder": "little", "content-type": "text/json", "content-encoding": "{encoding}", "content-length": 1}}"#
    );
    peer.write_all(&[&u16::try_from(header.len()).unwrap().to_be_bytes(), header.as_bytes(), b"x"].concat()).unwrap();
    expect_end(&mut peer);
    drop(peer);
    drop(std::os::unix::net::UnixStream::connect(&path).unwrap());
    let of_path = format!("local={}", quoted(&path));
    server.await_stderr(&of_path);
    server.await_stderr("malformed message");
    let exit = server.terminate();
    let line = exit.stderr.iter().find(|line| line.contains(" warning: malformed message")).unwrap();
    let names: Vec<_> = fields(line).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["connection", "peer", "reason", "error_detail", "count"], "{line}");
    let local = exit.stderr.iter().find(|line| line.contains(&of_path)).unwrap();
    let local = fields(local).into_iter().find(|(name, _)| name == "local");
    assert_eq!(local, Some(("local".to_owned(), path)), "{exit:#?}");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

/// The fields of a line, as a log collector parses them.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(['=', ' ']) {
        if !rest[word.len()..].starts_with('=') {
            rest = after;
            continue;
        }
        let (mut value, mut characters, is_quoted) = (String::new(), after.char_indices(), after.starts_with('"'));
        let mut end = after.len();
        characters.by_ref().take(usize::from(is_quoted)).for_each(drop);
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' if is_quoted => value.extend(characters.next().map(|(_, escaped)| escaped)),
                '"' | ' ' if (character == '"') == is_quoted => {
                    end = index + usize::from(is_quoted);
                    break;
                }
                _ => value.push(character),
            }
        }
        fields.push((word.to_owned(), value));
        rest = after[end..].trim_start();
    }
    fields
}

/// Terminal control sequences never reach the log, whether they arrive as bytes, in a message or in a path.
#[test]
fn hostile_text_is_logged_as_safe_text() {
    for format in ["text", "json"] {
        log_hostile_text(format);
    }
}

fn log_hostile_text(format: &str) {
    const HOSTILE: &str = "\u{1b}[2J\u{7}\r\nok\u{9b}31m\u{202e}";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(HOSTILE).to_str().unwrap().to_owned();
    let mut server = server(&["-vv", "--log-format", format, "--service", "search", "--unix", &path]);
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
    if format == "json" {
        let fields = json_lines(&exit.stderr).into_iter().flat_map(|object| object.as_object().unwrap().clone());
        let texts: Vec<_> = fields.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect();
        assert!(!texts.iter().any(|text| text.contains(is_unsafe)), "{texts:#?}");
        assert!(
            texts.iter().any(|text| text.contains(r"unknown encoding ") && text.contains(r"\u{9b}31m")),
            "{texts:#?}"
        );
    }
    assert!(exit.stdout[0].contains(r"\x1b[2J\x07\r\nok\u{9b}31m\u{202e}"), "{exit:#?}");
    let mut wrong =
        Program::server(&["127.0.0.1", "0", "--tls-cert", &path, "--tls-key", HOSTILE, "--log-format", format]);
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
        server.await_stderr("malformed message; connection closed ");
        // The next warning is due a second after the one before.
        let count = |line: &str| line.rsplit_once(" count=").and_then(|(_, count)| count.parse().ok());
        super::support::await_until("a warning with the count", || {
            send(&server);
            server.stderr().iter().filter_map(|line| count(line)).any(|count: usize| count > COUNT)
        });
        let exit = server.terminate();
        let warnings: Vec<_> = exit
            .stderr
            .iter()
            .filter(|line| line.contains(" warning: malformed message; connection closed connection="))
            .collect();
        assert!(
            warnings.len() < COUNT && warnings[0].contains(words) && warnings[0].ends_with(" count=1"),
            "{exit:#?}"
        );
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
