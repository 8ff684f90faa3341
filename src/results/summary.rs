//! A record as a person reads it in a terminal of 80 columns.

use super::validity::MISSING;
use super::{Latencies, LoadKind, ReplyCheck, RunResults, format_latency, per_second, total};
use crate::escape;
use crate::units::{format_count, format_counted, format_duration, format_rate, format_size};
use std::fmt;
use std::time::Duration;

/// The columns of the table of times.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Lines are broken before this column.
const WIDTH: usize = 80;

/// A load that lasted for this share of its time has lasted for all of it.
const WHOLE: f64 = 0.99;

/// What must not be torn from the number before it.
const UNITS: [&str; 11] = ["ns", "µs", "ms", "s", "m", "h", "%", "/s", "k/s", "M/s", "G/s"];

/// Shows a record. A run that lost messages says so first, then one that is not valid.
#[derive(Debug, Clone, Copy)]
pub struct TextReport<'a>(pub &'a RunResults);

impl fmt::Display for TextReport<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record) = self;
        losses(record).iter().try_for_each(|losses| wrap(out, "FAILED: ", losses))?;
        record.reasons.iter().try_for_each(|reason| wrap(out, "NOT VALID: ", reason))?;
        writeln!(out, "{}: {}", escape::line(job(record)), verdict(record))?;
        wrap(out, "  load         ", &load(record))?;
        self.write_counts(out)?;
        wrap(out, "  time         ", &time(record))?;
        for hint in &record.hints {
            wrap(out, "  note         ", hint)?;
        }
        self.write_times(out)
    }
}

impl TextReport<'_> {
    fn write_counts(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record) = self;
        let (connections, messages, count) = (&record.connections, &record.messages, format_count);
        let (opened, most, failed) =
            (count(connections.opened), count(connections.most_open), count(connections.failed));
        let noun = if record.datagrams.is_some() { "sockets" } else { "connections" };
        writeln!(out, "  {noun:<12} {opened} opened, {most} at the same time, {failed} failed")?;
        for (cause, number) in &record.errors {
            let cause = cause.replace('_', " ");
            writeln!(out, "               {:>9} {}", count(*number), escape::line(cause))?;
        }
        let opening = connections.opening_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(opening) = format_opening(connections.opened, opening) {
            writeln!(out, "  opening      {opening}")?;
        }
        let due = messages.due.map(|due| format!("{} due, ", count(due))).unwrap_or_default();
        let (sent, rate, check) = (count(messages.sent), format_rate(record.rate()), record.reply_check);
        let answered = format!("{} {}, ", count(messages.verified), check.of_messages());
        let answered = if check.has_counts() { answered } else { String::new() };
        wrap(out, "  messages     ", &format!("{due}{sent} sent, {answered}{rate}"))?;
        if let Some(reads) = messages.reads {
            writeln!(out, "  reads        {}", count(reads))?;
        }
        if total([messages.timed_out, messages.pending, messages.failed]) > 0 {
            let [late, pending, lost] = [messages.timed_out, messages.pending, messages.failed].map(count);
            writeln!(out, "  unanswered   {late} timed out, {pending} pending at the end, {lost} lost")?;
            if messages.unconnected > 0 {
                let unsent = count(messages.unconnected);
                writeln!(out, "               {unsent:>9} of them never sent: no connection was there")?;
            }
        }
        if let Some(datagrams) = &record.datagrams {
            let [late, duplicated, reordered] = [datagrams.late, datagrams.duplicated, datagrams.reordered].map(count);
            writeln!(out, "  replies      {late} late, {duplicated} duplicated, {reordered} reordered")?;
        }
        let (sent, verified) = (count(record.bytes.sent), count(record.bytes.verified));
        writeln!(out, "  bytes        {sent} sent, {verified} {}", check.of_bytes())?;
        if record.mismatches.count > 0 {
            writeln!(out, "  mismatches   {}", count(record.mismatches.count))?;
            for mismatch in &record.mismatches.first {
                writeln!(out, "    {}", escape::line(mismatch))?;
            }
        }
        Ok(())
    }

    fn write_times(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(record) = self;
        write!(out, "  {:<12}", "latency")?;
        QUANTILES.iter().try_for_each(|(name, _)| write!(out, "{name:>10}"))?;
        for (name, times) in record.histograms.named() {
            if !times.is_empty() {
                write_row(out, name, times)?;
            }
        }
        Ok(())
    }
}

fn write_row(out: &mut fmt::Formatter<'_>, name: &str, times: &Latencies) -> fmt::Result {
    write!(out, "\n    {name:<10}")?;
    for time in QUANTILES.iter().filter_map(|(_, quantile)| times.at(*quantile)) {
        write!(out, "{:>10}", format_latency(time))?;
    }
    Ok(())
}

/// What was opened, and where to: `10 connections to 127.0.0.1:65432`.
pub(super) fn job(record: &RunResults) -> String {
    let is_udp = record.datagrams.is_some();
    let opened = format_counted(record.connections.wanted, if is_udp { "socket" } else { "connection" });
    format!("{opened} to {}{}", record.target, if is_udp { " (udp)" } else { "" })
}

