//! Servers that disappear under load: everything due is counted, the run goes on as long as that is useful, and the
//! report tells what was not sent.

use super::fake_server::{Fake, RARE_ADDRESS, answer_and_end, deaf, echo, take};
use super::load::{Run, await_messages};
use super::server;
use super::support::Program;
use rustix::process::Signal;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A load on the two targets in turn.
fn start(targets: [SocketAddr; 2], arguments: &[&str]) -> Program {
    let [first, second] = targets.map(|target| target.to_string());
    let work = ["--target", &first, "--target", &second, "--size", "64", "--json", "-"];
    Program::client(&[&work[..], arguments].concat())
}

/// Echoes so many messages, then closes.
fn short_lived(messages: usize) -> Fake {
    Fake::new(move |_, mut stream| {
        for _ in 0..messages {
            let message = take(&mut stream, 64);
            stream.write_all(&message).unwrap();
        }
        // Later bytes are read as well: otherwise a reset could destroy the replies.
        answer_and_end(stream, b"");
        None
    })
}

/// The share of a worker without connections is due until the end, as that of the others.
#[test]
fn messages_due_without_a_connection_are_counted() {
    const WORK: [&str; 6] = ["-c", "2", "--rate", "200", "--duration", "2s"];
    let (fake, nobody, server) = (short_lived(20), deaf(Ipv4Addr::LOCALHOST), server());
    for gone in [fake.address(), nobody.1] {
        let run = Run::of(start([gone, server.address()], &[&WORK[..], &["--workers", "2"]].concat()));
        let (messages, connections) = (&run.results.messages, &run.results.connections);
        assert_eq!((run.code, connections.completed, connections.failed), (Some(1), 1, 1), "{run:?}");
        assert_eq!((messages.due, messages.timed_out, messages.pending), (Some(400), 0, 0), "{run:?}");
        let answered = if gone == fake.address() { 220 } else { 200 };
        assert_eq!((messages.answered, messages.lost), (answered, 400 - answered), "{run:?}");
        assert!(messages.no_connection + messages.unsent <= 400 - messages.sent, "{run:?}");
        // Their age counts up to the end.
        assert!(run.results.histograms.unanswered_age.max() > Some(Duration::from_millis(800)), "{run:?}");
        assert!(run.results.measured_s >= 2.0 && run.results.duration_s < 9.0, "{run:?}");
        // A client that was stopped may have assigned everything at once.
        if run.results.histograms.send_delay.max() > Some(Duration::from_millis(300)) {
            continue;
        }
        assert_eq!(messages.no_connection + messages.unsent, 400 - messages.sent, "{run:?}");
        assert!((20..=200).contains(&messages.no_connection), "{run:?}");
        let hint = format!("no connection was open for {} of 400 due messages", messages.no_connection);
        assert!(run.results.notes.contains(&hint), "{run:?}");
        let told = format!("{} of them never sent: no connection was open", messages.no_connection);
        assert!(run.stderr.iter().any(|line| line.ends_with(&told)), "{run:?}");
    }
    // Another connection of the same worker takes them.
    let run = Run::of(start([fake.address(), server.address()], &WORK));
    let messages = &run.results.messages;
    assert_eq!((run.code, messages.due, messages.no_connection), (Some(1), Some(400), 0), "{run:?}");
    // Except for those assigned to the lost connection, on a slow machine.
    assert!(messages.sent >= 300 && messages.answered >= 200, "{run:?}");
}

/// Without any connection the run ends, and reports when it ended and what it did not send.
#[test]
fn a_load_ends_with_its_last_connection() {
    let open = ["--rate", "100", "--arrivals", "uniform"];
    for (workers, further) in [("1", &open[..]), ("2", &open), ("2", &[])] {
        let fake = short_lived(20);
        let work = ["-c", "4", "--duration", "1h", "--workers", workers];
        let run = Run::of(start([fake.address(); 2], &[&work[..], further].concat()));
        let (results, messages) = (&run.results, &run.results.messages);
        assert_eq!((run.code, results.connections.failed, messages.answered), (Some(1), 4, 80), "{run:?}");
        assert!(results.measured_s < 9.0 && results.duration_s < 9.0 && !results.valid, "{run:?}");
        let reason = results.reasons.iter().find(|reason| reason.starts_with("the load ended early, after ")).unwrap();
        assert!(reason.contains(" of 1 h: every connection had failed"), "{run:?}");
        // The schedule of an hour has 360,000 messages.
        assert_eq!(reason.contains("; about 359,"), !further.is_empty(), "{run:?}");
        assert!(run.stderr.iter().any(|line| line.starts_with("NOT VALID: the load ended early, after ")), "{run:?}");
        // A lost connection loses at most the messages assigned to it meanwhile on a slow machine.
        assert!(messages.due.is_none_or(|due| (80..1000).contains(&due)), "{run:?}");
    }
}

