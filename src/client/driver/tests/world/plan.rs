//! What a seed determines: configuration, faults, and what the servers do.

use super::stream::MessageStream;
use super::{GRACE, MILLISECOND, Nanos, SECOND};
use crate::client::arrivals::Arrivals;
use crate::client::config::{ClientConfig, Expect};
use crate::codec::Framing;
use crate::results::TimestampSource;
use crate::simulated_kernel::{Faults, Rng};
use crate::socket::{Address, Endpoint};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Port of the target of connection 0: each connection has a target of its own, which tells its number.
pub(super) const FIRST_PORT: u16 = 1000;

/// Messages that a load sends, at most, if nothing delays it.
const MESSAGES: u64 = 40;

/// Distinguishes the generator of the number of workers and of their pauses, so that the worlds of one worker are the same as
/// without it.
const WORKERS: u64 = 1 << 63;

/// A world.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "the flags are independent, and any combination can occur")]
pub(super) struct Plan {
    pub(super) config: ClientConfig,
    pub(super) faults: Faults,
    /// Messages on the wire, unless they are generated.
    pub(super) messages: Arc<[Vec<u8>]>,
    pub(super) answer: Answer,
    /// Servers may break off their connections.
    pub(super) servers_break: bool,
    /// Servers may send other bytes than they have received.
    pub(super) servers_corrupt: bool,
    /// Servers may wait before they answer, or do nothing for a while.
    pub(super) servers_wait: bool,
    /// Room of receive buffers.
    pub(super) rooms: [usize; 2],
    /// Each target has two addresses.
    pub(super) has_two_addresses: bool,
    /// When the faults end, and every server becomes orderly.
    pub(super) quiet_at: Nanos,
    /// When the run, or its load, is ended from outside.
    pub(super) end: Option<(Nanos, Ending)>,
}

/// How a run is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Stop,
    EndLoad,
}

/// What servers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The bytes that they receive.
    Echo,
    /// So many bytes for each message.
    Sized(usize),
    Nothing,
}

impl Plan {
    /// The plan of a seed, and the generator of what is not planned.
    pub(super) fn of(seed: u64) -> (Self, Rng) {
        let mut rng = Rng::new(seed);
        let mut plan = Self::new(&mut rng);
        let mut of_workers = Rng::new(seed ^ WORKERS);
        if plan.config.connections > 1 && of_workers.one_in(3) {
            plan.config.workers = 2;
            plan.faults.longest_pause = of_workers.pick(&[0, 0, 100 * MILLISECOND]);
        }
        (plan, rng)
    }

    fn new(rng: &mut Rng) -> Self {
        let quiet_at = rng.pick(&[20 * MILLISECOND, 500 * MILLISECOND, 2 * SECOND]);
        let answer = match rng.below(8) {
            0 => Answer::Sized(1 + rng.index(50)),
            1 => Answer::Nothing,
            _ => Answer::Echo,
        };
        let faults = faults(rng, quiet_at);
        let mut config = config(rng, answer, &faults);
        let messages = config.take_messages().expect("the messages fit their framing");
        let longest_delay = faults.longest_delay;
        let end = match rng.below(6) {
            0 => Some((rng.below(quiet_at), Ending::Stop)),
            1 => Some((rng.below(quiet_at), Ending::EndLoad)),
            _ => None,
        };
        Self {
            faults,
            messages: messages.into(),
            answer,
            servers_break: rng.one_in(2),
            servers_corrupt: rng.one_in(3),
            servers_wait: rng.one_in(2),
            rooms: rooms(rng, &config, longest_delay),
            has_two_addresses: rng.one_in(4),
            quiet_at,
            end,
            config,
        }
    }

    /// Addresses of each target.
    pub(super) fn targets(&self) -> Vec<Vec<Address>> {
        let hosts = if self.has_two_addresses { 2 } else { 1 };
        let address = |host, port| Address::Ip(SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), port)));
        (FIRST_PORT..)
            .take(self.config.connections)
            .map(|port| (1..=hosts).map(|host| address(host, port)).collect())
            .collect()
    }

    /// The messages of connection `number`, counted from 1, that replaces `generation` earlier ones.
    pub(super) fn stream(&self, number: usize, generation: u64) -> MessageStream {
        MessageStream::new(&self.config, &self.messages, number as u64, generation)
    }

    /// Messages of a connection and its replacements together, at most.
    pub(super) fn total(&self) -> u64 {
        self.config.total_messages(self.messages.len())
    }

    pub(super) fn has_ending(&self, ending: Ending) -> bool {
        self.end.is_some_and(|(_, other)| other == ending)
    }

    /// Whether a reply is counted as such.
    pub(super) fn counts_replies(&self) -> bool {
        self.answer != Answer::Nothing && (self.config.expect == Expect::Echo || self.is_framed())
    }

    /// Whether the server has to close after the last message.
    pub(super) fn awaits_close(&self) -> bool {
        self.answer == Answer::Nothing || self.config.framing == Some(Framing::UntilEnd)
    }

    /// Whether the end of a reply that is not compared is known.
    fn is_framed(&self) -> bool {
        self.config.framing.is_some() || self.config.reply_size.is_some()
    }

    /// When the run is over, unless a connection is stuck.
    pub(super) fn latest_end(&self) -> Nanos {
        let load = &self.config.load;
        let connections = self.config.connections as u64 * (MESSAGES + 1);
        let opening = self.config.connect_rate.map_or(0, |rate| connections * SECOND / (rate as u64).max(1));
        // Random arrivals can take longer than their mean.
        let sending = match load.rate {
            Some(rate) if load.duration.is_none() => (2.0 * SECOND as f64 * (MESSAGES + 10) as f64 / rate) as Nanos,
            _ => 0,
        };
        let load = load.warm_up + load.duration.unwrap_or_default() + self.config.hold.unwrap_or_default();
        self.quiet_at
            + self.faults.longest_jump
            + opening
            + sending
            + u64::try_from(load.as_nanos()).unwrap_or(SECOND)
            + GRACE
    }
}

