//! Facts about the client's machine that affect the results.

use serde::{Deserialize, Serialize};

/// Facts about a machine. Unknown values are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Machine {
    /// Host name (uname(2)); of a container, that of its pod. Files of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Kernel: `Linux 6.18.5`.
    pub kernel: Option<String>,
    /// CPU model.
    pub cpu_model: Option<String>,
    /// Number of CPUs available to the program.
    pub cpus: Option<u64>,
    /// Memory of the machine, in bytes.
    pub memory_bytes: Option<u64>,
    /// The program's descriptor limit.
    pub descriptor_limit: Option<u64>,
    /// Maximum listen backlog (net.core.somaxconn).
    pub somaxconn: Option<u64>,
    /// Range of ephemeral ports (net.ipv4.ip_local_port_range).
    pub ip_local_port_range: Option<(u16, u16)>,
}
