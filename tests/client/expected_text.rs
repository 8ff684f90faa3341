//! `--expect-text`: what each reply must contain, with every way to delimit replies.

use super::client;
use super::fake_server::{Fake, answer_and_end};
use super::load::Run;
use super::support::{Program, expect_refusal, uninterrupted};
use super::udp::CorruptServer;
use multiconn::results::ReplyCheck;
use std::io::{Read, Write};
use std::net::SocketAddr;

const GET: &str = r"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Answers each `size` bytes with `reply(number)`, in pieces of `piece` bytes.
fn server(size: usize, piece: usize, reply: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Fake {
    Fake::new(move |_, mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut message = vec![0; size];
        for number in 0.. {
            uninterrupted(|| stream.read_exact(&mut message)).ok()?;
            for part in reply(number).chunks(piece) {
                stream.write_all(part).ok()?;
            }
        }
        None
    })
}

fn run(address: SocketAddr, arguments: &[&str]) -> Run {
    Run::of(client(address, &[&["--json", "-"], arguments].concat()))
}

/// Expects `wrong` of `sent` messages to have a reply without the text, of which one is described as `told`, and every
/// connection to go on.
#[track_caller]
fn expect(run: &Run, (sent, wrong): (u64, u64), told: &str) {
    let (results, messages) = (&run.results, &run.results.messages);
    assert_eq!((messages.sent, messages.answered, messages.wrong), (sent, sent - wrong, wrong), "{run:?}");
    let errors = results.errors.get("wrong_text").copied().unwrap_or(0);
    assert_eq!((errors, results.mismatches.count, results.connections.failed), (wrong, wrong, 0), "{run:?}");
    assert_eq!((run.code, results.reply_check), (Some(i32::from(wrong > 0)), ReplyCheck::Matched), "{run:?}");
    assert!(wrong == 0 || results.mismatches.first.iter().any(|text| text == told), "{run:?}");
}

/// Payloads of replies; the second one is wrong.
const PAYLOADS: [&str; 3] = ["state=ready!", "state=busy!!", "it is ready."];

const TOLD: &str = "connection 1, reply 2: received b'state=busy!!' (12 bytes), expected it to contain b'ready'";

#[test]
fn frames_are_searched_in_their_payload() {
    for (kind, message, size, before, after) in [
        ("lines", "hello", 6, "", "\n"),
        // The delimiter contains the text, and is no part of the reply.
        ("delimiter:ready?", "hi", 8, "", "ready?"),
        ("u16be", "hello", 7, "\0\x0c", ""),
        ("digits:2", "hello", 7, "12", ""),
        ("fixed:12", "hello, world", 12, "", ""),
    ] {
        let fake = server(size, 5, move |number| format!("{before}{}{after}", PAYLOADS[number % 3]).into_bytes());
        let work = ["2", "--frame", kind, "--message", message, "--expect-text", "ready", "--messages", "9"];
        expect(&run(fake.address(), &work), (18, 6), TOLD);
    }
}

/// Replies larger than any read or buffer are searched as they arrive.
#[test]
fn sized_replies_are_searched_across_reads() {
    const SIZE: usize = 300_000;
    let fake = server(5, 4099, |number| {
        let mut reply = vec![b'x'; SIZE];
        // Across the end of a read, and at the very end.
        let offset = [4096, SIZE - 5, 2 * 4099 - 1][number % 3];
        reply[offset..offset + 5].copy_from_slice(if number % 4 == 3 { b"READY" } else { b"ready" });
        reply
    });
    let size = SIZE.to_string();
    let work = ["2", "--message", "hello", "--messages", "8", "--reply-size", &size, "--expect-text"];
    let told = |requirement: &str| {
        let first = "x".repeat(32);
        format!("connection 2, reply 4: received b'{first}'… (300,000 bytes), expected it to {requirement}")
    };
    expect(&run(fake.address(), &[&work[..], &["ready"]].concat()), (16, 4), &told("contain b'ready'"));
    expect(&run(fake.address(), &[&work[..], &["/x{3}ready/"]].concat()), (16, 4), &told("match /x{3}ready/"));
    expect(&run(fake.address(), &[&work[..], &["/(?i)^x+ready(x|$)/"]].concat()), (16, 0), "");
}

