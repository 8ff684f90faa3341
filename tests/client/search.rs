//! Message protocol: requests to this crate's server, the tutorial's server, and servers with wrong replies.

use super::fake_server::{Fake, answer, answer_and_end};
use super::support::{Exit, Program, expect_refusal, has_python};
use super::{Outcome, client};
use multiconn::results::{ReplyCheck, RunResults};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

const ORDER: &str = if cfg!(target_endian = "big") { "big" } else { "little" };

/// The request for `ring` and its reply, as the tutorial's Python sends them.
fn ring() -> (Vec<u8>, Vec<u8>) {
    let request = json(r#"{"action": "search", "value": "ring"}"#);
    (request, json(r#"{"result": "In the caves beneath the Misty Mountains. 💍"}"#))
}

fn json(content: &str) -> Vec<u8> {
    typed("text/json", content.as_bytes())
}

fn typed(content_type: &str, content: &[u8]) -> Vec<u8> {
    let header = format!(
        r#"{{"byteorder": "{ORDER}", "content-type": "{content_type}", "content-encoding": "utf-8", "content-length": {}}}"#,
        content.len()
    );
    [&u16::try_from(header.len()).unwrap().to_be_bytes(), header.as_bytes(), content].concat()
}

fn ask(address: SocketAddr, arguments: &[&str]) -> Exit {
    client(address, arguments).await_exit()
}

/// Expects these replies, then a report of success.
#[track_caller]
fn expect_answers(exit: Exit, answers: &[&str], connections: u64, messages: u64) {
    assert_eq!(exit.stdout[..answers.len()], *answers, "{exit:#?}");
    let verdict = &exit.stdout[answers.len()];
    assert!(verdict.ends_with(": every reply was correct"), "{exit:#?}");
    let outcome = Outcome::read(Exit { stdout: exit.stdout[answers.len()..].to_vec(), ..exit });
    assert_eq!((outcome.code, outcome.opened, outcome.failed), (Some(0), connections, 0), "{outcome:#?}");
    assert_eq!(outcome.messages, (messages, messages), "{outcome:#?}");
}

const RING: &str = "Got result: In the caves beneath the Misty Mountains. 💍";

#[test]
fn multiconn_server() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    let address = server.address();
    expect_answers(ask(address, &["--search", "ring"]), &[RING], 1, 1);
    expect_answers(ask(address, &["--search", "it's"]), &["Got result: No match for 'it's'."], 1, 1);
    let smile = r"Got response: b'First 10 bytes of request: binary\xf0\x9f\x98\x83'";
    expect_answers(ask(address, &["--binary", "😃"]), &[smile], 1, 1);
    let all = ["--search", "ring", "--binary", "😃", "--search", "-1"];
    expect_answers(ask(address, &all), &[RING, "Got result: No match for '-1'.", smile], 1, 3);
    let held = ["5", "--search", "ring", "--hold", "800ms", "--workers", "2"];
    expect_answers(ask(address, &held), &[&format!("{RING} (5 times)")], 5, 5);
    let embedded = Program::client(&["--embedded", "--search", "ring"]).await_exit();
    expect_answers(embedded, &[RING], 1, 1);
}

#[test]
fn many_connections_and_a_pipeline() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    for (connections, messages, pipeline) in [(100, 50, "8"), (10, 100, "1"), (3, 1000, "1000")] {
        let total = connections * messages;
        let (connections_text, messages) = (connections.to_string(), messages.to_string());
        let arguments = [&connections_text, "--search", "ring", "--messages", &messages, "--pipeline", pipeline];
        let told = format!("{RING} ({} times)", with_thousands(total));
        expect_answers(ask(server.address(), &arguments), &[&told], connections, total);
    }
}

fn with_thousands(number: u64) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

#[test]
fn a_value_of_the_maximum_length() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    let long = "x".repeat(65_000);
    let told = format!("Got result: No match for '{long}'. (20 times)");
    let arguments = ["--search", &long, "--messages", "20"];
    expect_answers(ask(server.address(), &arguments), &[&told], 1, 20);
}

#[test]
fn tutorial_server() {
    if !has_python("the tutorial's application server") {
        return;
    }
    let server = Program::python("app_server.py", &["127.0.0.1", "0"]);
    let address = server.python_address();
    for (arguments, told) in [
        (["--search", "morpheus"], "Got result: Follow the white rabbit. 🐰"),
        (["--search", "🐶"], "Got result: 🐾 Playing ball! 🏐"),
        (["--search", "nope"], "Got result: No match for 'nope'."),
        (["--binary", "x"], "Got response: b'First 10 bytes of request: binaryx'"),
    ] {
        expect_answers(ask(address, &arguments), &[told], 1, 1);
    }
    expect_answers(ask(address, &["20", "--search", "ring"]), &[&format!("{RING} (20 times)")], 20, 20);
    // It serves one message per connection.
    let exit = ask(address, &["--search", "ring", "--messages", "3", "--pipeline", "1"]);
    let cause = "1 closed by peer before a second reply: it serves one message per connection";
    assert!(exit.code == Some(1) && exit.stdout.iter().any(|line| line.trim() == cause), "{exit:#?}");
}

