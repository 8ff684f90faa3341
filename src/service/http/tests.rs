//! Tests of the HTTP service without a socket: requests as bytes, responses as text.

use super::{HttpResponse, HttpService, MAX_REQUEST_BYTES, Routes};
use crate::buffer::{BLOCK_BYTES, Buffer, BufferPool};
use crate::service::{Input, Output, Service, Wait};
use std::time::Instant;

struct OnePage;

impl Routes for OnePage {
    fn page(&mut self, path: &str, _now: Instant) -> HttpResponse {
        match path {
            "/page" => HttpResponse::text(200, "here"),
            "/long" => HttpResponse::text(200, &"l".repeat(3 * BLOCK_BYTES)),
            _ => HttpResponse::text(404, path),
        }
    }

    fn date(&mut self) -> String {
        "Sun, 06 Nov 1994 08:49:37 GMT".to_owned()
    }
}

/// Drives a service without a pump: all output is taken at once.
struct Harness {
    page: HttpService<OnePage>,
    input: Buffer,
    pool: BufferPool,
    wait: Wait,
    answers: String,
}

impl Harness {
    fn new() -> Self {
        let page = HttpService::new(OnePage);
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
            self.wait = self.page.serve(
                &mut Input::new(&mut self.input, false),
                &mut room,
                &mut crate::service::Context::at(now),
            );
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
    let post = expect("POST /page HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", Wait::Input);
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
    expect(&request(MAX_REQUEST_BYTES), "200 OK", Wait::Input);
    expect(&request(MAX_REQUEST_BYTES + 1), "431 Request Header Fields Too Large", Wait::Close);
    expect(&"x".repeat(MAX_REQUEST_BYTES), "431 Request Header Fields Too Large", Wait::Close);
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
