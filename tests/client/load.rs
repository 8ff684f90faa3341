//! Open and closed loops: due times are fixed whatever the server does, and every message due is accounted for. Time
//! bounds are one-sided, or as wide as a busy machine needs.

use super::fake_server::{Fake, echo, take};
use super::support::{PATIENCE, Program, await_until, expect_refusal};
use super::{client, server};
use multiconn::results::{Latencies, LoadKind, RunResults};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A run and its results.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) results: RunResults,
    pub(crate) stderr: Vec<String>,
}

impl Run {
    /// Waits for a program that was started with `--json -`, and checks the invariants of every run.
    #[track_caller]
    pub(crate) fn of(program: Program) -> Self {
        Self::within(PATIENCE, program)
    }

    /// The same for a program that gets little CPU time.
    #[track_caller]
    pub(crate) fn within(limit: Duration, mut program: Program) -> Self {
        let exit = program.await_exit_within(limit);
        let results =
            RunResults::from_json(&exit.stdout.join("\n")).unwrap_or_else(|error| panic!("{error}: {exit:#?}"));
        let run = Self { code: exit.code, results, stderr: exit.stderr };
        run.check();
        run
    }

    /// Checks that all counts add up.
    #[track_caller]
    fn check(&self) {
        let (results, messages) = (&self.results, &self.results.messages);
        let times = &results.histograms;
        assert!(messages.answered <= messages.sent, "{self:?}");
        let lost = messages.unanswered();
        assert_eq!(times.unanswered_age.count(), lost, "{self:?}");
        assert_eq!(times.service_time.count(), messages.answered, "{self:?}");
        if results.load.kind == LoadKind::Open {
            assert_eq!(messages.due, Some(messages.answered + lost), "{self:?}");
            assert_eq!(times.response_time.count(), messages.answered, "{self:?}");
            assert_eq!(times.send_delay.count(), messages.sent, "{self:?}");
            for latencies in [&times.floor, &times.ceiling, &times.client_delay] {
                assert_eq!(latencies.count(), messages.answered, "{self:?}");
            }
            for quantile in [0.5, 0.99, 1.0] {
                let [floor, response, ceiling] =
                    [&times.floor, &times.response_time, &times.ceiling].map(|latencies| latencies.at(quantile));
                assert!(floor <= response && response <= ceiling, "{floor:?} {response:?} {ceiling:?}: {self:?}");
            }
        } else {
            let begun = messages.sent + messages.unsent;
            assert_eq!((messages.due, begun), (None, messages.answered + lost), "{self:?}");
            assert!(times.response_time.is_empty() && times.send_delay.is_empty(), "{self:?}");
        }
        let sum = |what: fn(&multiconn::results::Interval) -> u64| {
            results.intervals.iter().chain(&results.after_load).map(what).sum::<u64>()
        };
        assert_eq!(
            (sum(|second| second.sent), sum(|second| second.answered)),
            (messages.sent, messages.answered),
            "{self:?}"
        );
        assert_eq!(sum(|second| second.latency.count), messages.answered, "{self:?}");
        let bytes = (sum(|second| second.bytes_sent), sum(|second| second.bytes_received));
        assert_eq!(bytes, (results.bytes.sent, results.bytes.received), "{self:?}");
        if results.warm_up_s == 0.0 {
            // Failures before the start of the load belong to no second of it.
            let (errors, connections) = (sum(|second| second.errors), &results.connections);
            let has_begun_whole = connections.opened >= connections.requested;
            assert!(errors == results.error_count() || errors < results.error_count() && !has_begun_whole, "{self:?}");
        }
    }

    /// Expects success with `count` messages, all verified.
    #[track_caller]
    pub(crate) fn expect_success(&self, messages: u64) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.results.errors.is_empty() && self.results.mismatches.count == 0, "{self:?}");
        assert_eq!((self.results.messages.sent, self.results.messages.answered), (messages, messages), "{self:?}");
    }
}

/// Repeats an attempt whose bounds a busy machine can exceed: expects that one of five succeeds.
#[track_caller]
pub(crate) fn expect_one_of_five(attempt: impl Fn() -> Result<(), String>) {
    let failures: Vec<_> = (0..5).map_while(|_| attempt().err()).collect();
    assert!(failures.len() < 5, "{failures:#?}");
}

