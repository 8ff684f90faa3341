//! Options: messages, sizes, pipelining, workers, connects and socket options.

use super::fake_server::{Fake, echo};
use super::support::{Program, await_until, expect_refusal, has_ipv6, skipped};
use super::{Outcome, client, logging_client, outcome, server};
use multiconn::results::RunResults;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[test]
fn own_messages_are_sent_in_turn() {
    let server = server();
    let own = ["--message", "Hello, world", "--message", "é", "-c", "10"];
    outcome(server.address(), &own).expect_success(10, 20, 10 * 14);
    // From the first again when more are wanted: 5 messages are 12 + 2 + 12 + 2 + 12 bytes.
    let more = [&own[..], &["--messages", "5"]].concat();
    outcome(server.address(), &more).expect_success(10, 50, 10 * 40);
    outcome(server.address(), &["--messages", "3"]).expect_success(1, 3, 66);
    // Fewer than given.
    outcome(server.address(), &["--messages", "1"]).expect_success(1, 1, 22);
}

#[test]
fn escapes_in_messages_are_bytes_and_raw_messages_have_none() {
    let server = server();
    let told = |option: &str, text: &str| {
        let outcome = outcome(server.address(), &[option, text, "-v"]);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        outcome.stderr.iter().find_map(|line| line.strip_prefix("Sending ").map(str::to_owned)).unwrap()
    };
    let text = r"GET / HTTP/1.0\r\n\r\n\t\0\xff\\";
    assert_eq!(told("--message", text), r"b'GET / HTTP/1.0\r\n\r\n\t\x00\xff\\' to connection 1");
    assert_eq!(told("--message-raw", r"a\n\q"), r"b'a\\n\\q' to connection 1");
    // Both, in this order.
    outcome(server.address(), &["--message-raw", r"\n", "--message", r"\n", "-c", "2"]).expect_success(2, 4, 6);
    for (text, part) in [(r"a\q", r"\q is no escape in"), (r"\x4", "hexadecimal"), ("a\\", r"give \\ for one")] {
        let arguments = ["127.0.0.1", "65432", "--message", text];
        expect_refusal(Program::client(&arguments), 2, &["--message", part, "--message-raw"]);
    }
}

/// As with other load generators.
#[test]
fn workers_duration_and_rate_have_short_forms() {
    let server = server();
    let short = ["-c", "4", "-t", "2", "-d", "300ms", "-r", "100", "--json", "-"];
    let exit = client(server.address(), &short).await_exit();
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    let set = |name: &str| results.configuration.get(name).map(ToString::to_string);
    assert_eq!(set("workers").as_deref(), Some("2"), "{:#?}", results.configuration);
    assert_eq!((results.load.duration_s, results.load.rate), (Some(0.3), Some(100.0)));
}

/// Everything is sent at once while everything comes back: with both directions full there must be no deadlock.
#[test]
fn large_messages_in_both_directions() {
    let server = server();
    let large = ["--size", "1MiB", "--messages", "5", "-c", "8"];
    outcome(server.address(), &large).expect_success(8, 40, 40 << 20);
    let one = [&large[..], &["--pipeline", "1"]].concat();
    outcome(server.address(), &one).expect_success(8, 40, 40 << 20);
    outcome(server.address(), &["--size", "32MiB"]).expect_success(1, 1, 32 << 20);
}

#[test]
fn sizes_around_the_buffers() {
    let server = server();
    for size in [1, 22, 65_535, 65_536, 65_537, 131_072] {
        let outcome = outcome(server.address(), &["--size", &size.to_string(), "--messages", "7", "-c", "3"]);
        outcome.expect_success(3, 21, 21 * size);
    }
}

#[test]
fn a_pipeline_limits_unanswered_messages() {
    let server = server();
    for (pipeline, messages) in [("1", 1), ("1", 100), ("3", 100), ("100", 3), ("1000000", 10_000)] {
        let outcome = outcome(server.address(), &["--pipeline", pipeline, "--messages", &messages.to_string()]);
        outcome.expect_success(1, messages, messages * 22);
    }
}

