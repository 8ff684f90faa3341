//! Tests of the HTTP service without a socket: requests as bytes, responses as text.

use super::{HttpRequest, HttpResponse, HttpService, MAX_HEAD_BYTES};
use crate::buffer::BLOCK_BYTES;
use crate::service::Context;
use crate::testing::{Peer, Simulation};
use std::time::Duration;

/// Maximum size of a body in bytes, where bodies are read.
const MAX_BODY_BYTES: usize = 100_000;

/// Time until the next request is answered that arrived together with others.
const TICK: Duration = Duration::from_millis(1);

fn respond(request: &HttpRequest<'_>, _context: &mut Context<'_>) -> HttpResponse {
    match (request.head.method, request.head.path()) {
        ("GET" | "HEAD", "/page") => HttpResponse::text(200, "here"),
        ("GET", "/long") => HttpResponse::text(200, &"l".repeat(3 * BLOCK_BYTES)),
        ("POST", "/page") => HttpResponse::new(201, "text/plain", request.body).with_field("X-A", "b\r\nc"),
        (_, "/empty") => HttpResponse::text(204, "not sent"),
        (_, "/unchanged") => HttpResponse::text(304, "not sent"),
        (_, "/page") => HttpResponse::text(405, "no").with_field("Allow", "GET, HEAD"),
        (_, path) => HttpResponse::text(404, path),
    }
}

fn clock() -> Duration {
    Duration::from_secs(784_111_777)
}

/// Whether the connection stays open after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Open,
    Closed,
}

fn server() -> Simulation<'static> {
    Simulation::new(|_| HttpService::new(clock, respond))
}

fn server_with_bodies() -> Simulation<'static> {
    Simulation::new(|_| HttpService::new(clock, respond).with_bodies(MAX_BODY_BYTES))
}

/// Sends `request`, and returns the answer.
fn ask(peer: &mut Peer<'_>, request: &[u8]) -> String {
    peer.send(request);
    String::from_utf8(peer.receive()).expect("an answer is text")
}

fn after(peer: &Peer<'_>) -> After {
    if peer.received_end() { After::Closed } else { After::Open }
}

fn answers(request: &[u8]) -> (String, After) {
    let mut peer = server().connect();
    (ask(&mut peer, request), after(&peer))
}

#[track_caller]
fn expect(request: &str, status: &str, then: After) -> String {
    let (answer, after) = answers(request.as_bytes());
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
    assert_eq!(after, then, "{request:?}: {answer}");
    assert_eq!(answer.contains("\r\nConnection: close\r\n"), then == After::Closed, "{answer}");
    answer
}

#[test]
fn a_page_has_all_its_header_fields() {
    assert_eq!(
        expect("GET /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", After::Open),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 5\r\nCache-Control: no-store\r\n\r\nhere\n"
    );
}

#[test]
fn head_is_get_without_the_body() {
    let get = expect("GET /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", After::Open);
    let head = expect("HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", After::Open);
    assert_eq!(get.strip_suffix("here\n"), Some(head.as_str()));
}

