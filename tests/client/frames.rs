//! Framed messages, and servers whose replies are no echo.

use super::fake_server::{Fake, answer, answer_and_end, echo, take};
use super::load::Run;
use super::support::{Exit, Program, expect_refusal, uninterrupted};
use super::{client, outcome, server};
use multiconn::results::RunResults;
use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};

const ALL_ANSWERED: &str = "every message was answered";

/// The numbers of the report's line that begins with `label`.
#[track_caller]
fn counts(exit: &Exit, label: &str) -> (u64, u64) {
    let line = exit.stdout.iter().find_map(|line| line.trim_start().strip_prefix(label));
    let line = line.unwrap_or_else(|| panic!("no {label:?} in {exit:#?}")).replace(',', "");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

#[track_caller]
fn expect_verdict(exit: &Exit, code: i32, verdict: &str) {
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    assert!(exit.stdout[0].ends_with(verdict), "{exit:#?}");
}

/// Expects that the run failed once, for this cause only, and that the report contains `words`.
#[track_caller]
fn expect_failure(exit: &Exit, cause: &str, words: &str) {
    expect_verdict(exit, 1, "failed");
    assert!(exit.stdout.iter().any(|line| line.trim() == format!("1 {cause}")), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains(words)), "{exit:#?}");
}

/// A server that reads up to the client's end, then replies with the result of `reply`.
fn reply_after_end(reply: fn(Vec<u8>) -> Vec<u8>) -> Fake {
    Fake::new(move |_, mut stream| {
        let mut sent = Vec::new();
        stream.read_to_end(&mut sent).unwrap();
        stream.write_all(&reply(sent)).unwrap();
        None
    })
}

/// A server that answers each line with another one, in pieces.
fn shouting() -> Fake {
    Fake::new(|_, mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
            let reply = buffer[..count].to_ascii_uppercase();
            let (first, second) = reply.split_at(count / 2);
            if stream.write_all(first).and_then(|()| stream.flush()).and_then(|()| stream.write_all(second)).is_err() {
                break;
            }
        }
        None
    })
}

#[test]
fn each_kind_of_frame_on_the_wire() {
    for (kind, wire) in [
        ("lines", &b"hello\n"[..]),
        ("crlf", b"hello\r\n"),
        ("delimiter:||", b"hello||"),
        ("fixed:5", b"hello"),
        ("digits:5", b"00005hello"),
        ("u8", b"\x05hello"),
        ("u16be", b"\x00\x05hello"),
        ("u16le", b"\x05\x00hello"),
        ("u32be", b"\x00\x00\x00\x05hello"),
        ("u64le", b"\x05\x00\x00\x00\x00\x00\x00\x00hello"),
        ("type+u16be", b"\x00\x00\x05hello"),
        ("end", b"hello"),
    ] {
        let fake = Fake::new(move |_, mut stream| {
            let sent = take(&mut stream, wire.len() as u64);
            assert_eq!(sent, wire);
            answer(stream, &sent);
            None
        });
        let sent = wire.len() as u64;
        outcome(fake.address(), &["--frame", kind, "--message", "hello"]).expect_success(1, 1, sent);
        // The same as replies that are counted and not compared.
        let exit = client(fake.address(), &["--frame", kind, "--message", "hello", "--expect", "any"]).await_exit();
        expect_verdict(&exit, 0, ALL_ANSWERED);
        assert_eq!((counts(&exit, "messages "), counts(&exit, "bytes ")), ((1, 1), (sent, sent)), "{kind}: {exit:#?}");
    }
}

#[test]
fn frames_are_echoed_by_our_server() {
    let server = server();
    for kind in ["lines", "digits:5", "u32be", "type+u16le"] {
        let outcome = outcome(server.address(), &["10", "--frame", kind, "--messages", "100", "--pipeline", "7"]);
        assert_eq!((outcome.code, outcome.messages), (Some(0), (1000, 1000)), "{kind}: {outcome:#?}");
    }
    outcome(server.address(), &["10", "--frame", "fixed:64"]).expect_success(10, 10, 640);
    outcome(server.address(), &["10", "--frame", "lines", "--size", "100000"]).expect_success(10, 10, 1_000_010);
    outcome(server.address(), &["10", "--frame", "end"]).expect_success(10, 10, 220);
}