#[test]
fn with_a_pipeline_of_one_each_message_waits_for_its_echo() {
    let server = server();
    let arguments = ["--pipeline", "1", "--message", "ab", "--message", "cd", "--message", "ef", "-v"];
    let outcome = outcome(server.address(), &arguments);
    outcome.expect_success(1, 3, 6);
    let moved = |line: &&String| line.starts_with("Sending ") || line.starts_with("Received ");
    let story: Vec<_> = outcome.stderr.iter().filter(moved).collect();
    let expected = ["ab", "cd", "ef"]
        .map(|text| [format!("Sending b'{text}' to connection 1"), format!("Received b'{text}' from connection 1")]);
    assert_eq!(story, expected.as_flattened().iter().collect::<Vec<_>>());
}

/// Every form of an address reaches the same server; the number of connections may follow it.
#[test]
fn addresses_in_one_word_and_in_two() {
    let server = server();
    let (address, port) = (server.address().to_string(), server.address().port().to_string());
    let (url, quoted) = (format!("tcp://{address}"), format!("127.0.0.1 {port}"));
    for address in [&address, &url, &quoted] {
        Outcome::of(Program::client(&[address])).expect_tutorial(1);
        Outcome::of(Program::client(&[address, "--workers", "2", "3"])).expect_tutorial(3);
        Outcome::of(Program::client(&[address, "-c", "2"])).expect_tutorial(2);
        Outcome::of(Program::client(&["--target", address, "-c", "2"])).expect_tutorial(2);
        Outcome::of(Program::client(&[address, "4", "--target", &url])).expect_tutorial(4);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}", folder.path().join("m.sock").display());
    let unix = Program::server(&[&path]);
    unix.await_stdout("(unix, echo)");
    Outcome::of(Program::client(&[&path, "3"])).expect_tutorial(3);
    Outcome::of(Program::client(&["--target", &path, &address, "4"])).expect_tutorial(4);
    if has_ipv6("an address in brackets") {
        let server = Program::server(&["[::1]:0"]);
        let port = server.address().port();
        Outcome::of(Program::client(&[&format!("[::1]:{port}"), "2"])).expect_tutorial(2);
        Outcome::of(Program::client(&["--target", &format!("::1 {port}")])).expect_tutorial(1);
    }
}

#[test]
fn counts_with_units_and_separators() {
    let server = server();
    outcome(server.address(), &["0.1k", "--messages", "1_0", "--pipeline", "1k"]).expect_success(100, 1000, 22_000);
    outcome(server.address(), &["-c", "1_0", "--max-connecting", "1M", "--retries", "1k"]).expect_tutorial(10);
    outcome(server.address(), &["--size", "1_000", "--seed", "10k"]).expect_success(1, 1, 1000);
}

#[test]
fn several_workers_share_the_connections() {
    let server = server();
    for (workers, connections) in [("2", 300), ("2", 1), ("5", 3), ("3", 100)] {
        let count = connections.to_string();
        outcome(server.address(), &[&count, "--workers", workers]).expect_tutorial(connections);
    }
}

#[test]
fn few_connects_at_a_time() {
    let server = server();
    for most in ["1", "2", "1000000"] {
        outcome(server.address(), &["100", "--max-connecting", most]).expect_tutorial(100);
    }
    outcome(server.address(), &["100", "--max-connecting", "1", "--workers", "2"]).expect_tutorial(100);
}

/// Each address is used in turn: six of the first range, then one of the second.
#[test]
fn connections_come_from_several_addresses() {
    let (told, sources) = channel();
    let told = Mutex::new(told);
    let server = Fake::new(move |_, stream| {
        told.lock().unwrap().send(stream.peer_addr().unwrap().ip().to_string()).unwrap();
        echo(stream);
        None
    });
    let arguments = ["7", "--source", "127.0.0.0/29", "--source", "127.0.1.0/31", "--workers", "2"];
    outcome(server.address(), &arguments).expect_tutorial(7);
    drop(server);
    let mut sources: Vec<_> = sources.iter().collect();
    sources.sort_unstable();
    let six = [1, 2, 3, 4, 5, 6].map(|last| format!("127.0.0.{last}"));
    assert_eq!(sources, [&six[..], &["127.0.1.0".to_owned()]].concat());
}

