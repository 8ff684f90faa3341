//! One load over several clients: together they send exactly what a single one would have sent.

use super::fake_server::Fake;
use super::load::Run;
use super::support::{Program, expect_refusal};
use super::{client, server};
use multiconn::client::Shard;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Size of each message in bytes. Its content depends on the number of the connection, and on its place there.
const MESSAGE_BYTES: usize = 64;

/// What arrived on one connection.
#[derive(Debug, Clone)]
struct Arrived {
    bytes: Vec<u8>,
    /// When each message was complete.
    instants: Vec<Instant>,
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

    /// What arrived on each connection that sent anything, ordered by the content.
    fn finish(self) -> Vec<Arrived> {
        drop(self.server);
        let mut arrived = self.arrived.lock().unwrap().clone();
        arrived.retain(|connection| !connection.bytes.is_empty());
        arrived.sort_by(|one, other| one.bytes.cmp(&other.bytes));
        arrived
    }
}

fn echo(mut stream: TcpStream) -> Arrived {
    let mut arrived = Arrived { bytes: Vec::new(), instants: Vec::new() };
    let mut message = [0; MESSAGE_BYTES];
    while stream.read_exact(&mut message).is_ok() {
        arrived.instants.push(Instant::now());
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
    let [one, other] = [one, other].map(|arrived| arrived.iter().map(|arrived| &arrived.bytes).collect::<Vec<_>>());
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
    refused(&["-c", "8", "--shard", "eight"], &["--shard", "\"eight\"", "0/8"]);
    refused(&["-c", "8", "--shard", "auto/8"], &["--shard", "JOB_COMPLETION_INDEX", "not set", "0/8"]);
    refused(&["--stdin", "--shard", "0/1"], &["--stdin", "--shard"]);
}
