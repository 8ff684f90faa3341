//! Who runs where: the servers on one CPU, the load on another.

use std::process::{Child, Command};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Outcome;

pub(crate) struct Cpus {
    allowed: CpuSet,
    /// The server's and the load's; `None` where there is only one CPU to share.
    pair: Option<(usize, usize)>,
}

#[derive(Clone, Copy)]
pub(crate) enum Place {
    Server,
    Load,
}

impl Cpus {
    /// The first two CPUs this process may use.
    pub(crate) fn choose() -> Outcome<Self> {
        let allowed =
            sched_getaffinity(None).map_err(|error| format!("cannot tell which CPUs may be used: {error}"))?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        let pair = usable.next().zip(usable.next());
        Ok(Self { allowed, pair })
    }

    /// A child inherits the CPU of the thread that starts it, so this thread goes there and comes
    /// back; nothing of the child ever runs elsewhere.
    pub(crate) fn spawn(&self, command: &mut Command, place: Place) -> Outcome<Child> {
        let program = command.get_program().display().to_string();
        let start = |command: &mut Command| command.spawn().map_err(|error| format!("cannot start {program}: {error}"));
        let Some(only) = self.only(place) else {
            return start(command);
        };
        move_to(&only)?;
        let started = start(command);
        move_to(&self.allowed)?;
        started
    }

    /// Where somebody has to stay; `None` where there is only one CPU to share.
    pub(crate) fn only(&self, place: Place) -> Option<CpuSet> {
        let (server, load) = self.pair?;
        let mut only = CpuSet::new();
        only.set(match place {
            Place::Server => server,
            Place::Load => load,
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

/// Moves the calling thread.
pub(crate) fn move_to(cpus: &CpuSet) -> Outcome<()> {
    sched_setaffinity(None, cpus).map_err(|error| format!("cannot choose the CPU: {error}"))
}
