//! One load over several clients: together they send exactly what a single one would have sent.

use super::fake_server::Fake;
use super::load::Run;
use super::support::{Program, expect_refusal};
use super::{client, server};
use multiconn::client::{Client, ClientConfig, Shard};
use multiconn::results::{Latencies, RunResults, Timestamp};
use multiconn::socket::Endpoint;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Size of each message in bytes. Its content depends on the number of the connection, and on its place there.
const MESSAGE_BYTES: usize = 64;

/// What arrived on one connection.
#[derive(Debug, Clone)]
struct Arrived {
    bytes: Vec<u8>,
    /// When each message was complete.
    instants: Vec<SystemTime>,
}

/// An echo server that records what arrives.
struct Recorder {
    server: Fake,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Recorder {
    fn new() -> Self {
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let record = Arc::clone(&arrived);
        let server = Fake::new(move |_, stream| {
            let arrived = echo(stream);
            record.lock().unwrap().push(arrived);
            None
        });
        Self { server, arrived }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What arrived on each connection that sent anything, in the order in which they ended.
    fn finish(self) -> Vec<Arrived> {
        drop(self.server);
        let mut arrived = self.arrived.lock().unwrap().clone();
        arrived.retain(|connection| !connection.bytes.is_empty());
        arrived
    }
}

fn echo(mut stream: TcpStream) -> Arrived {
    let mut arrived = Arrived { bytes: Vec::new(), instants: Vec::new() };
    let mut message = [0; MESSAGE_BYTES];
    while stream.read_exact(&mut message).is_ok() {
        arrived.instants.push(SystemTime::now());
        arrived.bytes.extend(message);
        stream.write_all(&message).unwrap();
    }
    arrived
}

/// Starts a client with a result on stdout.
fn start(address: SocketAddr, arguments: &[&str]) -> Program {
    client(address, &[arguments, &["--size", "64", "--json", "-"]].concat())
}

/// Starts all shards of a load.
fn start_shards(address: SocketAddr, count: usize, arguments: &[&str]) -> Vec<Program> {
    let shard = |index: usize| start(address, &[arguments, &["--shard", &format!("{index}/{count}")]].concat());
    (0..count).map(shard).collect()
}

/// Each connection sends the same bytes in both loads.
#[track_caller]
fn expect_same_messages(one: &[Arrived], other: &[Arrived]) {
    let [one, other] = [one, other].map(|arrived| {
        let mut streams: Vec<_> = arrived.iter().map(|arrived| &arrived.bytes).collect();
        streams.sort();
        streams
    });
    let lengths = |streams: &[&Vec<u8>]| streams.iter().map(|bytes| bytes.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&one), lengths(&other));
    assert!(one == other, "the same numbers of messages, with other content");
}

/// Open and closed loops, several workers, connections that do not divide evenly, and reconnects.
#[test]
fn shards_send_together_what_one_client_sends() {
    for arguments in [
        &["-c", "11", "--messages", "6", "--rate", "500"][..],
        &["-c", "11", "--messages", "6", "--rate", "500", "--workers", "2", "--arrivals", "poisson"],
        &["-c", "5", "--messages", "7", "--pipeline", "2", "--workers", "9"],
        &["-c", "3", "--messages", "5", "--reconnect-every", "2", "--max-connecting", "1"],
    ] {
        let alone = Recorder::new();
        let run = Run::of(start(alone.address(), arguments));
        let shared = Recorder::new();
        let shards: Vec<_> = start_shards(shared.address(), 3, arguments).into_iter().map(Run::of).collect();
        expect_same_messages(&alone.finish(), &shared.finish());
        for (index, shard) in shards.iter().enumerate() {
            assert_eq!(shard.code, Some(0), "{shard:?}");
            assert_eq!(shard.results.shard, Some(Shard { index, count: 3 }));
        }
        let sum = |count: fn(&Run) -> u64| shards.iter().map(count).sum::<u64>();
        assert_eq!(sum(|run| run.results.connections.requested), run.results.connections.requested);
        assert_eq!(sum(|run| run.results.connections.opened), run.results.connections.opened);
        assert_eq!(sum(|run| run.results.messages.sent), run.results.messages.sent);
        let rate: f64 = shards.iter().filter_map(|run| run.results.load.rate).sum();
        assert!((rate - run.results.load.rate.unwrap_or_default()).abs() < 1e-6, "{rate} in all");
    }
}

/// The number comes from the Job, as it does from the command line.
#[test]
fn shard_number_of_a_job() {
    let server = server();
    let mut command = Program::client_command();
    command.env("JOB_COMPLETION_INDEX", "2").args([&server.address().to_string(), "-c", "8", "--shard", "auto/3"]);
    let run = Run::of(Program::spawn(command.args(["--json", "-"])));
    assert_eq!(run.results.shard, Some(Shard { index: 2, count: 3 }));
    assert_eq!((run.results.connections.requested, run.results.connections.completed), (2, 2));
}

#[test]
fn impossible_shards_are_refused() {
    let refused = |arguments: &[&str], parts: &[&str]| {
        let mut command = Program::client_command();
        let program =
            Program::spawn(command.env_remove("JOB_COMPLETION_INDEX").args(["127.0.0.1", "1"]).args(arguments));
        expect_refusal(program, 2, parts);
    };
    refused(&["-c", "8", "--shard", "8/8"], &["--shard", "no shard 8 of 8", "7/8"]);
    refused(&["-c", "8", "--shard", "0/0"], &["--shard", "0/8"]);
    refused(&["-c", "7", "--shard", "0/8"], &["--shard", "--connections", "7 connections", "8 or more"]);
    // Connections are numbered over all shards.
    refused(&["-c", "10G", "--shard", "0/1000000"], &["numbers of 32 bits", "--connections"]);
    refused(&["-c", "8", "--shard", "eight"], &["--shard", "\"eight\"", "0/8"]);
    refused(&["-c", "8", "--shard", "auto/8"], &["--shard", "JOB_COMPLETION_INDEX", "not set", "0/8"]);
    refused(&["--stdin", "--shard", "0/1"], &["--stdin", "--shard"]);
}

/// The first message of each connection, in the order of their numbers.
fn first_messages(connections: usize) -> Vec<Vec<u8>> {
    let recorder = Recorder::new();
    for index in 0..connections {
        let mut config = ClientConfig::to(Endpoint::tcp("127.0.0.1", recorder.address().port()));
        (config.connections, config.size) = (connections, Some(MESSAGE_BYTES));
        config.shard = Some(Shard { index, count: connections });
        assert!(Client::new(config).unwrap().run().unwrap().is_success());
    }
    recorder.finish().into_iter().map(|connection| connection.bytes).collect()
}

/// An instant some time from now, and its text.
fn in_seconds(seconds: u64) -> (SystemTime, String) {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(seconds);
    let instant = Timestamp::after_1970(since_1970);
    (SystemTime::UNIX_EPOCH + instant.since_1970(), instant.to_string())
}

/// No message is early, and each connection sends its own at its own instants: one in six is less than half a round late
/// on any machine.
#[test]
fn eight_shards_keep_the_schedule_of_one_client() {
    const CONNECTIONS: u32 = 18;
    const GAP: Duration = Duration::from_millis(25);
    let numbers = first_messages(CONNECTIONS as usize);
    let recorder = Recorder::new();
    let (start, text) = in_seconds(9);
    let arguments = ["-c", "18", "--rate", "40", "--messages", "6", "--start-at", &text];
    let shards: Vec<_> = start_shards(recorder.address(), 8, &arguments).into_iter().map(Run::of).collect();
    let arrived = recorder.finish();
    assert_eq!(arrived.len(), numbers.len());
    for (number, first) in (0..).zip(&numbers) {
        let own = arrived.iter().find(|connection| connection.bytes.starts_with(first)).unwrap();
        assert_eq!(own.instants.len(), 6, "connection {number}");
        let due = (0..).map(|round| start + GAP * (number + round * CONNECTIONS));
        let lateness: Vec<_> = own.instants.iter().zip(due).map(|(instant, due)| instant.duration_since(due)).collect();
        assert!(lateness.iter().all(Result::is_ok), "connection {number} was early: {lateness:?}");
        assert!(
            lateness.iter().flatten().any(|late| *late < GAP * CONNECTIONS / 2),
            "connection {number}: {lateness:?}"
        );
    }
    for shard in &shards {
        assert_eq!(shard.code, Some(0), "{shard:?}");
        let began = shard.results.start.unwrap();
        assert_eq!((began.requested, began.began), (began.began, began.requested), "{shard:?}");
        assert_eq!(began.began.unwrap().to_string(), text);
        assert!(began.late_s.is_some_and(|late| late < 60.0), "{shard:?}");
    }
    expect_merged(&shards);
}

/// The results of all shards, through a pipe: the whole is reported and checked.
#[track_caller]
fn expect_merged(shards: &[Run]) {
    let folder = tempfile::tempdir().unwrap();
    for (number, shard) in shards.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.json")), shard.results.to_json_line()).unwrap();
    }
    let report = Program::report_command().get_program().to_str().unwrap().to_owned();
    let pipe = format!("cat ?.json | {report} merge - --shards 8 --fail-if 'p99>1m' --json all.json");
    let exit = Program::spawn(Program::clean(Command::new("sh")).args(["-c", &pipe]).current_dir(&folder)).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    for part in ["18 connections to ", "108 due, 108 sent, 108 answered", "8 runs merged", "✓ p99 is "] {
        assert!(exit.stdout.iter().any(|line| line.contains(part)), "{part}: {exit:#?}");
    }
    let merged = RunResults::from_json(&std::fs::read_to_string(folder.path().join("all.json")).unwrap()).unwrap();
    assert_eq!((merged.load.rate, merged.connections.requested, merged.messages.answered), (Some(40.0), 18, 108));
    assert_eq!(
        (merged.runs, merged.shard, merged.start.unwrap().requested),
        (8, None, shards[0].results.start.unwrap().requested)
    );
    let mut response_time = Latencies::default();
    for shard in shards {
        response_time.add(&shard.results.histograms.response_time);
    }
    assert_eq!(merged.histograms.response_time, response_time);
}

