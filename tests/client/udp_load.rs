//! UDP load: due times are fixed, and the fate of each datagram is counted. The kernel queues about 200 small datagrams
//! for a stopped program; no test sends it more.

use super::load::{
    Run, SEEDS, await_messages, await_replies, expect_one_of_five, expect_seeds_to_tell, expect_the_rate_to_be_held,
    load, start,
};
use super::support::{Program, expect_refusal};
use super::udp::{CorruptServer, own_server};
use multiconn::results::{Datagrams, Latencies, LoadKind, RunResults};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// No reply is late on a busy machine.
const PATIENT: [&str; 3] = ["--udp", "--reply-timeout", "20s"];

/// Number of `latencies` of at least `time`, within the precision of a histogram of three digits.
fn at_least(latencies: &Latencies, time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap();
    latencies.histogram().count_between(nanos - nanos / 500, u64::MAX)
}

#[test]
fn a_uniform_load_of_datagrams_is_sent_completely() {
    let (_server, address) = own_server(&[]);
    for (sockets, workers) in [("10", "1"), ("10", "3"), ("1", "3")] {
        let work = ["--rate", "200", "--duration", "1s", "-c", sockets, "--workers", workers];
        let run = load(address, &[&PATIENT[..], &work].concat());
        run.expect_success(200);
        let results = &run.results;
        assert_eq!((results.messages.due, results.bytes.sent, results.bytes.received), (Some(200), 12_800, 12_800));
        let load = &results.load;
        assert_eq!((load.kind, load.rate, load.duration_s), (LoadKind::Open, Some(200.0), Some(1.0)));
        assert!((1.0..5.0).contains(&results.measured_s) && results.duration_s >= results.measured_s, "{run:?}");
        let (due, send) = (&results.histograms.response_time, &results.histograms.service_time);
        assert!(due.at(0.99) >= send.at(0.99) && due.max() >= send.max(), "{run:?}");
        assert!(!results.histograms.loop_round.is_empty() && results.connections.most_open > 0, "{run:?}");
        assert_eq!(results.datagrams, Some(Datagrams::default()), "{run:?}");
    }
}

#[test]
fn a_number_of_datagrams_ends_the_load() {
    let (_server, address) = own_server(&[]);
    let run = load(address, &[&PATIENT[..], &["--rate", "400", "--messages", "20", "-c", "5"]].concat());
    run.expect_success(100);
    assert_eq!((run.results.messages.due, run.results.load.duration_s), (Some(100), None), "{run:?}");
    // The last one is due after 99/400 s.
    assert!(run.results.measured_s > 0.247, "{run:?}");
}

#[test]
fn the_rate_is_held_however_sockets_are_spread_over_workers() {
    let (_server, address) = own_server(&[]);
    expect_the_rate_to_be_held(|work| start(address, &[&PATIENT[..], work].concat()));
}

#[test]
fn the_warm_up_of_datagrams_is_not_measured() {
    let (_server, address) = own_server(&[]);
    let work = ["--rate", "100", "--warm-up", "700ms", "--duration", "1s", "-c", "3", "--workers", "2"];
    let run = load(address, &[&PATIENT[..], &work].concat());
    run.expect_success(100);
    assert_eq!(run.results.messages.due, Some(100), "{run:?}");
    assert!((1.0..5.0).contains(&run.results.measured_s) && run.results.duration_s >= 1.7, "{run:?}");
    assert!((100 * 64..=170 * 64).contains(&run.results.bytes.received), "{run:?}");
}

#[test]
fn equal_seeds_give_datagrams_equal_arrival_times() {
    let servers = SEEDS.map(|_| own_server(&[]));
    let random = ["--rate", "100", "--duration", "1s", "--arrivals", "poisson", "-c", "4", "--workers", "2"];
    // In parallel: each takes a second.
    let mut addresses = servers.iter().map(|(_, address)| *address);
    let runs = SEEDS.map(|seed| {
        let address = addresses.next().unwrap();
        (seed, start(address, &[&PATIENT[..], &random, &["--seed", seed]].concat()))
    });
    // Five standard deviations.
    expect_seeds_to_tell(runs, 50..=150);
}

