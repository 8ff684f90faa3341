//! The machine that the client runs on, for the record of a run. What the system does not tell is left out.

use crate::results::Machine;
use crate::socket::raise_descriptor_limit;
use std::fs::read_to_string;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Looks at the machine: at /proc where there is one (Linux), else at what every Unix tells.
#[must_use]
pub fn environment() -> Machine {
    let sysctl = |name: &str| read_to_string(format!("/proc/sys/{name}")).ok();
    let name = rustix::system::uname();
    let (system, release) = (name.sysname().to_string_lossy(), name.release().to_string_lossy());
    Machine {
        kernel: Some(format!("{system} {release}")),
        cpu_model: field("/proc/cpuinfo", "model name"),
        cpus: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
        memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)),
        descriptor_limit: raise_descriptor_limit().map(|limit| limit.soft),
        somaxconn: sysctl("net/core/somaxconn").and_then(|text| text.trim().parse().ok()),
        ip_local_port_range: sysctl("net/ipv4/ip_local_port_range").and_then(|text| range(&text)),
    }
}

/// A random text of 32 digits by which a run is known again.
pub(super) fn run_id() -> String {
    // Each state has keys of its own, from the system's source of random numbers.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// The value behind `name` and a colon, in the first line that has it.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let value = |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned());
    text.lines().find_map(value)
}

/// `16384 kB`, which are kibibytes (proc_meminfo(5)).
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::{environment, kibibytes, range};

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(kibibytes("16384 kB"), Some(16_384 * 1024));
        assert_eq!(kibibytes("16384"), None);
        assert_eq!(range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range("32768"), None);
        let here = environment();
        assert!(here.kernel.is_some_and(|kernel| kernel.contains(' ')) && here.cpus >= Some(1));
    }
}
