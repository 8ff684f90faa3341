//! Text report of a run, for a terminal of 80 columns.

use super::find_max;
use super::reply_check::Words;
use super::validity::{MAX_MISSING, UNFRAMED};
use super::{
    Datagrams, Latencies, LoadKind, PeerReplies, Percentile, Precision, Receivers, ReplyCheck, RunResults, SearchReply,
    format_latency, per_second, percentiles, total,
};
use crate::error::{cause_in_words, reported_cause};
use crate::escape;
use crate::units::{format_count, format_counted, format_duration, format_rate, format_size};
use std::fmt;
use std::time::Duration;
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Percentiles of reports.
pub(super) const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

/// Columns before the first value of the latency table, and of each value.
const ROW_LABEL: usize = 17;
const VALUE: usize = 10;

/// Maximum line width in columns.
const WIDTH: usize = 80;

/// Maximum number of causes in the headline.
const MAX_CAUSES: usize = 3;

/// A load that lasted for this share of its duration counts as complete.
const WHOLE: f64 = 0.99;

/// Units that stay on one line with their number.
const UNITS: [&str; 11] = ["ns", "µs", "ms", "s", "m", "h", "%", "/s", "k/s", "M/s", "G/s"];

/// Maximum number of targets in the first line.
const NAMED_TARGETS: usize = 3;

/// Maximum number of peers in the line of those that answered.
const NAMED_PEERS: usize = 4;

/// Causes of errors that a brief report shows in lines of their own: prefix of the name, label, and unit.
const DATAGRAM_CAUSES: [(&str, &str, &str); 3] = [
    ("not_sent_", "not sent", ""),
    ("undelivered_", "undelivered", ""),
    ("not_received_", "not received", " failures"),
];

/// Causes of unanswered and corrupt datagrams, which a brief report also shows in lines of their own.
const DATAGRAM_OUTCOMES: [&str; 3] = ["reply_timeout", "refused", "corrupt"];

/// Causes of wrong replies which are no echo.
const WRONG_REPLIES: [&str; 5] = ["wrong_reply", "wrong_status", "wrong_text", "bad_frame", "incomplete_frame"];

/// Full text report of a run, as after a load test. Lost messages come first, then reasons why the run is not valid.
#[derive(Debug, Clone, Copy)]
pub struct TextReport<'a>(pub &'a RunResults);

impl fmt::Display for TextReport<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text { results: self.0, is_brief: false }.write(out)
    }
}

/// The report that the client prints: full after a load test, brief after a number of messages.
impl fmt::Display for RunResults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Text { results: self, is_brief: !self.is_load() }.write(out)
    }
}

/// A brief report leaves out what is of interest for a load test only.
#[derive(Clone, Copy)]
struct Text<'a> {
    results: &'a RunResults,
    is_brief: bool,
}

