//! Measuring one case: starts the servers, loads them in turn, and stops them.

use crate::cases::Case;
use crate::common::arguments::Options;
use crate::common::child::{Load, Server, Speed};
use crate::common::cpus::Cpus;
use crate::common::load::LoadParameters;
use crate::common::traffic::{Pattern, Traffic};
use crate::common::{Outcome, procfs};
use crate::kind::Kind;

/// The figures of the three servers, indexed by `Kind as usize`.
pub(crate) type PerKind<T> = [T; Kind::ALL.len()];

/// Measures the speed of all three servers. Those that are not loaded sleep and cost nothing. Each round begins with a
/// different server.
pub(crate) fn measure_speed(case: &Case, options: &Options, cpus: &Cpus) -> Outcome<Vec<PerKind<Speed>>> {
    let mut servers = Vec::new();
    for &kind in case.kinds() {
        servers.push((kind, start(kind, case, cpus)?));
    }
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        let mut round = PerKind::default();
        for (kind, server) in &mut servers {
            round[*kind as usize] = load_once(server, case.traffic, options, cpus)?;
        }
        rounds.push(round);
        servers.rotate_left(1);
    }
    Ok(rounds)
}

fn start(kind: Kind, case: &Case, cpus: &Cpus) -> Outcome<Server> {
    Server::start(kind.name(), kind.command(case.traffic.tls)?, cpus)
}

pub(crate) fn load_once(server: &mut Server, traffic: Traffic, options: &Options, cpus: &Cpus) -> Outcome<Speed> {
    let parameters = parameters_for(server, traffic, options);
    let load = || Load::start(&parameters, cpus).and_then(Load::result);
    let mut outcome = load();
    // On a busy machine the short window of a smoke run may pass without a reply.
    for _ in 0..if options.quick { 4 } else { 0 } {
        if outcome.is_ok() {
            break;
        }
        outcome = load();
    }
    // A dead server explains more than the load's error.
    server.check_alive()?;
    outcome.map_err(|message| format!("{}: {message}", server.name()))
}

/// Measures resident bytes per connection: the growth of a fresh server when the connections open. It is measured once,
/// because the heap grows the same way every time.
pub(crate) fn measure_memory(case: &Case, options: &Options, cpus: &Cpus) -> Outcome<PerKind<f64>> {
    let mut bytes_each = PerKind::default();
    for &kind in case.kinds() {
        let mut server = start(kind, case, cpus)?;
        let outcome = growth_each(&server, case.traffic, options, cpus);
        server.check_alive()?;
        bytes_each[kind as usize] = outcome.map_err(|message| format!("{}: {message}", kind.name()))?;
    }
    Ok(bytes_each)
}

fn growth_each(server: &Server, traffic: Traffic, options: &Options, cpus: &Cpus) -> Outcome<f64> {
    // Open some connections first, so that code and buffers touched first are not counted.
    let first_connections = Traffic { pattern: Pattern::SilentAfterOne, connections: options.capped(100), ..traffic };
    resident_while(server, first_connections, options, cpus)?;
    let before_bytes = procfs::resident_bytes(server.pid())?;
    let during_bytes = resident_while(server, traffic, options, cpus)?;
    let connections = options.capped(traffic.connections);
    Ok((during_bytes as f64 - before_bytes as f64) / connections as f64)
}

fn resident_while(server: &Server, traffic: Traffic, options: &Options, cpus: &Cpus) -> Outcome<u64> {
    let mut load = Load::start(&parameters_for(server, traffic, options), cpus)?;
    load.line()?;
    let bytes = procfs::resident_bytes(server.pid())?;
    load.finish()?;
    Ok(bytes)
}

fn parameters_for(server: &Server, traffic: Traffic, options: &Options) -> LoadParameters {
    LoadParameters {
        traffic: Traffic { connections: options.capped(traffic.connections), ..traffic },
        port: server.port,
        server_pid: server.pid(),
        warm_up: options.warm_up(),
        window: options.window,
    }
}
