//! Conformance table of the message protocol: numbered cases, each on its own connection to one real server. A message
//! is either answered, byte for byte as by the tutorial's server, or refused with an error that names the fault; other
//! connections are unaffected.

mod case;
mod contents;
mod encodings;
mod headers;
mod requests;
mod streams;

use self::case::{Case, Expected, answer, message, search};
use super::logging_server;
use super::support::{PATIENCE, Program, connect, expect_end, has_python};
use multiconn::cli::AddressRepr;
use multiconn::units::format_count;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

/// The minimum number of cases.
const MIN_CASES: usize = 150;

/// How many connections are open at a time.
const CONCURRENT: usize = 8;

fn table() -> Vec<Case> {
    [requests::cases(), headers::cases(), encodings::cases(), contents::cases(), streams::cases()].concat()
}

/// Runs a case, and returns how it differs from the expectation.
fn run(case: &Case, server: &Program) -> Result<(), String> {
    let mut peer = connect(server.address());
    peer.set_nodelay(true).map_err(|error| error.to_string())?;
    for segment in &case.segments {
        // A server that has refused the message may stop reading.
        let written = peer.write_all(segment);
        if written.is_err() && matches!(case.expected, Expected::Answers(_)) {
            return Err("it was not all taken".to_owned());
        }
    }
    let address = peer.local_addr().map_err(|error| error.to_string())?;
    let shut = || peer.shutdown(Shutdown::Write).map_err(|error| error.to_string());
    let (answers, words) = match &case.expected {
        Expected::Answers(answers) => {
            shut()?;
            (answers, "closed by peer".to_owned())
        }
        Expected::Refusal { answers, words } => {
            if case.ends {
                shut()?;
            }
            (answers, format!("protocol error: {words}"))
        }
    };
    let mut received = Vec::new();
    peer.read_to_end(&mut received).map_err(|error| format!("no end came: {error}"))?;
    if received != *answers {
        return Err(format!("expected {}, received {}", answers.escape_ascii(), received.escape_ascii()));
    }
    // Until then the server lingers after a refusal.
    drop(peer);
    expect_logged(server, address, &words)
}

/// A server of messages with a log of JSON objects.
fn search_server(arguments: &[&str]) -> Program {
    logging_server(&[&["--service", "search", "--log-format", "json"], arguments].concat())
}

