//! Text report of a run, for a terminal of 80 columns.

use super::validity::MAX_MISSING;
use super::{Latencies, LoadKind, ReplyCheck, RunResults, format_latency, per_second, total};
use crate::error::reported_cause;
use crate::escape;
use crate::units::{format_count, format_counted, format_duration, format_rate, format_size};
use std::fmt;
use std::time::Duration;
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Columns of the latency table.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Maximum line width in columns.
const WIDTH: usize = 80;

/// Maximum number of causes in the headline.
const MAX_CAUSES: usize = 3;

/// A load that lasted for this share of its duration counts as complete.
const WHOLE: f64 = 0.99;

/// Units that stay on one line with their number.
const UNITS: [&str; 11] = ["ns", "µs", "ms", "s", "m", "h", "%", "/s", "k/s", "M/s", "G/s"];

/// Text report of a run. Lost messages come first, then reasons why the run is not valid.
#[derive(Debug, Clone, Copy)]
pub struct TextReport<'a>(pub &'a RunResults);

impl fmt::Display for TextReport<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(results) = self;
        losses(results).iter().try_for_each(|losses| wrap(out, "FAILED: ", losses))?;
        results.reasons.iter().try_for_each(|reason| wrap(out, "NOT VALID: ", reason))?;
        writeln!(out, "{}: {}", escape::line(job(results)), verdict(results))?;
        wrap(out, "  load         ", &load(results))?;
        self.write_counts(out)?;
        wrap(out, "  time         ", &time(results))?;
        for hint in &results.hints {
            wrap(out, "  note         ", hint)?;
        }
        self.write_times(out)
    }
}

impl TextReport<'_> {
    fn write_counts(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(results) = self;
        let (connections, messages, count) = (&results.connections, &results.messages, format_count);
        let (opened, most, failed) =
            (count(connections.opened), count(connections.most_open), count(connections.failed));
        let noun = if results.datagrams.is_some() { "sockets" } else { "connections" };
        writeln!(out, "  {noun:<12} {opened} opened, {most} at the same time, {failed} failed")?;
        for (cause, number) in &results.errors {
            let label = format!("               {:>9} ", count(*number));
            wrap(out, &label, &reported_cause(cause, results.datagrams.is_some()))?;
        }
        let opening = connections.opening_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(opening) = format_opening(connections.opened, opening) {
            writeln!(out, "  opening      {opening}")?;
        }
        results.failed_by_target.iter().try_for_each(|(target, failed)| write_failed_target(out, target, *failed))?;
        let due = messages.due.map(|due| format!("{} due, ", count(due))).unwrap_or_default();
        let (sent, rate, check) = (count(messages.sent), format_rate(results.rate()), results.reply_check);
        let answered = format!("{} {}, ", count(messages.verified), check.of_messages());
        let answered = if check.has_counts() { answered } else { String::new() };
        wrap(out, "  messages     ", &format!("{due}{sent} sent, {answered}{rate}"))?;
        if let Some(reads) = messages.reads {
            writeln!(out, "  reads        {}", count(reads))?;
        }
        if total([messages.timed_out, messages.pending, messages.failed]) > 0 {
            let wrong = wrong_replies(results);
            let lost = messages.failed - wrong;
            let [late, pending, lost] = [messages.timed_out, messages.pending, lost].map(count);
            let wrong = if wrong > 0 { format!(", {} answered wrongly", count(wrong)) } else { String::new() };
            writeln!(out, "  unanswered   {late} timed out, {pending} pending at the end, {lost} lost{wrong}")?;
            if messages.unconnected > 0 {
                let unsent = count(messages.unconnected);
                writeln!(out, "               {unsent:>9} of them never sent: no connection was open")?;
            }
        }
        if let Some(datagrams) = &results.datagrams {
            let [late, duplicated, reordered] = [datagrams.late, datagrams.duplicated, datagrams.reordered].map(count);
            writeln!(out, "  replies      {late} late, {duplicated} duplicated, {reordered} reordered")?;
        }
        let (sent, verified) = (count(results.bytes.sent), count(results.bytes.verified));
        writeln!(out, "  bytes        {sent} sent, {verified} {}", check.of_bytes())?;
        if results.mismatches.count > 0 {
            writeln!(out, "  mismatches   {}", count(results.mismatches.count))?;
            for mismatch in &results.mismatches.first {
                writeln!(out, "    {}", escape::line(mismatch))?;
            }
        }
        Ok(())
    }

    fn write_times(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(results) = self;
        write!(out, "  {:<12}", "latency")?;
        QUANTILES.iter().try_for_each(|(name, _)| write!(out, "{name:>10}"))?;
        for (name, times) in results.histograms.named() {
            if !times.is_empty() {
                write_row(out, name, times)?;
            }
        }
        Ok(())
    }
}

