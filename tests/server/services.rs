//! The small services over plain sockets.

use super::support::{
    Program, bytes, connect, connect_narrow, expect_end, expect_refusal, more_than_fits, push_until_blocked_or_cut,
    read_to_end, uninterrupted,
};
use super::{logging_server, server};
use multiconn::units::{format_daytime, format_time_of_day, seconds_since_1900};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn serving(name: &str, arguments: &[&str]) -> Program {
    let server = server(&[&["--service", name], arguments].concat());
    assert!(server.await_stdout("Listening").ends_with(&format!(" (tcp, {name})")));
    server
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Expects the output of `expected` for a second between `before` and now.
#[track_caller]
fn expect_time(told: &[u8], before: u64, expected: impl Fn(u64) -> Vec<u8>) {
    let is_now = (before..=unix_seconds()).any(|second| expected(second) == told);
    assert!(is_now, "{} is not the time", told.escape_ascii());
}

/// Sends `request`, and expects exactly `reply` while the connection stays open.
#[track_caller]
fn ask(peer: &mut TcpStream, request: &[u8], reply: &[u8]) {
    peer.write_all(request).unwrap();
    let mut answer = vec![0; reply.len()];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer.escape_ascii().to_string(), reply.escape_ascii().to_string());
}

#[test]
fn a_greeting_is_sent_before_the_close() {
    let mut server = serving("greet", &["-vv"]);
    for request in [&b""[..], b"Hello", &bytes(1, 100_000)] {
        let mut peer = connect(server.address());
        let _ = peer.write_all(request);
        // A peer that sends at the same time is not reset.
        assert_eq!(read_to_end(&mut peer), b"Hello, client! Welcome to the server.");
    }
    server.await_stderr("Sending b'Hello, client! Welcome to the server.' to ");
    assert_eq!(server.terminate().counted("completed"), 3);
}

#[test]
fn a_greeting_can_be_given() {
    let server = serving("greet", &["--answer", r"Grüße\r\n"]);
    assert_eq!(read_to_end(&mut connect(server.address())), "Grüße\r\n".as_bytes());
}

#[test]
fn a_given_text_answers_each_message() {
    let server = serving("answer", &["--answer", r"-ERR\t\x21", "-vv"]);
    let mut peer = connect(server.address());
    ask(&mut peer, b"Hello", b"-ERR\t!");
    ask(&mut peer, b"one\r\ntwo\nthree", b"-ERR\t!\r\n-ERR\t!\n-ERR\t!");
    server.await_stderr(r"Sending b'-ERR\t!'");
    for (kind, request, reply) in [
        ("lines", &b"one\n\n"[..], &b"a\rb\na\rb\n"[..]),
        ("type+u16be", b"k\0\x01ax\0\0", b"k\0\x03a\rbx\0\x03a\rb"),
        ("fixed:3", b"onetwo", b"a\rba\rb"),
    ] {
        let server = serving("answer", &["--answer", r"a\rb", "--frame", kind]);
        let mut peer = connect(server.address());
        peer.set_nodelay(true).unwrap();
        request.chunks(1).for_each(|part| peer.write_all(part).unwrap());
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut peer).escape_ascii().to_string(), reply.escape_ascii().to_string(), "{kind}");
    }
    // Many more replies than all buffers hold, for a peer that reads after it has sent.
    let server = serving("answer", &["--answer", &"x".repeat(1000)]);
    let mut peer = connect(server.address());
    let mut sender = peer.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(&b"\n".repeat(20_000)).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let replies = read_to_end(&mut peer);
        assert_eq!(replies.len(), 20_000 * 1001);
        assert!(replies.chunks(1001).all(|reply| reply == [&[b'x'; 1000][..], b"\n"].concat()));
    });
}

#[test]
fn the_local_time_of_day_is_sent() {
    // The sign of POSIX: five and a half hours east of Greenwich.
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0", "--service", "clock", "--local"]).env("TZ", "TEST-05:30");
    let server = Program::spawn(&mut command);
    let before = unix_seconds();
    let told = read_to_end(&mut connect(server.address()));
    expect_time(&told, before, |second| format_time_of_day(second + 19_800).into_bytes());
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0", "--service", "clock", "--local"]).env("TZ", "Nowhere/At-All");
    expect_refusal(Program::spawn(&mut command), 1, &["local time zone", "TZ=UTC"]);
}

#[test]
fn the_time_is_sent_in_three_formats() {
    let before = unix_seconds();
    let said = |name: &str| read_to_end(&mut connect(serving(name, &[]).address()));
    expect_time(&said("clock"), before, |second| format_time_of_day(second).into_bytes());
    expect_time(&said("daytime"), before, |second| format_daytime(second).into_bytes());
    expect_time(&said("time"), before, |second| seconds_since_1900(second).to_be_bytes().to_vec());
}

