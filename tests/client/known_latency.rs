//! Reported latencies against known ones: a server stopped for a measured time, a server with a known delay, and a load
//! counted by an independent server. `cargo bench --bench truth` measures the same; the bounds here hold on any
//! machine.

use super::load::{Run, await_messages, expect_one_of_five, load, longer_than, start};
use super::server;
use super::support::{PATIENCE, Program};
use multiconn::results::RunResults;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIZE: usize = 64;

const SECOND: Duration = Duration::from_secs(1);

/// Messages per second while a server is stopped.
const RATE: f64 = 200.0;

/// A run with a stopped server, and the minimum and maximum number of messages that waited longer than a second because
/// of it, if the client was punctual. Minimum: those due while it was certainly stopped, except for the last second.
/// Maximum: as if it had been stopped from before the first signal to a second after the other one, for a busy machine.
fn run_with_a_stop(pipeline: &[&str]) -> (RunResults, f64, f64) {
    let server = server();
    let work = ["-c", "4", "--rate", "200", "--duration", "4s", "-v"];
    let program = start(server.address(), &[&work, pipeline].concat());
    await_messages(&program, 100);
    let before = Instant::now();
    server.pause();
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(1400));
    let certain = begin.elapsed();
    server.resume();
    let possible = before.elapsed() + SECOND;
    let run = Run::of(program);
    assert_eq!(run.code, Some(0), "{:?}", run.results);
    let messages = &run.results.messages;
    // With pipelining, replies may be outstanding at the end.
    let sent = messages.sent + messages.pending;
    assert_eq!((messages.due, sent, messages.answered), (Some(800), 800, messages.sent), "{:?}", run.results);
    let count = |time: Duration| time.saturating_sub(SECOND).as_secs_f64() * RATE;
    (run.results, count(certain) - 2.0, count(possible) + 2.0)
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand messages")]
fn waited_for_a_second(results: &RunResults) -> (f64, f64) {
    let times = &results.histograms;
    let longer = |latencies| longer_than(latencies, SECOND) as f64;
    (longer(&times.response_time), longer(&times.service_time))
}

#[test]
fn response_time_includes_the_time_a_server_was_stopped() {
    expect_one_of_five(|| {
        let (results, least, most) = run_with_a_stop(&[]);
        let (due, sent) = waited_for_a_second(&results);
        // Nothing blocks the client. Where it was late itself, the service time is shorter.
        let is_counted = (least..=most).contains(&due) && (least / 2.0..=due).contains(&sent);
        let is_seen = results.histograms.response_time.at(0.99) > Some(SECOND);
        if is_counted && is_seen { Ok(()) } else { Err(format!("{due}, {sent}; {least} to {most}: {results:?}")) }
    });
}

/// A message waits for the previous one. In the service time only the messages in flight show, one per connection.
#[test]
fn response_time_includes_the_time_blocked() {
    expect_one_of_five(|| {
        let (results, least, most) = run_with_a_stop(&["--pipeline", "1"]);
        let (due, sent) = waited_for_a_second(&results);
        let times = &results.histograms;
        let (response, service) = (times.response_time.at(0.95), times.service_time.at(0.95));
        let is_counted = (least..=most).contains(&due) && sent <= 8.0;
        let is_seen = response > Some(SECOND) && service < Some(SECOND / 2);
        // The server caused that, not the client.
        let is_blocked = times.blocked.max() > Some(SECOND);
        if is_counted && is_seen && is_blocked {
            return Ok(());
        }
        Err(format!("{due}, {sent}; {least} to {most}; {response:?} {service:?} {results:?}"))
    });
}