/// Starts a load on `address`.
pub(crate) fn start(address: SocketAddr, arguments: &[&str]) -> Program {
    client(address, &[arguments, &["--size", "64", "--json", "-"]].concat())
}

/// Runs a load on `address`.
#[track_caller]
pub(crate) fn load(address: SocketAddr, arguments: &[&str]) -> Run {
    Run::of(start(address, arguments))
}

/// Number of `latencies` longer than `time`.
pub(crate) fn longer_than(latencies: &Latencies, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap();
    latencies.histogram().count_between(nanos, u64::MAX)
}

/// Milliseconds of a time that must exist.
fn millis(time: Option<Duration>) -> u128 {
    time.unwrap().as_millis()
}

#[test]
fn a_uniform_load_is_sent_completely() {
    let server = server();
    for workers in ["1", "3"] {
        let work = ["--rate", "500", "--duration", "2s", "-c", "10", "--workers", workers];
        let run = load(server.address(), &work);
        run.expect_success(1000);
        let results = &run.results;
        assert_eq!((results.messages.due, results.bytes.sent, results.bytes.received), (Some(1000), 64_000, 64_000));
        assert_eq!(
            (results.load.kind, results.load.rate, results.load.duration_s),
            (LoadKind::Open, Some(500.0), Some(2.0))
        );
        assert!((2.0..6.0).contains(&results.measured_s) && results.duration_s >= results.measured_s, "{run:?}");
        let (due, send) = (&results.histograms.response_time, &results.histograms.service_time);
        assert!(due.at(0.99) >= send.at(0.99) && due.max() >= send.max(), "{run:?}");
    }
}

/// Workers finish their preparations before the first message is due. At least one run of several is undisturbed. Each of
/// both workers sends one message.
#[test]
fn the_first_message_has_no_extra_send_delay() {
    let server = server();
    let work = ["--rate", "10", "--duration", "150ms", "-c", "4", "--workers", "2"];
    let lags = (0..20).map(|_| load(server.address(), &work).results.histograms.send_delay.max());
    // Without timerfd, a poll ends up to a millisecond late.
    let limit = Duration::from_micros(if cfg!(multiconn_fallbacks) { 2500 } else { 1500 });
    let lags: Vec<_> = lags.take_while(|lag| *lag > Some(limit)).collect();
    assert!(lags.len() < 20, "{lags:?}");
}

/// A worker without a connection would never send its share of the schedule.
#[test]
fn more_workers_than_connections_send_everything() {
    let server = server();
    let run = load(server.address(), &["-c", "1", "--workers", "3", "--rate", "300", "--duration", "1s"]);
    run.expect_success(300);
}

/// Connections that do not divide evenly over the workers: the share of the rate and of the messages is the same.
const UNEVEN: [[&str; 3]; 3] = [["5", "--workers", "4"], ["1", "--workers", "4"], ["3", "--workers", "2"]];

/// Expects that so many messages were sent at 100 per second: all of them, and in each second. A client that was stopped
/// sends the messages of one second in another one.
#[track_caller]
fn expect_a_hundred_per_second(run: &Run, messages: u64) {
    run.expect_success(messages);
    let planned_s = f64::from(u32::try_from(messages).unwrap()) / 100.0;
    assert!((run.results.measured_s - planned_s).abs() < 0.03, "{run:?}");
    #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
    let mut rates = run.results.intervals.iter().map(|interval| interval.sent as f64 / interval.seconds);
    let was_stopped = run.results.histograms.send_delay.max() > Some(Duration::from_millis(100));
    assert!(rates.len() > 0 && (was_stopped || rates.all(|rate| (70.0..=130.0).contains(&rate))), "{run:?}");
}

/// Expects loads of 100 messages per second to hold that rate, however many connections or sockets each worker has.
#[track_caller]
pub(crate) fn expect_the_rate_to_be_held(start: impl Fn(&[&str]) -> Program) {
    let runs = UNEVEN.map(|spread| {
        let messages = if spread[0] == "1" { "200" } else { "80" };
        start(&[&["--rate", "100", "--messages", messages, "-c"], &spread[..]].concat())
    });
    for (program, messages) in runs.into_iter().zip([400, 200, 240]) {
        expect_a_hundred_per_second(&Run::of(program), messages);
    }
}