impl Text<'_> {
    fn write(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { results, is_brief } = self;
        if let Some(found) = &results.find_max {
            find_max::lines(found, results).iter().try_for_each(|line| writeln!(out, "{}", escape::line(line)))?;
        }
        if is_brief {
            results.search_replies.iter().try_for_each(|reply| writeln!(out, "{}", escape::line(reply)))?;
        } else {
            losses(results).iter().try_for_each(|losses| wrap(out, "FAILED: ", losses))?;
            results.reasons.iter().try_for_each(|reason| wrap(out, "NOT VALID: ", reason))?;
        }
        writeln!(out, "{}: {}", escape::line(subject(results)), self.verdict())?;
        if !is_brief {
            wrap(out, "  load         ", &load(results))?;
            if let Some(start) = start(results) {
                wrap(out, "  start        ", &start)?;
            }
        }
        self.write_connections(out)?;
        self.write_messages(out)?;
        if let Some(statuses) = &results.statuses {
            wrap(out, "  statuses     ", &statuses.in_words())?;
        }
        if let Some(datagrams) = &results.datagrams {
            self.write_datagrams(out, datagrams)?;
        }
        let (sent, received) = (format_count(results.bytes.sent), format_count(results.bytes.received));
        writeln!(out, "  bytes        {sent} sent, {received} {}", self.words().bytes)?;
        self.write_mismatches(out)?;
        self.write_time(out)?;
        self.write_latencies(out)
    }

    fn verdict(self) -> &'static str {
        match self.is_brief {
            true if self.results.interrupted => "interrupted",
            true => outcome(self.results, self.words().verdict),
            false => verdict(self.results),
        }
    }

    fn words(self) -> Words {
        let check = self.results.reply_check;
        if self.is_brief { check.brief_words(self.results.datagrams.is_some()) } else { check.words() }
    }

    fn write_connections(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (results, connections) = (self.results, &self.results.connections);
        let is_datagram = results.datagrams.is_some();
        let [opened, most, failed] = [connections.opened, connections.most_open, connections.failed].map(format_count);
        let noun = if is_datagram { "sockets" } else { "connections" };
        let most = if is_datagram && self.is_brief { String::new() } else { format!("{most} at the same time, ") };
        writeln!(out, "  {noun:<12} {opened} opened, {most}{failed} failed")?;
        for (cause, number) in &results.errors {
            let label = format!("               {:>9} ", format_count(*number));
            let text = reported_cause(cause, is_datagram);
            match self.is_brief {
                true if is_datagram && is_of_datagrams(cause) => {}
                true => writeln!(out, "{label}{}", escape::line(text))?,
                false => wrap(out, &label, &text)?,
            }
        }
        if let Some(opening) = opening(results) {
            writeln!(out, "  opening      {opening}")?;
        }
        if let Some(search) = connections.port_search {
            wrap(out, "  port search  ", &search.to_string())?;
        }
        if connections.retries > 0 {
            writeln!(out, "  retries      {}", format_count(connections.retries))?;
        }
        // In the order of the targets; version 1 stored them as one text.
        let (targets, counts) = (&results.targets, &results.failed_by_target);
        let known = targets.iter().filter_map(|target| counts.get_key_value(target));
        known.chain(counts.iter().filter(|(target, _)| !targets.contains(target))).try_for_each(|(target, failed)| {
            writeln!(out, "  target       {}: {} failed", escape::line(target), format_count(*failed))
        })
    }

    fn write_messages(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (results, messages, check) = (self.results, &self.results.messages, self.results.reply_check);
        let noun = if self.is_brief && results.datagrams.is_some() { "datagrams" } else { "messages" };
        let due = messages.due.map(|due| format!("{} due, ", format_count(due))).unwrap_or_default();
        let (sent, rate) = (format_count(messages.sent), format_rate(results.rate()));
        let is_counted = check.has_counts() || self.is_brief && check == ReplyCheck::NotExpected;
        let answered = format!("{} {}, ", format_count(messages.answered), self.words().messages);
        let answered = if is_counted { answered } else { String::new() };
        wrap(out, &format!("  {noun:<12} "), &format!("{due}{sent} sent, {answered}{rate}"))?;
        if let Some(reads) = messages.reads {
            writeln!(out, "  reads        {}", format_count(reads))?;
        }
        if messages.unanswered() == 0 || self.is_brief {
            return Ok(());
        }
        let [timed_out, pending, lost] = [messages.timed_out, messages.pending, messages.lost].map(format_count);
        let wrong = Some(messages.wrong).filter(|wrong| *wrong > 0);
        let wrong = wrong.map(|wrong| format!(", {} wrong", format_count(wrong))).unwrap_or_default();
        writeln!(out, "  unanswered   {timed_out} timed out, {pending} pending, {lost} lost{wrong}")?;
        if messages.no_connection > 0 {
            let unsent = format_count(messages.no_connection);
            writeln!(out, "               {unsent:>9} of them never sent: no connection was open")?;
        }
        Ok(())
    }

    fn write_datagrams(self, out: &mut fmt::Formatter<'_>, datagrams: &Datagrams) -> fmt::Result {
        let [late, duplicated, reordered] =
            [datagrams.late, datagrams.duplicated, datagrams.reordered].map(format_count);
        if !self.is_brief {
            writeln!(out, "  replies      {late} late, {duplicated} duplicated, {reordered} reordered")?;
            return write_peers(out, datagrams);
        }
        let errors = &self.results.errors;
        for (prefix, label, unit) in DATAGRAM_CAUSES {
            for (cause, number) in errors.iter().filter_map(|(name, number)| Some((name.strip_prefix(prefix)?, number)))
            {
                writeln!(out, "  {label:<12} {}{unit}: {}", format_count(*number), cause_in_words(cause))?;
            }
        }
        let [timed_out, refused, corrupt] = DATAGRAM_OUTCOMES.map(|name| errors.get(name).copied().unwrap_or_default());
        if timed_out > 0 {
            writeln!(out, "  timed out    {}: no reply within the reply timeout", format_count(timed_out))?;
        } else if self.results.reply_check.has_counts() {
            writeln!(out, "  timed out    0")?;
        }
        for (label, number, words) in [
            ("late", datagrams.late, ": after the reply timeout"),
            ("refused", refused, ": nothing listens there"),
            ("duplicated", datagrams.duplicated, ""),
            ("reordered", datagrams.reordered, ""),
            ("corrupt", corrupt, ""),
        ] {
            if number > 0 {
                writeln!(out, "  {label:<12} {}{words}", format_count(number))?;
            }
        }
        self.write_first_mismatches(out)?;
        write_peers(out, datagrams)
    }

    fn write_mismatches(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { results, is_brief } = self;
        let wrong = total(WRONG_REPLIES.iter().filter_map(|cause| results.errors.get(*cause).copied()));
        match results.mismatches.count {
            // They follow the number of corrupt datagrams.
            _ if is_brief && results.datagrams.is_some() => return Ok(()),
            _ if wrong > 0 => writeln!(out, "  wrong reply  {}", format_count(wrong))?,
            0 => {}
            count => writeln!(out, "  mismatches   {}", format_count(count))?,
        }
        self.write_first_mismatches(out)
    }

    fn write_first_mismatches(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.results.mismatches.first;
        first.iter().try_for_each(|mismatch| writeln!(out, "    {}", escape::line(mismatch)))
    }

    fn write_time(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.results;
        if self.is_brief {
            writeln!(out, "  time         {}", format_seconds(results.duration_s))?;
            let is_unframed = results.reply_check == ReplyCheck::Unframed;
            return if is_unframed { wrap(out, "  note         ", UNFRAMED) } else { Ok(()) };
        }
        wrap(out, "  time         ", &time(results))?;
        results.notes.iter().try_for_each(|note| wrap(out, "  note         ", note))
    }

    fn write_latencies(self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_shown = |name: &str| !self.is_brief || name != "p99.99";
        let (names, quantiles): (Vec<_>, Vec<_>) = QUANTILES.into_iter().filter(|(name, _)| is_shown(name)).unzip();
        let latency = percentiles(self.results, &quantiles);
        out.write_str(&table_line("  latency", names))?;
        for (label, values) in self.latency_rows(&latency, &quantiles) {
            write!(out, "\n{}", table_line(&label, values))?;
        }
        if latency.iter().any(|percentile| percentile.precision == Precision::Bounded) {
            write!(out, "\n{}", wrapped("  marked !     ", &self.results.bounded_in_words()))?;
        }
        Ok(())
    }

    /// The rows of the latency table: labels and values. Bounded values of the reported `latency` end with a mark.
    fn latency_rows(self, latency: &[Percentile], quantiles: &[f64]) -> Vec<(String, Vec<String>)> {
        let (results, times) = (self.results, &self.results.histograms);
        let at = |times: &Latencies| quantiles.iter().filter_map(|quantile| times.at(*quantile)).collect::<Vec<_>>();
        let row = |label: &str, times: &Latencies| {
            let values: Vec<_> = at(times).into_iter().map(format_latency).collect();
            (format!("    {label}"), if values.is_empty() { vec!["none".to_owned()] } else { values })
        };
        let mut reported = precision_rows(if results.has_response_time() { "response" } else { "service" }, latency);
        let is_other = at(results.latency()) != at(&times.service_time);
        reported.extend((is_other && !times.service_time.is_empty()).then(|| row("service", &times.service_time)));
        if !times.client_delay.is_empty() {
            let added = at(&times.client_delay).into_iter().map(|time| format!("+{}", format_latency(time)));
            reported.push(("    client".to_owned(), added.collect()));
            reported.push((format!("{:ROW_LABEL$}(not included above)", ""), Vec::new()));
        }
        let is_unframed = results.reply_check == ReplyCheck::Unframed;
        let shown = |(label, times): (&str, &Latencies)| (!times.is_empty()).then(|| row(label, times));
        let connecting = [("connect", &times.connect), ("handshake", &times.handshake)];
        if self.is_brief {
            // The times of connecting and of replies are shown even if there are none.
            let connect = if results.datagrams.is_none() { Some(row("connect", &times.connect)) } else { None };
            let replies = if is_unframed { vec![row("first byte", &times.first_byte)] } else { reported };
            let replies = if replies.is_empty() { vec![row("service", &times.service_time)] } else { replies };
            return connect.into_iter().chain(shown(connecting[1])).chain(replies).collect();
        }
        // In files of earlier versions these take the place of the client delay.
        let delays = [("send delay", &times.send_delay), ("loop round", &times.loop_round)];
        let delays = if times.client_delay.is_empty() { &delays[..] } else { &[] };
        let further = [("blocked", &times.blocked), ("unanswered", &times.unanswered_age)];
        let rows = [&[("first byte", &times.first_byte)], &connecting[..], delays, &further].concat();
        reported.into_iter().chain(rows.into_iter().filter_map(shown)).collect()
    }
}