#[test]
fn without_a_rate_a_reply_makes_room_for_the_next_datagram() {
    let (_server, address) = own_server(&[]);
    for further in [&["--workers", "2"][..], &["--pipeline", "5"]] {
        let run = load(address, &[&PATIENT[..], &["--duration", "500ms", "-c", "4"], further].concat());
        let sent = run.results.messages.sent;
        assert!(sent >= 4, "{run:?}");
        run.expect_success(sent);
        assert_eq!((run.results.load.kind, run.results.load.duration_s), (LoadKind::Closed, Some(0.5)));
        assert!((0.5..5.0).contains(&run.results.measured_s), "{run:?}");
    }
}

/// The load continues while the server is stopped: the waiting time of messages due then is counted.
#[test]
fn a_stopped_udp_server_delays_all_messages_due_meanwhile() {
    let (server, address) = own_server(&[]);
    expect_one_of_five(|| {
        let program = start(address, &[&PATIENT[..], &["--rate", "60", "--duration", "4s", "-c", "4", "-v"]].concat());
        await_messages(&program, 30);
        server.pause();
        std::thread::sleep(Duration::from_secs(1));
        server.resume();
        let run = Run::of(program);
        run.expect_success(240);
        let times = &run.results.histograms;
        // Due in the first half of the pause: 30.
        let is_counted = at_least(&times.response_time, Duration::from_millis(500)) >= 27;
        // They went on being sent.
        let is_sent = times.send_delay.at(0.5) < Some(Duration::from_millis(500));
        if is_counted && is_sent { Ok(()) } else { Err(format!("{run:?}")) }
    });
}

/// A stopped client has to send the messages due meanwhile, and reports its own delay apart.
#[test]
fn a_stopped_udp_client_reports_its_delay() {
    let (_server, address) = own_server(&[]);
    let program = start(address, &[&PATIENT[..], &["--rate", "50", "--duration", "4s", "-c", "4", "-v"]].concat());
    await_messages(&program, 25);
    program.pause();
    std::thread::sleep(Duration::from_secs(1));
    program.resume();
    let run = Run::of(program);
    run.expect_success(200);
    let times = &run.results.histograms;
    assert!(at_least(&times.client_delay, Duration::from_millis(300)) > 0, "{run:?}");
    assert!(at_least(&times.ceiling, Duration::from_millis(300)) > 0, "{run:?}");
    assert_eq!(run.results.messages.due, Some(200), "{run:?}");
}

/// Messages due before the end are still sent after it, for up to a second: here in two turns of each worker, as many as
/// there are at least in that second.
#[test]
fn a_udp_client_stopped_beyond_the_end_sends_the_rest() {
    let (_server, address) = own_server(&["--service", "discard"]);
    let work = ["--udp", "--expect", "none", "--rate", "1k", "--duration", "1s", "-c", "3", "-v"];
    let mut program = start(address, &[&work[..], &["--workers", "2"]].concat());
    await_messages(&program, 150);
    program.pause();
    std::thread::sleep(Duration::from_secs(1));
    program.resume();
    let exit = program.await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!((exit.code, results.messages.due, results.messages.sent), (Some(0), Some(1000), 1000), "{results:?}");
    assert_eq!(results.histograms.send_delay.count(), 1000, "{results:?}");
}

#[test]
fn timed_out_datagrams_are_counted_with_their_age() {
    let server = CorruptServer::new(|number, bytes| if number % 5 == 2 { vec![] } else { vec![bytes.to_vec()] });
    let work = ["--udp", "--rate", "100", "--duration", "1s", "--reply-timeout", "6s", "--fail-if", "unanswered>19"];
    let run = load(server.address, &work);
    assert_eq!((run.code, run.results.errors.get("reply_timeout")), (Some(3), Some(&20)), "{run:?}");
    let messages = &run.results.messages;
    assert_eq!((messages.due, messages.sent, messages.answered), (Some(100), 100, 80), "{run:?}");
    assert_eq!((messages.timed_out, messages.pending, messages.lost), (20, 0, 0), "{run:?}");
    assert_eq!(at_least(&run.results.histograms.unanswered_age, Duration::from_secs(6)), 20, "{run:?}");
}