#[test]
fn the_rate_is_held_however_connections_are_spread_over_workers() {
    let server = server();
    expect_the_rate_to_be_held(|work| start(server.address(), work));
}

/// It sends all of them in the end, but not at the rate.
#[test]
fn messages_that_are_sent_too_slowly_are_not_valid() {
    let server = server();
    let run = load(server.address(), &["-c", "4", "--workers", "2", "--rate", "5M", "--messages", "20000"]);
    run.expect_success(80_000);
    assert!(!run.results.valid && run.results.measured_s > 0.016, "{run:?}");
    assert!(run.results.reasons.iter().any(|reason| reason.contains("missed the schedule")), "{run:?}");
}

/// A client beyond its capacity still reads replies, and reports that it was the limit.
#[test]
fn a_late_client_goes_on_reading() {
    let server = server();
    let run = load(server.address(), &["-c", "8", "--rate", "3M", "--duration", "1s"]);
    let messages = &run.results.messages;
    assert_eq!((run.code, messages.due, run.results.valid), (Some(0), Some(3_000_000), false), "{run:?}");
    // It ends at most a second late, and until then sends overdue messages. Without reading, no reply would have
    // arrived by then.
    assert!(messages.sent < 3_000_000 && messages.sent + messages.pending == 3_000_000, "{run:?}");
    assert!(run.results.intervals.iter().any(|second| second.answered > 0), "{run:?}");
}

/// The load continues while the server is stopped; the waiting time of messages due then is counted.
#[test]
fn a_stopped_server_delays_all_messages_due_meanwhile() {
    const PAUSE: Duration = Duration::from_millis(1400);
    let server = server();
    let work = ["--rate", "200", "--duration", "4s", "-c", "4", "-v"];
    expect_one_of_five(|| {
        let program = start(server.address(), &work);
        await_messages(&program, 200);
        server.pause();
        std::thread::sleep(PAUSE);
        server.resume();
        let run = Run::of(program);
        run.expect_success(800);
        let times = &run.results.histograms;
        assert!(times.response_time.at(0.99) >= times.service_time.at(0.99), "{run:?}");
        // Due in the first half of the pause, at 200 per second: 140. A busy machine extends the pause.
        let slow = longer_than(&times.response_time, PAUSE / 2);
        let is_counted = millis(times.response_time.max()) > 1200 && (120..=400).contains(&slow);
        // Sending went on.
        let is_sent = times.send_delay.at(0.5) < Some(PAUSE / 2);
        if is_counted && is_sent { Ok(()) } else { Err(format!("{slow} in {:?}", run.results)) }
    });
}

/// With the pipeline full, the server blocks the next message: that is not send delay.
#[test]
fn time_blocked_is_not_send_delay() {
    let server = Program::server(&["127.0.0.1", "0", "--reply-delay", "200ms"]);
    let run = load(server.address(), &["--rate", "100", "--duration", "2s", "-c", "2", "--pipeline", "1"]);
    let (messages, times) = (&run.results.messages, &run.results.histograms);
    // Two connections exchange ten messages a second.
    assert_eq!(messages.due, Some(200), "{run:?}");
    assert!(messages.sent <= 25 && messages.sent + messages.pending == 200, "{run:?}");
    // A late client assigns the last ones after the end of the load, which is not the server's fault.
    assert!((1..=messages.pending).contains(&messages.unsent), "{run:?}");
    assert!(times.blocked.count() >= messages.sent.saturating_sub(4), "{run:?}");
    assert!(times.blocked.max() > times.send_delay.at(0.5), "{run:?}");
    assert!(!run.results.reasons.iter().any(|reason| reason.contains("schedule")), "{run:?}");
    assert!(run.results.notes.iter().any(|hint| hint.contains("not sent, or only in part")), "{run:?}");
}

