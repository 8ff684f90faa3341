//! `--metrics`: the figures of a run over HTTP, while it lasts.

#![allow(clippy::float_cmp, reason = "the numbers of a page are whole and below 2^53")]

use super::support::{Page, Program, await_some, await_until, connect, expect_refusal};
use super::udp::own_server;
use super::{client, server};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

const PAGES: [&str; 2] = ["--metrics", "127.0.0.1:0"];

fn pages_of(client: &Program) -> SocketAddr {
    client.address_of(" (tcp, metrics)")
}

/// Asks for a page; returns the status and the body.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn page(address: SocketAddr) -> Page {
    let (status, body) = ask(address, "GET", "/metrics");
    assert_eq!(status, 200, "{body}");
    Page::read(&body)
}

/// The page of a run once `value` of `sample` is reached.
fn await_page(address: SocketAddr, sample: &str, value: f64) -> Page {
    await_some(sample, || Some(page(address)).filter(|page| page.get(sample) >= Some(value)))
}

#[test]
fn the_pages_of_a_load_show_its_figures() {
    let server = server();
    let load = ["-c", "5", "--workers", "2", "--rate", "200", "--duration", "1m"];
    let mut program = client(server.address(), &[&load[..], &PAGES].concat());
    let address = pages_of(&program);
    await_until("readiness", || ask(address, "GET", "/readyz") == (200, "ready\n".to_owned()));
    let page = await_page(address, "multiconn_client_messages_total{outcome=\"answered\"}", 300.0);
    let get = |sample: &str| page.get(&format!("multiconn_client_{sample}"));
    assert_eq!((get("rate_due"), get("load_running")), (Some(200.0), Some(1.0)), "{page:?}");
    for (sample, value) in [
        ("connections{state=\"open\"}", 5.0),
        ("connections{state=\"failed\"}", 0.0),
        ("connections_requested", 5.0),
        ("connections_opened_total", 5.0),
        ("messages_total{outcome=\"lost\"}", 0.0),
    ] {
        assert_eq!(get(sample), Some(value), "{sample}: {page:?}");
    }
    assert!(get("messages_due_total") >= get("messages_sent_total"), "{page:?}");
    assert!(get("messages_sent_total") >= Some(300.0) && get("sent_bytes_total") >= Some(300.0), "{page:?}");
    let answered = get("messages_total{outcome=\"answered\"}");
    assert_eq!(get("response_time_seconds_count"), answered, "{page:?}");
    for name in ["response_time", "service_time", "delay"] {
        page.expect_histogram(&format!("multiconn_client_{name}_seconds"), "");
    }
    assert_eq!(ask(address, "GET", "/healthz").0, 200);
    assert_eq!((ask(address, "GET", "/").0, ask(address, "POST", "/metrics").0), (404, 405));
    program.signal(Signal::INT);
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
}

#[test]
fn a_run_is_ready_once_its_load_runs() {
    let server = server();
    let slow = ["-c", "300", "--connect-rate", "5", "--rate", "1k..2k", "--duration", "1m", "--json", "-"];
    let program = client(server.address(), &[&slow[..], &PAGES].concat());
    // Stdout holds the results.
    let line = program.await_stderr(" (tcp, metrics)");
    let address: SocketAddr = line.trim_start_matches("Listening on ").split(' ').next().unwrap().parse().unwrap();
    assert_eq!(ask(address, "GET", "/readyz"), (503, "connecting\n".to_owned()));
    assert_eq!(ask(address, "GET", "/healthz").0, 200);
    let page = await_page(address, "multiconn_client_connections_opened_total", 1.0);
    assert_eq!(page.get("multiconn_client_load_running"), Some(0.0), "{page:?}");
    assert_eq!(page.get("multiconn_client_rate_due"), Some(0.0), "{page:?}");
}

#[test]
fn errors_and_outcomes_are_counted() {
    let (_server, target) = own_server(&["--service", "discard"]);
    let work = ["--udp", "2", "--rate", "50..100", "--duration", "1m", "--reply-timeout", "100ms"];
    let program = client(target, &[&work[..], &PAGES].concat());
    let page = await_page(pages_of(&program), "multiconn_client_errors_total{cause=\"reply_timeout\"}", 10.0);
    assert!(page.get("multiconn_client_messages_total{outcome=\"timed_out\"}") >= Some(10.0), "{page:?}");
    let rate = page.get("multiconn_client_rate_due");
    assert!(rate > Some(50.0) && rate < Some(100.0), "it rises: {page:?}");
}

#[test]
fn pages_that_cannot_be_served_are_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let server = server();
    expect_refusal(client(server.address(), &["--metrics", &address]), 1, &["cannot listen on", &address]);
    expect_refusal(client(server.address(), &["--metrics", "here"]), 2, &["--metrics", "\"here\""]);
    for other in [&["--stdin"][..], &["--find-max", "p99<1ms"]] {
        expect_refusal(client(server.address(), &[other, &PAGES].concat()), 2, &[other[0], "--metrics"]);
    }
    // A common variable is the server's.
    let target = server.address().to_string();
    let with = |variable: &str| {
        Program::spawn(Program::client_command().arg(&target).env(variable, "127.0.0.1:0")).await_exit().stdout
    };
    assert!(!with("MULTICONN_METRICS")[0].contains("metrics"));
    assert!(with("MULTICONN_CLIENT_METRICS")[0].ends_with(" (tcp, metrics)"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pages.sock");
    let endpoint = format!("unix:{}", path.display());
    let program = client(server.address(), &["--duration", "1m", "--metrics", &endpoint]);
    program.await_stdout(" (unix, metrics)");
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}