/// The rows of the reported latency: its percentiles, half their intervals of 95 %, and their floor if one is bounded.
/// Empty without replies.
fn precision_rows(label: &str, latency: &[Percentile]) -> Vec<(String, Vec<String>)> {
    let mark = |percentile: &Percentile| if percentile.precision == Precision::Bounded { "!" } else { "" };
    let is_bounded = latency.iter().any(|percentile| !mark(percentile).is_empty());
    let values = latency.iter().map(|percentile| format!("{}{}", format_latency(percentile.value), mark(percentile)));
    let chance = latency.iter().map_while(|percentile| percentile.plus_minus.map(format_latency));
    let floor = latency.iter().filter_map(|percentile| percentile.floor.filter(|_| is_bounded).map(format_latency));
    let rows = [(format!("    {label}"), values.collect()), ("      ±".to_owned(), chance.collect())];
    let rows = rows.into_iter().chain([("      at least".to_owned(), floor.collect())]);
    rows.filter(|(_, values): &(String, Vec<String>)| !values.is_empty()).collect()
}

/// A line of the latency table. Marks stand behind their right-aligned values.
fn table_line(label: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let (mut line, mut width) = (label.to_owned(), ROW_LABEL);
    for value in values {
        let value = value.as_ref();
        width += VALUE;
        let text_width = value.trim_end_matches('!').chars().count();
        line += &" ".repeat(width.saturating_sub(line.chars().count() + text_width));
        line += value;
    }
    line
}

