//! Admin pages while the server runs and drains, and the counters logged on SIGUSR1.

#![allow(clippy::float_cmp, clippy::cast_precision_loss, reason = "the numbers of a page are whole and below 2^53")]

use super::support::{
    Page, Program, await_some, await_until, bytes, connect, connect_narrow, echo, expect_closed, expect_end,
    expect_refusal, more_than_fits, push_until_blocked, read_to_end, skipped, works,
};
use super::{server, still_serves};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A request of the message protocol.
const SEARCH: &[u8] =
    b"\x00\x67{\"byteorder\": \"little\", \"content-type\": \"text/json\", \"content-encoding\": \"utf-8\", \
    \"content-length\": 37}{\"action\": \"search\", \"value\": \"ring\"}";

/// A server with admin pages on a free port.
pub(super) fn observed(arguments: &[&str]) -> Program {
    server(&[&["--metrics", "127.0.0.1:0"], arguments].concat())
}

/// The address of the admin pages.
pub(super) fn admin_address(server: &Program) -> SocketAddr {
    server.address_of(" (tcp, metrics)")
}

/// Sends one request, and returns the status, the head and the body. The connection can be reused.
fn ask(stream: &mut TcpStream, method: &str, path: &str) -> (u16, String, String) {
    ask_with(stream, method, path, "")
}

/// The same with further header fields, each with its line end.
fn ask_with(stream: &mut TcpStream, method: &str, path: &str, fields: &str) -> (u16, String, String) {
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n").as_bytes()).unwrap();
    read_answer(stream, method == "HEAD")
}

fn read_answer(stream: &mut TcpStream, is_head: bool) -> (u16, String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; if is_head { 0 } else { length.parse().unwrap() }];
    stream.read_exact(&mut body).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap();
    (status.parse().unwrap(), head, String::from_utf8(body).unwrap())
}

pub(super) fn get(server: &Program, path: &str) -> (u16, String) {
    let (status, _, body) = ask(&mut connect(admin_address(server)), "GET", path);
    (status, body)
}

#[track_caller]
pub(super) fn page(server: &Program) -> Page {
    let (status, body) = get(server, "/metrics");
    assert_eq!(status, 200, "{body}");
    Page::read(&body)
}

