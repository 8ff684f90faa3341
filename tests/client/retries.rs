//! Connect retries, and several targets.

use super::fake_server::{Fake, deaf, echo};
use super::support::Program;
use super::{Outcome, client, logging_client, server};
use multiconn::cli::AddressRepr;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

const REFUSED: &str = "connection refused: nothing listens there";

/// The line of the report that begins with `label`.
fn line<'a>(stdout: &'a [String], label: &str) -> Option<&'a str> {
    stdout.iter().find_map(|line| line.trim_start().strip_prefix(label)).map(str::trim)
}

#[test]
fn a_server_that_starts_late_is_found() {
    for workers in ["1", "2"] {
        let (socket, address) = deaf(Ipv4Addr::LOCALHOST);
        let mut waiting =
            logging_client(address, &["5", "--retries", "100", "--retry-delay", "20ms", "--workers", workers]);
        let told = waiting.await_stderr("trying again in ");
        assert!(told.contains(&format!("failure=\"{REFUSED}\"")) && told.contains(" connection="), "{told}");
        socket.listen(128).unwrap();
        let listener = TcpListener::from(socket);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                let (stream, _) = listener.accept().unwrap();
                scope.spawn(|| echo(stream));
            }
        });
        let exit = waiting.await_exit();
        assert!(
            line(&exit.stdout, "retries ").is_some_and(|retries| retries.parse::<u64>().unwrap() >= 1),
            "{exit:#?}"
        );
        Outcome::read(exit).expect_tutorial(5);
    }
}

/// Each of three connections is tried once, and retried twice after about 100 and 200 ms.
#[test]
fn it_gives_up_after_the_retries() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    let since = Instant::now();
    let exit = logging_client(address, &["3", "--retries", "2"]).await_exit();
    assert!(since.elapsed() >= Duration::from_millis(150), "{:?}", since.elapsed());
    assert_eq!(line(&exit.stdout, "retries "), Some("6"), "{exit:#?}");
    assert_eq!(exit.told(&["trying again in"]), 6, "{exit:#?}");
    assert_eq!(exit.told(&["Starting connection 2 to"]), 3, "{exit:#?}");
    Outcome::read(exit).expect_failures(&[(REFUSED, 3)]);
}

/// Waiting takes no place among the connects in progress: even with a limit of one, the others are tried meanwhile.
#[test]
fn a_waiting_retry_does_not_delay_other_connects() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    let since = Instant::now();
    // One after the other they would take 40 seconds or more.
    let arguments = ["80", "--retries", "1", "--retry-delay", "1s", "--max-connecting", "1"];
    let exit = client(address, &arguments).await_exit();
    assert!(since.elapsed() < Duration::from_secs(20), "one after the other: {:?}", since.elapsed());
    assert_eq!(line(&exit.stdout, "retries "), Some("80"), "{exit:#?}");
    Outcome::read(exit).expect_failures(&[(REFUSED, 80)]);
}

#[test]
fn a_waiting_retry_can_be_interrupted() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    let waiting = logging_client(address, &["4", "--retries", "9", "--retry-delay", "1h"]);
    waiting.await_stderr(" connection=4 failure=");
    waiting.signal(rustix::process::Signal::INT);
    let outcome = Outcome::of(waiting);
    assert_eq!((outcome.code, outcome.failed), (Some(130), 4), "{outcome:#?}");
}

#[test]
fn a_socket_that_is_not_there_yet_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock").to_str().unwrap().to_owned();
    let arguments = ["--unix", &path, "-c", "3", "--retries", "100", "--retry-delay", "10ms"];
    let waiting = Program::spawn_logging(Program::client_command().args(arguments));
    waiting.await_stderr("trying again in ");
    let _server = Program::server(&["--unix", &path]);
    Outcome::of(waiting).expect_tutorial(3);
}

/// A permanent error is not retried.
#[test]
fn permanent_errors_are_not_retried() {
    let fake = Fake::new(|_, _| None);
    let exit = client(fake.address(), &["--retries", "5"]).await_exit();
    assert_eq!((exit.code, line(&exit.stdout, "retries ")), (Some(1), None), "{exit:#?}");
}

#[test]
fn connections_go_round_the_targets() {
    let servers = [server(), server(), server()];
    let [first, second, third] = [&servers[0], &servers[1], &servers[2]].map(|server| server.address().to_string());
    let outcome =
        Outcome::of(Program::client(&["--target", &first, "--target", &second, "--target", &third, "-c", "31"]));
    outcome.expect_tutorial(31);
    assert!(outcome.verdict.contains(&format!("{first}, {second}, {third}")), "{outcome:#?}");
    for (mut server, served) in servers.into_iter().zip([11, 10, 10]) {
        let exit = server.terminate();
        assert!(
            exit.stdout.iter().any(|line| line.starts_with(&format!("Served {served} connections "))),
            "{served}: {exit:#?}"
        );
    }
}

#[test]
fn host_and_port_are_the_first_target() {
    let (first, second) = (server(), server());
    let arguments = ["3", "-v", "--target", &second.address().to_string()];
    let outcome = Outcome::of(client(first.address(), &arguments));
    outcome.expect_tutorial(3);
    for (number, server) in [(1, &first), (2, &second), (3, &first)] {
        let started = format!("Starting connection {number} to {}", AddressRepr(server.address()));
        assert!(outcome.stderr.contains(&started), "{outcome:#?}");
    }
}

/// One of three targets is down and one resets: the report tells which.
#[test]
fn the_report_names_the_target_that_fails() {
    let server = server();
    let (_socket, away) = deaf(Ipv4Addr::LOCALHOST);
    let busy = Fake::new(|_, stream| {
        echo(stream);
        None
    });
    let targets = ["--target", &away.to_string(), "--target", &busy.address().to_string()];
    let exit = client(server.address(), &[&["10"], &targets[..]].concat()).await_exit();
    let told: Vec<_> = exit.stdout.iter().filter_map(|line| line.trim_start().strip_prefix("target ")).collect();
    let expected = [(server.address(), 0), (away, 3), (busy.address(), 0)];
    let expected: Vec<_> = expected.iter().map(|(place, failed)| format!("      {place}: {failed} failed")).collect();
    assert_eq!(told, expected, "{exit:#?}");
    Outcome::read(exit).expect_failures(&[(REFUSED, 3)]);
}

/// All addresses of a name are tried, of both families: nothing listens on IPv6 here.
#[test]
fn all_addresses_of_each_target_are_tried() {
    let (first, second) = (server(), server());
    let name = |server: &Program| format!("localhost:{}", server.address().port());
    let arguments = ["--target", &name(&first), "--target", &name(&second), "-c", "20"];
    Outcome::of(Program::client(&arguments)).expect_tutorial(20);
}
