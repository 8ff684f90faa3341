//! Tests of the HTTP service without a socket: requests as bytes, responses as text.

use super::{HttpRequest, HttpResponse, HttpService, MAX_HEAD_BYTES};
use crate::buffer::{BLOCK_BYTES, Buffer, BufferPool};
use crate::service::{Context, Input, Output, Service, Wait, with_context};
use std::time::{Duration, Instant};

/// Maximum size of a body in bytes, where bodies are read.
const MAX_BODY_BYTES: usize = 100_000;

fn respond(request: &HttpRequest<'_>, _context: &mut Context<'_>) -> HttpResponse {
    match (request.head.method, request.head.path()) {
        ("GET" | "HEAD", "/page") => HttpResponse::text(200, "here"),
        ("GET", "/long") => HttpResponse::text(200, &"l".repeat(3 * BLOCK_BYTES)),
        ("POST", "/page") => HttpResponse::new(201, "text/plain", request.body).with_field("X-A", "b\r\nc"),
        (_, "/page") => HttpResponse::text(405, "no").with_field("Allow", "GET, HEAD"),
        (_, path) => HttpResponse::text(404, path),
    }
}

fn clock() -> Duration {
    Duration::from_secs(784_111_777)
}

type Respond = fn(&HttpRequest<'_>, &mut Context<'_>) -> HttpResponse;

/// Drives a service without a pump: all output is taken at once.
struct Harness {
    page: HttpService<Respond>,
    input: Buffer,
    pool: BufferPool,
    wait: Wait,
    answers: String,
}

impl Harness {
    fn new() -> Self {
        Self::of(HttpService::new(clock, respond as Respond))
    }

    fn with_bodies() -> Self {
        Self::of(HttpService::new(clock, respond as Respond).with_bodies(MAX_BODY_BYTES))
    }

    fn of(page: HttpService<Respond>) -> Self {
        Self { page, input: Buffer::new(), pool: BufferPool::new(), wait: Wait::Input, answers: String::new() }
    }

    /// Sends `request` and calls the service until it waits for input or closes.
    fn send(&mut self, request: &[u8]) {
        let now = Instant::now();
        self.pool.make_room(&mut self.input, BLOCK_BYTES);
        self.input.spare(BLOCK_BYTES)[..request.len()].copy_from_slice(request);
        self.input.commit(request.len());
        loop {
            let mut output = Buffer::new();
            let mut room = Output::new(&mut output, &mut self.pool, BLOCK_BYTES);
            let mut input = Input::new(&mut self.input, false);
            self.wait = with_context(now, false, |context| self.page.serve(&mut input, &mut room, context));
            self.answers += std::str::from_utf8(output.bytes()).expect("an answer is text");
            if matches!(self.wait, Wait::Input | Wait::Close) {
                return;
            }
        }
    }
}

fn answers(request: &[u8]) -> (String, Wait) {
    let mut harness = Harness::new();
    harness.send(request);
    (harness.answers, harness.wait)
}

#[track_caller]
fn expect(request: &str, status: &str, wait: Wait) -> String {
    let (answer, actual_wait) = answers(request.as_bytes());
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
    assert_eq!(actual_wait, wait, "{request:?}: {answer}");
    assert_eq!(answer.contains("\r\nConnection: close\r\n"), wait == Wait::Close, "{answer}");
    answer
}

#[test]
fn a_page_has_all_its_header_fields() {
    assert_eq!(
        expect("GET /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", Wait::Input),
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: 5\r\nCache-Control: no-store\r\n\r\nhere\n"
    );
}

#[test]
fn head_is_get_without_the_body() {
    let get = expect("GET /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", Wait::Input);
    let head = expect("HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", Wait::Input);
    assert_eq!(get.strip_suffix("here\n"), Some(head.as_str()));
}

#[test]
fn unsupported_methods_and_unknown_paths_are_rejected() {
    let post = expect("PUT /page HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", Wait::Input);
    assert!(post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    expect("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", Wait::Input);
}

#[test]
fn a_target_may_have_a_query_or_be_an_absolute_uri() {
    for target in ["/page?a=/b", "http://a:80/page", "HTTP://a/page?b"] {
        expect(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), "200 OK", Wait::Input);
    }
    let answer = expect("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", Wait::Input);
    assert!(answer.ends_with("\r\n\r\n/\n"), "{answer}");
}