/// A stopped client has to send the messages due meanwhile, and reports its own delay apart.
#[test]
fn a_stopped_client_reports_its_delay() {
    let server = server();
    for (begin, work) in [(500, &["--duration", "3s"][..]), (300, &["--warm-up", "1s", "--duration", "2s"])] {
        let program = start(server.address(), &[&["--rate", "1000", "-c", "4", "--workers", "2", "-v"], work].concat());
        await_messages(&program, begin);
        program.pause();
        std::thread::sleep(Duration::from_millis(1500));
        program.resume();
        let run = Run::of(program);
        let due = if run.results.warm_up_s > 0.0 { 2000 } else { 3000 };
        assert_eq!((run.code, run.results.messages.due), (Some(0), Some(due)), "{run:?}");
        let times = &run.results.histograms;
        assert!(millis(times.client_delay.max()) > 300, "{run:?}");
        assert!(times.ceiling.max() >= times.send_delay.max(), "{run:?}");
        assert!(times.client_delay.max() >= times.send_delay.max(), "{run:?}");
        // The burst that it sent then has queued in the server.
        let is_marked = run.stderr.iter().any(|line| line.starts_with("  marked !     may be as low as"));
        assert!(is_marked || times.receive_delay.is_empty(), "{run:?}");
    }
}

#[test]
fn unanswered_messages_are_counted_with_their_age() {
    let fake = Fake::new(|_, stream| Some(stream));
    for workers in ["1", "2"] {
        let silent = ["--rate", "100", "--duration", "1s", "--reply-timeout", "300ms", "-c", "2", "--workers", workers];
        let run = load(fake.address(), &silent);
        assert_eq!((run.code, run.results.errors.get("reply_timeout")), (Some(1), Some(&2)), "{run:?}");
        let messages = &run.results.messages;
        assert!(messages.answered == 0 && messages.timed_out >= 2, "{run:?}");
        assert!(millis(run.results.histograms.unanswered_age.max()) >= 299, "{run:?}");
    }
}

/// Half of the connections get replies, the others never: neither hides the other.
#[test]
fn some_connections_are_never_answered() {
    let fake = Fake::new(|index, stream| {
        if index.is_multiple_of(2) {
            return Some(stream);
        }
        echo(stream);
        None
    });
    let run = load(fake.address(), &["--rate", "200", "--duration", "1s", "--reply-timeout", "8s", "-c", "4"]);
    assert_eq!((run.code, run.results.errors.get("reply_timeout")), (Some(1), Some(&2)), "{run:?}");
    let messages = &run.results.messages;
    assert_eq!((messages.due, messages.sent), (Some(200), 200), "{run:?}");
    assert_eq!((messages.answered, messages.timed_out, messages.pending), (100, 100, 0), "{run:?}");
}

#[test]
fn the_warm_up_is_not_measured() {
    let server = server();
    for workers in ["1", "2"] {
        let work = ["--rate", "300", "--warm-up", "700ms", "--duration", "1s", "-c", "3", "--workers", workers];
        let run = load(server.address(), &work);
        run.expect_success(300);
        assert_eq!(run.results.messages.due, Some(300), "{run:?}");
        assert!((1.0..5.0).contains(&run.results.measured_s) && run.results.duration_s >= 1.7, "{run:?}");
        assert!((run.results.warm_up_s - 0.7).abs() < 1e-9, "{run:?}");
        assert_eq!(run.results.bytes.received, 300 * 64, "{run:?}");
    }
}

#[test]
fn equal_seeds_give_equal_arrival_times() {
    let server = server();
    let random = ["--rate", "400", "--duration", "1s", "--arrivals", "poisson", "-c", "4"];
    for workers in ["1", "2"] {
        // In parallel: each takes a second.
        let runs = SEEDS.map(|seed| {
            let program = start(server.address(), &[&random[..], &["--seed", seed, "--workers", workers]].concat());
            (seed, program)
        });
        // Five standard deviations.
        expect_seeds_to_tell(runs, 300..=500);
    }
}

/// Waits until a client with `-vv` has sent so many messages: its load has begun.
#[track_caller]
pub(crate) fn await_messages(program: &Program, count: usize) {
    await_until("messages", || program.stderr().iter().filter(|line| line.starts_with("Sending ")).count() >= count);
}

/// Waits until a client with `-vv` has received so many replies, or some of them together.
#[track_caller]
pub(crate) fn await_replies(program: &Program, count: usize) {
    await_until("replies", || program.stderr().iter().filter(|line| line.starts_with("Received ")).count() >= count);
}

/// The first and the third run have the same seed.
pub(crate) const SEEDS: [&str; 4] = ["1", "2", "1", "3"];

