//! Load that follows the clock: what is due stands fixed, whatever the server does, and everything that was due is accounted
//! for. Bounds of time are one-sided, or as wide as a busy machine needs.

use super::fake_server::{Fake, echo, take};
use super::support::{Program, await_until, expect_refusal};
use super::{client, server};
use multiconn::results::{Latencies, LoadKind, RunResults};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A run, and what is kept of it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) record: RunResults,
    pub(crate) stderr: Vec<String>,
}

impl Run {
    /// Waits for the end of a program that was started with `--json -`, and checks what holds of every run.
    #[track_caller]
    pub(crate) fn of(mut program: Program) -> Self {
        let exit = program.await_exit();
        let record =
            RunResults::from_json(&exit.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {exit:#?}"));
        let run = Self { code: exit.code, record, stderr: exit.stderr };
        run.check();
        run
    }

    /// Everything adds up.
    #[track_caller]
    fn check(&self) {
        let (record, messages) = (&self.record, &self.record.messages);
        let times = &record.histograms;
        assert!(messages.verified <= messages.sent, "{self:?}");
        let lost = messages.timed_out + messages.pending + messages.failed;
        assert_eq!(times.unanswered_age.count(), lost, "{self:?}");
        assert_eq!(times.latency_from_send.count(), messages.verified, "{self:?}");
        if record.load.kind == LoadKind::Open {
            assert_eq!(messages.due, Some(messages.verified + lost), "{self:?}");
            assert_eq!(times.latency_from_due.count(), messages.verified, "{self:?}");
            assert_eq!(times.lag.count(), messages.sent, "{self:?}");
        } else {
            let begun = messages.sent + messages.withheld;
            assert_eq!((messages.due, begun), (None, messages.verified + lost), "{self:?}");
            assert!(times.latency_from_due.is_empty() && times.lag.is_empty(), "{self:?}");
        }
        let sum = |what: fn(&multiconn::results::Interval) -> u64| record.intervals.iter().map(what).sum::<u64>();
        assert_eq!(
            (sum(|second| second.sent), sum(|second| second.replies)),
            (messages.sent, messages.verified),
            "{self:?}"
        );
        assert_eq!(sum(|second| second.latency.count), messages.verified, "{self:?}");
        if record.warm_up_s == 0.0 {
            let bytes = (sum(|second| second.bytes_sent), sum(|second| second.bytes_verified));
            assert_eq!(bytes, (record.bytes.sent, record.bytes.verified), "{self:?}");
            // What failed before the load began belongs to no second of it.
            let (errors, connections) = (sum(|second| second.errors), &record.connections);
            let has_begun_whole = connections.opened >= connections.wanted;
            assert!(errors == record.error_count() || errors < record.error_count() && !has_begun_whole, "{self:?}");
        }
    }

    /// Expects success, with so many messages, all of them verified.
    #[track_caller]
    pub(crate) fn expect_success(&self, messages: u64) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.record.errors.is_empty() && self.record.mismatches.count == 0, "{self:?}");
        assert_eq!((self.record.messages.sent, self.record.messages.verified), (messages, messages), "{self:?}");
    }
}

/// Starts a run that puts a load on `address`.
pub(crate) fn start(address: SocketAddr, arguments: &[&str]) -> Program {
    client(address, &[arguments, &["--size", "64", "--json", "-"]].concat())
}

/// Puts a load on `address`.
#[track_caller]
pub(crate) fn load(address: SocketAddr, arguments: &[&str]) -> Run {
    Run::of(start(address, arguments))
}

/// How many of `latencies` were longer than `time`.
pub(crate) fn longer_than(latencies: &Latencies, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap();
    latencies.histogram().count_between(nanos, u64::MAX)
}

/// Millis of a time that must be there.
fn millis(time: Option<Duration>) -> u128 {
    time.unwrap().as_millis()
}

#[test]
fn an_even_load_is_sent_whole() {
    let server = server();
    for workers in ["1", "3"] {
        let work = ["--rate", "500", "--duration", "2s", "-c", "10", "--workers", workers];
        let run = load(server.address(), &work);
        run.expect_success(1000);
        let record = &run.record;
        assert_eq!((record.messages.due, record.bytes.sent, record.bytes.verified), (Some(1000), 64_000, 64_000));
        assert_eq!(
            (record.load.kind, record.load.rate, record.load.duration_s),
            (LoadKind::Open, Some(500.0), Some(2.0))
        );
        assert!((2.0..6.0).contains(&record.measured_s) && record.duration_s >= record.measured_s, "{run:?}");
        let (due, send) = (&record.histograms.latency_from_due, &record.histograms.latency_from_send);
        assert!(due.at(0.99) >= send.at(0.99) && due.max() >= send.max(), "{run:?}");
    }
}