#[test]
fn bodies_of_http_responses_are_searched() {
    let responses = [
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"up\":true}",
        // Not in the head; and in two chunks.
        "HTTP/1.1 200 OK\r\nX: \"up\":true\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"up\r\n7\r\n\":true}\r\n0\r\n\r\n",
        "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n\"up\":true",
    ];
    let fake = server(27, 7, move |number| responses[number % 4].into());
    let work = ["2", "--frame", "http", "--message", GET, "--messages", "8", "--expect-text", r#"/"up": ?true/"#];
    let told = r#"connection 1, reply 2: received b'no' (2 bytes), expected it to match /\"up\": ?true/"#;
    expect(&run(fake.address(), &work), (16, 4), told);
    // One wrong reply each, whatever is wrong with it.
    let both = run(fake.address(), &[&work[..], &["--expect-status", "200"]].concat());
    let errors = &both.results.errors;
    assert_eq!((both.results.messages.wrong, errors["wrong_text"], errors["wrong_status"]), (8, 4, 4), "{both:?}");
}

#[test]
fn a_reply_up_to_the_end_is_searched() {
    for (reply, wrong) in [("one two", 0), ("one", 2)] {
        let fake = Fake::new(move |_, mut stream| {
            stream.read_to_end(&mut Vec::new()).unwrap();
            answer_and_end(stream, reply.as_bytes());
            None
        });
        let run = run(fake.address(), &["2", "--frame", "end", "--message", "a", "--expect-text", "/two$/"]);
        let told = "connection 1, reply 1: received b'one' (3 bytes), expected it to match /two$/";
        expect(&run, (2, wrong), told);
    }
}

/// A datagram without the text answers the oldest message, wrongly.
#[test]
fn datagrams_are_searched() {
    let server = CorruptServer::new(|number, _| vec![PAYLOADS[number % 3].into()]);
    let address = server.address.to_string();
    let work =
        ["--udp", &address, "--size", "64", "--messages", "9", "--expect-text", "ready", "--reply-timeout", "20s"];
    let run = Run::of(Program::client(&[&work[..], &["--json", "-"]].concat()));
    let (results, messages) = (&run.results, &run.results.messages);
    assert_eq!((messages.answered, messages.wrong, results.errors["corrupt"]), (6, 3, 3), "{run:?}");
    assert_eq!(results.mismatches.first[0], TOLD.replace("connection 1, reply 2", "socket 1"), "{run:?}");
    let exit = Program::client(&work).await_exit();
    assert!(exit.stdout.iter().any(|line| line == "  corrupt      3"), "{exit:#?}");
}

#[test]
fn the_report_says_what_was_checked() {
    let fake = server(6, 99, |_| b"ready\n".to_vec());
    let work = ["--frame", "lines", "--message", "hello", "--messages", "3", "--expect-text"];
    let exit = client(fake.address(), &[&work[..], &["ready"]].concat()).await_exit();
    assert!(exit.stdout[0].ends_with(": every reply contained the expected text"), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("3 sent, 3 answered as expected, ")), "{exit:#?}");
    let exit = client(fake.address(), &[&work[..], &["busy"]].concat()).await_exit();
    for line in ["3 reply without the expected text", "wrong reply  3"] {
        assert!(exit.stdout.iter().any(|told| told.trim() == line), "{line}: {exit:#?}");
    }
}

#[test]
fn replies_that_cannot_be_searched_are_refused() {
    let address = "127.0.0.1:1".parse().unwrap();
    let refuse = |arguments: &[&str], parts: &[&str]| expect_refusal(client(address, arguments), 2, parts);
    let ready = ["--expect-text", "ready"];
    let refuse_with = |arguments: &[&str], parts: &[&str]| refuse(&[&ready[..], arguments].concat(), parts);
    refuse_with(&[], &["the end of a reply is unknown", "(--expect-text, --frame, --reply-size)"]);
    refuse_with(&["--expect", "any"], &["such as lines", "such as 64"]);
    for expected in ["echo", "none"] {
        refuse_with(&["--frame", "lines", "--expect", expected], &["expect any reply", "(--expect-text, --expect)"]);
    }
    refuse_with(&["--messages", "0"], &["expect any reply", "--expect-text"]);
    refuse_with(&["--stdin"], &["--stdin", "--expect-text"]);
    refuse_with(&["--search", "ring"], &["--search", "--expect-text"]);
    refuse(&["--expect-text", "/a(b/"], &["--expect-text", "wrong at character 2: unclosed group", "/^(ok|ready)/"]);
    refuse(&["--expect-text", ""], &["--expect-text", "an empty text is in every reply"]);
}
