//! Example `web`, run as a program: requests on real sockets, well-formed and not.

use super::example::{address_of, example};
use super::support::{Program, connect, expect_end, read_to_end};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

fn start() -> Option<Program> {
    Some(Program::spawn(example("web")?.arg("0")))
}

/// Sends `requests`, and reads the status, the header and the body of one response. `has_body` is false after `HEAD`.
struct Browser(BufReader<TcpStream>);

impl Browser {
    fn new(server: &Program) -> Self {
        let stream = connect(address_of(server));
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    fn head(&mut self) -> Vec<String> {
        let lines = self.0.by_ref().lines().map(Result::unwrap);
        lines.take_while(|line| !line.is_empty()).collect()
    }

    fn response(&mut self) -> (u16, String) {
        let head = self.head();
        let status = head[0].strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn pages_are_served_on_one_connection() {
    let Some(mut server) = start() else { return };
    let mut browser = Browser::new(&server);
    browser.send(GET);
    let (status, page) = browser.response();
    assert!(status == 200 && page.contains("<h1>It works</h1>"), "{page}");
    browser.send(&GET.replace("GET", "HEAD"));
    let head = browser.head();
    assert!(head[0] == "HTTP/1.1 200 OK" && head.contains(&format!("Content-Length: {}", page.len())), "{head:?}");
    for (request, status, part) in [
        (GET.replace(" / ", " /time "), 200, " GMT\n"),
        (GET.replace(" / ", " /none "), 404, "there is no page /none\n"),
        (GET.replace("GET", "PUT"), 405, "read only"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 200, "hello"),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
                .to_owned(),
            200,
            "hello",
        ),
    ] {
        // In pieces, too.
        for size in [request.len(), 7] {
            request.as_bytes().chunks(size).for_each(|part| browser.send(std::str::from_utf8(part).unwrap()));
            let (actual, body) = browser.response();
            assert!(actual == status && body.contains(part), "{request}: {actual} {body}");
        }
    }
    browser.send(&GET.replace("Host", "Connection: close\r\nHost"));
    assert_eq!(browser.response().0, 200);
    expect_end(&mut browser.0);
    drop(browser);
    let exit = server.terminate();
    assert!(exit.code == Some(0) && exit.stdout[1].starts_with("Served 1 connection"), "{exit:#?}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let Some(server) = start() else { return };
    let mut browser = Browser::new(&server);
    let request = |number: usize| {
        let body = number.to_string();
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    browser.send(&(0..1000).map(request).collect::<String>());
    browser.0.get_ref().shutdown(Shutdown::Write).unwrap();
    for number in 0..1000 {
        assert_eq!(browser.response(), (200, number.to_string()));
    }
    expect_end(&mut browser.0);
}

#[test]
fn bad_requests_get_their_status_and_the_end() {
    let Some(server) = start() else { return };
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9000));
    for (request, status) in [
        ("hello\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400 Bad Request"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", "413 Content Too Large"),
        (&large, "431 Request Header Fields Too Large"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"),
    ] {
        let mut peer = connect(address_of(&server));
        // A request that comes after it is not answered.
        peer.write_all(format!("{request}{GET}").as_bytes()).unwrap();
        let answer = String::from_utf8(read_to_end(&mut peer)).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    }
}