/// The client's half-close ends the message; the reply follows.
#[test]
fn a_message_that_ends_with_our_half() {
    let fake = reply_after_end(|sent| sent);
    outcome(fake.address(), &["20", "--frame", "end", "--size", "1MiB"]).expect_success(20, 20, 20 << 20);
    let twice = reply_after_end(|sent| sent.repeat(2));
    let outcome = outcome(twice.address(), &["--frame", "end", "--message", "abc"]);
    outcome.expect_failures(&[("echo mismatch", 1)]);
    assert_eq!(outcome.mismatches, ["connection 1, byte 3: received 3 bytes more than it sent: b'abc'"]);
    // As a reply it may exceed any buffer.
    let long = reply_after_end(|sent| sent.repeat(100_000));
    let exit = client(long.address(), &["5", "--frame", "end", "--message", "hello", "--expect", "any"]).await_exit();
    expect_verdict(&exit, 0, ALL_ANSWERED);
    assert_eq!((counts(&exit, "messages "), counts(&exit, "bytes ")), ((5, 5), (25, 2_500_000)), "{exit:#?}");
}

#[test]
fn any_reply_is_accepted() {
    let fake = shouting();
    let framed =
        ["3", "--frame", "lines", "--message", "hello", "--message", "you", "--messages", "50", "--pipeline", "4"];
    let exit = client(fake.address(), &[&framed[..], &["--expect", "any"]].concat()).await_exit();
    expect_verdict(&exit, 0, ALL_ANSWERED);
    assert_eq!((counts(&exit, "messages "), counts(&exit, "bytes ")), ((150, 150), (750, 750)), "{exit:#?}");
    assert!(exit.stderr.is_empty(), "{exit:#?}");
    // The same reply is no echo.
    outcome(fake.address(), &["3", "--frame", "lines", "--message", "hello"]).expect_failures(&[("echo mismatch", 3)]);
}

#[test]
fn replies_are_logged() {
    let fake = shouting();
    let one = ["--message", "hello", "--expect", "any", "-vv"];
    let exit = client(fake.address(), &[&one[..], &["--frame", "lines"]].concat()).await_exit();
    assert_eq!(exit.told(&["reply b'HELLO' connection=1"]), 1, "{exit:#?}");
    let whole = Fake::new(|_, mut stream| {
        take(&mut stream, 5);
        answer_and_end(stream, b"12:34:56");
        None
    });
    let exit = client(whole.address(), &one).await_exit();
    assert_eq!(exit.told(&["reply b'12:34:56' connection=1"]), 1, "{exit:#?}");
    expect_verdict(&exit, 0, "bytes came back on every connection");
}

/// Size of each reply of [`large_replies`] in bytes: more than any read returns.
const REPLY_BYTES: usize = 300_000;

/// The request line.
const GET: &str = "GET /\n";

/// Answers each line with many bytes, as a web server might.
fn large_replies() -> Fake {
    Fake::new(|_, stream| {
        let mut writing = stream.try_clone().unwrap();
        for line in std::io::BufReader::new(stream).lines() {
            if line.is_err() || writing.write_all(&vec![b'x'; REPLY_BYTES]).is_err() {
                break;
            }
        }
        None
    })
}