/// What a worker does to make ready is done before the first message is due. One run of several is undisturbed.
#[test]
fn the_first_message_is_as_punctual_as_the_others() {
    let server = server();
    let work = ["--rate", "20", "--duration", "300ms", "-c", "4", "--workers", "2"];
    let lags = (0..8).map(|_| load(server.address(), &work).record.histograms.lag.max());
    let lags: Vec<_> = lags.take_while(|lag| *lag > Some(Duration::from_micros(1500))).collect();
    assert!(lags.len() < 8, "{lags:?}");
}

/// A worker without a connection would keep its part of the schedule to itself.
#[test]
fn more_workers_than_connections_send_all_the_same() {
    let server = server();
    let run = load(server.address(), &["-c", "1", "--workers", "3", "--rate", "300", "--duration", "1s"]);
    run.expect_success(300);
}

/// Connections over workers that do not divide evenly: each worker has a share in the rate as large as in the messages.
pub(crate) const UNEVEN: [[&str; 3]; 3] = [["5", "--workers", "4"], ["1", "--workers", "4"], ["3", "--workers", "2"]];

/// Expects that so many messages were sent at 100 per second, second by second.
#[track_caller]
pub(crate) fn expect_a_hundred_per_second(run: &Run, messages: u64) {
    run.expect_success(messages);
    let planned_s = f64::from(u32::try_from(messages).unwrap()) / 100.0;
    assert!((run.record.measured_s - planned_s).abs() < 0.03, "{run:?}");
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let mut rates = run.record.intervals.iter().map(|interval| interval.sent as f64 / interval.seconds);
    assert!(rates.len() > 0 && rates.all(|rate| (70.0..=130.0).contains(&rate)), "{run:?}");
}

#[test]
fn the_rate_is_held_however_connections_are_spread_over_workers() {
    let server = server();
    let runs = UNEVEN.map(|spread| {
        let messages = if spread[0] == "1" { "200" } else { "80" };
        start(server.address(), &[&["--rate", "100", "--messages", messages, "-c"], &spread[..]].concat())
    });
    for (program, messages) in runs.into_iter().zip([400, 200, 240]) {
        expect_a_hundred_per_second(&Run::of(program), messages);
    }
}

/// It sends all of them in the end, but not at the rate.
#[test]
fn messages_that_are_sent_too_slowly_are_not_valid() {
    let server = server();
    let run = load(server.address(), &["-c", "4", "--workers", "2", "--rate", "5M", "--messages", "20000"]);
    run.expect_success(80_000);
    assert!(!run.record.valid && run.record.measured_s > 0.016, "{run:?}");
    assert!(run.record.reasons.iter().any(|reason| reason.contains("did not keep the schedule")), "{run:?}");
}

/// A client that is asked for more than it can send reads what comes back all the same, and says that it was the limit.
#[test]
fn a_client_that_is_behind_goes_on_reading() {
    let server = server();
    let run = load(server.address(), &["-c", "8", "--rate", "3M", "--duration", "1s"]);
    let messages = &run.record.messages;
    assert_eq!((run.code, messages.due, run.record.valid), (Some(0), Some(3_000_000), false), "{run:?}");
    // It ends a second late at most, and until then gives out what it owes. Without reading, no answer had come by then.
    assert!(messages.sent < 3_000_000 && messages.sent + messages.pending == 3_000_000, "{run:?}");
    assert!(run.record.intervals[0].replies > 0, "{run:?}");
}

/// The load goes on while the server stands still; whoever should have asked then is counted as having waited.
#[test]
fn a_server_that_stands_still_is_felt_by_all_who_were_due() {
    const PAUSE: Duration = Duration::from_millis(1400);
    let server = server();
    let work = ["--rate", "200", "--duration", "4s", "-c", "4", "-vv"];
    let program = start(server.address(), &work);
    await_messages(&program, 200);
    server.pause();
    std::thread::sleep(PAUSE);
    server.resume();
    let run = Run::of(program);
    run.expect_success(800);
    let times = &run.record.histograms;
    assert!(millis(times.latency_from_due.max()) > 1200, "{run:?}");
    assert!(times.latency_from_due.at(0.99) >= times.latency_from_send.at(0.99), "{run:?}");
    // Due in the first half of the pause, at 200 per second: 140. A machine that is busy adds to the pause.
    let slow = longer_than(&times.latency_from_due, PAUSE / 2);
    assert!((120..=400).contains(&slow), "{slow} in {run:?}");
    // They went on being sent.
    assert!(times.lag.at(0.5) < Some(PAUSE / 2), "{run:?}");
}