/// Equal seeds give equal arrival times and different seeds different ones; the counts are plausible.
#[track_caller]
pub(crate) fn expect_seeds_to_tell(runs: [(&str, Program); 4], expected: RangeInclusive<u64>) {
    let counts = runs.map(|(seed, program)| {
        let run = Run::of(program);
        let due = run.results.messages.due.unwrap();
        run.expect_success(due);
        let load = &run.results.load;
        assert_eq!((load.arrivals.as_deref(), load.seed), (Some("poisson"), seed.parse().ok()), "{run:?}");
        assert!(expected.contains(&due), "{due}");
        due
    });
    assert_eq!(counts[0], counts[2], "{counts:?}");
    assert!(counts[0] != counts[1] || counts[0] != counts[3], "{counts:?}");
}

/// Without a rate, each connection has one message in flight, unless a pipeline is given.
#[test]
fn a_closed_loop_ends_by_itself() {
    let server = server();
    for further in [&["--workers", "2"][..], &["--pipeline", "5"]] {
        let run = load(server.address(), &[&["--duration", "1s", "-c", "4"], further].concat());
        let sent = run.results.messages.sent;
        assert!(sent >= 4, "{run:?}");
        run.expect_success(sent);
        assert_eq!((run.results.load.kind, run.results.load.duration_s), (LoadKind::Closed, Some(1.0)));
        assert!((1.0..5.0).contains(&run.results.measured_s), "{run:?}");
    }
    let fake = Fake::new(|_, mut stream| {
        take(&mut stream, 64);
        // No further message may arrive before this one is answered.
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let more = std::io::Read::read(&mut stream, &mut [0; 64]);
        assert!(more.is_err(), "{more:?}");
        Some(stream)
    });
    let run = load(fake.address(), &["--duration", "500ms", "--reply-timeout", "1s"]);
    assert_eq!((run.code, run.results.messages.sent, run.results.messages.timed_out), (Some(1), 1, 1), "{run:?}");
}

#[test]
fn an_interrupted_load_is_reported() {
    let (server, silent) = (server(), Fake::new(|_, stream| Some(stream)));
    for (address, answers) in [(server.address(), true), (silent.address(), false)] {
        let work = ["--rate", "200", "--duration", "1h", "--reply-timeout", "1h", "-c", "3", "--workers", "2", "-v"];
        let program = start(address, &work);
        await_messages(&program, 50);
        if answers {
            await_replies(&program, 40);
        }
        program.signal(Signal::INT);
        let run = Run::of(program);
        assert!(run.code == Some(130) && run.results.interrupted, "{:?}", run.results);
        let messages = &run.results.messages;
        assert!(messages.sent >= 50 && messages.timed_out + messages.lost == 0, "{:?}", run.results);
        assert!(if answers { messages.answered >= 40 } else { messages.pending >= 50 }, "{:?}", run.results);
        assert!(run.stderr.iter().any(|line| line.ends_with(": interrupted")), "{:?}", run.results);
    }
}

#[test]
fn invalid_loads_are_rejected() {
    let address = server().address();
    let whole = ["--rate", "100", "--duration", "1s"];
    for (bad, parts) in [
        (&["--rate", "0"][..], &["\"0\"", "--rate", "5k"][..]),
        (&["--rate", "-5"], &["\"-5\"", "--rate", "5k"]),
        (&["--rate", "fast"], &["\"fast\"", "--rate", "5k"]),
        (&["--rate", ""], &["\"\"", "--rate"]),
        (&["--duration", "0"], &["duration", "10s (--duration)"]),
        (&["--duration", "10"], &["\"10\"", "--duration", "10ms, 5s"]),
        (&["--warm-up", "1s"], &["warm-up", "10s (--warm-up, --duration)"]),
        (&["--arrivals", "normal"], &["normal", "--arrivals", "poisson"]),
        (&["--reconnect-every", "0"], &["\"0\"", "--reconnect-every", "above zero"]),
        (&["--duration", "1s", "--arrivals", "poisson"], &["arrivals", "50k (--rate, --arrivals)"]),
        (&["--seed", "x"], &["\"x\"", "--seed", "42"]),
        (&["--seed", "-1"], &["\"-1\"", "--seed", "42"]),
    ] {
        let is_whole = ["--rate", "--duration", "--warm-up"].contains(&bad[0]);
        let arguments = if is_whole { bad.to_vec() } else { [bad, &whole].concat() };
        expect_refusal(client(address, &arguments), 2, parts);
    }
}