/// How long it took to open several connections, and how many that are per second: `41.2 ms, 24.3 k/s`.
#[must_use]
pub fn format_opening(opened: u64, took: Option<Duration>) -> Option<String> {
    let took = took.filter(|took| opened > 1 && !took.is_zero())?;
    Some(format!("{}, {}", format_duration(took), format_rate(per_second(opened, took.as_secs_f64()))))
}

/// How it ended, in a few words.
pub(super) fn verdict(record: &RunResults) -> &'static str {
    match (record.interrupted, record.is_success()) {
        (true, _) => "interrupted",
        (false, true) if record.load.kind == LoadKind::Reading => "nothing was sent, and all that came was read",
        (false, true) if record.messages.verified == 0 && record.reply_check.has_counts() => "every message was sent",
        (false, true) => record.reply_check.verdict(),
        (false, false) if record.error_count() == 0 && !record.has_measured() => "nothing was measured",
        (false, false) => "something failed",
    }
}

/// How many messages were not answered, where they are more than a few: a reader must know before anything else.
#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
pub(super) fn losses(record: &RunResults) -> Option<String> {
    let (messages, all) = (&record.messages, record.message_count());
    let kinds = [(messages.timed_out, "not answered within the reply timeout"), (messages.failed, "lost")];
    let lost = total(kinds.map(|(number, _)| number));
    if lost as f64 <= all as f64 * MISSING {
        return None;
    }
    let mut parts = kinds.into_iter().filter(|(number, _)| *number > 0);
    let (first, fate) = parts.next()?;
    let were = if first == 1 { "was" } else { "were" };
    let first = format!("{} of {} {were} {fate}", format_count(first), format_counted(all, "message"));
    let rest = parts.map(|(number, fate)| format!(", {} {fate}", format_count(number)));
    Some(std::iter::once(first).chain(rest).collect())
}

/// What was asked for: `open, 50.0 k/s, uniform, for 10.0 s`.
pub(super) fn load(record: &RunResults) -> String {
    let load = &record.load;
    let mut parts = vec![match load.kind {
        LoadKind::Open => "open (by the clock)".to_owned(),
        LoadKind::Reading => "none (nothing is sent, and what comes is read)".to_owned(),
        LoadKind::Closed if record.reply_check == ReplyCheck::Unframed => {
            "closed (bytes that come make room)".to_owned()
        }
        LoadKind::Closed => "closed (a reply makes room for the next message)".to_owned(),
    }];
    parts.extend(load.rate.map(format_rate));
    parts.extend(load.arrivals.as_ref().map(|arrivals| format!("{arrivals} arrivals")));
    parts.extend(load.seed.map(|seed| format!("seed {seed}")));
    parts.extend(load.duration_s.map(|asked_s| {
        let asked = in_words(asked_s);
        // Without messages left, or without connections, it ends earlier.
        let is_short = record.measured_s < asked_s * WHOLE;
        if is_short {
            format!("for {} of at most {asked}", in_words(record.measured_s))
        } else {
            format!("for {asked}")
        }
    }));
    if record.runs > 1 {
        parts.push(format!("{} merged", format_counted(record.runs, "run")));
    }
    parts.join(", ")
}

/// How long it took, and the CPU.
fn time(record: &RunResults) -> String {
    let mut parts = vec![in_words(record.duration_s)];
    if record.warm_up_s > 0.0 {
        parts.push(format!("of it {} to warm up", in_words(record.warm_up_s.min(record.duration_s))));
    }
    parts.extend(
        record.cpu.map(|cpu| format!("the client took {} of CPU ({:.0} %)", in_words(cpu.seconds), cpu.share * 100.0)),
    );
    parts.join(", ")
}

/// Seconds as a person reads them.
pub(super) fn in_words(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The machine in lines of a name and a value.
pub(super) fn environment(record: &RunResults) -> Vec<(&'static str, String)> {
    let here = &record.environment;
    let lines = [
        ("kernel", here.kernel.clone()),
        ("CPU", here.cpu_model.clone()),
        ("CPUs", here.cpus.map(format_count)),
        ("memory", here.memory_bytes.map(format_size)),
        ("descriptors", here.descriptor_limit.map(format_count)),
        ("somaxconn", here.somaxconn.map(format_count)),
        ("local ports", here.ip_local_port_range.map(|(first, last)| format!("{first} to {last}"))),
    ];
    lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// The words of a text; a number and its unit are one.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    for (space, _) in text.match_indices(' ') {
        let (before, after) = (&text[start..space], &text[space + 1..]);
        let digits = before.trim_start_matches('(');
        let is_number =
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',');
        let next = after.split([' ', ',', ';', ')']).next().unwrap_or_default();
        if !(is_number && UNITS.contains(&next)) {
            words.push(before);
            start = space + 1;
        }
    }
    words.push(&text[start..]);
    words
}

/// `label` and `text`, escaped and broken between words; further lines stand under the text.
pub(crate) fn wrap(out: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    write!(out, "{label}")?;
    let indent = label.chars().count();
    let mut column = indent;
    let text = escape::line(text).to_string();
    for word in words(&text) {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            write!(out, "\n{:indent$}", "")?;
            column = indent;
        }
        if column > indent {
            write!(out, " ")?;
            column += 1;
        }
        write!(out, "{word}")?;
        column += length;
    }
    writeln!(out)
}
