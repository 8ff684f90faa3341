//! Wall clock changes while the server runs: everything that shows the time of day follows. Needs a C compiler.

use super::metrics::admin_address;
use super::support::{Program, connect, read_to_end, skipped, works};
use multiconn::results::RunResults;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Five years and a day or two, in seconds.
const FIVE_YEARS: u64 = 5 * 366 * 24 * 60 * 60;

/// A preloaded clock that is late by the number of seconds in a file.
struct Clock {
    folder: tempfile::TempDir,
}

impl Clock {
    /// None without a C compiler.
    fn new() -> Option<Self> {
        if !works(Command::new("cc").arg("--version")) {
            skipped("a wall clock that is set", "there is no C compiler here");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let clock = Self { folder };
        let source: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "peers", "stepped_clock.c"].iter().collect();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(clock.library()).arg(source);
        assert!(compiler.status().unwrap().success());
        clock.set_late_by(0);
        Some(clock)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("stepped_clock.so")
    }

    fn offset(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    fn set_late_by(&self, seconds: u64) {
        std::fs::write(self.offset(), seconds.to_string()).unwrap();
    }

    fn spawn(&self, mut command: Command, arguments: &[&str]) -> Program {
        let command = command.env("LD_PRELOAD", self.library()).env("CLOCK_OFFSET", self.offset());
        Program::spawn(command.args(arguments))
    }
}

/// The year in a text with exactly one four-digit number.
fn year(text: &str) -> u64 {
    let mut words = text.split(|datagram: char| !datagram.is_ascii_digit());
    let word = words.find(|word| word.len() == 4).unwrap_or_else(|| panic!("no year in {text:?}"));
    word.parse().unwrap()
}

fn date(server: &Program) -> u64 {
    let mut stream = connect(admin_address(server));
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    year(answer.lines().find(|line| line.starts_with("Date: ")).unwrap())
}

fn daytime(server: &Program) -> u64 {
    year(&String::from_utf8(read_to_end(&mut connect(server.address()))).unwrap())
}

/// Runs a client, and returns its results.
fn run(clock: &Clock, path: &Path) -> RunResults {
    let arguments = ["--embedded", "--json", path.to_str().unwrap()];
    assert_eq!(clock.spawn(Program::client_command(), &arguments).await_exit().code, Some(0));
    RunResults::from_json(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn shown_times_follow_the_wall_clock() {
    let Some(clock) = Clock::new() else { return };
    let arguments = ["127.0.0.1", "0", "--service", "daytime", "--metrics", "127.0.0.1:0"];
    let server = clock.spawn(Program::server_command(), &arguments);
    let json = clock.folder.path().join("run.json");
    let years = || [date(&server), daytime(&server), year(&run(&clock, &json).started.to_string())];
    let before = years();
    clock.set_late_by(FIVE_YEARS);
    for (before, after) in before.into_iter().zip(years()) {
        assert!((before - 6..before - 4).contains(&after), "{after} after {before}");
    }
}

/// The kernel's timestamps are of another clock than the client's: none is used, and no latency is wrong.
#[test]
#[cfg(all(target_os = "linux", not(multiconn_fallbacks)))]
fn timestamps_of_another_clock_are_not_used() {
    let Some(clock) = Clock::new() else { return };
    let json = clock.folder.path().join("run.json");
    let missing = |results: &RunResults| results.receive_timestamps.map(|timestamps| timestamps.missing);
    // The kernel enables timestamps in the background: the first messages may have none.
    let is_complete = |_| missing(&run(&clock, &json)) == Some(0);
    assert!((0..10).any(is_complete), "timestamps are missing");
    clock.set_late_by(FIVE_YEARS);
    let results = run(&clock, &json);
    assert!(missing(&results) == Some(results.messages.answered), "{results:?}");
    let times = &results.histograms;
    assert_eq!(times.service_time.count(), results.messages.answered);
    assert!(times.service_time.max().is_some_and(|time| time.as_secs_f64() <= results.duration_s), "{results:?}");
    assert!(times.receive_delay.is_empty(), "the time of the read counts: {results:?}");
}