/// A server that owes an answer leaves no room for the next question: that is not the client's lateness.
#[test]
fn a_server_that_holds_messages_back_is_not_the_clients_fault() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "200ms"]);
    let run = load(server.address(), &["--rate", "100", "--duration", "2s", "-c", "2", "--pipeline", "1"]);
    let (messages, times) = (&run.record.messages, &run.record.histograms);
    // Two connections exchange ten messages a second.
    assert_eq!(messages.due, Some(200), "{run:?}");
    assert!(messages.sent <= 25 && messages.sent + messages.withheld == 200, "{run:?}");
    assert!(times.held_back.count() >= messages.sent.saturating_sub(4), "{run:?}");
    assert!(times.held_back.max() > times.lag.at(0.5), "{run:?}");
    assert!(!run.record.reasons.iter().any(|reason| reason.contains("schedule")), "{run:?}");
    assert!(run.record.hints.iter().any(|hint| hint.contains("not sent, or not whole")), "{run:?}");
}

/// A client that stands still owes what was due meanwhile, and says that it was the limit.
#[test]
fn a_client_that_stands_still_is_not_valid() {
    let server = server();
    for (begin, work) in [(500, &["--duration", "3s"][..]), (300, &["--warm-up", "1s", "--duration", "2s"])] {
        let program =
            start(server.address(), &[&["--rate", "1000", "-c", "4", "--workers", "2", "-vv"], work].concat());
        await_messages(&program, begin);
        program.pause();
        std::thread::sleep(Duration::from_millis(1500));
        program.resume();
        let run = Run::of(program);
        let due = if run.record.warm_up_s > 0.0 { 2000 } else { 3000 };
        assert_eq!((run.code, run.record.messages.due), (Some(0), Some(due)), "{run:?}");
        let times = &run.record.histograms;
        assert!(!run.record.valid && millis(times.lag.max()) > 300, "{run:?}");
        assert!(times.latency_from_due.max() >= times.lag.max(), "{run:?}");
    }
}

#[test]
fn what_is_never_answered_is_counted_and_aged() {
    let fake = Fake::new(|_, stream| Some(stream));
    for workers in ["1", "2"] {
        let silent = ["--rate", "100", "--duration", "1s", "--reply-timeout", "300ms", "-c", "2", "--workers", workers];
        let run = load(fake.address(), &silent);
        assert_eq!((run.code, run.record.errors.get("reply_timeout")), (Some(1), Some(&2)), "{run:?}");
        let messages = &run.record.messages;
        assert!(messages.verified == 0 && messages.timed_out >= 2, "{run:?}");
        assert!(millis(run.record.histograms.unanswered_age.max()) >= 299, "{run:?}");
    }
}

/// Half of the connections are answered, the others never: neither hides the other.
#[test]
fn some_that_are_never_answered() {
    let fake = Fake::new(|index, stream| {
        if index.is_multiple_of(2) {
            return Some(stream);
        }
        echo(stream);
        None
    });
    let run = load(fake.address(), &["--rate", "200", "--duration", "1s", "--reply-timeout", "3s", "-c", "4"]);
    assert_eq!((run.code, run.record.errors.get("reply_timeout")), (Some(1), Some(&2)), "{run:?}");
    let messages = &run.record.messages;
    assert_eq!((messages.due, messages.sent), (Some(200), 200), "{run:?}");
    assert_eq!((messages.verified, messages.timed_out, messages.pending), (100, 100, 0), "{run:?}");
}

#[test]
fn the_warm_up_is_not_measured() {
    let server = server();
    for workers in ["1", "2"] {
        let work = ["--rate", "300", "--warm-up", "700ms", "--duration", "1s", "-c", "3", "--workers", workers];
        let run = load(server.address(), &work);
        run.expect_success(300);
        assert_eq!(run.record.messages.due, Some(300), "{run:?}");
        assert!((1.0..5.0).contains(&run.record.measured_s) && run.record.duration_s >= 1.7, "{run:?}");
        assert!((run.record.warm_up_s - 0.7).abs() < 1e-9, "{run:?}");
        assert_eq!(run.record.bytes.verified, 300 * 64, "{run:?}");
    }
}

#[test]
fn a_seed_gives_the_same_times_again() {
    let server = server();
    let random = ["--rate", "400", "--duration", "1s", "--arrivals", "poisson", "-c", "4"];
    for workers in ["1", "2"] {
        // Side by side: each takes its second.
        let runs = SEEDS.map(|seed| {
            let program = start(server.address(), &[&random[..], &["--seed", seed, "--workers", workers]].concat());
            (seed, program)
        });
        // Five standard deviations.
        expect_seeds_to_tell(runs, 300..=500);
    }
}

/// Waits until a client that tells of everything (`-vv`) has sent so many messages: its load has begun.
#[track_caller]
pub(crate) fn await_messages(program: &Program, count: usize) {
    await_until("messages", || program.stderr().iter().filter(|line| line.starts_with("Sending ")).count() >= count);
}

