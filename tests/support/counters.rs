//! What a server counts while it runs, asked for with SIGUSR1.

use super::{Program, await_until};
use rustix::process::Signal;

impl Program {
    /// Waits until this server of ours has counted the end of `count` connections in all. Whoever ends it before may be
    /// faster than the ends of its peers: then those are drained, and the summary says so.
    #[track_caller]
    pub(crate) fn await_closed(&self, count: usize) {
        let closed = format!(", {count} closed");
        let is_told = |line: &String| line.starts_with("Counters in all: ") && line.contains(&closed);
        await_until(&format!("the end of {count} connections"), || {
            self.signal(Signal::USR1);
            self.stderr().iter().any(is_told)
        });
    }
}