#[test]
fn log_lines() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    let exit = ask(server.address(), &["--search", "nope", "-v"]);
    let told = r#"Received response {'result': "No match for 'nope'."} from ('127.0.0.1', PORT)"#;
    let expect = |exit: &Exit, told: &str| {
        let told = told.replace("PORT", &server.address().port().to_string());
        assert!(exit.stderr.contains(&told), "{exit:#?}");
    };
    expect(&exit, told);
    let exit = ask(server.address(), &["binary", "😃", "-v"]);
    expect(&exit, "Received binary/custom-server-binary-type response from ('127.0.0.1', PORT)");
}

/// The arguments of the tutorial's client.
#[test]
fn action_and_value_as_arguments() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search", "-v"]);
    let address = server.address();
    for (words, told) in [
        (["search", "morpheus"], "Got result: Follow the white rabbit. 🐰"),
        (["search", "5"], "Got result: No match for '5'."),
        (["binary", "x"], "Got response: b'First 10 bytes of request: binaryx'"),
        (["xyz", "it's"], "Got result: Error: invalid action 'xyz'."),
    ] {
        let exit = ask(address, &words);
        assert_eq!((exit.code, exit.stdout[0].as_str()), (Some(0), told), "{exit:#?}");
        let exit = Program::client(&[&[&*address.to_string()], &words[..], &["-q"]].concat()).await_exit();
        assert_eq!((exit.code, exit.stdout.len()), (Some(0), 1), "{exit:#?}");
    }
    server.await_stderr(r#"Received request {'action': 'xyz', 'value': "it's"} from ('127.0.0.1', "#);
    // Several connections, and an environment with messages.
    let mut command = Program::client_command();
    command.args([&*address.to_string(), "search", "ring", "-c", "3"]);
    command.env("MULTICONN_CLIENT_MESSAGE", "hello").env("MULTICONN_CLIENT_FRAME", "lines");
    let exit = Program::spawn(&mut command).await_exit();
    assert_eq!((exit.code, exit.stdout[0].as_str()), (Some(0), &*format!("{RING} (3 times)")), "{exit:#?}");
    let wrong = |arguments: &[&str], parts: &[&str]| {
        expect_refusal(Program::client(&[&["127.0.0.1", "65432"], arguments].concat()), 2, parts);
    };
    wrong(&["search"], &["\"search\"", "ACTION VALUE", "search morpheus", "NUM_CONNECTIONS"]);
    wrong(&["search", "a", "b"], &["'b'"]);
    wrong(&["5", "search"], &["'search'"]);
    for (option, value) in [("--message", "x"), ("--frame", "lines"), ("--size", "5"), ("--expect", "any")] {
        wrong(&["search", "a", option, value], &["\"search\"", option]);
    }
    wrong(&["search", "a", "--udp"], &["\"search\"", "--udp"]);
}

/// Only the server defines the reply to another action, so no reply is wrong.
#[test]
fn replies_to_another_action_are_counted() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.json").to_str().unwrap().to_owned();
    for load in [&[][..], &["--duration", "50ms"]] {
        let exit = ask(server.address(), &[&["frob", "x", "--json", &path], load].concat());
        let text = exit.stdout.join("\n");
        assert!(text.contains(": every message was answered\n") && !text.contains("verified"), "{text}");
        let results = RunResults::from_json(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(results.reply_check, ReplyCheck::Counted);
    }
}

