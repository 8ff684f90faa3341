//! Boundary values of options: each is rejected with a clear error or works as documented, and a signal ends the run
//! promptly.

use super::fake_server::{Fake, deaf};
use super::load::{Run, start};
use super::support::{Program, expect_refusal};
use super::udp::own_server;
use super::{client, logging_client, server};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest duration that an option accepts: 2^64 nanoseconds less some minutes.
const MAX_DURATION: &str = "5124095h";

/// Maximum time until a run ends after a signal, on a busy machine.
const MAX_END_DELAY: Duration = Duration::from_secs(8);

/// Runs `check` for each transport, with the options before HOST and PORT and the address of an echo server.
fn on_each_transport(check: impl Fn(&[&str], SocketAddr)) {
    let tcp = server();
    check(&[], tcp.address());
    let (_udp, address) = own_server(&[]);
    check(&["--udp"], address);
}

/// Interrupts an endless run and expects it to end.
#[track_caller]
fn expect_interrupted(mut program: Program, signal: Signal) {
    assert!(program.status().is_none(), "{:#?}", program.await_exit());
    let since = Instant::now();
    program.signal(signal);
    let exit = program.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
    assert!(since.elapsed() < MAX_END_DELAY, "it went on for {:?}", since.elapsed());
    assert_eq!(exit.told(&["panicked"]), 0, "{exit:#?}");
}

/// The first message is due at once, the second in a hundred years at the earliest.
#[test]
fn a_tiny_rate_waits_without_spinning() {
    let least = format!("0.{:0>320}", 5);
    on_each_transport(|transport, address| {
        for rate in ["0.00000000001", "0.0000000002", &least] {
            for more in [&["-c", "1"][..], &["-c", "9", "--workers", "8"]] {
                let program = start(address, &[transport, &["--rate", rate, "--messages", "3", "-v"], more].concat());
                program.await_stderr("Received ");
                expect_interrupted(program, Signal::INT);
            }
            let work = ["--rate", rate, "--duration", "300ms", "-c", "9", "--workers", "8", "--reply-timeout", "10s"];
            Run::of(start(address, &[transport, &work].concat())).expect_success(1);
            // With Poisson arrivals the first message waits as long as any other.
            let run = Run::of(start(address, &[transport, &work, &["--arrivals", "poisson"]].concat()));
            let (messages, errors) = (&run.results.messages, run.results.error_count());
            assert_eq!((run.code, messages.sent, errors), (Some(1), 0, 0), "it measured nothing: {run:?}");
        }
    });
}

/// 100 M messages/s cannot be sent: nearly all are counted as unsent, at the end of the duration and after an
/// interrupt.
#[test]
fn an_excessive_rate_ends() {
    on_each_transport(|transport, address| {
        let most = [transport, &["--rate", "100M"]].concat();
        for arrivals in ["uniform", "poisson"] {
            let work = ["--duration", "200ms", "-c", "2", "--workers", "2", "--arrivals", arrivals];
            let run = Run::of(start(address, &[&most[..], &work].concat()));
            let due = run.results.messages.due.unwrap();
            assert!((19_900_000..=20_100_000).contains(&due) && !run.results.valid, "{run:?}");
            assert!(arrivals == "poisson" || due == 20_000_000, "{run:?}");
        }
        for work in [&["--duration", "1h"][..], &["--messages", "18446744073709551615"]] {
            let program = logging_client(address, &[&most[..], &["--expect", "any"], work].concat());
            program.await_stderr("/s, p50 ");
            expect_interrupted(program, Signal::TERM);
        }
    });
}

#[test]
fn durations_of_centuries_are_accepted() {
    on_each_transport(|transport, address| {
        let paced = ["--rate", "100", "-v"];
        for work in [
            &["--duration", MAX_DURATION][..],
            &["--duration", MAX_DURATION, "--warm-up", MAX_DURATION],
            &["--duration", "1s", "--warm-up", MAX_DURATION],
            &["--duration", MAX_DURATION, "--reply-timeout", MAX_DURATION, "--spin", MAX_DURATION],
        ] {
            let program = start(address, &[transport, &paced, work].concat());
            program.await_stderr("Received ");
            expect_interrupted(program, Signal::INT);
        }
    });
    let server = server();
    let held = client(server.address(), &["-v", "--hold", MAX_DURATION]);
    held.await_stderr("Received ");
    expect_interrupted(held, Signal::INT);
    super::outcome(server.address(), &["--connect-timeout", MAX_DURATION, "--retry-delay", MAX_DURATION])
        .expect_tutorial(1);
    let silent = Fake::new(|_, stream| Some(stream));
    let patient = client(silent.address(), &["-v", "--reply-timeout", MAX_DURATION]);
    patient.await_stderr("Sending ");
    expect_interrupted(patient, Signal::TERM);
    let (_socket, refusing) = deaf(Ipv4Addr::LOCALHOST);
    for delay in [MAX_DURATION, "0"] {
        let program = logging_client(refusing, &["--retries", "4294967295", "--retry-delay", delay]);
        program.await_stderr("trying again in ");
        expect_interrupted(program, Signal::INT);
    }
}

#[test]
fn too_large_numbers_are_rejected_and_the_largest_accepted() {
    const MOST: &str = "18446744073709551615";
    let server = server();
    let both: [&[&str]; 2] = [&["127.0.0.1", "65432"], &["--udp", "127.0.0.1", "65432"]];
    for place in both {
        let wrong = |option: &str, value: &str, parts: &[&str]| {
            let program = Program::client(&[place, &[&format!("{option}={value}")]].concat());
            expect_refusal(program, 2, parts);
        };
        for rate in ["101M", "99999999T", &format!("1{}", "0".repeat(308))] {
            wrong("--rate", rate, &["rate", "up to 100M", "50k (--rate)"]);
        }
        for time in ["5124096h", "999999999999999999999999h"] {
            for option in ["--duration", "--warm-up", "--reply-timeout", "--spin"] {
                wrong(option, time, &[option, "too large for a duration", "1m30s"]);
            }
        }
        wrong("--size", "18446744073709551615KiB", &["--size", "too large for a size", "64KiB"]);
        wrong("--size", MOST, &["--size", "1 GiB"]);
        for option in ["--messages", "--pipeline", "--workers", "--connections"] {
            wrong(option, "18446744073709551616", &[option, "1000"]);
        }
    }
    for rate in ["101M", &format!("1{}", "0".repeat(308))] {
        let program = client(server.address(), &["--connect-rate", rate]);
        expect_refusal(program, 2, &["connects", "up to 100M", "5k (--connect-rate)"]);
    }
    for size in ["4GiB", MOST] {
        expect_refusal(client(server.address(), &["--buffer-limit", size]), 2, &["4 GiB", "64KiB (--buffer-limit)"]);
    }
    for option in ["--pipeline", "--max-connecting", "--reconnect-every", "--workers", "--seed"] {
        super::outcome(server.address(), &["5", option, MOST]).expect_tutorial(5);
    }
    for rate in ["100M", "0.00000000001"] {
        super::outcome(server.address(), &["1", "--connect-rate", rate]).expect_tutorial(1);
    }
    let reconnecting = ["-c", "5", "--workers", "4", "--messages", "8", "--reconnect-every", "1"];
    let exit = client(server.address(), &[&reconnecting[..], &["--connect-rate", "100M"]].concat()).await_exit();
    assert_eq!((exit.code, exit.told(&["panicked"])), (Some(0), 0), "{exit:#?}");
}
