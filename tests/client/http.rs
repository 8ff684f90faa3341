//! HTTP/1.1 requests and responses: every framing of a response, servers that close connections, and statuses.

use super::client;
use super::fake_server::Fake;
use super::load::{Run, expect_one_of_five};
use super::support::{Exit, Program, expect_refusal, uninterrupted};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use tempfile::TempDir;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
const GET: &str = r"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one request without a body.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match uninterrupted(|| stream.read(&mut byte)) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// A server that answers request `number` of a connection, counted from 0, with `respond(number, request)`, and closes
/// after a response that begins with a `!`, which is not sent.
fn web(respond: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Fake {
    Fake::new(move |_, mut stream| {
        stream.set_nodelay(true).unwrap();
        for number in 0.. {
            let Some(request) = request(&mut stream) else { break };
            let response = respond(number, &request);
            let closes = response.starts_with('!');
            // The client may have left.
            if stream.write_all(response.trim_start_matches('!').as_bytes()).is_err() {
                break;
            }
            if closes {
                // Unread requests would cause a reset, which can destroy the response.
                let _ = stream.shutdown(Shutdown::Write);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                break;
            }
        }
        None
    })
}

fn run(address: SocketAddr, arguments: &[&str]) -> Run {
    Run::of(client(address, &[&["--frame", "http", "--json", "-"], arguments].concat()))
}

/// Number of connections opened, and of responses of each class.
fn counts(run: &Run) -> (u64, [u64; 5]) {
    let statuses = run.results.statuses.unwrap_or_else(|| panic!("{run:?}"));
    (run.results.connections.opened, statuses.named().map(|(_, count)| count))
}

#[test]
fn every_framing_of_a_response() {
    let all = [
        ("GET /length", OK.to_owned()),
        ("HEAD /head", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n".to_owned()),
        (
            "GET /chunks",
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n".to_owned(),
        ),
        ("GET /none", "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("GET /same", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n".to_owned()),
        ("GET /interim", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n{OK}")),
        ("GET /lines", "HTTP/1.1 500 Oh\nContent-Length: 0\n\n".to_owned()),
        // Larger than the buffers of the client.
        ("GET /large", format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000))),
        ("GET /end", "!HTTP/1.1 200 OK\r\n\r\nup to the end".to_owned()),
    ];
    let bytes: usize = all.iter().map(|(_, response)| response.trim_start_matches('!').len()).sum();
    let messages = all.clone().map(|(line, _)| format!(r"{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let options: Vec<&str> = messages.iter().flat_map(|message| ["--message", message]).collect();
    let fake = web(move |_, request| {
        all.iter().find(|(line, _)| request.starts_with(*line)).map(|(_, response)| response.clone()).unwrap()
    });
    for further in [&["1"][..], &["3", "--messages", "27"]] {
        let run = run(fake.address(), &[further, &options[..]].concat());
        let rounds = if further.len() == 1 { 1 } else { 9 };
        run.expect_success(9 * rounds);
        assert_eq!(counts(&run), (rounds, [0, 6, 1, 1, 1].map(|count| count * rounds)), "{run:?}");
        assert_eq!(run.results.bytes.received, bytes as u64 * rounds, "{run:?}");
    }
}

#[test]
fn responses_arrive_in_any_pieces() {
    let whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let fake = Fake::new(move |_, mut stream| {
        stream.set_nodelay(true).unwrap();
        for split in 1.. {
            request(&mut stream)?;
            let (first, second) = whole.split_at(split % whole.len());
            stream.write_all(first.as_bytes()).and_then(|()| stream.write_all(second.as_bytes())).ok()?;
        }
        None
    });
    let count = whole.len().to_string();
    run(fake.address(), &["--message", GET, "--messages", &count]).expect_success(whole.len() as u64);
}

/// A connection that the server closes as HTTP allows it to is replaced.
#[test]
fn closed_connections_are_replaced() {
    let fake = web(|number, _| if number == 2 { format!("!{CLOSE}") } else { OK.to_owned() });
    let limited = run(fake.address(), &["3", "--message", GET, "--messages", "10"]);
    limited.expect_success(30);
    assert_eq!(counts(&limited), (12, [0, 30, 0, 0, 0]), "{limited:?}");
    assert_eq!((limited.results.connections.completed, limited.results.connections.failed), (3, 0));
    for further in [&["--rate", "500"][..], &["--rate", "500", "--workers", "2"], &[]] {
        let load = run(fake.address(), &[&["4", "--message", GET, "--duration", "1s"], further].concat());
        load.expect_success(load.results.messages.sent);
        assert!(load.results.connections.opened > 4, "{load:?}");
    }
    // HTTP/1.0 closes after each response, here without saying where it ends.
    let old = web(|_, _| "!HTTP/1.0 200 OK\r\n\r\nold".to_owned());
    let old = run(old.address(), &["2", "--message", GET, "--messages", "5"]);
    old.expect_success(10);
    assert_eq!(counts(&old).0, 10, "{old:?}");
    // Without notice, while no request is in flight. A late client or server has one in flight.
    let silent = web(|_, _| format!("!{OK}"));
    expect_one_of_five(|| {
        let silent = run(silent.address(), &["--message", GET, "--rate", "5", "--duration", "1s"]);
        // The last connection may be replaced, too.
        let is_replaced = silent.code == Some(0) && silent.results.messages.answered == 5;
        if is_replaced && (5..=6).contains(&counts(&silent).0) { Ok(()) } else { Err(format!("{silent:?}")) }
    });
}

/// Requests behind the last response of a connection are lost. Their connection counts as failed, and is replaced.
#[test]
fn pipelined_requests_are_lost_when_the_server_closes() {
    // The response follows the third request, so that two are in flight behind it.
    let fake = web(|number, _| if number == 2 { format!("!{CLOSE}") } else { String::new() });
    let run = run(fake.address(), &["--message", GET, "--messages", "21", "--pipeline", "3"]);
    let (messages, connections) = (&run.results.messages, &run.results.connections);
    assert_eq!((run.code, messages.sent, messages.answered, messages.lost), (Some(1), 21, 7, 14), "{run:?}");
    assert_eq!((connections.opened, connections.completed, connections.failed), (7, 0, 7), "{run:?}");
}

#[test]
fn another_status_is_a_wrong_reply() {
    let respond = |number: usize, _: &str| {
        if number % 4 == 3 { "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned() } else { OK.to_owned() }
    };
    let fake = web(respond);
    let work = ["2", "--message", GET, "--messages", "20"];
    run(fake.address(), &work).expect_success(40);
    let expecting = [&work[..], &["--expect-status", "200", "--fail-if", "5xx>9", "--fail-if", "4xx>0"]].concat();
    let strict = run(fake.address(), &expecting);
    let messages = &strict.results.messages;
    assert_eq!((strict.code, messages.answered, messages.wrong), (Some(3), 30, 10), "{strict:?}");
    assert_eq!((counts(&strict), strict.results.errors["wrong_status"]), ((2, [0, 30, 0, 0, 10]), 10), "{strict:?}");
    assert_eq!((strict.results.mismatches.count, strict.results.connections.failed), (10, 0), "{strict:?}");
    let told = strict.stderr.join("\n");
    for part in [
        "  statuses     2xx 30, 5xx 10",
        "10 unexpected HTTP status",
        ", reply 4: status 503 instead of 200",
        "✗ 5xx is 10, which is > 9",
        "✓ 4xx is 0, not > 0",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let load =
        [&["2", "--message", GET, "--rate", "200"][..], &["--duration", "500ms", "--expect-status", "200"]].concat();
    let load = run(fake.address(), &load);
    assert!(load.code == Some(1) && load.results.messages.wrong > 10, "{load:?}");
    let redirect = run(fake.address(), &["--message", GET, "--expect-status", "301"]);
    assert_eq!((redirect.results.messages.answered, redirect.results.messages.wrong), (0, 1), "{redirect:?}");
}

#[test]
fn invalid_responses_fail_their_connection() {
    let fail = |response: String, cause: &str, words: &str| {
        let fake = web(move |_, _| response.clone());
        let exit: Exit = client(fake.address(), &["--frame", "http", "--message", GET, "--messages", "3"]).await_exit();
        let has = |part: &str| exit.stdout.iter().any(|line| line.contains(part));
        assert!(exit.code == Some(1) && has(cause) && has(words), "{exit:#?}");
    };
    let framing = "1 a reply violates the framing";
    fail("hello\r\n\r\n".to_owned(), framing, "reply 1: no HTTP/1.1 response: the version is neither");
    fail("HTTP/1.1 2000\r\n\r\n".to_owned(), framing, "the head is malformed: invalid status");
    fail(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)), framing, "the head is longer than 65,536 bytes");
    fail("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_owned(), framing, "Content-Length is not one number");
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n";
    fail(chunks.to_owned(), framing, "a chunk of the body is malformed");
    let cut = "closed by peer in the middle of a reply";
    fail(format!("!{}", &OK[..OK.len() - 1]), cut, "the input ended within the message");
    fail("!HTTP/1.1 200".to_owned(), cut, "the input ended within the message");
    fail("!".to_owned(), "1 closed early by peer", "0 answered");
    fail(OK.repeat(2), "1 wrong reply", "more than its messages asked for");
}

/// A file as an editor writes it, with several requests.
#[test]
fn requests_are_read_from_a_file() {
    let folder = TempDir::new().unwrap();
    let write = |text: &str| {
        let path = folder.path().join("request.txt").to_str().unwrap().to_owned();
        std::fs::write(&path, text).unwrap();
        path
    };
    let path = write("GET /a HTTP/1.1\nHost: a\n\nGET /b HTTP/1.1\nHost: a\n\n");
    let fake = web(|number, request| {
        assert_eq!(request, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", ["a", "b"][number % 2]));
        OK.to_owned()
    });
    run(fake.address(), &["2", "--message-file", &path, "--messages", "4"]).expect_success(8);
    for (text, why) in [
        ("hello", "request 1: an empty line must follow its header fields"),
        ("hello\n\n", "request 1: the head is malformed"),
        ("GET / HTTP/1.1\n\n", "request 1: a request needs exactly one Host field"),
        ("GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n", "request 2: an empty line must follow"),
    ] {
        let program = client(fake.address(), &["--frame", "http", "--message-file", &write(text)]);
        expect_refusal(program, 2, &["--message or --message-file", why, r"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]);
    }
}

#[test]
fn options_that_do_not_go_with_http_are_refused() {
    let address = "127.0.0.1:1".parse().unwrap();
    let http = ["--frame", "http", "--message", GET];
    for (further, words) in [
        (&["--expect", "echo"][..], "leave out --expect"),
        (&["--expect", "none"], "leave out --expect"),
        (&["--expect-status", "99"], "give a number from 100 to 599 such as 200"),
        (&["--udp"], "cannot be used with '--udp'"),
    ] {
        expect_refusal(client(address, &[&http[..], further].concat()), 2, &[words]);
    }
    expect_refusal(client(address, &["--frame", "http"]), 2, &["--frame http needs a request", "--message-file FILE"]);
    expect_refusal(client(address, &["--frame", "http", "--stdin"]), 2, &["--stdin sends lines"]);
    expect_refusal(client(address, &["--frame", "lines", "--expect-status", "200"]), 2, &["give --frame http"]);
    expect_refusal(client(address, &["--frame", "htp"]), 2, &["\"htp\" is not a framing", "or http"]);
}

/// The admin pages of our own server.
#[test]
fn the_pages_of_our_server_are_measured() {
    let server = Program::server(&["127.0.0.1", "0", "--metrics", "127.0.0.1:0"]);
    let line = server.await_stdout(", metrics)");
    let port = line.split(" (").next().unwrap().rsplit(':').next().unwrap();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let messages = ["/healthz", "/metrics", "/none"].map(|path| format!(r"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let options: Vec<&str> = messages.iter().flat_map(|message| ["--message", message]).collect();
    let run = run(address, &[&["3", "--messages", "30"], &options[..]].concat());
    run.expect_success(90);
    assert_eq!(counts(&run), (3, [0, 60, 0, 30, 0]), "{run:?}");
}