/// Expects the log to say why the connection from `address` closed. An earlier connection may have had the same port:
/// all its log lines count.
fn expect_logged(server: &Program, address: SocketAddr, words: &str) -> Result<(), String> {
    let start = format!("Closing connection to {}", AddressRepr(address));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lines: Vec<_> = server.stderr().into_iter().filter(|line| line.contains(&start)).collect();
        let told = lines.iter().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let [reason, error_detail] = ["reason", "error_detail"].map(|key| record[key].as_str().unwrap_or_default());
            format!("{reason}: {error_detail}")
        });
        if told.into_iter().any(|told| told.starts_with(words)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("expected {words:?}, told {lines:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_case_of_the_table() {
    let cases = table();
    let mut server = search_server(&[]);
    let mut neighbour = connect(server.address());
    let early = search("ring");
    let (early, late) = early.split_at(50);
    neighbour.write_all(early).unwrap();
    let numbered: Vec<(usize, &Case)> = (1..).zip(&cases).collect();
    let mut failures: Vec<String> = std::thread::scope(|scope| {
        let share = numbered.len().div_ceil(CONCURRENT);
        let server = &server;
        let work = |share: &[(usize, &Case)]| -> Vec<String> {
            let failure = |(number, case): &(usize, &Case)| {
                run(case, server).err().map(|why| format!("case {number}, {}: {why}", case.name))
            };
            share.iter().filter_map(failure).collect()
        };
        let threads: Vec<_> = numbered.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    failures.sort();
    let passed = cases.len() - failures.len();
    // Written past the capture of the test harness, so that it is visible.
    writeln!(std::io::stderr().lock(), "conformance: {passed} of {} passed", cases.len()).unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(cases.len() >= MIN_CASES, "{} cases are too few", cases.len());

    // The server still serves after all cases.
    neighbour.write_all(late).unwrap();
    neighbour.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    neighbour.read_to_end(&mut received).unwrap();
    assert_eq!(received, answer("In the caves beneath the Misty Mountains. 💍"));
    let exit = server.terminate();
    let refused = cases.iter().filter(|case| matches!(case.expected, Expected::Refusal { .. })).count() as u64;
    exit.expect_counts(&[("protocol error", refused), ("closed by peer", 1 + cases.len() as u64 - refused)]);
}

/// The same bytes to the tutorial's server: this verifies the table's claims about its answers.
#[test]
fn the_tutorial_server_answers_the_same() {
    if !has_python("what the tutorial's server answers") {
        return;
    }
    let server = Program::python("app_server.py", &["127.0.0.1", "0"]);
    let address = server.python_address();
    let mut compared = 0;
    for case in table().iter().filter(|case| case.is_common) {
        let Expected::Answers(answers) = &case.expected else { panic!("{} is no answer", case.name) };
        let mut peer = connect(address);
        peer.write_all(&case.segments.concat()).unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received.escape_ascii().to_string(), answers.escape_ascii().to_string(), "{}", case.name);
        compared += 1;
    }
    assert!(compared >= 80, "{compared} cases are too few");
}

/// A peer that sends one message, and awaits end of input before it closes.
#[test]
fn the_end_comes_after_the_answer() {
    let server = search_server(&[]);
    let mut peer = connect(server.address());
    peer.write_all(&search("nope")).unwrap();
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, answer("No match for 'nope'."));
    let address = peer.local_addr().unwrap();
    drop(peer);
    expect_logged(&server, address, "completed").unwrap();
}

/// The next message follows the answer to the previous one, for which the server waits if so configured.
#[test]
fn messages_one_after_the_other() {
    let server = search_server(&[]);
    let mut peer = connect(server.address());
    let kept = case::header_with(r#""connection": "keep-alive""#, 37);
    for (request, pause) in [(message(&kept, &case::content("ring")), 700), (search("ring"), 0)] {
        peer.write_all(&request).unwrap();
        let mut received = vec![0; answer("In the caves beneath the Misty Mountains. 💍").len()];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(received, answer("In the caves beneath the Misty Mountains. 💍"));
        std::thread::sleep(Duration::from_millis(pause));
    }
    expect_end(&mut peer);
}

/// A larger or smaller content limit applies exactly, to the byte.
#[test]
fn the_limit_on_the_content_is_the_buffer_limit() {
    for limit in [10, 1000, 200_000] {
        let server = search_server(&["--buffer-limit", &limit.to_string()]);
        let binary = |size: usize| message(&case::binary_header(size), &vec![b'x'; size]);
        let fits = Case::answers("fits", binary(limit), case::binary_answer(b"xxxxxxxxxx"));
        run(&fits, &server).unwrap();
        let words = format!(
            "a content of {} bytes is larger than the {} bytes allowed",
            format_count(limit as u64 + 1),
            format_count(limit as u64)
        );
        run(&Case::refused("larger", binary(limit + 1), &words), &server).unwrap();
    }
}

/// A Latin-1 value takes up to twice the bytes in UTF-8: the answers to the largest ones are too large to send.
#[test]
fn an_answer_that_is_too_large() {
    let server = search_server(&[]);
    let value = [&b"{\"action\": \"search\", \"value\": \""[..], &vec![0xff; 65_500], b"\"}"].concat();
    let mut peer = connect(server.address());
    peer.write_all(&message(&case::header(case::ORDER, "latin-1", value.len()), &value)).unwrap();
    expect_end(&mut peer);
    let address = peer.local_addr().unwrap();
    drop(peer);
    expect_logged(&server, address, "reply too large").unwrap();
}