/// The end of a reply is unknown: reads are not replies, and only the first bytes on each connection have a latency.
#[test]
fn unframed_replies_are_not_counted() {
    const REASON: &str = "the end of a reply is unknown";
    let fake = large_replies();
    let one = ["7", "--expect", "any", "--message", GET];
    let exit = client(fake.address(), &[&one[..], &["--messages", "3", "--pipeline", "1"]].concat()).await_exit();
    expect_verdict(&exit, 0, "bytes came back on every connection");
    let reads = counts(&exit, "reads ").0;
    assert!(counts(&exit, "messages ").0 == 21 && reads >= 7, "{exit:#?}");
    let has = |part: &str| exit.stdout.iter().any(|line| line.contains(part));
    assert!(has(REASON) && has("    first byte ") && !has("    service ") && !has("answered"), "{exit:#?}");
    for further in [&["--rate", "100"][..], &[]] {
        let work = ["--duration", "500ms", "--fail-if", "p99>1h", "--fail-if", "rate<1", "--json", "-"];
        let mut program = client(fake.address(), &[&one[..], &work, further].concat());
        let exit = program.await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        let (messages, times) = (&results.messages, &results.histograms);
        assert_eq!((exit.code, messages.answered, results.latency().count()), (Some(3), 0, 0), "{exit:#?}");
        assert_eq!((times.service_time.count(), times.first_byte.count()), (0, 7), "{exit:#?}");
        assert!(messages.sent >= 7 && messages.reads >= Some(7), "{exit:#?}");
        assert!(results.bytes.received >= 7 * REPLY_BYTES as u64, "{exit:#?}");
        assert!(results.notes.iter().any(|hint| hint.starts_with(REASON)), "{exit:#?}");
        let told = exit.stderr.join("\n");
        assert!(!["verified", "answered", "right"].iter().any(|word| told.contains(word)), "{exit:#?}");
        assert!(told.contains("p99 was not measured") && told.contains("rate was not measured"), "{exit:#?}");
    }
}

/// With a known reply size the end of a reply is known, whatever the buffer holds.
#[test]
fn replies_of_a_known_size() {
    let fake = large_replies();
    let size = REPLY_BYTES.to_string();
    for further in [&[][..], &["--expect", "any"], &["--pipeline", "1"]] {
        let one = ["3", "--message", GET, "--messages", "5", "--reply-size", &size];
        let exit = client(fake.address(), &[&one[..], further].concat()).await_exit();
        expect_verdict(&exit, 0, ALL_ANSWERED);
        assert_eq!(counts(&exit, "messages "), (15, 15), "{exit:#?}");
        assert_eq!(counts(&exit, "bytes "), (15 * 6, 15 * REPLY_BYTES as u64), "{exit:#?}");
    }
    let work = ["--message", GET, "--reply-size", &size, "--duration", "300ms", "--json", "-"];
    let run = Run::of(client(fake.address(), &work));
    run.expect_success(run.results.messages.sent);
    let told = run.stderr.join("\n");
    assert!(told.contains(": every message was answered") && !told.contains("verified"), "{told}");
    assert_eq!(run.results.bytes.received, run.results.messages.sent * REPLY_BYTES as u64, "{run:?}");
    // A size other than that of the replies.
    let exit = client(fake.address(), &["--message", GET, "--reply-size", "299999"]).await_exit();
    expect_failure(&exit, "wrong reply", "if replies are larger, raise the reply size");
    let cut = Fake::new(|_, mut stream| {
        take(&mut stream, 6);
        answer_and_end(stream, b"half of it");
        None
    });
    let exit = client(cut.address(), &["--message", GET, "--reply-size", "20"]).await_exit();
    expect_failure(&exit, "closed by peer in the middle of a reply", "1 sent, 0 answered");
    for wrong in [
        &["--reply-size", "0"][..],
        &["--reply-size", "5", "--expect", "echo"],
        &["--reply-size", "5", "--expect", "none"],
    ] {
        expect_refusal(client(fake.address(), wrong), 2, &["--reply-size", "expect any reply", "--expect"]);
    }
}

