//! Command line of a benchmark. Child process roles have their own, as in [`super::load`].

use std::time::Duration;

/// Maximum connections in a smoke run, to keep it short.
const QUICK_CONNECTIONS: usize = 200;
const MAX_WINDOW_SECONDS: f64 = 3600.0;

/// Name, usage text and defaults of a benchmark.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) usage: &'static str,
    pub(crate) rounds: usize,
    pub(crate) window: Duration,
    pub(crate) quick_window: Duration,
    pub(crate) case_names: Vec<&'static str>,
}

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

    /// Warm-up: caches, the scheduler and TCP windows settle within a fraction of a second.
    pub(crate) fn warm_up(&self) -> Duration {
        (self.window / 5).min(Duration::from_millis(200))
    }

    pub(crate) fn capped(&self, connections: usize) -> usize {
        if self.quick { connections.min(QUICK_CONNECTIONS) } else { connections }
    }
}

pub(crate) fn parse(bench: &Bench, arguments: &[String]) -> Result<Request, String> {
    let mut quick = false;
    let mut rounds = None;
    let mut window = None;
    let mut case_filter = String::new();

    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = |example| rest.next().ok_or(format!("{argument} needs a value, such as {example}"));
        match argument.as_str() {
            "--bench" => {} // added by cargo
            "--quick" => quick = true,
            "--rounds" => rounds = Some(parse_rounds(value("5")?)?),
            "--seconds" => window = Some(parse_seconds(value("0.5")?)?),
            "--case" => case_filter = parse_case(&bench.case_names, value("a part of its name")?)?,
            "-h" | "--help" => return Ok(Request::Help),
            unknown => return Err(format!("unknown argument {unknown:?}")),
        }
    }

    let (default_rounds, default_window) = if quick { (1, bench.quick_window) } else { (bench.rounds, bench.window) };
    Ok(Request::Run(Options {
        quick,
        rounds: rounds.unwrap_or(default_rounds),
        window: window.unwrap_or(default_window),
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
        Ok(seconds) if seconds > 0.0 && seconds <= MAX_WINDOW_SECONDS => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("--seconds {text}: give seconds above 0, up to 3600, such as 0.5")),
    }
}

fn parse_case(names: &[&str], text: &str) -> Result<String, String> {
    if names.iter().any(|name| name.contains(text)) {
        return Ok(text.to_owned());
    }
    let list: Vec<_> = names.iter().map(|name| format!("  {name}")).collect();
    Err(format!("--case {text:?}: no case has this name. The cases:\n{}", list.join("\n")))
}
