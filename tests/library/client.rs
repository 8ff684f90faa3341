//! Client API: a call that returns its results as a value.

use super::Running;
use super::support::{PATIENCE, await_until};
use multiconn::client::{Client, ClientConfig, ClientHandle, DueSecond, UdpOptions};
use multiconn::codec::Framing;
use multiconn::error::Error;
use multiconn::results::RunResults;
use multiconn::server::ServerConfig;
use multiconn::service::{Delayed, Discard, Echo};
use multiconn::socket::Endpoint;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

fn config(address: SocketAddr, connections: usize) -> ClientConfig {
    let mut config = ClientConfig::to(Endpoint::tcp(address.ip().to_string(), address.port()));
    config.connections = connections;
    config
}

/// Runs a client on a thread of the test.
fn start(client: Client) -> mpsc::Receiver<RunResults> {
    let (end, ended) = mpsc::channel();
    std::thread::spawn(move || end.send(client.run().unwrap()).ok());
    ended
}

#[track_caller]
fn await_results(ended: &mpsc::Receiver<RunResults>) -> RunResults {
    ended.recv_timeout(PATIENCE).expect("the client ends in time")
}

/// Stops the client when the test fails, so that its thread does not outlive it.
struct Stopping(ClientHandle);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[test]
fn the_results_are_a_value() {
    let server = Running::start(2, |_| Echo);
    for workers in [1, 2] {
        let mut config = config(server.address, 100);
        config.workers = workers;
        config.messages = vec![b"one".to_vec(), b"three".to_vec()];
        config.messages_per_connection = Some(3);
        config.pipeline = Some(1);
        let results = Client::new(config).unwrap().run().unwrap();
        assert!(results.is_success() && !results.interrupted, "{results}");
        let connections = &results.connections;
        assert_eq!((connections.requested, connections.opened), (100, 100));
        assert_eq!((connections.completed, connections.failed), (100, 0));
        assert_eq!((results.messages.sent, results.messages.answered), (300, 300));
        assert_eq!((results.bytes.sent, results.bytes.received), (1100, 1100));
        assert_eq!((results.mismatches.count, results.mismatches.first.len()), (0, 0));
        let times = &results.histograms;
        assert_eq!((times.connect.count(), times.service_time.count()), (100, 300));
        assert!(times.service_time.max() > Some(Duration::ZERO) && results.duration_s > 0.0);
        assert!(results.rate() > 0.0 && results.machine.cpus > Some(0));
    }
    assert_eq!(server.drain().accepted, 200);
}

#[test]
fn failures_are_values_too() {
    // The listener's backlog accepts; the server never replies.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config = config(silent.local_addr().unwrap(), 7);
    config.reply_timeout = Duration::from_millis(200);
    let results = Client::new(config).unwrap().run().unwrap();
    assert!(!results.is_success());
    assert_eq!(results.errors, [("reply_timeout".to_owned(), 7)].into());
    assert_eq!((results.connections.opened, results.connections.completed, results.messages.answered), (7, 0, 0));
    assert!(results.histograms.service_time.is_empty());
}

#[test]
fn impossible_configurations_are_rejected() {
    let address = (Ipv4Addr::LOCALHOST, 1).into();
    let refused = |change: fn(&mut ClientConfig)| {
        let mut config = config(address, 1);
        change(&mut config);
        Client::new(config).err().expect("this cannot be done")
    };
    let changes: [fn(&mut ClientConfig); 7] = [
        |config| config.connections = 0,
        |config| config.workers = 0,
        |config| config.max_connecting = 0,
        |config| config.pipeline = Some(0),
        |config| config.messages.clear(),
        |config| config.messages.push(Vec::new()),
        |config| config.reply_timeout = Duration::ZERO,
    ];
    for change in changes {
        let error = refused(change);
        assert!(error.is_usage(), "{error}");
    }
    let datagrams: [fn(&mut ClientConfig); 5] = [
        |config| config.messages = vec![vec![0; 70_000]],
        |config| config.messages_per_connection = Some(0),
        |config| config.framing = Some(Framing::LINES),
        |config| config.reply_size = Some(5),
        |config| config.load.reconnect_every = Some(1),
    ];
    for change in datagrams {
        let mut config = config(address, 1).over_udp(UdpOptions::default());
        change(&mut config);
        let error = Client::new(config).err().expect("this has no meaning over UDP");
        assert!(error.is_usage(), "{error}");
    }
    let over_udp = config(address, 1).over_udp(UdpOptions::default());
    let error =
        Client::interactive(over_udp, std::io::empty(), std::io::sink()).err().expect("a datagram is no stream");
    assert!(error.is_usage(), "{error}");
    let error = refused(|config| config.connections = usize::MAX);
    assert!(matches!(error, Error::Descriptors { .. }), "{error}");
}

#[test]
fn a_handle_stops_a_held_client_from_another_thread() {
    let server = Running::start(1, |_| Echo);
    for workers in [1, 2] {
        let mut config = config(server.address, 20);
        config.hold = Some(Duration::from_secs(3600));
        config.workers = workers;
        let client = Client::new(config).unwrap();
        let (stopping, progress) = (Stopping(client.handle()), client.progress());
        let ended = start(client);
        await_until("forty echoes", || progress.iter().map(|worker| worker.messages_answered.get()).sum::<u64>() == 40);
        assert!(ended.try_recv().is_err(), "it holds its connections");
        stopping.0.stop();
        let results = await_results(&ended);
        assert!(results.interrupted && !results.is_success());
        assert_eq!(
            (results.connections.opened, results.connections.completed, results.connections.failed),
            (20, 20, 0)
        );
        // A handle of a client that has ended does nothing.
        stopping.0.stop();
    }
}

