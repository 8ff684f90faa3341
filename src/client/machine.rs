//! Facts about the client's machine for the results of a run. Values that the system does not provide are omitted.

use crate::results::Machine;
use crate::socket::raise_descriptor_limit;
use std::fs::read_to_string;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Reads the machine's properties: from /proc on Linux, otherwise from calls that every Unix has.
pub(super) fn machine() -> Machine {
    let sysctl = |name: &str| read_to_string(format!("/proc/sys/{name}")).ok();
    let name = rustix::system::uname();
    let (system, release) = (name.sysname().to_string_lossy(), name.release().to_string_lossy());
    Machine {
        host: Some(name.nodename().to_string_lossy().into_owned()),
        kernel: Some(format!("{system} {release}")),
        cpu_model: field("/proc/cpuinfo", "model name"),
        cpus: std::thread::available_parallelism().ok().map(|count| count.get() as u64),
        memory_bytes: field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)),
        descriptor_limit: raise_descriptor_limit().and_then(|limit| descriptors(limit.soft)),
        somaxconn: sysctl("net/core/somaxconn").and_then(|text| text.trim().parse().ok()),
        ip_local_port_range: sysctl("net/ipv4/ip_local_port_range").and_then(|text| range(&text)),
    }
}

/// Random identifier of a run: 32 hexadecimal digits.
pub(super) fn run_id() -> String {
    // Each `RandomState` has keys of its own, from the system's random source.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// Value after `name` and a colon, from the first line that has it.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let value = |line: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim().to_owned());
    text.lines().find_map(value)
}

/// A limit on descriptors; none if there is no limit. A descriptor is an `int`, so a larger number means no limit.
fn descriptors(limit: u64) -> Option<u64> {
    i32::try_from(limit).is_ok().then_some(limit)
}

/// Parses `16384 kB`; the unit is kibibytes (proc_meminfo(5)). Returns bytes.
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::{descriptors, kibibytes, machine, range};

    #[test]
    fn proc_values_are_parsed() {
        assert_eq!(kibibytes("16384 kB"), Some(16_384 * 1024));
        assert_eq!(kibibytes("16384"), None);
        assert_eq!(range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range("32768"), None);
        assert_eq!(
            (descriptors(1 << 30), descriptors(u64::MAX), descriptors(i64::MAX.cast_unsigned())),
            (Some(1 << 30), None, None)
        );
        let here = machine();
        assert!(here.kernel.is_some_and(|kernel| kernel.contains(' ')) && here.cpus >= Some(1));
    }
}