#[test]
fn quiet_prints_only_the_replies() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "search"]);
    for (arguments, lines) in [
        (&["--search", "morpheus"][..], &["Follow the white rabbit. 🐰"][..]),
        (&["3", "--search", "nope", "--messages", "5"], &["No match for 'nope'."]),
        (&["--binary", "x"], &["b'First 10 bytes of request: binaryx'"]),
        (
            &["--search", "a", "--search", "b", "--search", "a"],
            &["No match for 'a'.", "No match for 'b'.", "No match for 'a'."],
        ),
        (&["4", "--search", "a", "--search", "a", "--workers", "2"], &["No match for 'a'.", "No match for 'a'."]),
        // A load prints no answers, as without -q.
        (&["--search", "a", "--duration", "50ms"], &[]),
    ] {
        let exit = ask(server.address(), &[arguments, &["-q"]].concat());
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
        assert_eq!(exit.stdout, lines);
    }
    // A script detects the failure by the exit status, not by the output.
    let reply = json(r#"{"result": "no rabbit"}"#);
    let fake = Fake::new(move |_, stream| {
        answer(stream, &reply);
        None
    });
    let exit = ask(fake.address(), &["--search", "morpheus", "-q"]);
    assert_eq!((exit.code, exit.stdout.len()), (Some(1), 0), "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.contains("no rabbit")), "{exit:#?}");
    let exit = ask(server.address(), &["--search", "morpheus", "-q", "--json", "-"]);
    assert!(exit.code == Some(0) && exit.stdout[0].starts_with('{'), "{exit:#?}");
    assert_eq!(exit.stderr, ["Follow the white rabbit. 🐰"]);
}

/// The client sends exactly the bytes of the tutorial's client.
#[test]
fn the_bytes_equal_those_of_the_tutorial() {
    let fake = Fake::new(|_, mut stream: TcpStream| {
        let (request, reply) = ring();
        let mut sent = vec![0; request.len()];
        stream.read_exact(&mut sent).unwrap();
        assert_eq!(sent.escape_ascii().to_string(), request.escape_ascii().to_string());
        answer_and_end(stream, &reply);
        None
    });
    expect_answers(ask(fake.address(), &["--search", "ring"]), &[RING], 1, 1);
}

/// Each of these servers answers both requests in one piece.
#[test]
fn wrong_replies() {
    let (_, right) = ring();
    let otherwise = json(r#"{"result": "elsewhere"}"#);
    for (reply, words) in [
        (
            otherwise.clone(),
            r#"reply 1: expected {"result": "In the caves beneath the Misty Mountains. 💍"}, received {"result": "elsewhere"}"#,
        ),
        ([&right[..], &otherwise].concat(), "reply 2: expected"),
        ([&right[..], &right, &right].concat(), "more than its messages asked for"),
        (b"\0\x02{}".to_vec(), "reply 1: Missing required header 'byteorder'."),
        (b"HTTP/1.1 400 Bad Request\r\n".repeat(900), "reply 1: the header is not a JSON object: "),
        (json("[]"), "reply 1: the reply is not an object with a string 'result'"),
        (json("{"), "reply 1: the content is not JSON: "),
        (json(r#"{"result": null}"#), "reply 1: the reply is not an object with a string 'result'"),
        (typed("binary", b"In the caves"), "received b'In the caves'"),
        (typed("text/json", &vec![b' '; 70_000]), "reply 1: a content of 70,000 bytes is larger than"),
    ] {
        let fake = Fake::new(move |_, stream| {
            answer(stream, &reply);
            None
        });
        let exit = ask(fake.address(), &["--search", "ring", "--messages", "2", "--hold", "1h"]);
        let told = |line: &String| line.starts_with("    connection 1, ") && line.contains(words);
        assert!(exit.stdout.iter().any(told), "no {words:?} in {exit:#?}");
        let is_cause = |line: &String| line.trim() == "1 wrong reply";
        assert!(exit.code == Some(1) && exit.stdout.iter().any(is_cause), "{exit:#?}");
    }
}

/// For values outside the table servers may differ, but each must repeat its reply.
#[test]
fn replies_that_differ() {
    let answers = |texts: [&'static str; 2]| {
        Fake::new(move |_, stream| {
            answer(stream, &texts.map(|text| json(&format!(r#"{{"result": "{text}"}}"#))).concat());
            None
        })
    };
    let arguments = ["--search", "hobbit", "--messages", "2"];
    let fake = answers(["in a hole", "in a hole"]);
    expect_answers(ask(fake.address(), &arguments), &["Got result: in a hole (2 times)"], 1, 2);
    let fake = answers(["in a hole", "abroad"]);
    let exit = ask(fake.address(), &arguments);
    let told = r#"    connection 1, reply 2: expected {"result": "in a hole"}, received {"result": "abroad"}"#;
    assert!(exit.code == Some(1) && exit.stdout.iter().any(|line| line == told), "{exit:#?}");
}

#[test]
fn options_that_conflict_with_requests() {
    for option in ["--search", "--binary"] {
        for other in [["--message", "x"], ["--size", "3"]] {
            let program = Program::client(&["127.0.0.1", "1", option, "x", other[0], other[1]]);
            expect_refusal(program, 2, &[option, other[0]]);
        }
        let program = Program::client(&["127.0.0.1", "1", option, "x", "--udp"]);
        expect_refusal(program, 2, &[option, "--udp"]);
    }
}

/// Terminal control sequences, as JSON and as shown.
const HOSTILE: (&str, &str) =
    (r"\u001b[2J\u0007\rok\n50 connections\u009b31m\u202e", r"\x1b[2J\x07\rok\n50 connections\u{9b}31m\u{202e}");

#[test]
fn control_characters_in_a_reply_are_escaped() {
    let (sent, shown) = HOSTILE;
    let reply = json(&format!(r#"{{"result": "{sent}"}}"#));
    let fake = Fake::new(move |_, stream| {
        answer(stream, &reply);
        None
    });
    let exit = ask(fake.address(), &["--search", "anything", "-v"]);
    assert_eq!((exit.code, exit.stdout[0].as_str()), (Some(0), format!("Got result: {shown}").as_str()), "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.starts_with("Received response ")), "{exit:#?}");
    exit.expect_safe_text();
    // Where another reply is expected, it is quoted.
    let exit = ask(fake.address(), &["--search", "ring"]);
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    exit.expect_safe_text();
}
