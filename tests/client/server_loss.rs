//! Servers that go away while a load follows the clock: what was due is counted all the same, the run goes on while that is of
//! use, and the report says in words what was not done.

use super::fake_server::{Fake, answer_and_end, deaf, echo, take};
use super::load::{Run, await_messages};
use super::server;
use super::support::{Program, await_until};
use rustix::process::Signal;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A load on the first and the second target in turn.
fn start(targets: [SocketAddr; 2], arguments: &[&str]) -> Program {
    let [first, second] = targets.map(|target| target.to_string());
    let work = ["--target", &first, "--target", &second, "--size", "64", "--json", "-"];
    Program::client(&[&work[..], arguments].concat())
}

/// Echoes so many messages, then ends.
fn short_lived(messages: usize) -> Fake {
    Fake::new(move |_, mut stream| {
        for _ in 0..messages {
            let message = take(&mut stream, 64);
            stream.write_all(&message).unwrap();
        }
        // What comes after that is read, too: else a reset could take the answers with it.
        answer_and_end(stream, b"");
        None
    })
}

/// The share of a worker that has no connection left is due until the end, as that of the others.
#[test]
fn what_is_due_where_nobody_is_left_is_counted() {
    const WORK: [&str; 6] = ["-c", "2", "--rate", "200", "--duration", "2s"];
    let (fake, nobody, server) = (short_lived(20), deaf(Ipv4Addr::LOCALHOST), server());
    for gone in [fake.address(), nobody.1] {
        let run = Run::of(start([gone, server.address()], &[&WORK[..], &["--workers", "2"]].concat()));
        let (messages, connections) = (&run.record.messages, &run.record.connections);
        assert_eq!((run.code, connections.verified, connections.failed), (Some(1), 1, 1), "{run:?}");
        assert_eq!((messages.due, messages.timed_out, messages.pending), (Some(400), 0, 0), "{run:?}");
        let answered = if gone == fake.address() { 220 } else { 200 };
        assert_eq!((messages.verified, messages.failed), (answered, 400 - answered), "{run:?}");
        assert_eq!(messages.unconnected + messages.withheld, 400 - messages.sent, "{run:?}");
        // They grew old until the end.
        assert!(run.record.histograms.unanswered_age.max() > Some(Duration::from_secs(1)), "{run:?}");
        assert!(run.record.measured_s >= 2.0 && run.record.duration_s < 9.0, "{run:?}");
        // A client that stood still may have given it all there was, at once.
        if run.record.histograms.lag.max() > Some(Duration::from_millis(300)) {
            continue;
        }
        assert!((100..=200).contains(&messages.unconnected), "{run:?}");
        let hint = format!("no connection was there for {} of 400 messages that were due", messages.unconnected);
        assert!(run.record.hints.contains(&hint), "{run:?}");
        let told = format!("{} of them never sent: no connection was there", messages.unconnected);
        assert!(run.stderr.iter().any(|line| line.ends_with(&told)), "{run:?}");
    }
    // Where another connection of the same worker is left, that one takes them.
    let run = Run::of(start([fake.address(), server.address()], &WORK));
    let messages = &run.record.messages;
    assert_eq!((run.code, messages.due, messages.unconnected), (Some(1), Some(400), 0), "{run:?}");
    // But for what had been given to the one that went, on a slow machine.
    assert!(messages.sent >= 300 && messages.verified >= 200, "{run:?}");
}

/// When nothing can come back the run ends, and says when, and what it did not do.
#[test]
fn a_load_ends_with_its_last_connection() {
    let open = ["--rate", "100", "--arrivals", "uniform"];
    for (workers, further) in [("1", &open[..]), ("2", &open), ("2", &[])] {
        let fake = short_lived(20);
        let work = ["-c", "4", "--duration", "1h", "--workers", workers];
        let run = Run::of(start([fake.address(); 2], &[&work[..], further].concat()));
        let (record, messages) = (&run.record, &run.record.messages);
        assert_eq!((run.code, record.connections.failed, messages.verified), (Some(1), 4, 80), "{run:?}");
        assert!(record.measured_s < 9.0 && record.duration_s < 9.0 && !record.valid, "{run:?}");
        let reason = record.reasons.iter().find(|reason| reason.starts_with("the load ended early, after ")).unwrap();
        assert!(reason.contains(" of 1 h: every connection had failed"), "{run:?}");
        // The schedule of an hour is one of 360,000 messages.
        assert_eq!(reason.contains("; about 359,"), !further.is_empty(), "{run:?}");
        assert!(run.stderr.iter().any(|line| line.starts_with("NOT VALID: the load ended early, after ")), "{run:?}");
        // One that dies takes with it at most what a slow machine had given to it meanwhile.
        assert!(messages.due.is_none_or(|due| (80..1000).contains(&due)), "{run:?}");
    }
}