/// With most messages unanswered, the report says that first, and nothing about send delay of the few that were
/// answered.
#[test]
fn server_stops_answering() {
    let server = server();
    let work = ["-c", "4", "--rate", "50", "--duration", "4s", "--reply-timeout", "8s", "-v"];
    let program = start([server.address(); 2], &work);
    await_messages(&program, 10);
    server.pause();
    let run = Run::of(program);
    let messages = &run.results.messages;
    assert_eq!((run.code, run.results.errors.get("reply_timeout")), (Some(1), Some(&4)), "{:?}", run.results);
    assert!(messages.due == Some(200) && messages.timed_out > 100, "{:?}", run.results);
    let first = run.stderr.iter().find(|line| line.starts_with("FAILED: ") || line.starts_with("NOT VALID: "));
    let told = format!("FAILED: {} of 200 messages were not answered within the reply timeout", messages.timed_out);
    assert_eq!(first, Some(&told), "{:?}", run.results);
    assert!(run.results.valid, "{:?}", run.results);
}

/// A load whose server never listens.
#[test]
fn a_load_without_a_server() {
    for workers in ["1", "3"] {
        let nobody = deaf(Ipv4Addr::LOCALHOST);
        let run = Run::of(start([nobody.1; 2], &["-c", "5", "--rate", "1k", "--duration", "1h", "--workers", workers]));
        assert_eq!((run.code, run.results.errors.get("refused")), (Some(1), Some(&5)), "{run:?}");
        assert_eq!((run.results.connections.opened, run.results.messages.sent), (0, 0), "{run:?}");
        let reason = "the load never began: no connection could be opened; about 3,600,000 messages";
        assert!(run.results.duration_s < 9.0 && run.results.reasons[0].starts_with(reason), "{run:?}");
        assert!(!run.stderr.iter().any(|line| line.contains("client-limited")), "{run:?}");
    }
}

/// Nothing listens for a while: messages due meanwhile wait, and are sent after the server is back.
#[test]
fn server_comes_back() {
    let listener = TcpListener::bind((RARE_ADDRESS, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let patient = ["--reconnect-every", "1", "--retries", "1000", "--retry-delay", "20ms"];
    let work = ["-c", "2", "--rate", "10", "--duration", "6s", "--workers", "2"];
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
    assert!(run.code == Some(0) && run.results.errors.is_empty(), "{run:?}");
    let messages = &run.results.messages;
    // A slow machine may still be opening connections for the last ones at the end.
    assert!(messages.due == Some(60) && messages.answered >= 30 && messages.lost == 0, "{run:?}");
    assert!(run.results.histograms.response_time.max() > Some(Duration::from_millis(500)), "{run:?}");
    for thread in first {
        thread.join().unwrap();
    }
}

/// The worker that handles signals is the one without a connection.
#[test]
fn a_worker_without_connections_can_be_interrupted() {
    let (server, nobody) = (server(), deaf(Ipv4Addr::LOCALHOST));
    let work = ["-c", "2", "--rate", "100", "--duration", "1h", "--workers", "2", "-v"];
    let program = start([nobody.1, server.address()], &work);
    await_messages(&program, 20);
    program.signal(Signal::INT);
    let run = Run::of(program);
    assert!(run.code == Some(130) && run.results.interrupted, "{:?}", run.results);
    let messages = &run.results.messages;
    assert!(messages.no_connection >= 10 && messages.pending >= messages.no_connection, "{:?}", run.results);
}