/// The first and the third run are one.
pub(crate) const SEEDS: [&str; 4] = ["1", "2", "1", "3"];

/// The same seed gives the same random times again, and others give others; each gives as many as chance allows.
#[track_caller]
pub(crate) fn expect_seeds_to_tell(runs: [(&str, Program); 4], expected: RangeInclusive<u64>) {
    let counts = runs.map(|(seed, program)| {
        let run = Run::of(program);
        let due = run.record.messages.due.unwrap();
        run.expect_success(due);
        let load = &run.record.load;
        assert_eq!((load.arrivals.as_deref(), load.seed), (Some("poisson"), seed.parse().ok()), "{run:?}");
        assert!(expected.contains(&due), "{due}");
        due
    });
    assert_eq!(counts[0], counts[2], "{counts:?}");
    assert!(counts[0] != counts[1] || counts[0] != counts[3], "{counts:?}");
}

/// Without a rate, each connection has one message under way, unless more are asked for.
#[test]
fn a_closed_loop_ends_by_itself() {
    let server = server();
    for further in [&["--workers", "2"][..], &["--pipeline", "5"]] {
        let run = load(server.address(), &[&["--duration", "1s", "-c", "4"], further].concat());
        let sent = run.record.messages.sent;
        assert!(sent >= 4, "{run:?}");
        run.expect_success(sent);
        assert_eq!((run.record.load.kind, run.record.load.duration_s), (LoadKind::Closed, Some(1.0)));
        assert!((1.0..5.0).contains(&run.record.measured_s), "{run:?}");
    }
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 64);
        // Nothing more may come before this one is answered.
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let more = std::io::Read::read(&mut stream, &mut [0; 64]);
        assert!(more.is_err(), "{more:?}");
        Some(stream)
    });
    let run = load(fake.address(), &["--duration", "500ms", "--reply-timeout", "1s"]);
    assert_eq!((run.code, run.record.messages.sent, run.record.messages.timed_out), (Some(1), 1, 1), "{run:?}");
}

#[test]
fn an_interrupted_load_tells_what_was_done() {
    let (server, silent) = (server(), Fake::new(|_, stream| Some(stream)));
    for (address, answers) in [(server.address(), true), (silent.address(), false)] {
        let work = ["--rate", "200", "--duration", "1h", "--reply-timeout", "1h", "-c", "3", "--workers", "2", "-vv"];
        let program = start(address, &work);
        await_until("fifty messages", || {
            program.stderr().iter().filter(|line| line.starts_with("Sending ")).count() >= 50
        });
        program.signal(Signal::INT);
        let run = Run::of(program);
        assert!(run.code == Some(130) && run.record.interrupted, "{:?}", run.record);
        let messages = &run.record.messages;
        assert!(messages.sent >= 50 && messages.timed_out + messages.failed == 0, "{:?}", run.record);
        assert!(if answers { messages.verified >= 40 } else { messages.pending >= 50 }, "{:?}", run.record);
        assert!(run.stderr.iter().any(|line| line.ends_with(": interrupted")), "{:?}", run.record);
    }
}

#[test]
fn loads_that_make_no_sense_are_refused() {
    let address = server().address();
    let whole = ["--rate", "100", "--duration", "1s"];
    for (bad, parts) in [
        (&["--rate", "0"][..], &["\"0\"", "--rate", "5k"][..]),
        (&["--rate", "-5"], &["\"-5\"", "--rate", "5k"]),
        (&["--rate", "fast"], &["\"fast\"", "--rate", "5k"]),
        (&["--rate", ""], &["\"\"", "--rate"]),
        (&["--duration", "0"], &["duration", "--duration 10s"]),
        (&["--duration", "10"], &["\"10\"", "--duration", "10ms, 5s"]),
        (&["--warm-up", "1s"], &["warm-up", "--warm-up 1s --duration 10s"]),
        (&["--arrivals", "normal"], &["normal", "--arrivals", "poisson"]),
        (&["--reconnect-every", "0"], &["\"0\"", "--reconnect-every", "from 1 up"]),
        (&["--duration", "1s", "--arrivals", "poisson"], &["arrivals", "--rate 50k --arrivals poisson"]),
        (&["--seed", "x"], &["\"x\"", "--seed", "42"]),
        (&["--seed", "-1"], &["\"-1\"", "--seed", "42"]),
    ] {
        let is_whole = ["--rate", "--duration", "--warm-up"].contains(&bad[0]);
        let arguments = if is_whole { bad.to_vec() } else { [bad, &whole].concat() };
        expect_refusal(client(address, &arguments), 2, parts);
    }
}
