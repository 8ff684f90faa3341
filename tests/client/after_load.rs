//! The measured time: intervals and rate exclude what arrives before or after the load.

use super::fake_server::{Fake, deaf, echo, take};
use super::load::{Run, await_messages, load, start};
use super::support::{Program, await_until};
use super::udp::{CorruptServer, own_server};
use super::{client, logging_client, server};
use multiconn::results::RunResults;
use rustix::process::Signal;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// Expects at most `most` replies per second in the rate and in each interval.
#[track_caller]
fn expect_rate_up_to(run: &Run, most: f64) {
    assert!(run.results.rate() <= most, "{} in {run:?}", run.results.rate());
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let mut rates = run.results.intervals.iter().map(|second| second.answered as f64 / second.seconds);
    // An interval of half a second can hold the replies of a whole one.
    assert!(rates.all(|rate| rate <= 2.0 * most), "{run:?}");
}

/// Results of a run whose counts need not add up.
#[track_caller]
fn results_of(mut program: Program) -> RunResults {
    let exit = program.await_exit();
    RunResults::from_json(&exit.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {exit:#?}"))
}

#[test]
fn the_rate_excludes_replies_after_the_end_of_the_load() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "1s"]);
    let run = load(server.address(), &["-c", "50", "--duration", "1500ms"]);
    // Two messages on each connection, unless the client was stopped.
    run.expect_success(run.results.messages.sent);
    let after = run.results.after_load.as_ref().unwrap();
    assert_eq!((after.answered, after.bytes_received), (50, 50 * 64), "{run:?}");
    expect_rate_up_to(&run, 50.0);
}

#[test]
fn the_rate_excludes_late_datagrams() {
    // It answers once per second.
    let fake = CorruptServer::new(|number, bytes| {
        if number.is_multiple_of(20) {
            std::thread::sleep(Duration::from_secs(1));
        }
        vec![bytes.to_vec()]
    });
    let run = load(fake.address, &["--udp", "-c", "20", "--duration", "1500ms", "--reply-timeout", "10s"]);
    run.expect_success(run.results.messages.sent);
    let after = run.results.after_load.as_ref().unwrap();
    assert_eq!((after.answered, after.bytes_received), (20, 20 * 64), "{run:?}");
    expect_rate_up_to(&run, 20.0);
}

/// The server sends until the connection is closed.
#[test]
fn reads_after_the_end_of_the_load_are_in_no_interval() {
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 64);
        while stream.write_all(&[b'x'; 100]).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    });
    let program = start(fake.address(), &["--expect", "any", "--duration", "1s", "-c", "1"]);
    let results = results_of(program);
    let (reads, bytes) = results
        .intervals
        .iter()
        .fold((0, 0), |(reads, bytes), second| (reads + second.reads, bytes + second.bytes_received));
    assert!(results.measured_s < 4.0 && reads > 0, "{results:?}");
    let after = results.after_load.as_ref().unwrap();
    assert_eq!(
        (reads + after.reads, bytes + after.bytes_received),
        (results.messages.reads.unwrap(), results.bytes.received)
    );
    // The client reads for another five seconds.
    assert!(after.reads > reads && after.bytes_received > bytes, "{results:?}");
}

#[test]
fn the_rate_excludes_an_interrupted_hold() {
    let server = server();
    let program = client(server.address(), &["-c", "3", "--hold", "30s", "--json", "-", "-v"]);
    let is_last = |line: &&String| line.starts_with("Received ") && line.contains("Message 2 from client.");
    await_until("the last replies", || program.stderr().iter().filter(is_last).count() >= 3);
    std::thread::sleep(Duration::from_secs(1));
    program.signal(Signal::INT);
    let results = results_of(program);
    assert!(results.interrupted && results.messages.answered == 6, "{results:?}");
    assert!(results.duration_s - results.measured_s > 0.9, "{results:?}");
}

