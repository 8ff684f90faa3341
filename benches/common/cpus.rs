//! CPU pinning: the servers on one CPU, the load on another.

use std::process::{Child, Command};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Outcome;

pub(crate) struct Cpus {
    allowed: CpuSet,
    /// CPUs of the server and of the load; `None` with a single CPU.
    pair: Option<(usize, usize)>,
}

#[derive(Clone, Copy)]
pub(crate) enum CpuRole {
    Server,
    Load,
}

impl Cpus {
    /// Chooses the first two CPUs available to this process.
    pub(crate) fn choose() -> Outcome<Self> {
        let allowed = sched_getaffinity(None).map_err(|error| format!("cannot get the CPU affinity: {error}"))?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let pair = usable.next().zip(usable.next());
        Ok(Self { allowed, pair })
    }

    /// Starts a child on its CPU. A child inherits the affinity of the thread that starts it, so this thread moves
    /// there and back; no part of the child ever runs elsewhere.
    pub(crate) fn spawn(&self, command: &mut Command, role: CpuRole) -> Outcome<Child> {
        let program = command.get_program().display().to_string();
        let start = |command: &mut Command| command.spawn().map_err(|error| format!("cannot start {program}: {error}"));
        let Some(only) = self.only(role) else {
            return start(command);
        };
        move_to(&only)?;
        let started = start(command);
        move_to(&self.allowed)?;
        started
    }

    /// The CPU for this role; `None` with a single CPU.
    pub(crate) fn only(&self, role: CpuRole) -> Option<CpuSet> {
        let (server, load) = self.pair?;
        let mut only = CpuSet::new();
        only.set(match role {
            CpuRole::Server => server,
            CpuRole::Load => load,
        });
        Some(only)
    }

    pub(crate) fn describe(&self) -> String {
        let count = self.allowed.count();
        match self.pair {
            Some((server, load)) => {
                format!("{count} CPUs; the servers on CPU {server}, the load on CPU {load}")
            }
            None => "one CPU only: nothing is pinned, and the figures mean little".to_owned(),
        }
    }
}

/// Pins the calling thread.
pub(crate) fn move_to(cpus: &CpuSet) -> Outcome<()> {
    sched_setaffinity(None, cpus).map_err(|error| format!("cannot set the CPU affinity: {error}"))
}