/// The samples as parsed by Prometheus's own parser; none if it is not installed.
fn parsed_by_prometheus(text: &str) -> Option<Vec<String>> {
    if !works(Command::new("python3").args(["-c", "import prometheus_client.openmetrics.parser"])) {
        skipped("a page read by Prometheus's parser", "there is no python3 with prometheus_client here");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/read_openmetrics.py");
    let mut command = Command::new("python3");
    let child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn the_page_shows_totals_and_current_values() {
    let mut server = observed(&["--workers", "2"]);
    let mut peers: Vec<_> = (0..20).map(|_| connect(server.address())).collect();
    for (seed, peer) in (0..).zip(&mut peers) {
        for _ in 0..10 {
            echo(peer, &bytes(seed, 1000));
        }
    }
    peers.truncate(5);
    // A worker counts sent bytes only after the peer may have received them.
    let page = await_some("the end of fifteen, and all bytes", || {
        let page = page(&server);
        let (open, sent) = (page.sum("multiconn_connections_open", &[]), page.sum("multiconn_sent_bytes_total", &[]));
        let closed = page.sum("multiconn_connections_closed_total", &[]);
        (open <= 5.0 && closed >= 15.0 && sent >= 200_000.0).then_some(page)
    });
    assert_eq!(page.sum("multiconn_connections_open", &[]), 5.0);
    let closed = |reason: &str| page.sum("multiconn_connections_closed_total", &[&format!("reason=\"{reason}\"")]);
    assert_eq!(page.sum("multiconn_connections_accepted_total", &[]), 20.0);
    assert_eq!((closed("peer_closed"), closed("reset"), closed("drained")), (15.0, 0.0, 0.0));
    assert_eq!(page.sum("multiconn_connections_closed_total", &[]), 15.0);
    assert_eq!(page.sum("multiconn_connections_refused_total", &[]), 0.0);
    // Open connections are counted already; admin connections are not counted.
    assert_eq!(page.sum("multiconn_received_bytes_total", &[]), 200_000.0);
    assert_eq!(page.sum("multiconn_sent_bytes_total", &[]), 200_000.0);
    assert_eq!(page.sum("multiconn_accept_errors_total", &[]), 0.0);
    assert_eq!(page.get("multiconn_draining"), Some(0.0));
    assert_eq!(page.get("multiconn_log_lines_dropped_total"), Some(0.0));
    let info = format!("multiconn_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(page.get(&info), Some(1.0));
    assert!(page.get("process_start_time_seconds").unwrap() > 1.7e9);
    assert!(page.get("process_max_fds").unwrap() >= 64.0);
    for worker in 0..2 {
        let label = format!("worker=\"{worker}\"");
        page.expect_histogram("multiconn_loop_round_seconds", &label);
        page.expect_histogram("multiconn_timer_lag_seconds", &label);
        // A worker without connections has a round per second.
        let rounds =
            || self::page(&server).sum("multiconn_loop_round_seconds_count", &[&format!("worker=\"{worker}\"")]);
        await_until("a round of each worker", || rounds() > 0.0);
        let is_there = |name: &str| page.get(&format!("{name}{{worker=\"{worker}\"}}")).is_some();
        assert!(is_there("multiconn_buffers_spare_bytes") && is_there("multiconn_ready_queue_length"));
    }
    assert!(page.get("multiconn_buffers_held_bytes").is_some());
    assert_eq!(page.get("multiconn_memory_limit_bytes"), Some(f64::from(1 << 30)));
    drop(peers);
    still_serves(&mut server);
}

#[test]
fn prometheus_reads_the_page() {
    let mut server = observed(&["--workers", "2", "--allow", "127.0.0.1"]);
    echo(&mut connect(server.address()), b"a little traffic");
    let (_, text) = get(&server, "/metrics");
    let page = Page::read(&text);
    if let Some(samples) = parsed_by_prometheus(&text) {
        assert_eq!(samples.len(), page.len(), "{samples:#?}");
        let received = samples.iter().filter(|sample| sample.starts_with("multiconn_received_bytes_total{"));
        let received: f64 = received.filter_map(|sample| sample.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        assert_eq!(received, 16.0);
    }
    still_serves(&mut server);
}

#[test]
fn blocked_peers_show_in_the_buffer_metrics() {
    let server = observed(&["--workers", "1"]);
    let peers = [connect_narrow(server.address())];
    let sent = push_until_blocked(&peers, &more_than_fits())[0];
    let page = page(&server);
    assert!(page.sum("multiconn_buffers_held_bytes", &[]) >= 64.0 * 1024.0, "{page:?}");
    let received = page.sum("multiconn_received_bytes_total", &[]);
    assert!(received > 0.0 && received <= sent as f64, "of {sent} bytes {received} were received");
}

#[test]
fn the_pages_and_their_media_types() {
    let mut server = observed(&[]);
    let mut visitor = connect(admin_address(&server));
    let media_type = |head: &str| head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap().to_owned();
    // All on one connection.
    let (status, head, _) = ask(&mut visitor, "GET", "/metrics");
    assert_eq!(
        (status, media_type(&head).as_str()),
        (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    for (method, path, status, body) in [
        ("GET", "/healthz", 200, "alive\n"),
        ("GET", "/readyz", 200, "ready\n"),
        ("HEAD", "/readyz", 200, ""),
        ("HEAD", "/metrics", 200, ""),
        ("GET", "/readyz?verbose", 200, "ready\n"),
        ("GET", "/", 404, "there is no such page; there are /metrics, /healthz and /readyz\n"),
        ("POST", "/metrics", 405, "only GET and HEAD are supported\n"),
    ] {
        let answer = ask(&mut visitor, method, path);
        assert_eq!((answer.0, answer.2.as_str()), (status, body), "{method} {path}: {}", answer.1);
        assert!(!answer.1.contains("Connection: close"), "{}", answer.1);
    }
    visitor.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_answer(&mut visitor, false).1.contains("\r\nConnection: close\r\n"));
    expect_end(&mut visitor);
    still_serves(&mut server);
}

/// Both formats hold the same samples.
#[test]
fn the_text_format_is_served_on_request() {
    let server = observed(&["--workers", "1"]);
    let mut visitor = connect(admin_address(&server));
    let mut page_as = |accept: &str| {
        let fields = format!("Accept: {accept}\r\n");
        let (status, head, body) = ask_with(&mut visitor, "GET", "/metrics", &fields);
        assert!(status == 200 && head.contains("\r\nVary: Accept\r\n"), "{head}");
        let media_type = head.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap().to_owned();
        (media_type, body)
    };
    let (media_type, text) = page_as("text/plain");
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("\n# TYPE multiconn_connections_accepted_total counter\n"), "{text}");
    assert!(text.starts_with("# HELP multiconn_build_info The program and its version.\n"), "{text}");
    assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    let (media_type, open_metrics) = page_as("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Page::read(&open_metrics);
    let names = |page: &str| {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&text), names(&open_metrics));
}

/// A service without frames does not know where a message ends.
#[test]
fn messages_are_counted_where_their_ends_are_known() {
    for (arguments, request, count) in [
        (&["--frame", "lines"][..], &b"one\ntwo\nthree"[..], Some(2.0)),
        (&["--frame", "u8", "--service", "upper"], b"\x03one\x05three\x00", Some(3.0)),
        (&["--service", "search"], SEARCH, Some(1.0)),
        (&[], b"one\ntwo\n", None),
    ] {
        let server = observed(&[&["--workers", "1"], arguments].concat());
        let mut peer = connect(server.address());
        peer.write_all(request).unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
        await_until("the bytes", || page(&server).sum("multiconn_received_bytes_total", &[]) == request.len() as f64);
        assert_eq!(page(&server).get("multiconn_messages_received_total{worker=\"0\"}"), count, "{arguments:?}");
    }
}

#[test]
fn requests_in_pieces_and_several_at_once() {
    let mut server = observed(&[]);
    let mut visitor = connect(admin_address(&server));
    visitor.set_nodelay(true).unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n";
    for byte in request {
        visitor.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_answer(&mut visitor, false).0, 200);
    visitor.write_all(&request.repeat(20)).unwrap();
    visitor.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    // A request before the half-close is answered as well.
    visitor.shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..20 {
        assert_eq!(read_answer(&mut visitor, false).2, "ready\n");
    }
    Page::read(&read_answer(&mut visitor, false).2);
    expect_end(&mut visitor);
    still_serves(&mut server);
}

#[test]
fn malformed_requests_are_refused_and_closed() {
    let mut server = observed(&[]);
    let oversized = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(100_000));
    let body = "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHello";
    for (request, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400),
        (b"Hello, world\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (oversized.as_bytes(), 431),
        (body.as_bytes(), 405),
    ] {
        let mut visitor = connect(admin_address(&server));
        visitor.write_all(request).unwrap();
        let answer = read_answer(&mut visitor, false);
        assert_eq!(answer.0, status, "{}", answer.1);
        expect_end(&mut visitor);
    }
    assert_eq!(page(&server).sum("multiconn_connections_accepted_total", &[]), 0.0);
    still_serves(&mut server);
}

#[test]
fn pages_are_served_when_the_server_is_full() {
    let mut server = observed(&["--max-connections", "1", "--workers", "1"]);
    let mut inside = connect(server.address());
    echo(&mut inside, b"I have the only place.");
    let waiting = connect(server.address());
    let page_then = page(&server);
    assert_eq!(page_then.get("multiconn_max_connections"), Some(1.0));
    assert_eq!(page_then.sum("multiconn_connections_open", &[]), 1.0);
    drop((inside, waiting));
    await_until("their end", || page(&server).sum("multiconn_connections_closed_total", &[]) == 2.0);
    still_serves(&mut server);
}

#[test]
fn pages_are_served_when_the_memory_limit_is_reached() {
    let mut server = observed(&["--memory-limit", "256KiB", "--workers", "1"]);
    // Each holds 64 KiB or more. The one whose growth would exceed the limit is closed.
    let peers: Vec<_> = (0..8).map(|_| connect_narrow(server.address())).collect();
    let (closed, request) = ("multiconn_connections_closed_total", bytes(1, 64 * 1024));
    for peer in &peers {
        peer.set_nonblocking(true).unwrap();
    }
    await_until("a close for lack of memory", || {
        for mut peer in &peers {
            let _ = peer.write(&request);
        }
        page(&server).sum(closed, &["reason=\"memory_limit\""]) > 0.0
    });
    let mut visitor = connect(admin_address(&server));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(ask(&mut visitor, "GET", path).0, 200);
    }
    drop(peers);
    still_serves(&mut server);
}

#[test]
fn refusals_are_counted_and_admin_clients_never_refused() {
    let server = observed(&["--allow", "10.0.0.0/8", "--workers", "2"]);
    for _ in 0..3 {
        expect_end(&mut connect(server.address()));
    }
    let page_of_one = page(&server);
    let refused = |page: &Page, reason: &str| page.sum("multiconn_connections_refused_total", &[reason]);
    assert_eq!(refused(&page_of_one, "reason=\"not_allowed\""), 3.0);
    assert_eq!(page_of_one.sum("multiconn_connections_accepted_total", &[]), 0.0);
    let server = observed(&["--max-per-address", "1", "--workers", "1"]);
    let mut inside = connect(server.address());
    echo(&mut inside, b"the only one");
    expect_end(&mut connect(server.address()));
    assert_eq!(refused(&page(&server), "reason=\"per_address\""), 1.0);
}

/// More admin connections than slots: each new one is answered at once, and replaces an earlier one.
#[test]
fn a_new_admin_connection_replaces_the_longest_waiting_one() {
    let mut server = observed(&["--workers", "1"]);
    let mut visitors: Vec<_> = (0..40)
        .map(|_| {
            let mut visitor = connect(admin_address(&server));
            assert_eq!(ask(&mut visitor, "GET", "/healthz").0, 200);
            visitor
        })
        .collect();
    for visitor in &mut visitors[24..] {
        assert_eq!(ask(visitor, "GET", "/healthz").0, 200);
    }
    for visitor in &mut visitors[..24] {
        expect_closed(visitor);
    }
    still_serves(&mut server);
}

#[test]
#[cfg(target_os = "linux")]
fn failed_accepts_are_counted_by_their_error() {
    let mut server = observed(&["--workers", "1"]);
    let address = server.address();
    let mut visitor = connect(admin_address(&server));
    assert_eq!(ask(&mut visitor, "GET", "/healthz").0, 200);
    let open = server.open_descriptors().unwrap() as u64;
    prlimit(Some(server.pid()), Resource::Nofile, Rlimit { current: Some(open), maximum: Some(open + 100) }).unwrap();
    let mut waiting: Vec<_> = (0..5).map(|_| connect(address)).collect();
    let failures = await_some("a failed accept", || {
        let page = Page::read(&ask(&mut visitor, "GET", "/metrics").2);
        page.get("multiconn_accept_errors_total{worker=\"0\",errno=\"EMFILE\"}")
    });
    assert!(failures >= 1.0);
    prlimit(Some(server.pid()), Resource::Nofile, Rlimit { current: Some(open + 50), maximum: Some(open + 100) })
        .unwrap();
    for peer in &mut waiting {
        echo(peer, b"at last");
    }
    drop(waiting);
    let exit = still_serves(&mut server);
    assert!(
        exit.stdout.iter().any(|line| line.contains(" failed to be accepted (") && line.contains(" EMFILE")),
        "{exit:#?}"
    );
}

#[test]
fn a_draining_server_is_alive_and_not_ready() {
    for workers in ["1", "3"] {
        let mut server = observed(&["--drain-timeout", "1m", "--workers", workers]);
        let admin_address = admin_address(&server);
        let stuck = [connect_narrow(server.address())];
        push_until_blocked(&stuck, &more_than_fits());
        let mut before = connect(admin_address);
        assert_eq!(ask(&mut before, "GET", "/readyz").0, 200);
        server.signal(Signal::TERM);
        server.await_stderr("shutting down: draining ");
        // Existing and new admin connections get the same answer.
        for visitor in [&mut before, &mut connect(admin_address)] {
            let answer = ask(visitor, "GET", "/readyz");
            assert_eq!((answer.0, answer.2.as_str()), (503, "draining\n"));
            assert_eq!(ask(visitor, "GET", "/healthz").0, 200);
            assert_eq!(Page::read(&ask(visitor, "GET", "/metrics").2).get("multiconn_draining"), Some(1.0));
        }
        // SIGUSR1 does not count as a second shutdown signal.
        server.signal(Signal::USR1);
        server.await_stderr("Counters in all: 1 open, 1 accepted, 0 closed");
        drop(stuck);
        let exit = server.await_exit();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert!(exit.stdout.iter().any(|line| line.starts_with("Served 1 connection ")), "{exit:#?}");
        read_to_end(&mut before);
        assert!(TcpStream::connect(admin_address).is_err(), "the page has ended with the server");
    }
}

#[test]
fn sigusr1_logs_the_counters_of_each_worker() {
    let mut server = server(&["--workers", "2"]);
    let mut peers: Vec<_> = (0..3).map(|_| connect(server.address())).collect();
    for peer in &mut peers {
        echo(peer, &bytes(1, 1024));
    }
    // A worker counts sent bytes only after the peer may have received them.
    let all = "Counters in all: 3 open, 3 accepted, 0 closed, 0 refused, 0 failed to be accepted, 3 KiB in, 3 KiB out";
    await_until(all, || {
        server.signal(Signal::USR1);
        server.stderr().iter().any(|line| line.ends_with(all))
    });
    for worker in ["worker 0: ", "worker 1: "] {
        server.await_stderr(&format!("Counters of {worker}"));
    }
    drop(peers);
    still_serves(&mut server);
}

#[test]
fn an_invalid_admin_address_is_refused() {
    for value in ["9464", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "::1:9464", "127.0.0.1:-1", ""] {
        let option = format!("--metrics={value}");
        let parts = ["--metrics", &format!("{value:?}"), "127.0.0.1:65432"];
        expect_refusal(Program::server(&["127.0.0.1", "0", &option]), 2, &parts);
    }
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0"]).env("MULTICONN_METRICS", "here");
    expect_refusal(Program::spawn(&mut command), 2, &["MULTICONN_METRICS", "\"here\"", "127.0.0.1:65432"]);
}

#[test]
fn an_admin_address_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let parts = [place.as_str(), "already in use", "choose another port"];
    expect_refusal(Program::server(&["127.0.0.1", "0", "--metrics", &place]), 1, &parts);
}
