//! The pages without a socket: requests as bytes, answers as text.

use super::{HttpResponse, HttpService, REQUEST_BYTES, Routes};
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

/// A conversation without a pump: everything written is taken at once.
struct Talk {
    page: HttpService<OnePage>,
    input: Buffer,
    pool: BufferPool,
    wait: Wait,
    answers: String,
}

impl Talk {
    fn new() -> Self {
        let page = HttpService::new(OnePage);
        Self { page, input: Buffer::new(), pool: BufferPool::new(), wait: Wait::Input, answers: String::new() }
    }

    /// Sends `request` and has the service called until it waits for more.
    fn send(&mut self, request: &[u8]) {
        let now = Instant::now();
        self.pool.make_room(&mut self.input, BLOCK_BYTES);
        self.input.spare(BLOCK_BYTES)[..request.len()].copy_from_slice(request);
        self.input.commit(request.len());
        loop {
            let mut output = Buffer::new();
            let mut room = Output::new(&mut output, &mut self.pool, BLOCK_BYTES);
            self.wait = self.page.serve(&mut Input::new(&mut self.input, false), &mut room, now);
            self.answers += std::str::from_utf8(output.bytes()).expect("an answer is text");
            if matches!(self.wait, Wait::Input | Wait::Close) {
                return;
            }
        }
    }
}

fn answers(request: &[u8]) -> (String, Wait) {
    let mut talk = Talk::new();
    talk.send(request);
    (talk.answers, talk.wait)
}

#[track_caller]
fn expect(request: &str, status: &str, wait: Wait) -> String {
    let (answer, waits) = answers(request.as_bytes());
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {answer}");
    assert_eq!(waits, wait, "{request:?}: {answer}");
    assert_eq!(answer.contains("\r\nConnection: close\r\n"), wait == Wait::Close, "{answer}");
    answer
}

#[test]
fn a_page_is_whole() {
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
fn other_methods_and_paths_have_their_answers() {
    let post = expect("POST /page HTTP/1.1\r\nHost: a\r\n\r\n", "405 Method Not Allowed", Wait::Input);
    assert!(post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    expect("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", Wait::Input);
}

#[test]
fn a_target_may_have_a_query_or_be_a_whole_uri() {
    for target in ["/page?a=/b", "http://a:80/page", "HTTP://a/page?b"] {
        expect(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), "200 OK", Wait::Input);
    }
    let answer = expect("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found", Wait::Input);
    assert!(answer.ends_with("\r\n\r\n/\n"), "{answer}");
}

#[test]
fn garbage_is_refused_at_once() {
    for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /page\r\n\r\n", b"GET /page HTTP/1.1\r\nHo st: a\r\n\r\n"] {
        let (answer, wait) = answers(garbage);
        assert!(answer.starts_with("HTTP/1.1 400 ") && wait == Wait::Close, "{garbage:?}: {answer}");
    }
    expect("GET /page HTTP/1.1\r\n\r\n", "400 Bad Request", Wait::Close);
    expect("GET /page HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", "400 Bad Request", Wait::Close);
}

#[test]
fn who_wants_to_close_is_closed() {
    expect("GET /page HTTP/1.0\r\n\r\n", "200 OK", Wait::Close);
    for field in ["Connection: close", "connection: upgrade , CLOSE", "Content-Length: 3", "Transfer-Encoding: chunked"]
    {
        expect(&format!("GET /page HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"), "200 OK", Wait::Close);
    }
    expect("GET /page HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "200 OK", Wait::Input);
}

#[test]
fn a_request_has_a_bound() {
    let request = |bytes: usize| {
        let (before, after) = ("GET /page HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
    };
    expect(&request(REQUEST_BYTES), "200 OK", Wait::Input);
    expect(&request(REQUEST_BYTES + 1), "431 Request Header Fields Too Large", Wait::Close);
    expect(&"x".repeat(REQUEST_BYTES), "431 Request Header Fields Too Large", Wait::Close);
    let many = "X: y\r\n".repeat(100);
    expect(&format!("GET / HTTP/1.1\r\n{many}\r\n"), "431 Request Header Fields Too Large", Wait::Close);
}

#[test]
fn a_byte_at_a_time_and_several_at_once() {
    let request = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut talk = Talk::new();
    for byte in request {
        assert_eq!(talk.answers, "");
        talk.send(&[*byte]);
    }
    let one = std::mem::take(&mut talk.answers);
    assert!(one.ends_with("\r\n\r\nhere\n"), "{one}");
    talk.send(&request.repeat(5));
    assert_eq!(talk.answers, one.repeat(5));
}

#[test]
fn an_answer_may_be_longer_than_the_room_for_it() {
    let answer = expect("GET /long HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", Wait::Input);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
}