/// A greeting is a reply without a message.
#[test]
fn a_greeting_is_explained() {
    let fake = Fake::new(|_, mut stream| {
        stream.write_all(b"220 hello\n").unwrap();
        echo(stream);
        None
    });
    let exit = client(fake.address(), &["--frame", "lines", "--expect", "any", "--message", "hello"]).await_exit();
    expect_failure(&exit, "wrong reply", "; if the server speaks first, expect any reply, without a framing");
    let exit = client(fake.address(), &["--expect", "any", "--message", "hello"]).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn server_closes_instead_of_replying() {
    let silent = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        None
    });
    outcome(silent.address(), &["--expect", "any"]).expect_failures(&[("closed early by peer", 1)]);
}

#[test]
fn invalid_frames() {
    let answering = |reply: &'static [u8]| {
        Fake::new(move |_, mut stream: TcpStream| {
            take(&mut stream, 6);
            answer_and_end(stream, reply);
            None
        })
    };
    let run = |reply: &'static [u8], arguments: &[&str]| {
        let fake = answering(reply);
        client(fake.address(), &[&["--message", "hello", "--expect", "any"], arguments].concat()).await_exit()
    };
    let count = |reply: &'static [u8], kind: &str| {
        let fake = answering(reply);
        let arguments = ["--message", "hello", "--expect", "any", "--frame", kind, "--json", "-"];
        let results = Run::of(client(fake.address(), &arguments)).results;
        (results.mismatches.count, results.mismatches.first.len(), results.messages.wrong)
    };
    assert_eq!((count(b"HEL", "lines"), count(b"x5", "digits:1")), ((1, 1, 1), (1, 1, 1)), "described and counted");
    let cut = run(b"HEL", &["--frame", "lines"]);
    expect_failure(
        &cut,
        "closed by peer in the middle of a reply",
        "connection 1, reply 1: the input ended 1 byte short",
    );
    // Both send six bytes.
    let cut = run(b"\x07HELLO", &["--frame", "u8"]);
    expect_failure(&cut, "closed by peer in the middle of a reply", "2 bytes short of a whole frame");
    let none = run(b"x5", &["--frame", "digits:1"]);
    expect_failure(&none, "a reply violates the framing", "the length \"x\" is not written in ASCII digits");
    let large = run(b"\x40", &["--frame", "u8", "--buffer-limit", "64"]);
    expect_failure(&large, "a reply violates the framing", "a frame of 65 bytes is larger than the 64 bytes allowed");
}

#[test]
fn a_large_reply_needs_a_large_buffer() {
    const SIZE: usize = 300_000;
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 9);
        let length = u32::try_from(SIZE).unwrap().to_be_bytes();
        answer(stream, &[&length[..], &vec![7; SIZE]].concat());
        None
    });
    let one = ["--message", "hello", "--frame", "u32be", "--expect", "any"];
    let exit = client(fake.address(), &one).await_exit();
    expect_failure(&exit, "a reply violates the framing", "larger than the 65,536 bytes allowed");
    let exit = client(fake.address(), &[&one[..], &["--buffer-limit", "1MiB"]].concat()).await_exit();
    expect_verdict(&exit, 0, ALL_ANSWERED);
    assert_eq!(counts(&exit, "bytes "), (9, SIZE as u64 + 4), "{exit:#?}");
}

#[test]
fn no_reply_is_expected_but_the_close() {
    let discard = Program::server(&["127.0.0.1", "0", "--service", "discard"]);
    let arguments = ["10", "--expect", "none", "--size", "1MiB", "--messages", "3"];
    let exit = client(discard.address(), &arguments).await_exit();
    expect_verdict(&exit, 0, "everything was sent, and the server closed in order");
    assert_eq!((counts(&exit, "messages "), counts(&exit, "bytes ")), ((30, 0), (30 << 20, 0)), "{exit:#?}");
    // Held as long as requested, then closed.
    let exit = client(discard.address(), &["10", "--expect", "none", "--hold", "100ms"]).await_exit();
    expect_verdict(&exit, 0, "everything was sent, and the server closed in order");
    // Received bytes are ignored.
    let exit = client(server().address(), &["--expect", "none"]).await_exit();
    expect_verdict(&exit, 0, "everything was sent, and the server closed in order");
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 44);
        stream.shutdown(Shutdown::Read).unwrap();
        Some(stream)
    });
    let given_up = ["--expect", "none", "--reply-timeout", "300ms"];
    outcome(fake.address(), &given_up).expect_failures(&[("timed out waiting for a reply", 1)]);
}

