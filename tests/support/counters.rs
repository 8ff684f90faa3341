//! Counters of a running server, requested with SIGUSR1.

use super::{Program, await_until};
use rustix::process::Signal;

impl Program {
    /// Waits until our server has counted `count` closed connections in total. Without this wait, a shutdown may come
    /// before the server sees its peers' ends; those connections then count as drained.
    #[track_caller]
    pub(crate) fn await_closed(&self, count: usize) {
        let closed = format!(", {count} closed");
        let is_told = |line: &String| line.contains("Counters in all: ") && line.contains(&closed);
        await_until(&format!("the end of {count} connections"), || {
            self.signal(Signal::USR1);
            self.stderr().iter().any(is_told)
        });
    }
}