#[test]
fn reverse_and_upper_transform_input_at_once() {
    let reverse = serving("reverse", &[]);
    let mut peer = connect(reverse.address());
    ask(&mut peer, b"Hello, world", b"dlrow ,olleH");
    ask(&mut peer, "Grüße\r\nzwei\n".as_bytes(), "eßürG\r\niewz\n".as_bytes());
    let upper = serving("upper", &[]);
    let mut peer = connect(upper.address());
    ask(&mut peer, "Grüße 🐰".as_bytes(), "GRÜSSE 🐰".as_bytes());
    // More than all buffers hold, all of which comes back.
    let text = "abc 0123 äöü\n".repeat(100_000);
    let mut sender = peer.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(text.as_bytes()).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_to_end(&mut peer) == text.to_uppercase().as_bytes());
    });
}

#[test]
fn chargen_serves_peers_that_read_and_that_do_not() {
    let mut server = serving("chargen", &[]);
    let mut peer = connect(server.address());
    let mut lines = vec![0; 200 * 74];
    peer.read_exact(&mut lines).unwrap();
    let ring: Vec<u8> = (b' '..=b'~').cycle().take(300).collect();
    for (number, line) in lines.chunks(74).enumerate() {
        let from = number % 95;
        assert_eq!((&line[..72], &line[72..]), (&ring[from..from + 72], &b"\r\n"[..]), "line {number}");
    }
    // Input from a peer that does not read is discarded, even more than its connection holds.
    let silent = connect_narrow(server.address());
    (&silent).write_all(&more_than_fits()[..8 << 20]).unwrap();
    // Memory is bounded although the peer does not read.
    if let Some(resident) = server.resident_bytes() {
        assert!(resident < 64 << 20, "{resident} bytes");
    }
    drop((peer, silent));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.await_exit().code, Some(0));
}

#[test]
fn a_server_that_never_reads_blocks_its_peer_until_the_idle_timeout() {
    let mut server = serving("never-read", &["--idle-timeout", "4s"]);
    let data = more_than_fits();
    let peer = connect_narrow(server.address());
    let taken = push_until_blocked_or_cut(std::slice::from_ref(&peer), &data)[0];
    assert!(taken.is_none_or(|taken| taken < data.len()), "all of it was taken");
    server.await_stdout("Listening");
    let mut peer = peer;
    peer.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    // Nothing arrives except end of input or a reset.
    assert!(matches!(uninterrupted(|| peer.read(&mut [0])), Ok(0) | Err(_)));
    drop(peer);
    let mut quiet = connect(server.address());
    quiet.write_all(b"Is anybody there?").unwrap();
    quiet.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut quiet);
    let exit = server.terminate();
    assert_eq!((exit.counted("idle timeout"), exit.counted("closed by peer")), (1, 1), "{exit:#?}");
}

/// Each kind of frame, as a peer of the HOWTO writes it, in one piece and byte by byte.
#[test]
fn frames_of_every_kind_are_echoed() {
    let fixed = [&[b'.'; 60][..], b"drow"].concat();
    let fixed_back: Vec<u8> = fixed.iter().rev().copied().collect();
    for (kind, request, reply) in [
        ("lines", &b"one\ntwo\n"[..], &b"eno\nowt\n"[..]),
        ("crlf", b"one\r\na\nb\r\n", b"eno\r\nb\na\r\n"),
        ("delimiter:\\0", b"one\0two\0", b"eno\0owt\0"),
        ("fixed:64", &fixed, &fixed_back),
        ("digits:5", b"00003one00000", b"00003eno00000"),
        ("u8", b"\x03one\x00\x02ab", b"\x03eno\x00\x02ba"),
        ("u16be", b"\0\x03one\0\x02ab", b"\0\x03eno\0\x02ba"),
        ("u16le", b"\x03\0one", b"\x03\0eno"),
        ("u32be", b"\0\0\0\x03one", b"\0\0\0\x03eno"),
        ("u32le", b"\x03\0\0\0one", b"\x03\0\0\0eno"),
        ("u64be", b"\0\0\0\0\0\0\0\x03one", b"\0\0\0\0\0\0\0\x03eno"),
        ("u64le", b"\x03\0\0\0\0\0\0\0one", b"\x03\0\0\0\0\0\0\0eno"),
        ("type+u32be", b"x\0\0\0\x03one", b"x\0\0\0\x03eno"),
        ("type+digits:2", b"x03oney00", b"x03enoy00"),
        ("end", b"one\ntwo", b"owt\neno"),
    ] {
        let server = serving("reverse", &["--frame", kind, "--workers", "1"]);
        for size in [request.len(), 1] {
            let mut peer = connect(server.address());
            peer.set_nodelay(true).unwrap();
            request.chunks(size).for_each(|part| peer.write_all(part).unwrap());
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut peer).escape_ascii().to_string(), reply.escape_ascii().to_string(), "{kind}");
        }
    }
}