/// With most messages unanswered, that comes first, and nothing of the client's lateness for the few that were answered.
#[test]
fn a_server_that_stops_answering() {
    let server = server();
    let work = ["-c", "4", "--rate", "50", "--duration", "2s", "--reply-timeout", "3s", "-vv"];
    let program = start([server.address(); 2], &work);
    await_messages(&program, 10);
    server.pause();
    let run = Run::of(program);
    let messages = &run.record.messages;
    assert_eq!((run.code, run.record.errors.get("reply_timeout")), (Some(1), Some(&4)), "{:?}", run.record);
    assert!(messages.due == Some(100) && messages.timed_out > 50, "{:?}", run.record);
    let first = run.stderr.iter().find(|line| line.starts_with("FAILED: ") || line.starts_with("NOT VALID: "));
    let told = format!("FAILED: {} of 100 messages were not answered within the reply timeout", messages.timed_out);
    assert_eq!(first, Some(&told), "{:?}", run.record);
    assert!(!run.record.reasons.iter().any(|reason| reason.contains("the latency's p50")), "{:?}", run.record);
}

/// A load for which nobody is there from the start.
#[test]
fn a_load_on_nobody() {
    for workers in ["1", "3"] {
        let nobody = deaf(Ipv4Addr::LOCALHOST);
        let run = Run::of(start([nobody.1; 2], &["-c", "5", "--rate", "1k", "--duration", "1h", "--workers", workers]));
        assert_eq!((run.code, run.record.errors.get("refused")), (Some(1), Some(&5)), "{run:?}");
        assert_eq!((run.record.connections.opened, run.record.messages.sent), (0, 0), "{run:?}");
        let reason = "the load never began: no connection could be opened; about 3,600,000 messages";
        assert!(run.record.duration_s < 9.0 && run.record.reasons[0].starts_with(reason), "{run:?}");
        assert!(!run.stderr.iter().any(|line| line.contains("the client was the limit")), "{run:?}");
    }
}

/// Nobody listens for a while: what was due meanwhile waits, and is sent when somebody does.
#[test]
fn a_server_that_comes_back() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let patient = ["--reconnect-every", "1", "--retries", "1000", "--retry-delay", "20ms"];
    let work = ["-c", "2", "--rate", "20", "--duration", "3s", "--workers", "2"];
    let program = start([address; 2], &[&work[..], &patient].concat());
    let streams = [(); 2].map(|()| listener.accept().unwrap().0);
    drop(listener);
    let first = streams.map(|stream| std::thread::spawn(|| echo(stream)));
    std::thread::sleep(Duration::from_secs(1));
    let _again = Fake::on(TcpListener::bind(address).unwrap(), |_, stream: TcpStream| {
        echo(stream);
        None
    });
    let run = Run::of(program);
    assert!(run.code == Some(0) && run.record.errors.is_empty(), "{run:?}");
    let messages = &run.record.messages;
    // A slow machine may still open connections for the last ones when it ends.
    assert!(messages.due == Some(60) && messages.verified >= 30 && messages.failed == 0, "{run:?}");
    assert!(run.record.histograms.latency_from_due.max() > Some(Duration::from_millis(500)), "{run:?}");
    for thread in first {
        thread.join().unwrap();
    }
}

/// The worker that hears signals is the one without a connection.
#[test]
fn a_worker_without_connections_can_be_interrupted() {
    let (server, nobody) = (server(), deaf(Ipv4Addr::LOCALHOST));
    let work = ["-c", "2", "--rate", "100", "--duration", "1h", "--workers", "2", "-vv"];
    let program = start([nobody.1, server.address()], &work);
    await_until("twenty messages", || {
        program.stderr().iter().filter(|line| line.starts_with("Sending ")).count() >= 20
    });
    program.signal(Signal::INT);
    let run = Run::of(program);
    assert!(run.code == Some(130) && run.record.interrupted, "{:?}", run.record);
    let messages = &run.record.messages;
    assert!(messages.unconnected >= 10 && messages.pending >= messages.unconnected, "{:?}", run.record);
}
