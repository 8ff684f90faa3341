//! Cases with datagrams: `multiconn-server --udp` and a bare loop of recvmmsg and sendmmsg under the same load.

use crate::common::Outcome;
use crate::common::arguments::Options;
use crate::common::child::{Server, Speed, multiconn_server, own_command};
use crate::common::cpus::Cpus;
use crate::common::figures::{Spread, grouped, ratio};
use crate::common::traffic::{Pattern, Traffic};
use crate::common::verdicts::Verdicts;
use crate::report::row;
use crate::rounds::load_once;

pub(crate) struct UdpCase {
    pub(crate) name: &'static str,
    traffic: Traffic,
    /// Target for the datagrams per second, relative to the bare loop.
    min_rate_ratio: f64,
}

pub(crate) const ALL: [UdpCase; 5] = [
    UdpCase::of("UDP, 64 flows, 64 B, 8 in flight", Pattern::Datagrams, 64, 8),
    UdpCase::of("UDP, 64 flows, 1,200 B, 8 in flight", Pattern::Datagrams, 1200, 8),
    UdpCase::of("UDP, 64 flows, 64 B, 1 in flight", Pattern::Datagrams, 64, 1),
    UdpCase::of("UDP merged, 64 flows, 64 B, 8 in flight", Pattern::MergedDatagrams, 64, 8),
    UdpCase::of("UDP merged, 64 flows, 1,200 B, 8 in flight", Pattern::MergedDatagrams, 1200, 8),
];

impl UdpCase {
    const fn of(name: &'static str, pattern: Pattern, message_bytes: usize, depth: usize) -> Self {
        let min_rate_ratio = if matches!(pattern, Pattern::MergedDatagrams) { 1.3 } else { 0.98 };
        Self { name, traffic: Traffic { pattern, ..Traffic::steady(64, message_bytes, depth) }, min_rate_ratio }
    }
}

pub(crate) fn run(case: &UdpCase, options: &Options, cpus: &Cpus, verdicts: &mut Verdicts) -> Outcome<()> {
    let mut bare = Server::start("bare", own_command("bare-udp")?, cpus)?;
    let mut ours = Server::start("ours", multiconn_server(&["--udp"]), cpus)?;
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let load = |server: &mut Server| load_once(server, case.traffic, options, cpus);
        rounds.push(if round % 2 == 0 {
            let bare = load(&mut bare)?;
            (bare, load(&mut ours)?)
        } else {
            let ours = load(&mut ours)?;
            (load(&mut bare)?, ours)
        });
    }
    report(case, &rounds, verdicts);
    Ok(())
}

fn report(case: &UdpCase, rounds: &[(Speed, Speed)], verdicts: &mut Verdicts) {
    let spread = |figure: &dyn Fn(&(Speed, Speed)) -> f64| Spread::of(rounds.iter().map(figure));
    row(case.name, "datagrams/s", "CPU µs each", "");
    for (name, index) in [("bare", 0), ("ours", 1)] {
        let speed = |(bare, ours): &(Speed, Speed)| [*bare, *ours][index];
        let rate = grouped(spread(&|round| speed(round).per_second).median);
        row(&format!("  {name}"), &rate, &format!("{:.2}", spread(&|round| speed(round).cpu_us_each).median), "");
    }
    let rate = spread(&|(bare, ours)| ours.per_second / bare.per_second);
    let cpu = spread(&|(bare, ours)| ours.cpu_us_each / bare.cpu_us_each);
    let verdict = verdicts.judge(rate.median >= case.min_rate_ratio);
    row(
        "  ours / bare",
        &ratio(rate.median),
        &ratio(cpu.median),
        &format!("target >= {:.2}: {verdict}", case.min_rate_ratio),
    );
    row("    min..max", &rate.range(), &cpu.range(), "");
    println!();
}
