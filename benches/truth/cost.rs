//! Cost of the client's statistics and verification: rate compared with a load that has neither, and memory.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, run};
use crate::common::child::{Load, Server};
use crate::common::figures::{Spread, grouped, ratio};
use crate::common::load::LoadParameters;
use crate::common::traffic::Traffic;
use crate::common::{Outcome, procfs};
use crate::context::{Bench, option, row};

/// Descriptors of the client besides its connections, with a margin.
const SPARE_DESCRIPTORS: u64 = 64;

/// The client counts as idle when it uses less than a hundredth of this time.
const IDLE_INTERVAL: Duration = Duration::from_millis(300);

/// Timeout for the client to become idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Compares the rates of the client, which measures and verifies, and of a bare loop.
pub(crate) fn speed(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&[])?;
    let bare = |bench: &Bench| bare_rate(bench, &server);
    let ours = |bench: &Bench| our_rate(bench, &server, "64", "user");
    compare(bench, ("bare loop", &bare), ("multiconn-client", &ours), 0.95)
}

/// Compares the rates of the client with and without the kernel's timestamps.
pub(crate) fn timestamps(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&[])?;
    for connections in ["64", "1"] {
        let user = |bench: &Bench| our_rate(bench, &server, connections, "user");
        let kernel = |bench: &Bench| our_rate(bench, &server, connections, "kernel");
        let [user_name, kernel_name] = ["user", "kernel"].map(|source| format!("{connections} conns, {source}"));
        compare(bench, (&user_name, &user), (&kernel_name, &kernel), 0.95)?;
    }
    Ok(())
}

/// A load with its name, as messages per second.
type Rate<'a> = (&'a str, &'a dyn Fn(&Bench) -> Outcome<f64>);

/// Judges the ratio of the rates. Rounds alternate which load runs first.
fn compare(bench: &mut Bench, base: Rate<'_>, compared: Rate<'_>, min_ratio: f64) -> Outcome<()> {
    let (mut base_rates, mut rates) = (Vec::new(), Vec::new());
    for round in 0..bench.setup.options.rounds {
        if round % 2 == 0 {
            base_rates.push(base.1(bench)?);
            rates.push(compared.1(bench)?);
        } else {
            rates.push(compared.1(bench)?);
            base_rates.push(base.1(bench)?);
        }
    }
    for (name, rates) in [(base.0, &base_rates), (compared.0, &rates)] {
        row(&format!("{name}, messages/s"), &grouped(Spread::of(rates.iter().copied()).median), "");
    }
    let ratios = Spread::of(rates.iter().zip(&base_rates).map(|(rate, base_rate)| rate / base_rate));
    bench.judge("ratio", &ratio(ratios.median), &format!(">= {min_ratio}"), ratios.median >= min_ratio);
    row("  min..max", &ratios.range(), "");
    Ok(())
}

fn our_rate(bench: &Bench, server: &Server, connections: &str, timestamps: &str) -> Outcome<f64> {
    let (duration, warm_up) = (option(bench.short_window()), option(bench.setup.options.warm_up()));
    let work = ["-c", connections, "--pipeline", "1", "--duration", &duration, "--warm-up", &warm_up];
    Ok(run(bench, server.port, &[&work[..], &["--timestamps", timestamps]].concat())?.rate())
}

fn bare_rate(bench: &Bench, server: &Server) -> Outcome<f64> {
    let parameters = LoadParameters {
        traffic: Traffic::steady(64, 64, 1),
        port: server.port,
        server_pid: server.pid(),
        warm_up: bench.setup.options.warm_up(),
        window: bench.short_window(),
    };
    Ok(Load::start(&parameters, &bench.setup.cpus)?.result()?.per_second)
}

/// Memory of each further connection, with one message in flight that is never answered.
pub(crate) fn memory(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&["--service", "discard"])?;
    let room = usize::try_from(bench.setup.descriptors.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX);
    let many = bench.setup.options.capped(15_000).min(room);
    let few = many.min(1000) / if bench.setup.options.quick { 2 } else { 1 };
    if many <= few {
        return Err(format!("{} descriptors per process are too few", bench.setup.descriptors));
    }
    let [small, large] = [resident_with(bench, &server, few)?, resident_with(bench, &server, many)?];
    for (connections, bytes) in [(few, small), (many, large)] {
        row(&format!("{} connections, bytes", grouped(connections as f64)), &grouped(bytes), "");
    }
    let each = (large - small) / (many - few) as f64;
    bench.judge("bytes per further connection", &grouped(each), "<= 480", each <= 480.0);
    Ok(())
}

fn resident_with(bench: &Bench, server: &Server, connections: usize) -> Outcome<f64> {
    let connections_text = connections.to_string();
    let work = ["-c", &connections_text, "--pipeline", "1", "--duration", "10m", "--reply-timeout", "10m"];
    let client = Client::start(bench, server.port, &work)?;
    let begin = Instant::now();
    loop {
        let before_ns = procfs::cpu_time_ns(client.pid())?;
        thread::sleep(IDLE_INTERVAL);
        let used = Duration::from_nanos(procfs::cpu_time_ns(client.pid())?.saturating_sub(before_ns));
        if procfs::open_descriptors(client.pid())? > connections && used < IDLE_INTERVAL / 100 {
            return Ok(procfs::resident_bytes(client.pid())? as f64);
        }
        if begin.elapsed() > IDLE_TIMEOUT {
            return Err(format!("the client did not open {connections} connections within {IDLE_TIMEOUT:?}"));
        }
    }
}
