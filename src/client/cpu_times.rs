//! CPU times of a worker and of the machine, and times in which they could not run. Linux has all of them, other systems
//! the CPU time alone.

use crate::results::Cpu;
use rustix::time::{ClockId, clock_gettime};
use std::fs::read_to_string;
use std::path::Path;
use std::time::Duration;

/// A clock tick (`USER_HZ`) of /proc/stat, in nanoseconds. It is 10 ms on all processors that Linux still supports.
const TICK_NANOS: u64 = 10_000_000;

/// CPU times of the calling thread since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CpuTimes {
    used: Option<Duration>,
    /// Ready to run, without a CPU.
    waiting: Option<Duration>,
}

impl CpuTimes {
    pub(super) fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let used = u64::try_from(time.tv_sec).ok().zip(u32::try_from(time.tv_nsec).ok());
        let schedstat = read_to_string("/proc/thread-self/schedstat").ok();
        Self { used: used.map(|(s, ns)| Duration::new(s, ns)), waiting: schedstat.and_then(|text| waiting(&text)) }
    }

    /// The times from `self` to now; none without a clock.
    pub(super) fn until_now(self) -> Option<Cpu> {
        let now = Self::now();
        let seconds = since(self.used, now.used)?;
        Some(Cpu { seconds, waiting_s: since(self.waiting, now.waiting), ..Cpu::default() })
    }
}

/// Times since the machine, or the client's cgroup, began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MachineTimes {
    throttled: Option<Duration>,
    steal: Option<Duration>,
}

impl MachineTimes {
    pub(super) fn now() -> Self {
        Self {
            throttled: read_to_string("/proc/self/cgroup")
                .ok()
                .and_then(|cgroups| throttled(&cgroups, "/sys/fs/cgroup")),
            steal: read_to_string("/proc/stat").ok().and_then(|text| steal(&text)),
        }
    }

    /// Adds the times from `self` to now.
    pub(super) fn add_until_now(self, cpu: &mut Cpu) {
        let now = Self::now();
        cpu.throttled_s = since(self.throttled, now.throttled);
        cpu.steal_s = since(self.steal, now.steal);
    }
}

fn since(begin: Option<Duration>, now: Option<Duration>) -> Option<f64> {
    Some(now?.saturating_sub(begin?).as_secs_f64())
}

/// The second field of proc_pid_schedstat(5), in nanoseconds.
fn waiting(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// The eighth time of all CPUs in proc_stat(5).
fn steal(stat: &str) -> Option<Duration> {
    let ticks: u64 = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok()?;
    Some(Duration::from_nanos(ticks.saturating_mul(TICK_NANOS)))
}

/// For how long a cgroup of this process or one of its parents was throttled: the longest. `cgroups` is
/// /proc/self/cgroup, and `root` where cgroups are mounted. In a container the paths may begin above its mount.
fn throttled(cgroups: &str, root: &str) -> Option<Duration> {
    let times = cgroups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or("/"));
        let is_of_cpu = controllers.is_empty() || controllers.split(',').any(|controller| controller == "cpu");
        let mount = Path::new(root).join(controllers);
        let parents = Path::new(path.trim_start_matches('/')).ancestors().filter(move |_| is_of_cpu);
        let texts = parents.filter_map(move |parent| read_to_string(mount.join(parent).join("cpu.stat")).ok());
        texts.filter_map(|text| throttled_in(&text)).collect::<Vec<_>>()
    });
    times.max()
}

/// The throttled time of a cpu.stat: of version 2 in microseconds, of version 1 in nanoseconds.
fn throttled_in(cpu_stat: &str) -> Option<Duration> {
    cpu_stat.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_usec", micros) => micros.parse().ok().map(Duration::from_micros),
        ("throttled_time", nanos) => nanos.parse().ok().map(Duration::from_nanos),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{CpuTimes, MachineTimes, steal, throttled, waiting};
    use crate::results::Cpu;
    use std::time::Duration;

    #[test]
    fn times_are_parsed() {
        assert_eq!(waiting("81523 3716929 12\n"), Some(Duration::from_nanos(3_716_929)));
        assert_eq!((waiting(""), waiting("1 x 2")), (None, None));
        let text = "cpu  10 20 30 40 50 60 70 14202 0 0\ncpu0 1 2 3 4 5 6 7 7000 0 0\n";
        assert_eq!(steal(text), Some(Duration::from_millis(142_020)));
        assert_eq!((steal("cpu0 1 2 3 4 5 6 7 8"), steal("cpu  1 2")), (None, None));
    }

    // The temporary folder is a dependency of the programs.
    #[cfg(feature = "cli")]
    #[test]
    fn the_longest_throttled_parent_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it is writable");
            std::fs::write(path, text).expect("it is writable");
        };
        let root = folder.path().to_str().expect("UTF-8");
        assert_eq!(throttled("0::/a/b\n", root), None);
        write("a/b/cpu.stat", "usage_usec 5\nthrottled_usec 1000\n");
        write("a/cpu.stat", "nr_throttled 1\nthrottled_usec 3000\n");
        write("cpu.stat", "usage_usec 5\n");
        assert_eq!(throttled("0::/a/b\n", root), Some(Duration::from_millis(3)));
        write("cpu,cpuacct/cpu.stat", "nr_throttled 1\nthrottled_time 5000000\n");
        assert_eq!(throttled("4:memory:/x\n3:cpu,cpuacct:/of/the/host\n0::/\n", root), Some(Duration::from_millis(5)));
        assert_eq!(throttled("no cgroups", root), None);
    }

    #[test]
    fn times_of_this_thread_grow() {
        let (thread, machine) = (CpuTimes::now(), MachineTimes::now());
        let mut cpu = thread.until_now().expect("a clock");
        machine.add_until_now(&mut cpu);
        assert!(cpu.seconds > 0.0 && cpu != Cpu::default());
        let has_procfs = cfg!(any(target_os = "linux", target_os = "android"));
        assert_eq!((cpu.waiting_s.is_some(), cpu.steal_s.is_some()), (has_procfs, has_procfs));
    }
}