/// The receivers that answered multicasts or broadcasts.
fn write_peers(out: &mut fmt::Formatter<'_>, datagrams: &Datagrams) -> fmt::Result {
    if datagrams.peers.is_empty() {
        return Ok(());
    }
    let named = datagrams.peers.iter().take(NAMED_PEERS).map(|(peer, counts)| match counts {
        // A file of an earlier version has no counts.
        PeerReplies { replies: 0, missing: 0, .. } => peer.clone(),
        PeerReplies { replies, missing: 0, .. } => format!("{peer} {}", format_count(*replies)),
        PeerReplies { replies, missing, .. } => {
            format!("{peer} {} ({} missing)", format_count(*replies), format_count(*missing))
        }
    });
    let named: Vec<String> = named.collect();
    let more = if datagrams.peers.len() > named.len() { ", …" } else { "" };
    let number = format_counted(datagrams.peers.len() as u64, "peer");
    wrap(out, "  answered by  ", &format!("{number}: {}{more}", escape::line(named.join(", "))))?;
    let Some(Receivers { min, max, incomplete }) = datagrams.receivers else { return Ok(()) };
    let peers =
        if min == max { format_counted(max, "peer") } else { format!("{min} to {}", format_counted(max, "peer")) };
    let lacking = match incomplete {
        0 => "none".to_owned(),
        count => format_count(count),
    };
    wrap(out, "  receivers    ", &format!("{peers} per message; {lacking} lacked a peer that answered others"))
}

