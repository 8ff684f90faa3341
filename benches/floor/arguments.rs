//! The command line of the comparison itself; the roles have their own, in [`crate::load`].

use std::time::Duration;

use crate::cases;

pub(crate) const USAGE: &str = "\
Usage: cargo bench --bench floor -- [OPTIONS]

  --rounds N      alternations of the three servers (default 5)
  --seconds S     measuring time of one server in one round (default 1)
  --case TEXT     only the cases whose name contains TEXT
  --quick         a smoke run: 1 round of 0.1 s, at most 200 connections, nothing judged
  -h, --help      this text
";

/// More than this in a smoke run would only make it slow.
const QUICK_CONNECTIONS: usize = 200;
const LONGEST_WINDOW_SECONDS: f64 = 3600.0;

pub(crate) enum Request {
    Run(Options),
    Help,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    case_filter: String,
}

impl Options {
    pub(crate) fn selects(&self, case_name: &str) -> bool {
        case_name.contains(&self.case_filter)
    }

    /// Caches, the scheduler and TCP's windows settle within a fraction of a second.
    pub(crate) fn warm_up(&self) -> Duration {
        (self.window / 5).min(Duration::from_millis(200))
    }

    pub(crate) fn capped(&self, connections: usize) -> usize {
        if self.quick { connections.min(QUICK_CONNECTIONS) } else { connections }
    }
}

pub(crate) fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut quick = false;
    let mut rounds = None;
    let mut window = None;
    let mut case_filter = String::new();

    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = |example| rest.next().ok_or(format!("{argument} needs a value, such as {example}"));
        match argument.as_str() {
            "--bench" => {} // cargo adds it
            "--quick" => quick = true,
            "--rounds" => rounds = Some(parse_rounds(value("5")?)?),
            "--seconds" => window = Some(parse_seconds(value("0.5")?)?),
            "--case" => case_filter = parse_case(value("'64 conns'")?)?,
            "-h" | "--help" => return Ok(Request::Help),
            unknown => return Err(format!("unknown argument {unknown:?}")),
        }
    }

    let (quick_or_full_rounds, quick_or_full_window) =
        if quick { (1, Duration::from_millis(100)) } else { (5, Duration::from_secs(1)) };
    Ok(Request::Run(Options {
        quick,
        rounds: rounds.unwrap_or(quick_or_full_rounds),
        window: window.unwrap_or(quick_or_full_window),
        case_filter,
    }))
}

fn parse_rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rounds) if rounds > 0 => Ok(rounds),
        _ => Err(format!("--rounds {text}: give a whole number from 1 on, such as 5")),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST_WINDOW_SECONDS => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("--seconds {text}: give seconds above 0, up to 3600, such as 0.5")),
    }
}

fn parse_case(text: &str) -> Result<String, String> {
    if cases::ALL.iter().any(|case| case.name.contains(text)) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = cases::ALL.iter().map(|case| format!("  {}", case.name)).collect();
    Err(format!("--case {text:?}: no case is called so. The cases:\n{}", names.join("\n")))
}