#[test]
fn late_datagrams_count_as_timed_out() {
    let mut first: Option<(Vec<u8>, Instant)> = None;
    let server = CorruptServer::new(move |number, bytes| {
        if number == 0 {
            first = Some((bytes.to_vec(), Instant::now()));
            return vec![];
        }
        let late = first.take_if(|(_, since)| since.elapsed() > Duration::from_secs(2));
        late.map(|(reply, _)| reply).into_iter().chain([bytes.to_vec()]).collect()
    });
    // The late reply comes during the hold, if the server was stopped before.
    let work = ["--udp", "--rate", "50", "--duration", "3s", "--reply-timeout", "500ms", "--hold", "3s"];
    let run = load(server.address, &work);
    let (messages, late) = (&run.results.messages, run.results.datagrams.as_ref().unwrap().late);
    assert_eq!((run.code, messages.due, messages.pending), (Some(1), Some(150), 0), "{run:?}");
    assert!(late >= 1 && messages.timed_out >= late, "{run:?}");
}

#[test]
fn every_other_fate_is_counted_separately() {
    let mut held = Vec::new();
    let server = CorruptServer::new(move |number, bytes| {
        let mut damaged = bytes.to_vec();
        damaged[40] ^= 1;
        match number % 5 {
            0 => vec![bytes.to_vec(); 2],
            1 => {
                held = bytes.to_vec();
                vec![]
            }
            2 => vec![bytes.to_vec(), std::mem::take(&mut held)],
            3 => vec![damaged],
            _ => vec![b"nobody asked".to_vec(), bytes.to_vec()],
        }
    });
    let run = load(server.address, &[&PATIENT[..], &["--rate", "100", "--duration", "1s"]].concat());
    let (messages, results) = (&run.results.messages, &run.results);
    assert_eq!((run.code, messages.due, messages.sent), (Some(1), Some(100), 100), "{run:?}");
    assert_eq!((messages.answered, messages.wrong, messages.lost, messages.timed_out), (80, 20, 0, 0), "{run:?}");
    let datagrams = results.datagrams.as_ref().unwrap();
    assert_eq!((datagrams.late, datagrams.duplicated, datagrams.reordered), (0, 20, 20), "{run:?}");
    assert_eq!((results.errors.get("corrupt"), results.mismatches.count), (Some(&40), 40), "{run:?}");
    assert_eq!(results.mismatches.first.len(), 10, "{run:?}");
}

/// Messages due wait for room in the pipeline, which is not send delay.
#[test]
fn a_pipeline_limits_datagrams_that_are_due() {
    let server = CorruptServer::new(|_, _| vec![]);
    let work = ["--rate", "100", "--duration", "1s", "--pipeline", "2", "-c", "2", "--reply-timeout", "6s"];
    let run = load(server.address, &[&["--udp"], &work[..]].concat());
    let messages = &run.results.messages;
    assert_eq!((run.code, messages.due, messages.sent), (Some(1), Some(100), 4), "{run:?}");
    assert_eq!((messages.timed_out, messages.pending), (4, 96), "{run:?}");
    // A late client assigns the last ones after the end of the load, which is not the server's fault.
    assert!((1..=96).contains(&messages.unsent), "{run:?}");
}

#[test]
fn sockets_go_round_the_targets() {
    let ((mut one, first), (mut other, second)) = (own_server(&[]), own_server(&[]));
    let targets = ["--target", &second.to_string(), "-c", "4", "--workers", "2"];
    let run = load(first, &[&PATIENT[..], &targets, &["--rate", "200", "--duration", "500ms"]].concat());
    run.expect_success(100);
    assert_eq!(run.results.targets, [first, second].map(|target| target.to_string()));
    assert_eq!((one.terminate().counted("answered"), other.terminate().counted("answered")), (50, 50));
}