/// Writes the number of failed connections to one of several targets.
pub(crate) fn write_failed_target(out: &mut fmt::Formatter<'_>, target: &str, failed: u64) -> fmt::Result {
    writeln!(out, "  target       {}: {} failed", escape::line(target), format_count(failed))
}

fn write_row(out: &mut fmt::Formatter<'_>, name: &str, times: &Latencies) -> fmt::Result {
    write!(out, "\n    {name:<10}")?;
    for time in QUANTILES.iter().filter_map(|(_, quantile)| times.at(*quantile)) {
        write!(out, "{:>10}", format_latency(time))?;
    }
    Ok(())
}

/// The connections and their target: `10 connections to 127.0.0.1:65432`.
pub(super) fn job(results: &RunResults) -> String {
    let is_udp = results.datagrams.is_some();
    let opened = format_counted(results.connections.wanted, if is_udp { "socket" } else { "connection" });
    format!("{opened} to {}{}", results.target, if is_udp { " (udp)" } else { "" })
}

/// Time to open several connections, and the rate of those that followed the first: `41.2 ms, 24.3 k/s`.
#[must_use]
pub fn format_opening(opened: u64, took: Option<Duration>) -> Option<String> {
    let took = took.filter(|took| opened > 1 && !took.is_zero())?;
    Some(format!("{}, {}", format_duration(took), format_rate(per_second(opened - 1, took.as_secs_f64()))))
}

/// The outcome of the run in a few words.
pub(super) fn verdict(results: &RunResults) -> &'static str {
    match (results.interrupted, results.is_success()) {
        (true, _) if !results.has_measured() => "interrupted before anything was measured",
        (true, _) => "interrupted",
        (false, true) if results.load.kind == LoadKind::Reading => "nothing was sent, and all that came was read",
        (false, true) if results.messages.verified == 0 && results.reply_check.has_counts() => "every message was sent",
        (false, true) => results.reply_check.verdict(),
        (false, false) if results.error_count() == 0 && !results.has_measured() => "nothing was measured",
        (false, false) => "something failed",
    }
}

/// The number of unanswered messages if it is significant: a reader must know it first.
#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
pub(super) fn losses(results: &RunResults) -> Option<String> {
    let (messages, all) = (&results.messages, results.message_count());
    let wrong = wrong_replies(results);
    let kinds = [
        (messages.timed_out, "not answered within the reply timeout"),
        (wrong, "answered wrongly"),
        (messages.failed - wrong, "lost"),
    ];
    let lost = total(kinds.map(|(number, _)| number));
    if lost as f64 <= all as f64 * MAX_MISSING {
        return None;
    }
    let mut parts = kinds.into_iter().filter(|(number, _)| *number > 0);
    let (first, fate) = parts.next()?;
    let were = if first == 1 { "was" } else { "were" };
    let first = format!("{} of {} {were} {fate}", format_count(first), format_counted(all, "message"));
    let rest = parts.map(|(number, fate)| format!(", {} {fate}", format_count(number)));
    let causes = if messages.failed > wrong { loss_causes(results) } else { String::new() };
    Some(std::iter::once(first).chain(rest).chain([causes]).collect())
}

/// Failed messages that were answered wrongly: one for each connection that failed for a wrong reply.
fn wrong_replies(results: &RunResults) -> u64 {
    let causes = ["mismatch", "wrong_answer", "bad_frame", "cut_frame", "corrupt"];
    let messages = &results.messages;
    let answered = messages.failed.saturating_sub(messages.unconnected);
    total(causes.iter().filter_map(|cause| results.errors.get(*cause).copied())).min(answered)
}

