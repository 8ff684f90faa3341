//! Minimal closed-loop load, in its own process on its own CPU.
//!
//! It verifies nothing and only counts; the tests verify echoes. Every load exits only after the server has closed all
//! connections, so that no server is still busy when the next one is measured.

mod churn;
mod datagrams;
mod measure;
mod secure;
mod silent;
mod socket;
mod steady;

use std::time::Duration;

use rustix::io::Errno;

use crate::common::Outcome;
use crate::common::traffic::{Pattern, Traffic};

const PATTERNS: [(&str, Pattern); 7] = [
    ("steady", Pattern::Steady),
    ("churn", Pattern::Churn),
    ("resumed-churn", Pattern::ResumedChurn),
    ("silent", Pattern::Silent),
    ("silent-after-one", Pattern::SilentAfterOne),
    ("datagrams", Pattern::Datagrams),
    ("merged-datagrams", Pattern::MergedDatagrams),
];

/// Parameters of a load, passed on its command line.
#[derive(Debug)]
pub(crate) struct LoadParameters {
    pub(crate) traffic: Traffic,
    pub(crate) port: u16,
    /// PID of the server. The load reads its CPU time at the exact edges of the window.
    pub(crate) server_pid: u32,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let parameters = LoadParameters::from_arguments(arguments)
        .ok_or_else(|| format!("{arguments:?} are not valid load parameters"))?;
    match parameters.traffic.pattern {
        _ if parameters.traffic.tls => secure::run(&parameters),
        Pattern::Steady => steady::run(&parameters),
        Pattern::Churn => churn::run(&parameters),
        Pattern::ResumedChurn => Err("sessions are resumed over TLS only".to_owned()),
        Pattern::Datagrams | Pattern::MergedDatagrams => datagrams::run(&parameters),
        Pattern::Silent | Pattern::SilentAfterOne => silent::run(&parameters),
    }
}

impl LoadParameters {
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let Traffic { pattern, connections, message_bytes, depth, tls } = self.traffic;
        let name = PATTERNS.iter().find(|(_, known)| *known == pattern).map_or("", |(name, _)| name);
        vec![
            name.to_owned(),
            connections.to_string(),
            message_bytes.to_string(),
            depth.to_string(),
            tls.to_string(),
            self.port.to_string(),
            self.server_pid.to_string(),
            self.warm_up.as_nanos().to_string(),
            self.window.as_nanos().to_string(),
        ]
    }

    fn from_arguments(arguments: &[String]) -> Option<Self> {
        let [name, connections, message_bytes, depth, tls, port, server_pid, warm_up_ns, window_ns] = arguments else {
            return None;
        };
        Some(Self {
            traffic: Traffic {
                pattern: PATTERNS.iter().find(|(known, _)| known == name)?.1,
                connections: connections.parse().ok()?,
                message_bytes: message_bytes.parse().ok()?,
                depth: depth.parse().ok()?,
                tls: tls.parse().ok()?,
            },
            port: port.parse().ok()?,
            server_pid: server_pid.parse().ok()?,
            warm_up: Duration::from_nanos(warm_up_ns.parse().ok()?),
            window: Duration::from_nanos(window_ns.parse().ok()?),
        })
    }
}

/// Adds the name of a system call to its error.
trait Explain<T> {
    fn explain(self, call: &str) -> Outcome<T>;
}

impl<T> Explain<T> for Result<T, Errno> {
    fn explain(self, call: &str) -> Outcome<T> {
        self.map_err(|error| format!("{call}: {error}"))
    }
}