#[test]
fn statuses_without_a_body_have_none() {
    let answer = expect("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n", "204 No Content", After::Open);
    assert!(answer.ends_with("\r\n\r\n") && !answer.contains("Content-Length"), "{answer}");
    let answer = expect("GET /unchanged HTTP/1.1\r\nHost: a\r\n\r\n", "304 Not Modified", After::Open);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn unsupported_methods_and_unknown_paths_are_rejected() {
    let post = expect("PUT /page HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", After::Open);
    assert!(post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    expect("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", After::Open);
}

#[test]
fn a_target_may_have_a_query_or_be_an_absolute_uri() {
    for target in ["/page?a=/b", "http://a:80/page", "HTTP://a/page?b"] {
        expect(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), "200 OK", After::Open);
    }
    let answer = expect("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", After::Open);
    assert!(answer.ends_with("\r\n\r\n/\n"), "{answer}");
}

#[test]
fn invalid_requests_close_at_once() {
    for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /page\r\n\r\n", b"GET /page HTTP/1.1\r\nHo st: a\r\n\r\n"] {
        let (answer, after) = answers(garbage);
        assert!(answer.starts_with("HTTP/1.1 400 ") && after == After::Closed, "{garbage:?}: {answer}");
    }
    expect("GET /page HTTP/1.1\r\n\r\n", "400 Bad Request", After::Closed);
    expect("GET /page HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "400 Bad Request", After::Closed);
}

#[test]
fn close_requests_and_bodies_close_the_connection() {
    expect("GET /page HTTP/1.0\r\n\r\n", "200 OK", After::Closed);
    for field in ["Connection: close", "connection: upgrade , CLOSE", "Content-Length: 3", "Transfer-Encoding: chunked"]
    {
        expect(&format!("GET /page HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"), "200 OK", After::Closed);
    }
    expect("GET /page HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "200 OK", After::Open);
}

#[test]
fn the_size_of_a_request_is_limited() {
    let request = |bytes: usize| {
        let (before, after) = ("GET /page HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
    };
    expect(&request(MAX_HEAD_BYTES), "200 OK", After::Open);
    expect(&request(MAX_HEAD_BYTES + 1), "431 Request Header Fields Too Large", After::Closed);
    expect(&"x".repeat(MAX_HEAD_BYTES), "431 Request Header Fields Too Large", After::Closed);
    let many = "X: y\r\n".repeat(100);
    expect(&format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request Header Fields Too Large", After::Closed);
}

#[test]
fn split_and_pipelined_requests_are_answered() {
    let request = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let one = expect(request, "200 OK", After::Open);
    assert_eq!(server().assert_split_invariant(request.repeat(3).as_bytes()), one.repeat(3).as_bytes());
    let long = "GET /long HTTP/1.1\r\nHost: a\r\n\r\n";
    let stream = [request, long, "HEAD /page HTTP/1.0\r\n\r\n", request].concat();
    let answers = server().assert_split_invariant(stream.as_bytes());
    assert_eq!(statuses(&String::from_utf8_lossy(&answers)).0.len(), 3, "the last one came after the close");
}

#[test]
fn pipelined_requests_are_answered_without_a_pause_up_to_a_limit() {
    let request = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let server = server();
    let mut peer = server.connect();
    let answers = ask(&mut peer, &request.repeat(10));
    assert_eq!(answers.matches("200 OK").count(), 10);
    let answers = ask(&mut peer, &request.repeat(200));
    let answered = answers.matches("200 OK").count();
    assert!((10..50).contains(&answered), "{answered} in one call");
    server.advance(Duration::from_secs(1));
    let rest = String::from_utf8(peer.receive()).expect("an answer is text");
    assert_eq!(answered + rest.matches("200 OK").count(), 200);
}

#[test]
fn a_response_may_be_larger_than_the_output_buffer() {
    let answer = expect("GET /long HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", After::Open);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
}

/// Status lines of the answers, and the body of the last one.
fn statuses(answers: &str) -> (Vec<&str>, &str) {
    let lines = answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.lines().next());
    (lines.collect(), answers.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body))
}

#[test]
fn bodies_are_read_however_they_arrive() {
    let head = "POST /page HTTP/1.1\r\nHost: a\r\n";
    for request in [
        format!("{head}Content-Length: 5\r\n\r\nhello"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n"),
    ] {
        // Another request follows.
        let stream = [request.as_bytes(), b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let answers = String::from_utf8(server_with_bodies().assert_split_invariant(&stream)).expect("text");
        assert_eq!(statuses(&answers), (vec!["201 Created", "200 OK"], "here\n"));
        assert!(answers.contains("\r\nX-A: b  c\r\n\r\nhello"), "{answers}");
        let server = server_with_bodies();
        let mut peer = server.connect();
        peer.send(&stream);
        server.advance(TICK);
        assert_eq!(peer.receive(), answers.as_bytes());
        assert_eq!((after(&peer), peer.held_bytes()), (After::Open, 0));
    }
}

#[test]
fn the_size_of_a_body_is_limited() {
    let head = "POST /page HTTP/1.1\r\nHost: a\r\n";
    let sized = |bytes: usize| format!("{head}Content-Length: {bytes}\r\n\r\n");
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for (request, repeated, status) in [
        (sized(MAX_BODY_BYTES), "x".repeat(10_000), "201 Created"),
        (sized(MAX_BODY_BYTES + 1), String::new(), "413 Content Too Large"),
        (sized(usize::MAX), String::new(), "413 Content Too Large"),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n"), chunk, "413 Content Too Large"),
    ] {
        let mut peer = server_with_bodies().connect();
        let mut answers = ask(&mut peer, request.as_bytes());
        for _ in 0..10 {
            if peer.received_end() {
                break;
            }
            assert!(peer.held_bytes() < 3 * MAX_BODY_BYTES);
            answers += &ask(&mut peer, repeated.as_bytes());
        }
        assert_eq!(statuses(&answers).0, [status], "{request}");
        assert_eq!(peer.received_end(), status.starts_with('4'));
    }
}

#[test]
fn a_client_that_waits_to_send_its_body_is_told_to() {
    let head = "POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut peer = server_with_bodies().connect();
    assert_eq!(ask(&mut peer, head.as_bytes()), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(statuses(&ask(&mut peer, b"hi")), (vec!["201 Created"], "hi"));
    assert_eq!(statuses(&ask(&mut peer, format!("{head}hi").as_bytes())).0, ["201 Created"], "it does not wait");
}

#[test]
fn a_malformed_head_in_pieces_is_refused_at_the_end() {
    let mut peer = server().connect();
    for piece in ["GET /page HTTP/1.1\r\nHost: a\r\n", "Na me: x\r\n"] {
        assert_eq!(ask(&mut peer, piece.as_bytes()), "");
    }
    peer.end();
    let answer = String::from_utf8(peer.receive()).expect("an answer is text");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut peer = server().connect();
    assert_eq!(ask(&mut peer, b"GET /page HTTP/1.1\r\nHo"), "");
    peer.end();
    assert!(peer.receive().is_empty(), "an incomplete head is no error");
}

#[test]
fn ambiguous_requests_are_refused() {
    let fields = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    expect(&format!("POST /page HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), "400 Bad Request", After::Closed);
    let coding = "POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n";
    expect(coding, "501 Not Implemented", After::Closed);
    let mut peer = server_with_bodies().connect();
    let answer = ask(&mut peer, b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    assert_eq!((statuses(&answer).0, after(&peer)), (vec!["400 Bad Request"], After::Closed));
}
