//! Detection of connects that are slow because connect(2) searches for a free local port.
//!
//! The kernel tries the local ports one after another (ip(7), `ip_local_port_range`). While most are free that costs
//! nothing. When nearly all are taken towards a target, each call tries thousands of them: about 1 ms for 14,000.

use crate::results::PortSearch;
use rustix::time::{ClockId, clock_gettime};
use std::fs::read_to_string;
use std::time::Duration;

/// One connect of this many is measured, because reading the CPU time takes a system call.
const SAMPLED: u32 = 16;

/// Measured connects whose mean is judged.
const WINDOW: u32 = 32;

/// CPU time of a connect that calls for an explanation. Without a search it takes 10 to 40 µs, with TLS some 100 µs.
const SLOW: Duration = Duration::from_micros(200);

/// Measures the CPU time of connects, by samples.
#[derive(Debug, Default)]
pub(super) struct ConnectSampler {
    /// Connects until the next sample.
    skip: u32,
    /// CPU time at the start of the connect that is measured.
    start: Option<Duration>,
    samples: u32,
    sum: Duration,
    /// The longest search so far.
    pub(super) search: Option<PortSearch>,
}

impl ConnectSampler {
    /// To be called before each connect.
    pub(super) fn begin(&mut self) {
        self.start = if self.skip == 0 { cpu_time() } else { None };
        self.skip = self.skip.checked_sub(1).unwrap_or(SAMPLED - 1);
    }

    /// To be called after each connect that was started. Keeps the longest search, and logs a warning of the first one: when
    /// connects are slow and the local ports are a plausible cause.
    pub(super) fn end(&mut self) {
        let taken = self.start.take().zip(cpu_time()).map(|(start, end)| end.saturating_sub(start));
        if let Some(mean) = taken.and_then(|taken| self.add(taken)) {
            self.keep(mean);
        }
    }

    /// Adds a sample. Returns the mean of a complete window if it is slow.
    fn add(&mut self, sample: Duration) -> Option<Duration> {
        self.samples += 1;
        self.sum += sample;
        if self.samples < WINDOW {
            return None;
        }
        self.samples = 0;
        let mean = std::mem::take(&mut self.sum) / WINDOW;
        (mean >= SLOW).then_some(mean)
    }

    #[cold]
    fn keep(&mut self, mean: Duration) {
        let read = |name: &str| read_to_string(format!("/proc/{name}")).ok();
        let Some(ports) = read("sys/net/ipv4/ip_local_port_range").and_then(|text| port_count(&text)) else { return };
        let sockets =
            ["net/sockstat", "net/sockstat6"].into_iter().filter_map(read).map(|text| tcp_sockets(&text)).sum();
        let Some(search) = search(mean, ports, sockets) else { return };
        if self.search.is_none() {
            log::warn!("{search}");
        }
        self.search = self.search.into_iter().chain([search]).reduce(PortSearch::longer);
    }
}

/// The search that explains connects which take `mean` of CPU time, with that many local `ports`, and TCP `sockets` that
/// occupy one. Fewer sockets than half of the ports leave enough ports free for any search to be short.
fn search(mean: Duration, ports: u64, sockets: u64) -> Option<PortSearch> {
    let mut search = PortSearch::default();
    (search.tcp_sockets, search.local_ports) = (sockets, ports);
    search.connect_cpu_ns = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
    (sockets >= ports / 2).then_some(search)
}

/// The number of ports in the two numbers of `ip_local_port_range`.
fn port_count(text: &str) -> Option<u64> {
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((last + 1).saturating_sub(first))
}

/// TCP sockets that occupy a port, also those in TIME-WAIT (`tw`), of a line such as `TCP: inuse 5 orphan 0 tw 3 …`.
fn tcp_sockets(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP").and_then(|rest| rest.split_once(':'))?.1.into());
    let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    let counts = words.chunks_exact(2).filter(|pair| ["inuse", "tw"].contains(&pair[0]));
    counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
}

/// CPU time of this thread.
fn cpu_time() -> Option<Duration> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).ok()
}

#[cfg(test)]
mod tests {
    use super::{ConnectSampler, SLOW, WINDOW, port_count, search, tcp_sockets};
    use std::time::Duration;

    #[test]
    fn a_window_of_slow_connects_is_noticed() {
        let mut sampler = ConnectSampler::default();
        let mut add = |sample| (0..WINDOW).filter_map(|_| sampler.add(sample)).collect::<Vec<_>>();
        assert!(add(Duration::from_micros(40)).is_empty());
        assert_eq!(add(SLOW), [SLOW]);
        assert!(add(SLOW / 2).is_empty());
    }

    #[test]
    fn slow_connects_with_many_free_ports_have_another_cause() {
        assert_eq!(search(SLOW, 28_232, 14_000), None);
        let text = search(Duration::from_millis(1), 28_232, 50_123).expect("more sockets than ports").to_string();
        assert!(text.contains("1.00 ms") && text.contains("50,123") && text.contains("28,232"), "{text}");
    }

    #[test]
    fn counts_of_the_kernel_are_parsed() {
        assert_eq!(port_count("32768\t60999\n"), Some(28_232));
        assert_eq!(port_count("9\t8\n"), Some(0));
        assert_eq!(port_count("none"), None);
        let text = "sockets: used 303\nTCP: inuse 5 orphan 0 tw 30 alloc 12 mem 1\nUDP: inuse 2 mem 0\n";
        assert_eq!((tcp_sockets(text), tcp_sockets("TCP6: inuse 7\n"), tcp_sockets("")), (35, 7, 0));
    }

    /// Only one connect of many is measured, and none before it begins.
    #[test]
    fn connects_are_sampled() {
        let mut sampler = ConnectSampler::default();
        sampler.end();
        for _ in 0..=super::SAMPLED {
            sampler.begin();
            sampler.end();
            sampler.end();
        }
        assert_eq!(sampler.samples, 2);
    }
}