/// However long the loops poll, they notice everything at once: bytes, timers, timeouts, messages from other threads,
/// and signals.
#[test]
fn loops_that_poll_before_they_sleep() {
    for spin in ["50us", "1h"] {
        let mut server = Program::server(&["127.0.0.1", "0", "--workers", "1", "--spin", spin]);
        let spun = |more: &[&str]| outcome(server.address(), &[&["100", "--spin", spin], more].concat());
        spun(&["--workers", "2"]).expect_tutorial(100);
        spun(&["--hold", "50ms"]).expect_tutorial(100);
        let paced = ["100", "--spin", spin, "--rate", "1k", "--duration", "100ms"];
        assert_eq!(client(server.address(), &paced).await_exit().code, Some(0));
        let exit = server.terminate();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let mut server = Program::server(&["127.0.0.1", "0", "--udp", "--spin", spin]);
        let port = server.await_stdout("(udp, ").split([':', ' ']).nth(3).unwrap().to_owned();
        let exit =
            Program::client(&["127.0.0.1", &port, "--udp", "--spin", spin, "--reply-timeout", "10s"]).await_exit();
        assert_eq!((exit.code, server.terminate().code), (Some(0), Some(0)), "{exit:#?}");
    }
}

/// On the loopback interface nothing changes.
#[test]
fn loops_with_busy_polling_of_network_cards() {
    let options = ["127.0.0.1", "0", "--workers", "2", "--busy-poll", "50us"];
    let mut server = Program::server(&options);
    let refusal = "error: cannot busy-poll network cards";
    await_until("the start of the server", || {
        let is_refused = server.stderr().iter().any(|line| line.starts_with(refusal));
        is_refused || !server.stdout().is_empty()
    });
    if server.stdout().is_empty() {
        return skipped("busy polling of network cards", "the kernel refuses it");
    }
    let polling = |more: &[&str]| outcome(server.address(), &[&["100", "--busy-poll", "1ms"], more].concat());
    polling(&["--workers", "2"]).expect_tutorial(100);
    polling(&["--hold", "50ms", "--spin", "50us"]).expect_tutorial(100);
    let paced = ["100", "--busy-poll", "1ms", "--rate", "1k", "--duration", "100ms"];
    assert_eq!(client(server.address(), &paced).await_exit().code, Some(0));
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

/// The last of twenty connects starts after 19/50 s, whichever worker starts it.
#[test]
fn evenly_spaced_connects() {
    let server = server();
    for more in [&[][..], &["--workers", "2"], &["--max-connecting", "1"]] {
        let since = Instant::now();
        outcome(server.address(), &[&["20", "--connect-rate", "50"], more].concat()).expect_tutorial(20);
        assert!(since.elapsed() >= Duration::from_millis(380), "{more:?}: after {:?}", since.elapsed());
    }
    // Replacements of closed connections count as well.
    let since = Instant::now();
    let arguments = ["--messages", "10", "--reconnect-every", "1", "--connect-rate", "25"];
    assert_eq!(client(server.address(), &arguments).await_exit().code, Some(0));
    assert!(since.elapsed() >= Duration::from_millis(360), "after {:?}", since.elapsed());
    // After the last one the client must not wait for the next start time, which is 1,000 seconds later.
    outcome(server.address(), &["1", "--connect-rate", "0.001"]).expect_tutorial(1);
}

/// The options in force are read back from the kernel and logged.
#[test]
fn socket_options_are_read_back() {
    let server = server();
    let given = ["5", "--no-delay", "off", "--keepalive", "1m", "--recv-buffer", "32KiB", "--send-buffer", "16KiB"];
    let outcome = Outcome::of(logging_client(server.address(), &given));
    outcome.expect_tutorial(5);
    let granted = "no-delay off, keep-alive 1 m, receive buffer 32 KiB, send buffer 16 KiB";
    let told = format!("options of connections to {}: {granted}", server.address());
    assert_eq!(outcome.stderr.iter().filter(|line| line.ends_with(&told)).count(), 1, "{outcome:#?}");
}

#[test]
fn the_environment_configures_as_the_options_do() {
    let server = server();
    let mut command = Program::client_command();
    command.args(["127.0.0.1", &server.address().port().to_string()]);
    command.env("MULTICONN_CONNECTIONS", "7").env("MULTICONN_SIZE", "1KiB").env("MULTICONN_MESSAGES", "2");
    Outcome::of(Program::spawn(&mut command)).expect_success(7, 14, 14 << 10);
    let mut command = Program::client_command();
    command.args(["-c", "7"]).env("MULTICONN_EMBEDDED", "1").env("MULTICONN_QUIET", "no");
    Outcome::of(Program::spawn(&mut command)).expect_tutorial(7);
}

#[test]
fn help_and_version_are_results() {
    let exit = Program::client(&["--help"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("--reply-timeout")), "{exit:#?}");
    let exit = Program::client(&["--version"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout[0].starts_with("multiconn-client "), "{exit:#?}");
}
