//! The first run of a new user: an open loop with no option but the rate.

use multiconn::results::Precision;

use crate::client::{at, run};
use crate::common::Outcome;
use crate::context::{Bench, micros, option, row};

/// Rates, and whether the client has to be punctual enough for exact percentiles.
const RATES: [(&str, bool); 4] = [("100", true), ("1k", true), ("10k", true), ("50k", false)];

pub(crate) fn marks(bench: &mut Bench) -> Outcome<()> {
    let server = bench.server(&[])?;
    for (rate, has_to_be_exact) in RATES {
        let work = ["-c", "50", "--rate", rate, "--duration", &option(bench.window())];
        let results = run(bench, server.port, &work)?;
        let target = if has_to_be_exact { "exact" } else { "exact or bounded" };
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9)] {
            let percentile = results.percentile(quantile).ok_or("no message was answered")?;
            let figure = format!("{}, {:?}", micros(percentile.value.as_secs_f64() * 1e6), percentile.precision);
            let is_known = percentile.precision != Precision::Unknown;
            let is_met = if has_to_be_exact { percentile.precision == Precision::Exact } else { is_known };
            bench.judge(&format!("{rate}/s, response, {name}"), &figure, target, is_met);
        }
        let alarms = if results.valid { "none".to_owned() } else { results.reasons.join("; ") };
        bench.judge(&format!("{rate}/s, alarms"), &alarms, "none", results.valid);
        let delay = [at(&results.histograms.send_delay, 0.5)?, at(&results.histograms.send_delay, 0.99)?].map(micros);
        let cpu = results.cpu.map_or(0.0, |cpu| cpu.share * 100.0);
        row("  send delay, p50, p99", &delay.join(", "), &format!("client CPU {cpu:.0} %"));
    }
    Ok(())
}