/// Bytes are measured with their messages, also those in flight at the end of the warm-up.
#[test]
fn bytes_and_messages_agree_after_a_warm_up() {
    let (server, (_datagrams, datagrams)) = (server(), own_server(&[]));
    let udp = ["--udp", "--reply-timeout", "20s"];
    let (open, closed) = (["--rate", "200"], ["--pipeline", "5"]);
    for (address, options) in [
        (server.address(), open.to_vec()),
        (server.address(), closed.to_vec()),
        (datagrams, [&udp[..], &open].concat()),
        (datagrams, [&udp[..], &closed].concat()),
    ] {
        let run = load(address, &[&options[..], &["--duration", "500ms", "--warm-up", "300ms", "-c", "3"]].concat());
        let (messages, bytes) = (&run.results.messages, &run.results.bytes);
        assert!(run.code == Some(0) && messages.sent > 0 && messages.sent == messages.answered, "{run:?}");
        assert_eq!((bytes.sent, bytes.received), (messages.sent * 64, messages.sent * 64), "{run:?}");
    }
}

#[test]
fn an_interrupted_warm_up_has_measured_nothing() {
    let (server, (_datagrams, datagrams)) = (server(), own_server(&[]));
    for (address, transport) in [(server.address(), &[][..]), (datagrams, &["--udp"])] {
        let work = ["--rate", "500", "--duration", "1s", "--warm-up", "60s", "-c", "3", "-v"];
        let program = start(address, &[&work[..], transport].concat());
        await_messages(&program, 50);
        program.signal(Signal::INT);
        let run = Run::of(program);
        let (messages, bytes) = (&run.results.messages, &run.results.bytes);
        assert_eq!((messages.due, messages.sent, bytes.sent, bytes.received), (Some(0), 0, 0, 0), "{run:?}");
        assert!(run.stderr.iter().any(|line| line.ends_with(": interrupted before anything was measured")), "{run:?}");
    }
}

/// Without a duration, the measured time begins when the first connection is usable.
#[test]
fn the_rate_excludes_waiting_for_the_server() {
    let (free, address) = deaf(Ipv4Addr::LOCALHOST);
    let program = logging_client(address, &["--retries", "100", "--retry-delay", "100ms", "--json", "-"]);
    await_until("a retry", || program.stderr().iter().any(|line| line.contains("trying again")));
    std::thread::sleep(Duration::from_secs(1));
    free.listen(16).unwrap();
    let fake = Fake::on(TcpListener::from(free), |_, stream| {
        echo(stream);
        None
    });
    let results = results_of(program);
    drop(fake);
    assert!(results.messages.answered == 2 && results.duration_s - results.measured_s > 0.9, "{results:?}");
}

#[test]
fn a_load_that_never_began_has_no_length() {
    let server = server();
    for options in [&[][..], &["--rate", "100"]] {
        let work = ["-c", "600", "--connect-rate", "10", "--duration", "2s", "-v"];
        let program = start(server.address(), &[&work[..], options].concat());
        await_until("connections", || program.stderr().iter().any(|line| line.contains("onnection 5")));
        program.signal(Signal::INT);
        let run = Run::of(program);
        assert!(run.results.interrupted && run.results.messages.sent == 0, "{run:?}");
        assert!(run.results.measured_s == 0.0 && run.results.duration_s > 0.0, "{run:?}");
        let text = run.stderr.join(" ");
        assert!(text.contains(": interrupted before anything was measured"), "{run:?}");
        assert!(text.contains("never began"), "{run:?}");
    }
}

/// Without an expected reply only the socket limits the messages.
#[test]
fn without_expected_replies_messages_are_sent_as_fast_as_the_socket_takes_them() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "discard"]);
    for pipeline in [&[][..], &["--pipeline", "1"]] {
        let work = ["--expect", "none", "-c", "5", "--duration", "500ms"];
        let mut program = start(server.address(), &[&work[..], pipeline].concat());
        let exit = program.await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        assert!(exit.code == Some(0) && results.messages.sent > 500, "{exit:#?}");
        assert_eq!(results.bytes.sent, results.messages.sent * 64, "{exit:#?}");
        let text = exit.stderr.join(" ");
        assert!(
            text.contains("send-only (as fast as the socket accepts)") && !text.contains("closed loop"),
            "{exit:#?}"
        );
    }
}

/// A client that expects no replies waits for none: not between two messages, and not before the first one.
#[test]
fn pauses_between_messages_without_replies_are_no_timeouts() {
    let server = Program::server(&["127.0.0.1", "0", "--service", "discard"]);
    let work = ["--expect", "none", "-c", "1", "--rate", "0.25", "--duration", "5s", "--reply-timeout", "3s"];
    let exit = start(server.address(), &work).await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!((exit.code, results.messages.sent, results.errors.len()), (Some(0), 2, 0), "{exit:#?}");
}
