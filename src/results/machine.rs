//! The machine that a run was measured on, as far as it matters to the numbers.

use serde::{Deserialize, Serialize};

/// What is not known on a system is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel: `Linux 6.18.5`.
    pub kernel: Option<String>,
    /// The model of the CPU.
    pub cpu_model: Option<String>,
    /// How many CPUs the program may use.
    pub cpus: Option<u64>,
    /// The machine's memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many descriptors the program may open.
    pub descriptor_limit: Option<u64>,
    /// The longest backlog that the kernel allows (net.core.somaxconn).
    pub somaxconn: Option<u64>,
    /// The local ports that connects take theirs from (net.ipv4.ip_local_port_range).
    pub ip_local_port_range: Option<(u16, u16)>,
}