#[test]
fn a_truncated_message_is_reported_with_its_missing_length() {
    let mut server = logging_server(&["--service", "upper", "--frame", "u16be"]);
    let mut peer = connect(server.address());
    peer.write_all(b"\0\x03one\0\x05tw").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut peer), b"\0\x03ONE", "what came before is answered");
    server.await_stderr(r#"reason="protocol error" error_detail="the input ended 3 bytes short of a whole frame"#);
    let mut peer = connect(server.address());
    peer.write_all(b"\xff\xff").unwrap();
    expect_end(&mut peer);
    server.await_stderr(
        r#"reason="protocol error" error_detail="a frame of 65,537 bytes is larger than the 65,536 bytes allowed"#,
    );
    assert_eq!(server.terminate().counted("protocol error"), 2);
}

#[test]
fn conflicting_options_are_refused() {
    let refused = |arguments: &[&str], parts: &[&str]| expect_refusal(server(arguments), 2, parts);
    refused(&["--service", "upper", "--frame", "morse"], &["morse", "lines", "--frame"]);
    refused(&["--service", "greet", "--frame", "lines"], &["greet", "--frame lines", "upper"]);
    refused(&["--service", "echo", "--frame", "fixed:70000"], &["fixed:70000", "65,536", "--buffer-limit"]);
    refused(&["--service", "stall", "--reply-delay", "1s"], &["never-read", "--reply-delay", "echo"]);
    refused(&["--udp", "--frame", "lines"], &["--frame", "--udp"]);
    refused(&["--udp", "--reply-delay", "1ms"], &["--reply-delay", "--udp"]);
    refused(&["--answer", "a"], &["echo", "--answer with answer or greet"]);
    refused(&["--service", "answer"], &["--service answer", "--answer \"Message received\""]);
    refused(&["--service", "greet", "--answer", r"a\q"], &["--answer", r"\q", r"\r"]);
    refused(
        &["--service", "answer", "--answer", "abc", "--buffer-limit", "4"],
        &["--answer has 5 bytes", "--buffer-limit is 4"],
    );
    refused(&["--service", "answer", "--answer", "abc", "--frame", "fixed:4"], &["--answer", "--frame", "4 bytes"]);
    refused(&["--service", "answer", "--answer", r"a\nb", "--frame", "lines"], &["--answer", "--frame", r"\n"]);
    refused(&["--service", "daytime", "--local"], &["daytime", "--local with clock"]);
    refused(&["--service", "sing"], &["sing", "chargen", "reverse"]);
    refused(&["--reply-delay", "soon"], &["soon", "--reply-delay"]);
}

const DELAY: Duration = Duration::from_millis(40);

#[test]
fn delayed_answers_keep_their_delay() {
    let echo = serving("echo", &["--reply-delay", "40ms"]);
    let mut peer = connect(echo.address());
    for message in [&b"one"[..], b"two", &bytes(1, 300_000)] {
        let asked = Instant::now();
        let mut sender = peer.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| sender.write_all(message).unwrap());
            let mut answer = vec![0; message.len()];
            peer.read_exact(&mut answer).unwrap();
            assert!(answer == message);
        });
        assert!(asked.elapsed() >= DELAY, "{:?}", asked.elapsed());
    }
    peer.write_all(b"three").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut peer), b"three", "the end is no hurry");

    let greet = serving("greet", &["--reply-delay", "40ms"]);
    let asked = Instant::now();
    assert_eq!(read_to_end(&mut connect(greet.address())), b"Hello, client! Welcome to the server.");
    assert!(asked.elapsed() >= DELAY, "{:?}", asked.elapsed());
}

#[test]
fn a_pending_delayed_answer_is_sent_before_the_end() {
    let mut server = serving("upper", &["--frame", "lines", "--reply-delay", "300ms", "-v"]);
    let mut peer = connect(server.address());
    peer.write_all(b"what was asked\n").unwrap();
    server.await_stderr("Accepted");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(read_to_end(&mut peer), b"WHAT WAS ASKED\n");
    drop(peer);
    assert_eq!(server.await_exit().counted("drained"), 1);
}