#[test]
fn an_interrupted_load_of_datagrams_is_reported() {
    let (_server, address) = own_server(&[]);
    let silent = CorruptServer::new(|_, _| vec![]);
    for (address, answers) in [(address, true), (silent.address, false)] {
        let work = ["--rate", "100", "--duration", "1h", "--reply-timeout", "1h", "-c", "3", "--workers", "2", "-v"];
        let program = start(address, &[&["--udp"], &work[..]].concat());
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
    }
}

#[test]
fn datagrams_without_replies_keep_the_schedule_too() {
    for service in ["discard", "echo"] {
        let (_server, address) = own_server(&["--service", service]);
        let work = ["--udp", "--expect", "none", "--rate", "200", "--duration", "500ms", "-c", "2", "--size", "64"];
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let exit = Program::client(&[&work[..], &["--json", "-", &host, &port]].concat()).await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        assert_eq!((exit.code, results.messages.due, results.messages.sent), (Some(0), Some(100), 100), "{exit:#?}");
        assert_eq!(results.histograms.send_delay.count(), 100, "{exit:#?}");
        // Received datagrams are ignored.
        assert_eq!(results.datagrams, Some(Datagrams::default()), "{exit:#?}");
    }
}

/// The share of a worker whose sockets could not be opened is due nevertheless.
#[test]
fn messages_due_without_a_socket_are_counted() {
    let (_server, address) = own_server(&[]);
    let (target, work) =
        (address.to_string(), ["--udp", "--rate", "200", "--duration", "500ms", "-c", "2", "--json", "-"]);
    // One address is a broadcast address, which needs --broadcast.
    let targets = ["--size", "64", "--target", &target, "--target", "255.255.255.255:9"];
    for (workers, unconnected) in [("1", 0), ("2", 50)] {
        let exit = Program::client(&[&work[..], &targets, &["--workers", workers]].concat()).await_exit();
        let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
        let (messages, sockets) = (&results.messages, &results.connections);
        assert_eq!((exit.code, sockets.opened, sockets.failed), (Some(1), 1, 1), "{exit:#?}");
        assert_eq!((messages.due, messages.no_connection), (Some(100), unconnected), "{exit:#?}");
        assert_eq!(messages.sent, 100 - unconnected, "{exit:#?}");
    }
}

/// A line per second, a summary, and the files.
#[test]
fn a_load_of_datagrams_is_shown_and_stored() {
    let ((_server, address), folder) = (own_server(&[]), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [html, hgrm, log] = ["run.html", "run.hgrm", "run.hlog"].map(path);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let load =
        ["--rate", "30", "--duration", "5s", "-c", "5", "-v", "--html", &html, "--hgrm", &hgrm, "--hdr-log", &log];
    let exit = Program::client(&[&PATIENT[..], &[&host, &port], &load].concat()).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let is_second = |line: &String| line.contains("/s, p50 ") && line.contains(", 0 errors, 5 open, client delay ");
    assert!(exit.stderr.iter().any(is_second), "{exit:#?}");
    let has = |part: &str| exit.stdout.iter().any(|line| line.contains(part));
    assert!(has(&format!("5 sockets to {address} (udp): every reply was correct")), "{exit:#?}");
    assert!(has("  sockets      5 opened, 5 at the same time, 0 failed") && has("    response "), "{exit:#?}");
    assert!(has("  replies      0 late, 0 duplicated, 0 reordered"), "{exit:#?}");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&html).contains("reordered replies") && read(&hgrm).contains("Total count    =          150"));
    assert!(read(&log).lines().filter(|line| !line.starts_with(['#', '"'])).count() >= 3);
}

#[test]
fn invalid_loads_of_datagrams_are_rejected() {
    let wrong = |arguments: &[&str], parts: &[&str]| {
        expect_refusal(Program::client(&[&["--udp", "127.0.0.1", "9"], arguments].concat()), 2, parts);
    };
    wrong(&["--warm-up", "1s"], &["warm-up", "10s (--warm-up, --duration)"]);
    wrong(&["--duration", "0"], &["duration", "10s (--duration)"]);
    wrong(&["--arrivals", "poisson"], &["arrivals", "50k (--rate, --arrivals)"]);
    wrong(&["--rate", "10", "--reconnect-every", "5"], &["--reconnect-every", "--udp", "--rate 1k"]);
}