/// Room of the two receive buffers. Messages pass through small ones in many steps, of which each takes two delays.
fn rooms(rng: &mut Rng, config: &ClientConfig, longest_delay: Nanos) -> [usize; 2] {
    let is_fast = longest_delay <= 5 * MILLISECOND && config.size.is_none_or(|size| size <= 60);
    [(); 2].map(|()| if is_fast { rng.pick(&[1, 7, 64, 100_000, 100_000, 100_000]) } else { 100_000 })
}

#[allow(clippy::same_functions_in_if_condition, reason = "each call draws another number")]
fn config(rng: &mut Rng, answer: Answer, faults: &Faults) -> ClientConfig {
    let connections = 1 + rng.index(5);
    let targets = (FIRST_PORT..).take(connections).map(|port| Endpoint::tcp("192.0.2.1", port)).collect();
    let mut config = ClientConfig::to_all(targets);
    config.connections = connections;
    config.timestamps = TimestampSource::User;
    choose_messages(rng, &mut config, answer);
    choose_load(rng, &mut config, faults);
    config.buffer_bytes = rng.pick(&[64 * 1024, 64 * 1024, 1000, 100]);
    config.pipeline = rng.pick(&[None, None, Some(1), Some(2), Some(5)]);
    let millis = |rng: &mut Rng, choices: &[u64]| Duration::from_millis(rng.pick(choices));
    config.reply_timeout = millis(rng, &[20, 300, 2000, 10_000]);
    config.connect_timeout = millis(rng, &[5, 50, 1000, 10_000]);
    config.retries = rng.pick(&[0, 0, 1, 3]);
    config.retry_delay = millis(rng, &[1, 20, 200]);
    config.max_connecting = rng.pick(&[512, 512, 1, 2]);
    config.connect_rate = rng.pick(&[None, None, None, Some(20.0), Some(1000.0)]);
    if config.framing == Some(Framing::UntilEnd) {
        config.messages_per_connection = Some(1);
    } else if rng.one_in(4) {
        config.load.reconnect_every = Some(1 + rng.below(3));
    } else if rng.one_in(4) {
        config.hold = Some(millis(rng, &[1, 50, 700]));
    }
    config.check(None).expect("the configuration is possible");
    config
}

fn choose_messages(rng: &mut Rng, config: &mut ClientConfig, answer: Answer) {
    config.expect = match answer {
        Answer::Echo => Expect::Echo,
        Answer::Sized(size) => {
            config.reply_size = Some(size);
            Expect::Any
        }
        Answer::Nothing => Expect::Nothing,
    };
    if rng.one_in(2) {
        config.size = Some(rng.pick(&[1, 2, 8, 60, 600]));
        return;
    }
    let count = 1 + rng.index(3);
    let message = |rng: &mut Rng| (0..=rng.index(30)).map(|_| b'A' + rng.below(26) as u8).collect();
    config.messages = (0..count).map(|_| message(rng)).collect();
    if answer == Answer::Echo {
        let u16be = "u16be".parse().expect("it is a framing");
        config.framing = rng.pick(&[None, Some(Framing::LINES), Some(u16be), Some(Framing::UntilEnd)]);
        let is_any = config.framing.is_some() && config.framing != Some(Framing::UntilEnd) && rng.one_in(2);
        if is_any {
            config.expect = Expect::Any;
        }
    }
}

fn choose_load(rng: &mut Rng, config: &mut ClientConfig, faults: &Faults) {
    let is_single = config.framing == Some(Framing::UntilEnd);
    let is_open = rng.one_in(2);
    // A closed loop sends as fast as the answers come.
    let duration = if is_open {
        rng.pick(&[5, 100, 100, 700, 1500]) * MILLISECOND
    } else {
        faults.longest_delay.max(5_000) * rng.pick(&[3, 8])
    };
    let has_duration = !is_single && rng.one_in(2) && (is_open || config.expect != Expect::Nothing);
    if has_duration {
        config.load.duration = Some(Duration::from_nanos(duration));
        config.load.warm_up = Duration::from_nanos(rng.pick(&[0, 0, duration / 10, duration]));
    }
    if is_open {
        let messages = 1 + rng.below(MESSAGES);
        config.load.rate = Some(messages as f64 * 1e9 / duration as f64);
        config.load.arrivals = rng.pick(&[Arrivals::Uniform, Arrivals::Poisson]);
        if has_duration && rng.one_in(5) {
            config.load.ramp_to = config.load.rate.map(|rate| rate * rng.pick(&[0.1, 2.0]));
        }
    }
    config.load.seed = rng.below(1 << 40);
    if !has_duration || rng.one_in(5) {
        config.messages_per_connection = Some(1 + rng.below(MESSAGES / config.connections as u64));
    }
}

/// Each fault occurs in some worlds only.
fn faults(rng: &mut Rng, quiet_at: Nanos) -> Faults {
    Faults {
        longest_delay: rng.pick(&[0, 100_000, 5 * MILLISECOND, 100 * MILLISECOND]),
        slow_calls: rng.one_in(2),
        interruptions: rng.one_in(3),
        spurious_events: rng.one_in(3),
        few_events: rng.one_in(2),
        connect_errors: rng.one_in(3),
        register_errors: rng.one_in(12),
        longest_jump: rng.pick(&[0, 0, 0, 20 * MILLISECOND, 2 * SECOND]),
        jumps_until: quiet_at,
        lost_bytes: rng.one_in(3),
        ..Faults::default()
    }
}