#[test]
fn a_server_that_closes_early_has_not_closed_in_order() {
    let hasty = Fake::new(|_, mut stream| {
        take(&mut stream, 1000);
        None
    });
    let outcome = outcome(hasty.address(), &["--expect", "none", "--size", "16MiB"]);
    assert_eq!((outcome.code, outcome.failed), (Some(1), 1), "{outcome:#?}");
}

#[test]
fn messages_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("request.txt").to_str().unwrap().to_owned();
    std::fs::write(&path, "one\ntwo\n\nfour").unwrap();
    let fake = Fake::new(|_, stream| {
        echo(stream);
        None
    });
    outcome(fake.address(), &["3", "--message-file", &path]).expect_success(3, 3, 3 * 13);
    // Line by line; the last one gets its line end.
    outcome(fake.address(), &["3", "--message-file", &path, "--frame", "lines"]).expect_success(3, 12, 3 * 14);
    outcome(fake.address(), &["3", "--message-file", &path, "--frame", "u16be"]).expect_success(3, 3, 3 * 15);
    std::fs::write(&path, "").unwrap();
    let wrong = |path: &str, why: &str| {
        let arguments = ["127.0.0.1", "65432", "--message-file", path];
        expect_refusal(Program::client(&arguments), 2, &[path, why, "request.txt"]);
    };
    wrong(&path, "it is empty");
    wrong(folder.path().join("none").to_str().unwrap(), "no such file or folder");
    wrong(folder.path().to_str().unwrap(), "folder");
    wrong("/dev/zero", "it is a device");
}

#[test]
fn frames_that_cannot_carry_the_message() {
    let wrong = |arguments: &[&str], parts: &[&str]| {
        let arguments = [&["127.0.0.1", "65432"], arguments].concat();
        expect_refusal(Program::client(&arguments), 2, parts);
    };
    for kind in ["", "paragraphs", "fixed:0", "fixed:many", "digits:0", "u24be", "delimiter:", "delimiter:123456789"] {
        wrong(&[&format!("--frame={kind}")], &["--frame", &format!("{kind:?}"), "fixed:64", "digits:5"]);
    }
    wrong(&["--expect", "something"], &["--expect", "'something'"]);
    wrong(&["--frame", "fixed:64", "--message", "hello"], &["5 bytes", "64 bytes", "printf %-64s", "truncate -s 64"]);
    wrong(&["--frame", "fixed:4", "--message", "hello"], &["5 bytes", "4 bytes", "such as u32be"]);
    wrong(&["--frame", r"delimiter:\q"], &["--frame", r"\q is no escape", r"\xNN"]);
    wrong(&["--frame", "lines", "--message", "two\nlines"], &["hold an earlier \\n", "such as u32be"]);
    wrong(&["--frame", "u8", "--size", "256"], &["256 bytes", "u8"]);
    wrong(&["--frame", "end", "--message", "a", "--message", "b"], &["2 messages", "ask for 1,", "--messages"]);
    wrong(&["--frame", "end", "--messages", "5"], &["5 messages", "ask for 1,", "--messages"]);
    wrong(&["--frame", "fixed:100000", "--expect", "any"], &["fixed:100000", "65,536", "--buffer-limit"]);
    wrong(&["--frame", "fixed:99999999999999"], &["99,999,999,999,999 bytes"]);
    wrong(&["--buffer-limit", "0"], &["buffer of 0 bytes", "64KiB"]);
    wrong(&["--message-file", "a", "--message", "b"], &["--message-file", "--message"]);
    wrong(&["--message-file", "a", "--size", "5"], &["--message-file", "--size"]);
}