/// The causes for which connections lost messages: ` (mismatch, reset)`. Empty if none is known.
fn loss_causes(results: &RunResults) -> String {
    // Messages that fail for these count as timed out.
    let is_timeout = |cause: &str| ["lost", "reply_timeout", "send_timeout"].contains(&cause);
    let causes = results.errors.keys().filter(|cause| !is_timeout(cause)).take(MAX_CAUSES);
    let causes: Vec<_> = causes.map(|cause| cause.replace('_', " ")).collect();
    if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) }
}

/// The requested load: `open, 50.0 k/s, uniform, for 10.0 s`.
pub(super) fn load(results: &RunResults) -> String {
    let load = &results.load;
    let mut parts = vec![match load.kind {
        LoadKind::Open => "open (by the clock)".to_owned(),
        LoadKind::Reading => "none (nothing is sent, and what comes is read)".to_owned(),
        LoadKind::Closed if results.reply_check == ReplyCheck::Unframed => {
            "closed (bytes that come make room)".to_owned()
        }
        LoadKind::Closed if results.reply_check == ReplyCheck::NotExpected => {
            "unpaced (messages go out as fast as the socket takes them)".to_owned()
        }
        LoadKind::Closed => "closed (a reply makes room for the next message)".to_owned(),
    }];
    parts.extend(load.rate.map(format_rate));
    parts.extend(load.arrivals.as_ref().map(|arrivals| format!("{arrivals} arrivals")));
    parts.extend(load.seed.map(|seed| format!("seed {seed}")));
    parts.extend(load.duration_s.map(|asked_s| {
        let asked = in_words(asked_s);
        // Without messages or connections left, the load ends early.
        let is_short = results.measured_s < asked_s * WHOLE;
        if results.measured_s <= 0.0 {
            let until = if results.warm_up_s > 0.0 { "ended in its warm-up" } else { "never began" };
            format!("{until}, planned for {asked}")
        } else if is_short {
            format!("for {} of at most {asked}", in_words(results.measured_s))
        } else {
            format!("for {asked}")
        }
    }));
    if results.runs > 1 {
        parts.push(format!("{} merged", format_counted(results.runs, "run")));
    }
    parts.join(", ")
}

/// The duration of the run, and the client's CPU time.
fn time(results: &RunResults) -> String {
    let mut parts = vec![in_words(results.duration_s)];
    if results.warm_up_s > 0.0 {
        parts.push(format!("of it {} to warm up", in_words(results.warm_up_s.min(results.duration_s))));
    }
    parts.extend(
        results.cpu.map(|cpu| format!("the client took {} of CPU ({:.0} %)", in_words(cpu.seconds), cpu.share * 100.0)),
    );
    parts.join(", ")
}

/// Formats seconds.
pub(super) fn in_words(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The machine as pairs of name and value.
pub(super) fn environment(results: &RunResults) -> Vec<(&'static str, String)> {
    let here = &results.environment;
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

/// Writes `label` and `text`, escaped and wrapped between words. Further lines are indented to the start of the text.
pub(crate) fn wrap(out: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    let indent = " ".repeat(label.chars().count());
    let options = Options::new(WIDTH).initial_indent(label).subsequent_indent(&indent);
    let options = options.word_separator(WordSeparator::Custom(words)).word_splitter(WordSplitter::NoHyphenation);
    writeln!(out, "{}", textwrap::fill(&escape::line(text).to_string(), options.break_words(false)))
}

/// Splits a line into words. A number and its unit are one word.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let ends_word = |(space, _): &(usize, &str)| {
        let number = line[..*space].rsplit(' ').next().unwrap_or_default().trim_start_matches('(');
        let is_number = !number.is_empty() && number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b','));
        let next = line[space + 1..].split([' ', ',', ';', ')']).next().unwrap_or_default();
        !(is_number && UNITS.contains(&next))
    };
    let ends = line.match_indices(' ').filter(ends_word).map(|(space, _)| space + 1).chain([line.len()]);
    Box::new(ends.scan(0, |start, end| Some(Word::from(&line[std::mem::replace(start, end)..end]))))
}
