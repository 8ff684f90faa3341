//! What happened to each peer, shared by the peers, the services and the checks.

use super::Nanos;
use crate::connection::CloseReason;
use crate::simulated_kernel::{Endpoint, Kernel, Shared};

/// What is known about all peers.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) peers: Vec<Record>,
    /// In the order in which their preambles arrived.
    pub(super) upstreams: Vec<UpstreamRecord>,
    /// The faults have ended.
    pub(super) is_quiet: bool,
    /// Each process of the server.
    pub(super) processes: Vec<ProcessRecord>,
    /// The number of the process that serves.
    pub(super) serving: usize,
    /// The process of each loop.
    pub(super) loops: Vec<usize>,
    /// The server was told to end, or its last process has died.
    pub(super) is_ending: bool,
    /// From this instant on the process that serves accepts. Never, while the old process is
    /// dead and the new one is not ready.
    pub(super) accepts_from: Nanos,
    pub(super) completed_handovers: u64,
    pub(super) failed_handovers: u64,
    /// New processes that serve in the place of one that died.
    pub(super) replacements: u64,
    /// Broken invariants. A panic within a service would only close its connection.
    pub(super) violations: Vec<String>,
}

impl World {
    /// What is known about the process that has accepted a connection.
    pub(super) fn process_of(&self, server: &Endpoint) -> &ProcessRecord {
        &self.processes[self.loops[server.accepted_by]]
    }

    /// A process takes over from the one that serves.
    pub(super) fn hand_over(&mut self, process: usize, now: Nanos) {
        self.processes[self.serving].handed_over_at = Some(now);
        self.serving = process;
    }

    /// Long after the end of the faults nothing is open.
    pub(super) fn check_all_ended(&mut self, kernel: &Kernel) {
        for record in &self.peers {
            let server = record.endpoint.map(|client| kernel.other(client));
            if server.is_some_and(|server| server.accepted.is_some() && !server.is_closed) {
                self.violations.push(format!("a connection does not end: {record:?} {server:?}"));
            }
        }
        let waiting = kernel.waiting_since(kernel.now);
        if waiting > 0 {
            self.violations.push(format!("{waiting} connections are not accepted"));
        }
    }
}

pub(super) type Records = Shared<World>;

/// What is known about a process of the server.
#[derive(Debug, Default)]
pub(super) struct ProcessRecord {
    /// When it was told to end.
    pub(super) ended_at: Option<Nanos>,
    pub(super) is_stopped: bool,
    /// When another process has taken over.
    pub(super) handed_over_at: Option<Nanos>,
    /// It was killed, or has crashed.
    pub(super) has_died: bool,
}

/// What is known about a connection to an upstream.
#[derive(Debug, Default)]
pub(super) struct UpstreamRecord {
    pub(super) peer: usize,
    pub(super) received: usize,
    pub(super) sent: usize,
    /// It has received the end and sent everything back.
    pub(super) has_ended: bool,
    /// The preamble has arrived, and TLS has completed its handshake.
    pub(super) is_open: bool,
    /// Its end lacks close_notify, or it has damaged a record of TLS.
    pub(super) is_broken: bool,
}

/// What is known about a peer.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(super) struct Record {
    /// The endpoint of the peer, once it has connected.
    pub(super) endpoint: Option<usize>,
    /// Bytes of the header and the stream.
    pub(super) sent: usize,
    pub(super) received: usize,
    /// Bytes of the stream that its service has seen.
    pub(super) served: usize,
    /// It has shut down its sending half.
    pub(super) has_ended: bool,
    /// Its end lacks close_notify.
    pub(super) has_truncated: bool,
    /// It has damaged a record of TLS.
    pub(super) has_damaged: bool,
    pub(super) saw_end: bool,
    pub(super) saw_reset: bool,
    /// It has reset the connection, or closed it before the end.
    pub(super) broke_off: bool,
    pub(super) closed: bool,
    /// When it got its service, and how many bytes the server had written by then.
    pub(super) opened: (Nanos, u64),
    /// When a byte last moved before the connection began to end. An end of TLS moves bytes, too.
    pub(super) moved_while_open: Nanos,
    /// The server's reason.
    pub(super) reason: Option<CloseReason>,
    pub(super) was_served: bool,
}
