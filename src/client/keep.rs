//! A report as the record that is kept of it in a file.

use super::datagram::DatagramReport;
use super::report::{Failure, Report};
use crate::record::{Connections, Latencies, Mismatches, Record};

impl From<&Report> for Record {
    /// What the report knows. When the run began, its configuration and its environment are the caller's to add; then
    /// [`Record::settle`] judges it.
    fn from(report: &Report) -> Self {
        let mut record = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        record.duration_s = report.elapsed.as_secs_f64();
        record.measured_s = record.duration_s;
        record.interrupted = report.interrupted;
        record.target = report.targets.join(", ");
        record.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.most_open,
            verified: report.verified,
            failed: report.failures(),
        };
        record.messages.sent = report.messages_sent;
        record.messages.verified = report.messages_verified;
        record.messages.failed = report.messages_sent.saturating_sub(report.messages_verified);
        record.bytes.sent = report.bytes_sent;
        record.bytes.verified = report.bytes_verified;
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
        record.histograms.latency_from_send = Latencies::from(report.round_trip.clone());
        record
    }
}

impl From<&DatagramReport> for Record {
    /// Sockets stand for connections. What the report knows; the rest is as with a [`Report`].
    fn from(report: &DatagramReport) -> Self {
        let mut record = Self::of(concat!("multiconn-client ", env!("CARGO_PKG_VERSION")));
        record.duration_s = report.elapsed.as_secs_f64();
        record.measured_s = record.duration_s;
        record.interrupted = report.interrupted;
        record.target.clone_from(&report.target);
        let failed: u64 = report.failed.values().sum();
        record.connections = Connections {
            wanted: report.wanted as u64,
            opened: report.opened,
            most_open: report.opened,
            verified: if report.is_success() { report.opened } else { 0 },
            failed,
        };
        record.messages.sent = report.sent;
        record.messages.verified = report.verified;
        record.messages.timed_out = report.lost;
        record.messages.failed = report.refused;
        record.bytes.sent = report.sent_bytes;
        record.bytes.verified = report.verified_bytes;
        for (failure, count) in report.failed.iter().chain(&report.not_sent) {
            *record.errors.entry(failure.name()).or_default() += count;
        }
        for (name, count) in [("lost", report.lost), ("refused", report.refused), ("corrupt", report.corrupt)] {
            if count > 0 {
                *record.errors.entry(name.to_owned()).or_default() += count;
            }
        }
        record.mismatches.count = report.corrupt;
        record.mismatches.first = report.strange.iter().map(ToString::to_string).collect();
        record.histograms.latency_from_send = Latencies::from(report.round_trip.clone());
        record
    }
}

impl Failure {
    /// A name for scripts, which stays as it is when the words for people change: `connect_timeout`.
    #[must_use]
    pub fn name(&self) -> String {
        // The names of the variants say it all: `System(HostUnreachable)` is host_unreachable, `Tls(Alert(40))` tls_alert_40.
        let text = format!("{self:?}");
        let mut name = String::with_capacity(text.len() + 4);
        for letter in text.strip_prefix("System(").unwrap_or(&text).chars() {
            let begins_a_word = letter.is_uppercase() || letter == '(';
            if begins_a_word && !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            if letter.is_alphanumeric() {
                name.push(letter.to_ascii_lowercase());
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
        ] {
            assert_eq!(failure.name(), name);
        }
    }
}