#[test]
fn no_reply_is_faster_than_the_server() {
    const DELAY: Duration = Duration::from_millis(5);
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "5ms"]);
    let open = load(server.address(), &["-c", "10", "--rate", "200", "--duration", "2s"]);
    open.expect_success(400);
    let times = &open.results.histograms;
    assert_eq!((times.service_time.count(), times.response_time.count()), (400, 400), "{open:?}");
    assert!(times.service_time.at(0.5) >= Some(DELAY), "{open:?}");
    assert!(times.response_time.at(0.5) >= times.service_time.at(0.5), "{open:?}");
    // Each of ten connections gets a reply every 5 ms at most.
    let closed = load(server.address(), &["-c", "10", "--pipeline", "1", "--duration", "1s"]);
    closed.expect_success(closed.results.messages.sent);
    let most = 10.0 * (closed.results.measured_s / DELAY.as_secs_f64() + 1.0);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand messages")]
    let count = closed.results.messages.answered as f64;
    // 1 % more, for a server that counts from its loop iteration and not from the read.
    assert!(count <= most * 1.01, "{count}, at most {most}: {closed:?}");
    assert!(closed.results.histograms.service_time.at(0.5) >= Some(DELAY), "{closed:?}");
}

/// What the independent server saw of a load.
#[derive(Debug)]
struct Seen {
    /// When each message arrived, in the order of reading.
    arrivals: Vec<Instant>,
    /// Number of messages per connection, in the order of accepting.
    counts: Vec<usize>,
    /// How many messages one connection was ever ahead of another. Counted when everything sent before the messages
    /// read so far has been read, too.
    max_ahead: usize,
}

/// Echoes and counts on `connections` connections, until all of them are closed.
fn counting_server(connections: usize) -> (SocketAddr, JoinHandle<Seen>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let results = move || {
        let mut streams: Vec<Option<TcpStream>> = Vec::new();
        let mut seen = Seen { arrivals: Vec::new(), counts: Vec::new(), max_ahead: 0 };
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
            seen.max_ahead = seen.max_ahead.max(most.saturating_sub(least));
            std::thread::sleep(Duration::from_millis(1));
        }
        seen
    };
    (address, std::thread::spawn(results))
}

/// Echoes the available bytes and returns their number; `None` at the end.
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

/// Four connections, 200 messages/s, two seconds; started not before the returned instant.
fn start_recorded(further: &[&str]) -> (Program, JoinHandle<Seen>, Instant) {
    let (address, thread) = counting_server(4);
    let begin = Instant::now();
    let work = ["-c", "4", "--rate", "200", "--duration", "2s"];
    (start(address, &[&work, further].concat()), thread, begin)
}

#[test]
fn an_independent_server_counts_the_same_messages() {
    // In parallel: each takes two seconds.
    let runs = ["1", "2"].map(|workers| (workers, start_recorded(&["--workers", workers])));
    for (workers, (program, thread, begin)) in runs {
        let (run, seen) = (Run::of(program), thread.join().unwrap());
        run.expect_success(400);
        let results = &run.results;
        assert_eq!(
            (results.messages.due, results.load.rate, results.load.duration_s),
            (Some(400), Some(200.0), Some(2.0))
        );
        assert_eq!((seen.arrivals.len(), results.histograms.send_delay.count()), (400, 400), "{run:?}");
        // In turn, and equally often.
        assert_eq!(seen.counts, [100; 4], "{run:?}");
        assert!(workers != "1" || seen.max_ahead <= 2, "{} messages ahead", seen.max_ahead);
        // No message arrives before it is due, and the load began after the program.
        for (number, arrival) in seen.arrivals.iter().enumerate() {
            let due = begin + Duration::from_millis(5) * u32::try_from(number).unwrap();
            assert!(*arrival >= due, "message {number} came {:?} too early", due - *arrival);
        }
    }
}

#[test]
fn an_independent_server_sees_poisson_arrivals() {
    expect_one_of_five(|| {
        let (program, thread, _) = start_recorded(&["--arrivals", "poisson", "--seed", "7"]);
        let (run, seen) = (Run::of(program), thread.join().unwrap());
        run.expect_success(run.results.messages.due.unwrap());
        assert_eq!(seen.arrivals.len() as u64, run.results.messages.sent, "{run:?}");
        assert!(seen.max_ahead <= 2, "{} messages ahead", seen.max_ahead);
        // Half of all gaps are shorter than 3.5 ms, one in seven is longer than 10 ms; a uniform load has neither.
        let pauses: Vec<Duration> = seen.arrivals.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let long = pauses.iter().filter(|pause| **pause > Duration::from_millis(9)).count();
        if long > pauses.len() / 20 { Ok(()) } else { Err(format!("{long} of {}", pauses.len())) }
    });
}
