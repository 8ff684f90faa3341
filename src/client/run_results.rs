//! Conversion of client reports to stored results.

use super::arrivals::Arrivals;
use super::failure::Failure;
use super::report::Report;
use super::udp::DatagramReport;
use super::{Expect, LoadConfig, Measurements};
use crate::error::{errno_name, name_of};
use crate::results::{self, Connections, Cpu, Datagrams, LoadKind, Messages, Mismatches, ReplyCheck, RunResults};

impl From<&Report> for RunResults {
    /// Converts the report. The caller adds the start time, the configuration and the environment; then
    /// [`RunResults::finalize`] validates the result.
    fn from(report: &Report) -> Self {
        let mut results = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        results.run_ids = vec![report.run_id.clone()];
        results.duration_s = report.elapsed.as_secs_f64();
        results.measured_s = results.duration_s;
        results.interrupted = report.interrupted;
        results.target = report.targets.join(", ");
        results.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.most_open,
            opening_s: report.opening.map(|opening| opening.as_secs_f64()),
            verified: report.verified,
            failed: report.failures(),
        };
        results.reply_check = report.reply_check;
        for (failure, count) in &report.failed {
            *results.errors.entry(failure.name()).or_default() += count;
        }
        results.failed_by_target =
            report.failed_targets().map(|(target, failed)| (target.to_owned(), failed)).collect();
        let wrong_answers = report.failed.get(&Failure::WrongAnswer).copied().unwrap_or_default();
        let (mismatches, answers) = (report.mismatches.iter(), report.wrong_answers.iter());
        results.mismatches = Mismatches {
            count: report.mismatch_count + wrong_answers,
            first: mismatches.map(ToString::to_string).chain(answers.map(ToString::to_string)).collect(),
        };
        results.histograms.connect = report.connect.clone();
        results.histograms.handshake = report.handshake.clone();
        results.fill_measurements(&report.measured, &report.load, report.workers);
        if report.expect == Expect::ReadOnly {
            results.load.kind = LoadKind::Reading;
            // A server may send before all connections are open, when the duration begins.
            results.bytes.verified = report.bytes_verified;
        }
        results
    }
}

impl RunResults {
    /// Fills in the load, and what was measured of the messages.
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
                .then(|| measured.all_intervals().map(|second| second.reads).sum()),
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
        self.bytes.sent = measured.all_intervals().map(|second| second.bytes_sent).sum();
        self.bytes.verified = measured.all_intervals().map(|second| second.bytes_verified).sum();
        self.intervals.clone_from(&measured.seconds);
        self.after_load = Some(&measured.after_load).filter(|after| after.has_counts()).cloned();
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
    /// Converts the report; sockets count as connections. The caller adds the same as for a [`Report`].
    fn from(report: &DatagramReport) -> Self {
        let mut results = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        results.run_ids = vec![report.run_id.clone()];
        results.duration_s = report.elapsed.as_secs_f64();
        results.interrupted = report.interrupted;
        results.target = report.targets.join(", ");
        let failed: u64 = report.failed.values().sum();
        results.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.opened,
            opening_s: None,
            verified: if report.is_success() { report.opened } else { 0 },
            failed,
        };
        results.reply_check = match report.expect {
            Expect::Echo => ReplyCheck::Compared,
            Expect::Any => ReplyCheck::Counted,
            Expect::Nothing | Expect::ReadOnly => ReplyCheck::NotExpected,
        };
        let (late, duplicated, reordered) = (report.late, report.duplicated, report.reordered);
        results.datagrams = Some(Datagrams { late, duplicated, reordered });
        results.failed_by_target =
            report.failed_targets().map(|(target, failed)| (target.to_owned(), failed)).collect();
        for (failure, count) in report.failed.iter().chain(&report.not_sent).chain(&report.undelivered) {
            *results.errors.entry(failure.name()).or_default() += count;
        }
        for (name, count) in [("lost", report.lost), ("refused", report.refused), ("corrupt", report.corrupt)] {
            if count > 0 {
                *results.errors.entry(name.to_owned()).or_default() += count;
            }
        }
        for (errno, count) in &report.receive_errors {
            *results.errors.entry(format!("receive_{}", errno_name(*errno).to_lowercase())).or_default() += count;
        }
        results.mismatches.count = report.corrupt;
        results.mismatches.first = report.corrupt_replies.iter().map(ToString::to_string).collect();
        results.fill_measurements(&report.measured, &report.load, report.workers);
        results
    }
}

impl Failure {
    /// Stable name for scripts, such as `connect_timeout`. It does not change with the text of
    /// [`Display`](std::fmt::Display).
    #[must_use]
    pub fn name(&self) -> String {
        if let Self::Errno(errno) = self {
            return errno_name(*errno).to_lowercase();
        }
        // System errors are named after their kind alone.
        if let Self::System(kind) = self { name_of(kind) } else { name_of(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::error::cause_in_words;
    use crate::socket::TlsFault;
    use std::io::ErrorKind;

    /// A variant without a text would show its name.
    #[test]
    fn every_failure_has_a_text() {
        use {Failure as F, TlsFault as T};
        for failure in [
            F::Refused,
            F::ConnectTimeout,
            F::HandshakeTimeout,
            F::Truncated,
            F::ReplyTimeout,
            F::SendTimeout,
            F::Reset,
            F::ClosedEarly,
            F::Mismatch,
            F::NotKept,
            F::BadFrame,
            F::CutFrame,
            F::OwnEnd,
            F::Unsendable,
            F::OutOfPorts,
            F::NeedsBroadcast,
            F::NoGroupRoute,
            F::OutOfDescriptors,
            F::Stopped,
        ] {
            assert_ne!(failure.to_string(), failure.name().replace('_', " "));
        }
        for fault in [
            T::PlainText,
            T::Http,
            T::Echoed,
            T::ClosedEarly,
            T::UnknownIssuer,
            T::UnknownClientIssuer,
            T::Expired,
            T::NotYetValid,
            T::WrongName,
            T::NoNames,
            T::BadSignature,
            T::BadCertificate,
            T::NoCertificate,
            T::Incompatible,
            T::NoProtocol,
            T::Alert(1),
            T::Damaged,
            T::Misbehaved,
            T::TooLarge,
            T::Internal,
        ] {
            assert!(fault.to_string().contains(' '), "{fault}");
            assert_eq!(Failure::Tls(fault).to_string(), cause_in_words(&Failure::Tls(fault).name()));
        }
    }

    #[test]
    fn failures_have_stable_names() {
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
            assert_eq!(cause_in_words(name), failure.to_string());
        }
    }
}