/// Formats like the tutorial's client.
impl fmt::Display for SearchReply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_binary { "response" } else { "result" };
        write!(out, "Got {kind}: {}", self.text)?;
        if self.count == 1 { Ok(()) } else { write!(out, " ({} times)", format_count(self.count)) }
    }
}

fn is_of_datagrams(cause: &str) -> bool {
    DATAGRAM_OUTCOMES.contains(&cause) || DATAGRAM_CAUSES.iter().any(|(prefix, ..)| cause.starts_with(prefix))
}

/// The connections and their targets: `10 connections to 127.0.0.1:65432`.
pub(super) fn subject(results: &RunResults) -> String {
    let is_udp = results.datagrams.is_some();
    let opened = format_counted(results.connections.requested, if is_udp { "socket" } else { "connection" });
    let targets = match results.targets.split_at_checked(NAMED_TARGETS) {
        Some((named, rest)) if !rest.is_empty() => format!("{} and {} more", named.join(", "), rest.len()),
        _ => results.targets.join(", "),
    };
    format!("{opened} to {targets}{}", if is_udp { " (udp)" } else { "" })
}

/// Time to open several connections, and the rate of those that followed the first: `41.2 ms, 24.3 k/s`.
pub(super) fn opening(results: &RunResults) -> Option<String> {
    // Connections that replace others opened later.
    let opened = results.connections.opened.min(results.connections.requested);
    let took = results.connections.opening_s?;
    (opened > 1 && took > 0.0)
        .then(|| format!("{}, {}", format_seconds(took), format_rate(per_second(opened - 1, took))))
}

/// The outcome of the run in a few words, as in a full report.
pub(super) fn verdict(results: &RunResults) -> &'static str {
    let has_no_reply = results.messages.answered == 0 && results.reply_check.has_counts();
    outcome(results, if has_no_reply { "every message was sent" } else { results.reply_check.words().verdict })
}

