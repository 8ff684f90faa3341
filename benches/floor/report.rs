//! The plain text a reader gets: the environment, a block per case, the balance.

use std::process::ExitCode;

use crate::arguments::Options;
use crate::cases::{Case, Target};
use crate::child::Kind;
use crate::cpus::Cpus;
use crate::procfs;
use crate::rounds::{PerKind, Speed};

/// How the cases went.
#[derive(Default)]
pub(crate) struct Tally {
    met: usize,
    missed: usize,
    skipped: usize,
    failed: usize,
}

impl Tally {
    pub(crate) fn skipped(&mut self, case: &Case, descriptors: u64) {
        self.skipped += 1;
        println!("{}\n  skipped: {descriptors} descriptors per process are too few\n", case.name);
    }

    pub(crate) fn failed(&mut self, case: &Case, message: &str) {
        self.failed += 1;
        println!("{}\n  failed: {message}\n", case.name);
    }

    pub(crate) fn finish(&self) -> ExitCode {
        println!(
            "targets: {} met, {} missed; cases: {} skipped, {} failed",
            self.met, self.missed, self.skipped, self.failed
        );
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// A smoke run is too short for a judgement.
    fn judge(&mut self, options: &Options, met: bool) -> &'static str {
        if options.quick {
            "not judged"
        } else if met {
            self.met += 1;
            "ok"
        } else {
            self.missed += 1;
            "MISSED"
        }
    }
}

pub(crate) fn environment(options: &Options, cpus: &Cpus, descriptors: u64) {
    let build = if cfg!(debug_assertions) {
        "with debug assertions: the figures mean nothing"
    } else {
        "optimised, no debug assertions"
    };
    println!("The floor: a bare epoll loop, multiconn-server and tokio under the same load\n");
    println!("kernel       {}", procfs::kernel());
    println!("processor    {}", procfs::processor());
    println!("pinning      {}", cpus.describe());
    println!("descriptors  {} per process", grouped(descriptors as f64));
    println!("build        {build}");
    println!(
        "rounds       {} of {:?} per server after {:?} of warm-up; ratios are medians over rounds",
        options.rounds,
        options.window,
        options.warm_up()
    );
    if options.quick {
        println!("smoke run    connections are capped at {}", options.capped(usize::MAX));
    }
    println!();
}

pub(crate) fn speed(case: &Case, rounds: &[PerKind<Speed>], options: &Options, tally: &mut Tally) {
    let Target::Speed { least_rate_ratio, most_cpu_ratio } = case.target else {
        return;
    };
    row(case.name, case.unit(), "CPU µs each", "");
    for &kind in case.kinds() {
        let of_kind = |figure: fn(&Speed) -> f64| Spread::of(rounds.iter().map(|round| figure(&round[kind as usize])));
        let rate = grouped(of_kind(|speed| speed.per_second).median);
        let cpu = format!("{:.2}", of_kind(|speed| speed.cpu_us_each).median);
        row(&format!("  {}", kind.name()), &rate, &cpu, "");
    }

    let ratio_to = |other: Kind, figure: fn(&Speed) -> f64| {
        Spread::of(rounds.iter().map(|round| figure(&round[Kind::Ours as usize]) / figure(&round[other as usize])))
    };
    if !case.traffic.tls {
        let rate = ratio_to(Kind::Bare, |speed| speed.per_second);
        let cpu = ratio_to(Kind::Bare, |speed| speed.cpu_us_each);
        let verdict = tally.judge(options, rate.median >= least_rate_ratio);
        let target = format!("target >= {least_rate_ratio:.2}: {verdict}");
        row("  ours / bare", &ratio(rate.median), &ratio(cpu.median), &target);
        let cpu_target = most_cpu_ratio
            .map_or(String::new(), |most| format!("CPU <= {most:.2}: {}", tally.judge(options, cpu.median <= most)));
        row("    min..max", &rate.range(), &cpu.range(), &cpu_target);
    }

    let rate = ratio_to(Kind::Tokio, |speed| speed.per_second);
    let cpu = ratio_to(Kind::Tokio, |speed| speed.cpu_us_each);
    let target = format!("target > 1: {}", tally.judge(options, rate.median > 1.0));
    row("  ours / tokio", &ratio(rate.median), &ratio(cpu.median), &target);
    println!();
}

pub(crate) fn memory(case: &Case, bytes_each: PerKind<f64>, options: &Options, tally: &mut Tally) {
    let Target::Memory { most_bytes_each } = case.target else {
        return;
    };
    let [bare, ours, tokio] = bytes_each;
    row(case.name, "bytes each", "", "");
    if case.traffic.tls {
        row("  ours", &grouped(ours), "", "");
        row("  tokio", &grouped(tokio), "", "");
    } else {
        row("  bare", &grouped(bare), "", "");
        let verdict = tally.judge(options, ours <= most_bytes_each);
        row("  ours", &grouped(ours), "", &format!("target <= {most_bytes_each}: {verdict}"));
        row("  tokio", &grouped(tokio), "", "");
        row("  ours / bare", &ratio(ours / bare), "", "");
    }
    let verdict = tally.judge(options, ours < tokio);
    row("  ours / tokio", &ratio(ours / tokio), "", &format!("target < 1: {verdict}"));
    println!();
}

/// Fits 100 columns.
fn row(label: &str, rate: &str, cpu: &str, remark: &str) {
    let line = format!("{label:<43}{rate:>14}{cpu:>13}  {remark}");
    println!("{}", line.trim_end());
}

struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of at least one figure.
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { min: sorted[0], median: f64::midpoint(low, high), max: sorted[sorted.len() - 1] }
    }

    fn range(&self) -> String {
        format!("{:.3}..{:.3}", self.min, self.max)
    }
}

fn ratio(value: f64) -> String {
    format!("{value:.3}")
}

/// A whole number with a comma between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < -0.5 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