/// Every kind of load waits for its start, with the connections open.
#[test]
fn loads_start_at_an_instant() {
    for arguments in [
        &["-c", "3", "--workers", "2"][..],
        &["-c", "3", "--duration", "300ms"],
        &["-c", "3", "--rate", "50", "--duration", "300ms", "--warm-up", "100ms"],
    ] {
        let recorder = Recorder::new();
        let (begin, text) = in_seconds(6);
        let run = Run::of(start(recorder.address(), &[arguments, &["--start-at", &text]].concat()));
        let first = recorder.finish().iter().filter_map(|connection| connection.instants.first().copied()).min();
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(first >= Some(begin), "{first:?} before {begin:?}");
        assert!(run.results.measured_s < 6.0, "the wait is not measured: {run:?}");
        assert_eq!(run.results.start.unwrap().began.unwrap().to_string(), text);
    }
    let run = Run::of(start(server().address(), &["--start-at", "+4s"]));
    assert!(run.code == Some(0) && run.results.duration_s > 3.0, "{run:?}");
}

/// Retries go on until the start; a connection without retries, or one that the server closes, is lost.
#[test]
fn connections_that_are_not_open_at_the_start_end_the_run() {
    let closing = Fake::new(|_, _| None);
    let server = server();
    let [closing, open] = [closing.address(), server.address()].map(|address| address.to_string());
    for (other, further, cause) in [
        ("127.0.0.1:1", &["--duration", "1s"][..], "refused"),
        ("127.0.0.1:1", &["--retries", "1000", "--rate", "50", "--duration", "1s"], "not_open_at_start"),
        (&closing, &["--messages", "2"], "closed_early"),
    ] {
        let targets = ["--target", &open, "--target", other, "-c", "2", "--start-at", "+5s", "--json", "-"];
        let mut program = Program::client(&[&targets, further].concat());
        let exit = program.await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        assert_eq!((exit.code, results.interrupted, results.messages.sent), (Some(1), false, 0), "{exit:#?}");
        assert_eq!((results.errors[cause], results.errors["stopped"]), (1, 1), "{exit:#?}");
        assert!(!results.valid && results.start.unwrap().began.is_none(), "{exit:#?}");
        assert!(exit.stderr.concat().contains("1 of 2"), "{exit:#?}");
        assert!(exit.stderr[0].starts_with("NOT VALID: the load did not begin at 2"), "{exit:#?}");
    }
}

#[test]
fn impossible_starts_are_refused() {
    let refused = |instant: &str, parts: &[&str]| {
        expect_refusal(Program::client(&["127.0.0.1", "1", "--start-at", instant]), 2, parts);
    };
    refused("2001-09-09T01:46:40Z", &["--start-at", "2001-09-09T01:46:40.000Z", " ago", "later"]);
    refused("noon", &["--start-at", "\"noon\"", "+30s"]);
    refused("+soon", &["--start-at", "\"+soon\"", "\"soon\"", "+30s"]);
    expect_refusal(Program::client(&["127.0.0.1", "1", "--stdin", "--start-at", "+1s"]), 2, &["--stdin", "--start-at"]);
}
