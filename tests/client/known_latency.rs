//! What the client says of a run, where the answer is known beforehand: of a server that stands still for a measured time, of
//! one that answers late by a known time, and of a load that somebody else counts. `cargo bench --bench truth` measures the
//! same; here stand the bounds that hold on any machine.

use super::load::{Run, load, longer_than, start};
use super::server;
use super::support::{PATIENCE, Program, await_until};
use multiconn::results::RunResults;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIZE: usize = 64;

const SECOND: Duration = Duration::from_secs(1);

/// Messages per second while a server stands still.
const RATE: f64 = 200.0;

/// A run in which the server stood still, and between how many messages waited for longer than a second because of that.
/// At least: whoever was due in the time in which it certainly stood still, but for the last second of that. At most: as if
/// that had lasted from before the signal to a second after the other one, for a busy machine.
fn run_with_a_stop(pipeline: &[&str]) -> (RunResults, f64, f64) {
    let server = server();
    let work = ["-c", "4", "--rate", "200", "--duration", "4s", "-v"];
    let program = start(server.address(), &[&work, pipeline].concat());
    await_until("four connections", || {
        program.stderr().iter().filter(|line| line.starts_with("Starting ")).count() == 4
    });
    std::thread::sleep(SECOND / 2);
    let before = Instant::now();
    server.pause();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(1400));
    let certain = begin.elapsed();
    server.resume();
    let possible = before.elapsed() + SECOND;
    let run = Run::of(program);
    assert_eq!(run.code, Some(0), "{:?}", run.record);
    let messages = &run.record.messages;
    // Who waits for replies may owe some at the end.
    let sent = messages.sent + messages.withheld;
    assert_eq!((messages.due, sent, messages.verified), (Some(800), 800, messages.sent), "{:?}", run.record);
    let count = |time: Duration| time.saturating_sub(SECOND).as_secs_f64() * RATE;
    (run.record, count(certain) - 2.0, count(possible) + 2.0)
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand messages")]
fn waited_for_a_second(record: &RunResults) -> (f64, f64) {
    let times = &record.histograms;
    let longer = |latencies| longer_than(latencies, SECOND) as f64;
    (longer(&times.latency_from_due), longer(&times.latency_from_send))
}

#[test]
fn whoever_was_due_while_the_server_stood_still_has_waited() {
    let (record, least, most) = run_with_a_stop(&[]);
    let (due, sent) = waited_for_a_second(&record);
    assert!((least..=most).contains(&due), "{due}, not {least} to {most}: {record:?}");
    // Nothing keeps the client from sending. Where it was late itself, it has not waited for as long since.
    assert!((least / 2.0..=due).contains(&sent), "{sent} of {due}: {record:?}");
    assert!(record.histograms.latency_from_due.at(0.99) > Some(SECOND), "{record:?}");
}

/// A message waits for the one before it. From the send, only those are seen that were in flight, one on each connection.
#[test]
fn whoever_could_not_be_sent_has_waited_too() {
    let (record, least, most) = run_with_a_stop(&["--pipeline", "1"]);
    let (due, sent) = waited_for_a_second(&record);
    assert!((least..=most).contains(&due), "{due}, not {least} to {most}: {record:?}");
    assert!(sent <= 8.0, "{sent}: {record:?}");
    let times = &record.histograms;
    let (from_due, from_send) = (times.latency_from_due.at(0.95), times.latency_from_send.at(0.95));
    assert!(from_due > Some(SECOND) && from_send < Some(SECOND / 2), "{from_due:?} {from_send:?} {record:?}");
    // The server did that, and not the client.
    assert!(times.held_back.max() > Some(SECOND), "{record:?}");
}

#[test]
fn no_reply_is_quicker_than_the_server() {
    const DELAY: Duration = Duration::from_millis(5);
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "5ms"]);
    let open = load(server.address(), &["-c", "10", "--rate", "200", "--duration", "2s"]);
    open.expect_success(400);
    let times = &open.record.histograms;
    assert_eq!((times.latency_from_send.count(), times.latency_from_due.count()), (400, 400), "{open:?}");
    assert!(times.latency_from_send.at(0.5) >= Some(DELAY), "{open:?}");
    assert!(times.latency_from_due.at(0.5) >= times.latency_from_send.at(0.5), "{open:?}");
    // Each of ten connections gets an answer every 5 ms at the most.
    let closed = load(server.address(), &["-c", "10", "--pipeline", "1", "--duration", "1s"]);
    closed.expect_success(closed.record.messages.sent);
    let most = 10.0 * (closed.record.measured_s / DELAY.as_secs_f64() + 1.0);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand messages")]
    let count = closed.record.messages.verified as f64;
    // A hundredth more, for a server that counts from the round of its loop and not from the read.
    assert!(count <= most * 1.01, "{count}, at most {most}: {closed:?}");
    assert!(closed.record.histograms.latency_from_send.at(0.5) >= Some(DELAY), "{closed:?}");
}