#[test]
fn a_handle_stops_a_client_whose_replies_do_not_come() {
    let server = Running::start(1, |_| Discard);
    let mut config = config(server.address, 5);
    config.reply_timeout = Duration::from_secs(3600);
    let client = Client::new(config).unwrap();
    let (stopping, progress) = (Stopping(client.handle()), client.progress());
    let ended = start(client);
    await_until("ten messages", || progress[0].messages_sent.get() == 10);
    stopping.0.stop();
    let results = await_results(&ended);
    assert_eq!(results.errors, [("stopped".to_owned(), 5)].into());
    assert_eq!((results.messages.sent, results.messages.answered), (10, 0));
}

#[test]
fn a_client_that_is_stopped_before_it_runs_does_nothing() {
    let server = Running::start(1, |_| Echo);
    let mut config = config(server.address, 1000);
    config.hold = Some(Duration::from_secs(3600));
    let client = Client::new(config).unwrap();
    client.handle().stop();
    let results = await_results(&start(client));
    assert!(results.interrupted);
    assert!(results.connections.opened < 1000, "{results}");
}

#[test]
fn progress_counts_while_the_client_runs() {
    let server = Running::start(1, |_| Echo);
    let mut config = config(server.address, 30);
    config.workers = 3;
    config.hold = Some(Duration::from_millis(50));
    let client = Client::new(config).unwrap();
    let progress = client.progress();
    assert_eq!(progress.len(), 3);
    assert!(progress.iter().all(|worker| worker.opened.get() == 0));
    let _stopping = Stopping(client.handle());
    let results = await_results(&start(client));
    assert!(results.is_success(), "{results}");
    for worker in progress {
        // The connections are assigned to the workers in turn.
        assert_eq!((worker.opened.get(), worker.ended.get(), worker.failed.get()), (10, 10, 0));
        assert_eq!((worker.messages_sent.get(), worker.messages_answered.get()), (20, 20));
    }
}

/// Output that the test can read after the run.
#[derive(Clone, Default)]
struct SharedOutput(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for SharedOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn interactive_mode_forwards_every_byte() {
    let server = Running::start(1, |_| Echo);
    for framing in [None, Some("u16be".parse().unwrap())] {
        let mut config = config(server.address, 1);
        config.framing = framing;
        let screen = SharedOutput::default();
        let results = Client::interactive(config, &b"one\ntwo\n"[..], screen.clone()).unwrap().run().unwrap();
        assert!(results.is_success(), "{results}");
        assert_eq!(*screen.0.lock().unwrap(), b"one\ntwo\n");
    }
}

/// An `Instant` cannot represent every sum with a `Duration`.
#[test]
fn no_duration_is_too_long() {
    let patient = |server: &mut ServerConfig| {
        server.drain_timeout = Duration::MAX;
        server.limits.idle = Some(Duration::MAX);
        server.limits.linger = Duration::MAX;
    };
    let server = Running::start_with(patient, |_| Delayed::new(Echo, Duration::ZERO));
    let mut config = config(server.address, 2);
    config.connect_timeout = Duration::MAX;
    config.reply_timeout = Duration::MAX;
    config.retry_delay = Duration::MAX;
    config.retries = u32::MAX;
    let results = Client::new(config.clone()).unwrap().run().unwrap();
    assert!(results.is_success(), "{results}");
    config.hold = Some(Duration::MAX);
    config.load.duration = Some(Duration::MAX);
    config.load.rate = Some(f64::MIN_POSITIVE);
    config.load.warm_up = Duration::MAX;
    let client = Client::new(config).unwrap();
    let (handle, progress) = (client.handle(), client.progress());
    let _stopping = Stopping(handle.clone());
    let ended = start(client);
    await_until("the first message", || progress[0].messages_answered.get() == 1);
    handle.stop();
    let results = await_results(&ended);
    assert!(results.interrupted && progress[0].messages_sent.get() == 1, "{results}");
    assert_eq!(results.messages.sent, 0, "it was sent in the warm-up");
    assert_eq!(server.drain().accepted, 4);
}

/// Every message counts once, in the second in which it was due.
#[test]
fn seconds_by_due_instants_add_up_to_the_messages() {
    let server = Running::start(1, |_| Echo);
    let mut config = config(server.address, 4);
    config.workers = 2;
    (config.load.rate, config.load.duration) = (Some(400.0), Some(Duration::from_millis(2500)));
    config.load.warm_up = Duration::from_millis(100);
    // Nothing is answered within the first limit, everything within the second one.
    config.limits = vec![Duration::from_nanos(1), Duration::from_secs(30)];
    let client = Client::new(config).unwrap();
    let progress = client.progress();
    let results = client.run().unwrap();
    let seconds: Vec<_> = progress.iter().flat_map(|worker| worker.take_due_seconds()).collect();
    let sum = |count: fn(&DueSecond) -> u64| seconds.iter().map(count).sum::<u64>();
    assert_eq!(sum(|second| second.due), 1000, "{seconds:?}");
    assert_eq!(results.messages.due, Some(1000));
    assert_eq!(sum(|second| second.over[0]), 1000, "{seconds:?}");
    assert_eq!(sum(|second| second.over[1]), results.messages.unanswered(), "{seconds:?}");
    for worker in progress {
        assert!(worker.take_due_seconds().is_empty());
    }
    let mut indexes: Vec<_> = seconds.iter().map(|second| second.index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 0, 1, 1, 2, 2], "{seconds:?}");
    assert!(seconds.iter().all(|second| second.median.is_some_and(|(_, replies)| replies > 0)), "{seconds:?}");
}
