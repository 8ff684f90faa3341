//! Linux process and machine data: CPU time, memory, descriptors and limits.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::time::ClockId;
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Outcome;

/// CPU time of all threads of a process, user and system, in nanoseconds; also of those that have ended.
pub(crate) fn cpu_time_ns(pid: u32) -> Outcome<u64> {
    let read = || {
        let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()))?.now()?;
        Ok::<_, Errno>(Duration::from(time).as_nanos())
    };
    let nanos = read().map_err(|error| format!("cannot read the CPU time of process {pid}: {error}"))?;
    u64::try_from(nanos).map_err(|error| format!("CPU time of process {pid}: {error}"))
}

/// Resident memory of a process in bytes.
///
/// From `smaps_rollup`, which counts pages; `VmRSS` in `status` may lag by 32 pages per CPU.
pub(crate) fn resident_bytes(pid: u32) -> Outcome<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/smaps_rollup"));
    read(&path)?
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(first_number)
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| format!("{} has no Rss line", path.display()))
}

/// Whether every thread of a process is stopped by a signal.
pub(crate) fn is_stopped(pid: u32) -> Outcome<bool> {
    let mut stopped = true;
    for thread in threads_of(pid)? {
        let text = read(&thread.join("stat"))?;
        // The state follows the name in parentheses (proc_pid_stat(5)).
        stopped &= text.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'));
    }
    Ok(stopped)
}

/// Number of open descriptors of a process.
pub(crate) fn open_descriptors(pid: u32) -> Outcome<usize> {
    let path = PathBuf::from(format!("/proc/{pid}/fd"));
    let listing = fs::read_dir(&path).map_err(|error| format!("cannot list {}: {error}", path.display()))?;
    Ok(listing.count())
}

pub(crate) fn kernel() -> String {
    read(&PathBuf::from("/proc/sys/kernel/osrelease"))
        .map_or_else(|_| "unknown".to_owned(), |release| format!("Linux {}", release.trim()))
}

pub(crate) fn processor() -> String {
    read(&PathBuf::from("/proc/cpuinfo"))
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Raises the soft descriptor limit to the hard limit, for this process and its children. Returns the limit in force
/// afterwards.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

fn threads_of(pid: u32) -> Outcome<Vec<PathBuf>> {
    let path = PathBuf::from(format!("/proc/{pid}/task"));
    let explain = |error| format!("cannot list {}: {error}", path.display());
    fs::read_dir(&path).map_err(explain)?.map(|thread| Ok(thread.map_err(explain)?.path())).collect()
}

fn read(path: &PathBuf) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}
