//! What the report says about the precision of its percentiles: a punctual client is not alarmed, a starved one is marked
//! or not valid and says why.

use super::load::{Run, load};
use super::server;
use multiconn::results::Precision;

/// The report as one line.
fn text(run: &Run) -> String {
    run.stderr.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" ")
}

/// Messages that are sent one at a time are exact, however late the client is. Only a client that is late by 10 ms, for
/// half of all messages, sends two at once.
#[test]
fn a_punctual_open_loop_is_exact() {
    let server = server();
    let is_exact = |_| {
        let run = load(server.address(), &["--rate", "100", "--duration", "1s", "-c", "10"]);
        run.expect_success(100);
        let median = run.results.percentile(0.5).expect("replies");
        let is_known = if run.results.histograms.receive_delay.is_empty() {
            median.precision == Precision::Unknown
        } else {
            median.floor.is_some_and(|floor| floor <= median.value)
        };
        assert!(is_known && text(&run).contains(" client +"), "{run:?}");
        run.results.valid && run.results.reasons.is_empty() && median.precision != Precision::Bounded
    };
    assert!((0..5).any(is_exact), "each of five runs was late for half of its messages, or not valid");
}

/// Without kernel timestamps, or without a schedule, nothing is known.
#[test]
fn nothing_is_marked_without_bounds() {
    let server = server();
    for arguments in [
        // No more messages than one turn sends: the load of a late client ends in time.
        &["--rate", "300", "--timestamps", "user"][..],
        &["--pipeline", "4"],
        &["--pipeline", "4", "--timestamps", "user"],
    ] {
        let run = load(server.address(), &[&["-c", "8", "--duration", "300ms"], arguments].concat());
        let median = run.results.percentile(0.5).expect("replies");
        assert_eq!((median.precision, median.floor), (Precision::Unknown, None), "{run:?}");
        let text = text(&run);
        assert!(run.results.valid && !text.contains('!') && !text.contains("at least"), "{run:?}");
    }
}

#[cfg(target_os = "linux")]
mod starved {
    use super::*;
    use crate::support::{PATIENCE, Program};
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::process::{Child, Command};

    /// Programs that use all the CPU time that other tests leave them, until they are dropped.
    struct BusyPrograms(Vec<Child>);

    impl BusyPrograms {
        fn start(number: usize) -> Self {
            // Each ends by itself, if this test does not end it.
            let program = "for _ in $(seq 300); do for _ in $(seq 10000); do :; done; done";
            let start = |_| Command::new("nice").args(["-n", "19", "sh", "-c", program]).spawn().expect("a shell");
            Self((0..number).map(start).collect())
        }
    }

    impl Drop for BusyPrograms {
        fn drop(&mut self) {
            for child in &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }

    /// Six busy programs leave the client a seventh of a CPU at most, for more messages than that allows. Beside other
    /// tests it is much less, since the client has the lowest priority.
    #[test]
    fn a_client_without_a_cpu_says_so() {
        let server = server();
        let all = sched_getaffinity(None).expect("the affinity of this thread");
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).expect("a CPU"));
        // A child inherits the affinity of the thread that starts it.
        sched_setaffinity(None, &one).expect("a CPU of this process");
        let busy = BusyPrograms::start(6);
        let mut command = Program::client_under(&["nice", "-n", "19"]);
        let load = ["--rate", "50k", "--duration", "2s", "-c", "20", "--size", "64", "--json", "-"];
        let patient = ["--connect-timeout", "3m", "--reply-timeout", "3m"];
        let program = Program::spawn(command.arg(server.address().to_string()).args(load).args(patient));
        sched_setaffinity(None, &all).expect("the affinity it had");
        let run = Run::within(PATIENCE * 4, program);
        drop(busy);
        let cpu = run.results.cpu.expect("CPU times");
        assert!(cpu.waiting_s.is_some_and(|waiting_s| waiting_s > 0.1), "{run:?}");
        assert!(cpu.steal_s.is_some(), "{run:?}");
        let is_bounded = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0].iter().any(|quantile| {
            run.results.percentile(*quantile).is_some_and(|percentile| percentile.precision == Precision::Bounded)
        });
        assert!(is_bounded || !run.results.valid, "{run:?}");
        let text = text(&run);
        assert_eq!(
            (text.contains("NOT VALID: client-limited"), text.contains("marked !")),
            (!run.results.valid, is_bounded)
        );
        assert!(text.contains("waiting for a CPU") && text.contains("what helps: a CPU of its own"), "{text}");
    }
}
