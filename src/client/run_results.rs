//! A report as the record that is kept of it in a file.

use super::arrivals::Arrivals;
use super::failure::Failure;
use super::report::Report;
use super::udp::DatagramReport;
use super::{Expect, LoadConfig, Measurements};
use crate::error::errno_name;
use crate::results::{
    self, Connections, Cpu, Datagrams, Latencies, LoadKind, Messages, Mismatches, ReplyCheck, RunResults,
};

impl From<&Report> for RunResults {
    /// What the report knows. When the run began, its configuration and its environment are the caller's to add; then
    /// [`RunResults::settle`] judges it.
    fn from(report: &Report) -> Self {
        let mut record = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        record.run_ids = vec![report.run_id.clone()];
        record.duration_s = report.elapsed.as_secs_f64();
        record.measured_s = record.duration_s;
        record.interrupted = report.interrupted;
        record.target = report.targets.join(", ");
        record.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.most_open,
            opening_s: report.opening.map(|opening| opening.as_secs_f64()),
            verified: report.verified,
            failed: report.failures(),
        };
        record.reply_check = report.reply_check;
        for (failure, count) in &report.failed {
            *record.errors.entry(failure.name()).or_default() += count;
        }
        let wrong_answers = report.failed.get(&Failure::WrongAnswer).copied().unwrap_or_default();
        let (mismatches, answers) = (report.mismatches.iter(), report.wrong_answers.iter());
        record.mismatches = Mismatches {
            count: report.mismatch_count + wrong_answers,
            first: mismatches.map(ToString::to_string).chain(answers.map(ToString::to_string)).collect(),
        };
        record.histograms.connect = Latencies::from(report.connect.clone());
        record.histograms.handshake = Latencies::from(report.handshake.clone());
        record.fill_measurements(&report.measured, &report.load, report.workers);
        if report.expect == Expect::ReadOnly {
            record.load.kind = LoadKind::Reading;
            // A server may speak before all connections are open, when the duration begins.
            record.bytes.verified = report.bytes_verified;
        }
        record
    }
}

impl RunResults {
    /// What was measured of the messages, and the load that was put on.
    fn fill_measurements(&mut self, measured: &Measurements, load: &LoadConfig, workers: usize) {
        let is_open = load.rate.is_some();
        let is_random = is_open && load.arrivals == Arrivals::Poisson;
        self.load = results::Load {
            kind: if is_open { LoadKind::Open } else { LoadKind::Closed },
            rate: load.rate,
            arrivals: is_open.then(|| if is_random { "poisson" } else { "uniform" }.to_owned()),
            seed: is_random.then_some(load.seed),
            duration_s: load.duration.map(|duration| duration.as_secs_f64()),
        };
        self.warm_up_s = load.warm_up.as_secs_f64();
        self.measured_s = measured.span.as_secs_f64();
        self.messages = Messages {
            due: is_open.then_some(measured.due),
            sent: measured.sent,
            withheld: measured.withheld,
            verified: measured.answered,
            reads: (self.reply_check == ReplyCheck::Unframed)
                .then(|| measured.seconds.iter().map(|second| second.reads).sum()),
            timed_out: measured.timed_out,
            pending: measured.pending,
            failed: measured.lost,
            unconnected: measured.unconnected,
        };
        self.cpu = measured.cpu.map(|cpu| {
            let seconds = cpu.as_secs_f64();
            #[allow(clippy::cast_precision_loss, reason = "so few workers are exact")]
            let available = measured.cpu_span.as_secs_f64() * workers as f64;
            Cpu { seconds, share: if available > 0.0 { seconds / available } else { 0.0 } }
        });
        self.bytes.sent = measured.seconds.iter().map(|second| second.bytes_sent).sum();
        self.bytes.verified = measured.seconds.iter().map(|second| second.bytes_verified).sum();
        self.intervals.clone_from(&measured.seconds);
        self.histograms.latency_from_due = measured.from_due.clone();
        self.histograms.latency_from_send = measured.from_send.clone();
        self.histograms.first_byte = measured.first_byte.clone();
        self.histograms.lag = measured.lag.clone();
        self.histograms.held_back = measured.held_back.clone();
        self.histograms.loop_turn = measured.loop_turn.clone();
        self.histograms.unanswered_age = measured.unanswered_age.clone();
    }
}

impl From<&DatagramReport> for RunResults {
    /// Sockets stand for connections. What the report knows; the rest is as with a [`Report`].
    fn from(report: &DatagramReport) -> Self {
        let mut record = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        record.run_ids = vec![report.run_id.clone()];
        record.duration_s = report.elapsed.as_secs_f64();
        record.interrupted = report.interrupted;
        record.target = report.targets.join(", ");
        let failed: u64 = report.failed.values().sum();
        record.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.opened,
            opening_s: None,
            verified: if report.is_success() { report.opened } else { 0 },
            failed,
        };
        record.reply_check = match report.expect {
            Expect::Echo => ReplyCheck::Compared,
            Expect::Any => ReplyCheck::Counted,
            Expect::Nothing | Expect::ReadOnly => ReplyCheck::NotExpected,
        };
        let (late, duplicated, reordered) = (report.late, report.duplicated, report.reordered);
        record.datagrams = Some(Datagrams { late, duplicated, reordered });
        for (failure, count) in report.failed.iter().chain(&report.not_sent).chain(&report.undelivered) {
            *record.errors.entry(failure.name()).or_default() += count;
        }
        for (name, count) in [("lost", report.lost), ("refused", report.refused), ("corrupt", report.corrupt)] {
            if count > 0 {
                *record.errors.entry(name.to_owned()).or_default() += count;
            }
        }
        for (errno, count) in &report.receive_errors {
            *record.errors.entry(format!("receive_{}", errno_name(*errno).to_lowercase())).or_default() += count;
        }
        record.mismatches.count = report.corrupt;
        record.mismatches.first = report.strange.iter().map(ToString::to_string).collect();
        record.fill_measurements(&report.measured, &report.load, report.workers);
        record
    }
}

impl Failure {
    /// A name for scripts, which stays as it is when the words for people change: `connect_timeout`.
    #[must_use]
    pub fn name(&self) -> String {
        if let Self::Errno(errno) = self {
            return errno_name(*errno).to_lowercase();
        }
        // The names of the variants say it all: `System(HostUnreachable)` is host_unreachable, `Tls(Alert(40))` tls_alert_40.
        let text = format!("{self:?}");
        let mut name = String::with_capacity(text.len() + 4);
        for datagram in text.strip_prefix("System(").unwrap_or(&text).chars() {
            let begins_a_word = datagram.is_uppercase() || datagram == '(';
            if begins_a_word && !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            if datagram.is_alphanumeric() {
                name.push(datagram.to_ascii_lowercase());
            }
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::socket::TlsFault;
    use std::io::ErrorKind;

    #[test]
    fn causes_have_names_for_scripts() {
        for (failure, name) in [
            (Failure::Refused, "refused"),
            (Failure::ReplyTimeout, "reply_timeout"),
            (Failure::OutOfDescriptors, "out_of_descriptors"),
            (Failure::Tls(TlsFault::UnknownIssuer), "tls_unknown_issuer"),
            (Failure::Tls(TlsFault::Alert(40)), "tls_alert_40"),
            (Failure::System(ErrorKind::HostUnreachable), "host_unreachable"),
            (Failure::Errno(rustix::io::Errno::NOSYS.raw_os_error()), "enosys"),
        ] {
            assert_eq!(failure.name(), name);
        }
    }
}
