//! Text report: one block per case.

use crate::cases::{Case, Target};
use crate::common::child::Speed;
use crate::common::figures::{Spread, grouped, ratio};
use crate::common::verdicts::Verdicts;
use crate::kind::Kind;
use crate::rounds::PerKind;

pub(crate) fn speed(case: &Case, rounds: &[PerKind<Speed>], verdicts: &mut Verdicts) {
    let Target::Speed { min_rate_ratio, max_cpu_ratio } = case.target else {
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
        let verdict = verdicts.judge(rate.median >= min_rate_ratio);
        let target = format!("target >= {min_rate_ratio:.2}: {verdict}");
        row("  ours / bare", &ratio(rate.median), &ratio(cpu.median), &target);
        let cpu_target = max_cpu_ratio
            .map_or(String::new(), |max| format!("CPU <= {max:.2}: {}", verdicts.judge(cpu.median <= max)));
        row("    min..max", &rate.range(), &cpu.range(), &cpu_target);
    }

    let rate = ratio_to(Kind::Tokio, |speed| speed.per_second);
    let cpu = ratio_to(Kind::Tokio, |speed| speed.cpu_us_each);
    let target = format!("target > 1: {}", verdicts.judge(rate.median > 1.0));
    row("  ours / tokio", &ratio(rate.median), &ratio(cpu.median), &target);
    println!();
}

pub(crate) fn memory(case: &Case, bytes_each: PerKind<f64>, verdicts: &mut Verdicts) {
    let Target::Memory { max_bytes_each } = case.target else {
        return;
    };
    let [bare, ours, tokio] = bytes_each;
    row(case.name, "bytes each", "", "");
    if case.traffic.tls {
        row("  ours", &grouped(ours), "", "");
        row("  tokio", &grouped(tokio), "", "");
    } else {
        row("  bare", &grouped(bare), "", "");
        let verdict = verdicts.judge(ours <= max_bytes_each);
        row("  ours", &grouped(ours), "", &format!("target <= {max_bytes_each}: {verdict}"));
        row("  tokio", &grouped(tokio), "", "");
        row("  ours / bare", &ratio(ours / bare), "", "");
    }
    let verdict = verdicts.judge(ours < tokio);
    row("  ours / tokio", &ratio(ours / tokio), "", &format!("target < 1: {verdict}"));
    println!();
}

/// Prints a row of at most 100 columns.
pub(crate) fn row(label: &str, rate: &str, cpu: &str, remark: &str) {
    let line = format!("{label:<43}{rate:>14}{cpu:>13}  {remark}");
    println!("{}", line.trim_end());
}
