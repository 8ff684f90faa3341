//! A client that does not get the CPU when it needs it: how much of that is in its figures.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use multiconn::results::{Latencies, Precision};
use rustix::process::{Pid, Signal, getppid, kill_process};

use crate::arrival_server::{ArrivalServer, Behaviour, ReplyAt, one_per};
use crate::client::{Client, at, check, run};
use crate::common::Outcome;
use crate::common::child::{Guard, own_command};
use crate::common::cpus::{CpuRole, move_to};
use crate::common::figures::{Spread, ratio};
use crate::context::{Bench, micros, option, row};

const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Programs besides the client on its CPU.
const BUSY_PROGRAMS: usize = 2;

/// Length of the client's stalls, and the time between two of them.
const STALL: Duration = Duration::from_micros(300);
const STALL_PAUSE: Duration = Duration::from_micros(9700);

/// The CPU of a closed loop is shared with two programs that use all they get. Undisturbed and disturbed runs alternate.
///
/// The servers poll. One that sleeps takes longer to wake up after each pause of the client, and that is not the client's.
/// One replies at once, and one after 100 µs: what remains is a few microseconds that do not depend on the server.
pub(crate) fn shared_cpu(bench: &mut Bench) -> Outcome<()> {
    for micros in [0, 100] {
        row(&format!("server that takes {micros} µs"), "", "");
        shared_cpu_with(bench, Some(one_per(micros * 1000, 0)))?;
    }
    Ok(())
}

fn shared_cpu_with(bench: &mut Bench, reply_at: Option<ReplyAt>) -> Outcome<()> {
    let server = ArrivalServer::start(&bench.setup.cpus, Behaviour { reply_at, polls: true, ..Behaviour::default() })?;
    for timestamps in ["kernel", "user"] {
        let (mut alone, mut disturbed) = (Vec::new(), Vec::new());
        for _ in 0..bench.setup.options.rounds {
            alone.push(service_time(bench, server.port, timestamps)?);
            let programs = busy_programs(bench)?;
            disturbed.push(service_time(bench, server.port, timestamps)?);
            drop(programs);
        }
        for (name, quantile) in PERCENTILES {
            let median = |runs: &[Latencies]| -> Outcome<f64> {
                let figures = runs.iter().map(|run| at(run, quantile)).collect::<Outcome<Vec<_>>>()?;
                Ok(Spread::of(figures.into_iter()).median)
            };
            let (before, after) = (median(&alone)?, median(&disturbed)?);
            let label = format!("{timestamps}, {name}: alone, disturbed");
            let figure = format!("{}, {}", micros(before), micros(after));
            if timestamps == "kernel" {
                let is_near = (after / before - 1.0).abs() <= 0.2;
                bench.judge(&label, &figure, "within 20 %", is_near);
            } else {
                row(&label, &figure, &format!("{} times", ratio(after / before)));
            }
        }
    }
    server.finish().map(drop)
}

fn service_time(bench: &Bench, port: u16, timestamps: &str) -> Outcome<Latencies> {
    let (duration, warm_up) = (option(bench.short_window()), option(bench.setup.options.warm_up()));
    let work = ["-c", "1", "--pipeline", "1", "--duration", &duration, "--warm-up", &warm_up];
    Ok(run(bench, port, &[&work[..], &["--timestamps", timestamps]].concat())?.histograms.service_time)
}

/// Programs on the client's CPU that use all of it, until they are dropped.
fn busy_programs(bench: &Bench) -> Outcome<Vec<Guard>> {
    let start = |_| {
        let mut command = own_command("busy")?;
        Ok(Guard(bench.setup.cpus.spawn(command.stdin(Stdio::null()), CpuRole::Load)?))
    };
    (0..BUSY_PROGRAMS).map(start).collect()
}

/// Uses a CPU as long as the parent process lives.
pub(crate) fn run_busy_program() {
    let parent = getppid();
    while getppid() == parent {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
    }
}

/// The client is stopped for 300 µs every 10 ms, and then sends what was due meanwhile. That queues in a server that
/// takes 20 µs for each message and is busy for 60 % of the time. What an undisturbed client sees must lie within the
/// bounds, and the percentiles that the queue has moved must be marked.
pub(crate) fn stalls(bench: &mut Bench) -> Outcome<()> {
    let behaviour = Behaviour { reply_at: Some(one_per(20_000, 0)), polls: true, ..Behaviour::default() };
    let server = ArrivalServer::start(&bench.setup.cpus, behaviour)?;
    let (duration, warm_up) = (option(bench.window()), option(bench.setup.options.warm_up()));
    let work = ["-c", "50", "--rate", "30k", "--duration", &duration, "--warm-up", &warm_up];
    let truth = run(bench, server.port, &work)?.histograms.response_time;
    let client = Client::start(bench, server.port, &work)?;
    let stalls = stall(bench, &client)?;
    let results = client.results()?;
    check(&results)?;
    server.finish()?;
    row("stalls of 300 µs", &stalls.to_string(), "");
    for (name, quantile) in PERCENTILES {
        let percentile = results.percentile(quantile).ok_or("no message was answered")?;
        let floor = percentile.floor.map_or(0.0, |floor| floor.as_secs_f64() * 1e6);
        let (truth, ceiling) = (at(&truth, quantile)?, at(&results.histograms.ceiling, quantile)?);
        let figure = format!("{} in {floor:.1}..{ceiling:.1}", micros(truth));
        let is_within = floor <= truth * 1.1 && truth <= ceiling * 1.1;
        bench.judge(&format!("{name} without stalls, and bounds"), &figure, "within, ± 10 %", is_within);
        let response = micros(percentile.value.as_secs_f64() * 1e6);
        let (label, mark) = ("  with stalls", format!("{:?}", percentile.precision));
        if quantile < 0.9 {
            row(label, &response, &mark);
        } else {
            let is_bounded = percentile.precision == Precision::Bounded;
            bench.judge(label, &format!("{response}, {mark}"), "bounded", is_bounded);
        }
    }
    Ok(())
}

/// Stops the client again and again for the length of a run, and returns how often. The thread that does so keeps the
/// client's CPU busy meanwhile.
fn stall(bench: &Bench, client: &Client) -> Outcome<u64> {
    let pid = i32::try_from(client.pid()).ok().and_then(Pid::from_raw).ok_or("the client has no PID")?;
    let signal = |signal| kill_process(pid, signal).map_err(|error| format!("cannot signal the client: {error}"));
    let (cpu, end) = (bench.setup.cpus.only(CpuRole::Load), Instant::now() + bench.window());
    let stall_until_end = || -> Outcome<u64> {
        cpu.iter().try_for_each(move_to)?;
        let mut count = 0;
        while Instant::now() < end {
            thread::sleep(STALL_PAUSE);
            let begin = Instant::now();
            signal(Signal::STOP)?;
            while begin.elapsed() < STALL {
                std::hint::spin_loop();
            }
            signal(Signal::CONT)?;
            count += 1;
        }
        Ok(count)
    };
    thread::scope(|scope| scope.spawn(stall_until_end).join().map_err(|_| "the stalling thread panicked")?)
}