/// What somebody else saw of a load.
#[derive(Debug)]
struct Seen {
    /// When each message came, in the order of reading.
    arrivals: Vec<Instant>,
    /// How many came on each connection, in the order of accepting.
    counts: Vec<usize>,
    /// By how many messages one connection was ever ahead of another: all that was sent before the ones that had been read
    /// has been read, too.
    most_ahead: usize,
}

/// Echoes on so many connections, and counts, until all of them were closed.
fn recorder(connections: usize) -> (SocketAddr, JoinHandle<Seen>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let record = move || {
        let mut streams: Vec<Option<TcpStream>> = Vec::new();
        let mut seen = Seen { arrivals: Vec::new(), counts: Vec::new(), most_ahead: 0 };
        let mut bytes = vec![0; connections];
        listener.set_nonblocking(true).unwrap();
        let begin = Instant::now();
        while streams.len() < connections || streams.iter().any(Option::is_some) {
            assert!(begin.elapsed() < 2 * PATIENCE, "the client goes on: {} messages", seen.arrivals.len());
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true).unwrap();
                streams.push(Some(stream));
                seen.counts.push(0);
            }
            let most = seen.counts.iter().copied().max().unwrap_or_default();
            for (index, place) in streams.iter_mut().enumerate() {
                let Some(stream) = place else { continue };
                let Some(received) = echo_all(stream) else {
                    *place = None;
                    continue;
                };
                bytes[index] += received;
                seen.counts[index] = bytes[index] / SIZE;
                let now = Instant::now();
                seen.arrivals.resize(seen.counts.iter().sum(), now);
            }
            let least = seen.counts.iter().copied().min().unwrap_or_default();
            seen.most_ahead = seen.most_ahead.max(most.saturating_sub(least));
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    };
    (address, std::thread::spawn(record))
}

/// Echoes what is there, and returns how many bytes that was; none at the end.
fn echo_all(stream: &mut TcpStream) -> Option<usize> {
    let (mut buffer, mut count) = ([0; 4096], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(received) => {
                stream.write_all(&buffer[..received]).unwrap();
                count += received;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Four connections, 200 messages a second, two seconds; begun not before the instant that is returned.
fn start_recorded(further: &[&str]) -> (Program, JoinHandle<Seen>, Instant) {
    let (address, thread) = recorder(4);
    let begin = Instant::now();
    let work = ["-c", "4", "--rate", "200", "--duration", "2s"];
    (start(address, &[&work, further].concat()), thread, begin)
}

#[test]
fn somebody_else_counts_the_same_messages() {
    // Side by side: each takes its two seconds.
    let runs = ["1", "2"].map(|workers| (workers, start_recorded(&["--workers", workers])));
    for (workers, (program, thread, begin)) in runs {
        let (run, seen) = (Run::of(program), thread.join().unwrap());
        run.expect_success(400);
        let record = &run.record;
        assert_eq!(
            (record.messages.due, record.load.rate, record.load.duration_s),
            (Some(400), Some(200.0), Some(2.0))
        );
        assert_eq!((seen.arrivals.len(), record.histograms.lag.count()), (400, 400), "{run:?}");
        // In turn, and each as often.
        assert_eq!(seen.counts, [100; 4], "{run:?}");
        assert!(workers != "1" || seen.most_ahead <= 2, "{} messages ahead", seen.most_ahead);
        // Nothing comes before it is due, and the load began after the program.
        for (number, arrival) in seen.arrivals.iter().enumerate() {
            let due = begin + Duration::from_millis(5) * u32::try_from(number).unwrap();
            assert!(*arrival >= due, "message {number} came {:?} too early", due - *arrival);
        }
    }
}

#[test]
fn somebody_else_counts_random_arrivals_the_same() {
    let (program, thread, _) = start_recorded(&["--arrivals", "poisson", "--seed", "7"]);
    let (run, seen) = (Run::of(program), thread.join().unwrap());
    run.expect_success(run.record.messages.due.unwrap());
    assert_eq!(seen.arrivals.len() as u64, run.record.messages.sent, "{run:?}");
    assert!(seen.most_ahead <= 2, "{} messages ahead", seen.most_ahead);
    // Half of all pauses are shorter than 3.5 ms, one in seven is longer than 10 ms: an even load has neither.
    let pauses: Vec<Duration> = seen.arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let long = pauses.iter().filter(|pause| **pause > Duration::from_millis(9)).count();
    assert!(long > pauses.len() / 20, "{long} of {}", pauses.len());
}