/// The outcome of the run in a few words; `on_success` of one that did all it was to do.
fn outcome(results: &RunResults, on_success: &'static str) -> &'static str {
    match (results.interrupted, results.is_success()) {
        (true, _) if !results.has_measured() => "interrupted before anything was measured",
        (true, _) => "interrupted",
        (false, true) if results.load.kind == LoadKind::ReadOnly => "nothing was sent; everything received was read",
        (false, true) => on_success,
        (false, false) if results.error_count() == 0 && !results.has_measured() => "nothing was measured",
        (false, false) => "failed",
    }
}

/// The number of unanswered messages if it is significant: a reader must know it first.
#[allow(clippy::cast_precision_loss, reason = "counts of messages")]
pub(super) fn losses(results: &RunResults) -> Option<String> {
    let (messages, all) = (&results.messages, results.message_count());
    let kinds = [
        (messages.timed_out, "not answered within the reply timeout"),
        (messages.wrong, "answered wrongly"),
        (messages.lost, "lost"),
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
    let causes = if messages.lost > 0 { loss_causes(results) } else { String::new() };
    Some(std::iter::once(first).chain(rest).chain([causes]).collect())
}

/// The causes for which connections lost messages: ` (mismatch, reset)`. Empty if none is known.
fn loss_causes(results: &RunResults) -> String {
    // Messages that fail for these count as timed out.
    let is_timeout = |cause: &str| ["reply_timeout", "send_timeout"].contains(&cause);
    let causes = results.errors.keys().filter(|cause| !is_timeout(cause)).take(MAX_CAUSES);
    let causes: Vec<_> = causes.map(|cause| cause.replace('_', " ")).collect();
    if causes.is_empty() { String::new() } else { format!(" ({})", causes.join(", ")) }
}

/// The requested load: `open loop, 50.0 k/s, uniform arrivals, for 10.0 s`.
pub(super) fn load(results: &RunResults) -> String {
    let load = &results.load;
    let mut parts = vec![match load.kind {
        LoadKind::Open => "open loop".to_owned(),
        LoadKind::ReadOnly => "read-only".to_owned(),
        LoadKind::Interactive => "interactive".to_owned(),
        LoadKind::Closed if results.reply_check == ReplyCheck::Unframed => {
            "closed loop (received bytes make room for the next message)".to_owned()
        }
        LoadKind::Closed if results.reply_check == ReplyCheck::NotExpected => {
            "send-only (as fast as the socket accepts)".to_owned()
        }
        LoadKind::Closed => "closed loop".to_owned(),
    }];
    let ramp = load.ramp_to.map(|to| format!(" to {}", format_rate(to))).unwrap_or_default();
    parts.extend(load.rate.map(|rate| format!("{}{ramp}", format_rate(rate))));
    parts.extend(load.arrivals.as_ref().map(|arrivals| format!("{arrivals} arrivals")));
    parts.extend(load.seed.map(|seed| format!("seed {seed}")));
    parts.extend(load.duration_s.map(|requested_s| {
        let requested = format_seconds(requested_s);
        // Without messages or connections left, the load ends early.
        let is_short = results.measured_s < requested_s * WHOLE;
        if results.measured_s <= 0.0 {
            let until = if results.warm_up_s > 0.0 { "ended in its warm-up" } else { "never began" };
            format!("{until}, planned for {requested}")
        } else if is_short {
            format!("for {} of at most {requested}", format_seconds(results.measured_s))
        } else {
            format!("for {requested}")
        }
    }));
    parts.extend(results.shard.map(|shard| shard.to_string()));
    if results.runs > 1 {
        parts.push(format!("{} merged", format_counted(results.runs, "run")));
    }
    let stop = results.stop.as_ref().map(|stop| format!("; {stop}")).unwrap_or_default();
    parts.join(", ") + &stop
}

/// When a load began that was requested for an instant, and how far apart the starts of merged runs were.
fn start(results: &RunResults) -> Option<String> {
    let start = results.start.filter(|start| start.began.is_some())?;
    let requested = start.requested.map(|requested| format!("at {requested}"));
    let late = start.late_s.map(|late_s| format!("{} late", format_seconds(late_s)));
    let error =
        start.clock_error_s.map(|error_s| format!(" (each ± {} at most)", format_seconds(error_s))).unwrap_or_default();
    let in_words = |skew_s| format!("within {} by the clocks of the machines{error}", format_seconds(skew_s));
    let skew = start.skew_s.map(in_words);
    let parts: Vec<_> = [requested, late, skew].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The duration of the run, and the client's CPU time.
fn time(results: &RunResults) -> String {
    let mut text = format_seconds(results.duration_s);
    if results.warm_up_s > 0.0 {
        text = format!("{text} including {} warm-up", format_seconds(results.warm_up_s.min(results.duration_s)));
    }
    let Some(cpu) = results.cpu else { return text };
    let cpu = format!("client CPU {} ({:.0} %)", format_seconds(cpu.seconds), cpu.share * 100.0);
    let lost = results.lost_times_in_words().into_iter().map(|lost| format!(", {lost}"));
    format!("{text}; {cpu}{}", lost.collect::<String>())
}

/// Formats seconds.
pub(super) fn format_seconds(seconds: f64) -> String {
    format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The machine as pairs of name and value.
pub(super) fn machine(results: &RunResults) -> Vec<(&'static str, String)> {
    let here = &results.machine;
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
pub(super) fn wrap(out: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    writeln!(out, "{}", wrapped(label, text))
}

fn wrapped(label: &str, text: &str) -> String {
    let indent = " ".repeat(label.chars().count());
    let options = Options::new(WIDTH).initial_indent(label).subsequent_indent(&indent);
    let options = options.word_separator(WordSeparator::Custom(words)).word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(&escape::line(text).to_string(), options.break_words(false))
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