#[test]
fn invalid_requests_close_at_once() {
    for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /page\r\n\r\n", b"GET /page HTTP/1.1\r\nHo st: a\r\n\r\n"] {
        let (answer, wait) = answers(garbage);
        assert!(answer.starts_with("HTTP/1.1 400 ") && wait == Wait::Close, "{garbage:?}: {answer}");
    }
    expect("GET /page HTTP/1.1\r\n\r\n", "400 Bad Request", Wait::Close);
    expect("GET /page HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "400 Bad Request", Wait::Close);
}

#[test]
fn close_requests_and_bodies_close_the_connection() {
    expect("GET /page HTTP/1.0\r\n\r\n", "200 OK", Wait::Close);
    for field in ["Connection: close", "connection: upgrade , CLOSE", "Content-Length: 3", "Transfer-Encoding: chunked"]
    {
        expect(&format!("GET /page HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"), "200 OK", Wait::Close);
    }
    expect("GET /page HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "200 OK", Wait::Input);
}

#[test]
fn the_size_of_a_request_is_limited() {
    let request = |bytes: usize| {
        let (before, after) = ("GET /page HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
    };
    expect(&request(MAX_HEAD_BYTES), "200 OK", Wait::Input);
    expect(&request(MAX_HEAD_BYTES + 1), "431 Request Header Fields Too Large", Wait::Close);
    expect(&"x".repeat(MAX_HEAD_BYTES), "431 Request Header Fields Too Large", Wait::Close);
    let many = "X: y\r\n".repeat(100);
    expect(&format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request Header Fields Too Large", Wait::Close);
}

#[test]
fn split_and_pipelined_requests_are_answered() {
    let request = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut harness = Harness::new();
    for byte in request {
        assert_eq!(harness.answers, "");
        harness.send(&[*byte]);
    }
    let one = std::mem::take(&mut harness.answers);
    assert!(one.ends_with("\r\n\r\nhere\n"), "{one}");
    harness.send(&request.repeat(5));
    assert_eq!(harness.answers, one.repeat(5));
}

#[test]
fn a_response_may_be_larger_than_the_output_buffer() {
    let answer = expect("GET /long HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", Wait::Input);
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
        for split in 0..=stream.len() {
            let mut harness = Harness::with_bodies();
            harness.send(&stream[..split]);
            harness.send(&stream[split..]);
            let (lines, last) = statuses(&harness.answers);
            assert_eq!((lines, last), (vec!["201 Created", "200 OK"], "here\n"), "split at {split}");
            assert!(harness.answers.contains("\r\nX-A: b  c\r\n\r\nhello"), "{}", harness.answers);
            assert_eq!((harness.wait, harness.page.held_bytes()), (Wait::Input, 0));
        }
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
        let mut harness = Harness::with_bodies();
        harness.send(request.as_bytes());
        for _ in 0..10 {
            if harness.wait == Wait::Close {
                break;
            }
            assert!(harness.page.held_bytes() < 3 * MAX_BODY_BYTES);
            harness.send(repeated.as_bytes());
        }
        assert_eq!(statuses(&harness.answers).0, [status], "{request}");
        assert_eq!(harness.wait == Wait::Close, status.starts_with('4'));
    }
}

#[test]
fn a_client_that_waits_to_send_its_body_is_told_to() {
    let head = "POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut harness = Harness::with_bodies();
    harness.send(head.as_bytes());
    assert_eq!(harness.answers, "HTTP/1.1 100 Continue\r\n\r\n");
    harness.send(b"hi");
    assert_eq!(statuses(&harness.answers), (vec!["100 Continue", "201 Created"], "hi"));
    harness.send(format!("{head}hi").as_bytes());
    assert_eq!(statuses(&harness.answers).0, ["100 Continue", "201 Created", "201 Created"], "it does not wait");
}

#[test]
fn ambiguous_requests_are_refused() {
    let fields = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    expect(&format!("POST /page HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), "400 Bad Request", Wait::Close);
    let coding = "POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n";
    expect(coding, "501 Not Implemented", Wait::Close);
    let mut harness = Harness::with_bodies();
    harness.send(b"POST /page HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    assert_eq!((statuses(&harness.answers).0, harness.wait), (vec!["400 Bad Request"], Wait::Close));
}
