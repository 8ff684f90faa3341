//! Schedules: the parts in which a stream is sent, and how the socket takes the answer.

use super::scripted_socket::{ScriptedSocket, SocketInput, SocketOutput};
use crate::connection::Limits;
use crate::random::random;
use std::fmt;
use std::time::Duration;

/// Maximum number of bytes of a part that a description shows.
const SHOWN_BYTES: usize = 40;

/// Maximum number of parts, and of writes, that a description shows.
const SHOWN_PARTS: usize = 100;

/// A part of a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Part<'s> {
    /// Time before the part arrives; `None` if it arrives together with the part before it.
    pub(super) pause: Option<Duration>,
    /// The service is called before that for no visible reason.
    pub(super) wakes: bool,
    /// An event without input, or an interrupted call, comes first.
    noise: Option<SocketInput>,
    bytes: &'s [u8],
    /// The end of the stream follows.
    end: Option<StreamEnd>,
}

/// How the end of a stream is announced.
#[derive(Debug, Clone, Copy)]
enum StreamEnd {
    /// By the event of the last bytes.
    WithBytes,
    /// By an event of its own.
    Apart,
}

/// How a stream is sent, and its answer taken.
#[derive(Debug, Clone)]
pub(super) struct Schedule<'s> {
    pub(super) limits: Limits,
    pub(super) parts: Vec<Part<'s>>,
    /// The socket is full until everything was sent.
    is_stalled: bool,
    /// Results of the first writes. The socket takes all later ones as a whole.
    writes: Vec<SocketOutput>,
    /// Whether a short read may be followed by more, as over TLS.
    holds_bytes: bool,
}

impl Part<'_> {
    /// What the socket supplies.
    pub(super) fn inputs(&self) -> impl Iterator<Item = SocketInput> {
        let bytes = self.bytes.to_vec();
        let (input, end) = match self.end {
            _ if bytes.is_empty() => (None, self.end.map(|_| SocketInput::End)),
            Some(StreamEnd::WithBytes) => (Some(SocketInput::Last(bytes)), None),
            Some(StreamEnd::Apart) => (Some(SocketInput::Bytes(bytes)), Some(SocketInput::End)),
            None => (Some(SocketInput::Bytes(bytes)), None),
        };
        self.noise.clone().into_iter().chain(input).chain(end)
    }
}

impl<'s> Schedule<'s> {
    /// The whole stream in one part.
    pub(super) fn whole(stream: &'s [u8], limits: Limits) -> Self {
        let part = Part { pause: Some(Duration::ZERO), bytes: stream, end: Some(StreamEnd::Apart), ..Part::default() };
        Self { limits, parts: vec![part], is_stalled: false, writes: Vec::new(), holds_bytes: false }
    }

    /// The stream in two parts.
    pub(super) fn split_at(&self, offset: usize) -> Self {
        let (first, second) = self.stream().split_at(offset);
        let end = if offset.is_multiple_of(2) { StreamEnd::WithBytes } else { StreamEnd::Apart };
        let part = |bytes| Part { pause: Some(Duration::ZERO), bytes, ..Part::default() };
        Self { parts: vec![part(first), Part { end: Some(end), ..part(second) }], ..self.clone() }
    }

    pub(super) fn with_buffers(&self, buffer_bytes: usize) -> Self {
        Self { limits: Limits { buffer_bytes, ..self.limits.clone() }, ..self.clone() }
    }

    /// The stream as a whole and byte by byte, taken as a whole, byte by byte, and after everything was sent.
    pub(super) fn extremes(&self) -> impl Iterator<Item = Self> {
        let stream = self.stream();
        let byte = |bytes| Part { pause: Some(Duration::ZERO), bytes, ..Part::default() };
        let end = Part { pause: Some(Duration::ZERO), end: Some(StreamEnd::Apart), ..Part::default() };
        let bytes: Vec<_> = stream.chunks(1).map(byte).chain([end]).collect();
        let step = [SocketOutput::Takes(1), SocketOutput::Full];
        let slow: Vec<_> = step.into_iter().cycle().take(2 * stream.len()).collect();
        let parts = [self.parts.clone(), bytes];
        let takes = [(false, Vec::new()), (true, Vec::new()), (false, slow.clone()), (true, slow)];
        let base = self.clone();
        parts.into_iter().flat_map(move |parts| {
            let base = base.clone();
            takes.clone().into_iter().map(move |(is_stalled, writes)| Self {
                parts: parts.clone(),
                is_stalled,
                writes,
                ..base.clone()
            })
        })
    }

    /// Prepares `socket` before the first part is sent.
    pub(super) fn begin(&self, socket: &mut ScriptedSocket) {
        socket.holds_bytes = self.holds_bytes;
        if self.is_stalled {
            socket.stall_after(0);
        } else {
            socket.set_outputs(self.writes.iter().cloned());
        }
    }

    /// Lets `socket` take the answer after everything was sent.
    pub(super) fn finish(&self, socket: &mut ScriptedSocket) {
        if self.is_stalled {
            socket.resume();
            socket.set_outputs(self.writes.iter().cloned());
        }
    }

    fn stream(&self) -> &'s [u8] {
        self.parts[0].bytes
    }
}

/// A schedule that `seed` determines, with one of the buffer `sizes`.
pub(super) fn random_schedule<'s>(whole: &Schedule<'s>, sizes: &[usize], seed: u64) -> Schedule<'s> {
    let mut numbers = Numbers { seed, index: 0 };
    let mut remaining = whole.stream();
    let longest = [3, 30, remaining.len().max(1)][numbers.below(3)];
    let mut parts = Vec::new();
    while !remaining.is_empty() {
        let (bytes, rest) = remaining.split_at(remaining.len().min(1 + numbers.below(longest)));
        remaining = rest;
        parts.push(random_part(&mut numbers, bytes));
    }
    if numbers.is_one_in(2) || parts.is_empty() {
        parts.push(Part { end: Some(StreamEnd::Apart), ..random_part(&mut numbers, &[]) });
    } else if let Some(last) = parts.last_mut() {
        last.end = Some(if numbers.is_one_in(2) { StreamEnd::WithBytes } else { StreamEnd::Apart });
    }
    let writes = (0..numbers.below(60)).map(|_| match numbers.below(7) {
        0 => SocketOutput::Signal,
        1 | 2 => SocketOutput::Full,
        _ => SocketOutput::Takes(1 + numbers.below(longest)),
    });
    let writes = writes.collect();
    let turn_bytes = if numbers.is_one_in(2) { 1 + numbers.below(longest) } else { whole.limits.turn_bytes };
    let limits = Limits { buffer_bytes: sizes[numbers.below(sizes.len())], turn_bytes, ..whole.limits.clone() };
    Schedule { limits, parts, is_stalled: numbers.is_one_in(4), writes, holds_bytes: numbers.is_one_in(4) }
}

fn random_part<'s>(numbers: &mut Numbers, bytes: &'s [u8]) -> Part<'s> {
    let pause = match numbers.below(4) {
        0 => None,
        1 => Some(Duration::from_micros(numbers.below(10_000) as u64)),
        _ => Some(Duration::ZERO),
    };
    let noise = match numbers.below(8) {
        0 => Some(SocketInput::Nothing),
        1 => Some(SocketInput::Signal),
        _ => None,
    };
    Part { pause, wakes: numbers.is_one_in(8), noise, bytes, end: None }
}

/// Pseudo-random numbers of one seed.
struct Numbers {
    seed: u64,
    index: u64,
}

impl Numbers {
    /// The next number, below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        let number = random(self.seed, self.index);
        self.index += 1;
        usize::try_from(number % bound as u64).unwrap_or_default()
    }

    fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

impl fmt::Display for Schedule<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  sent:     ")?;
        for (number, part) in self.parts.iter().take(SHOWN_PARTS).enumerate() {
            write!(out, "{}{part}", if number > 0 { " | " } else { "" })?;
        }
        if self.parts.len() > SHOWN_PARTS {
            write!(out, " | … ({} parts)", self.parts.len())?;
        }
        let Limits { buffer_bytes, turn_bytes, .. } = self.limits;
        write!(out, "\n  buffers:  {buffer_bytes} bytes; {turn_bytes} bytes per turn\n  taken:    ")?;
        if self.is_stalled {
            write!(out, "after everything was sent; ")?;
        }
        for write in self.writes.iter().take(SHOWN_PARTS) {
            match write {
                SocketOutput::Takes(count) => write!(out, "{count}, ")?,
                SocketOutput::Signal => write!(out, "interrupted, ")?,
                SocketOutput::Full | SocketOutput::Broken => write!(out, "full, ")?,
            }
        }
        let following = if self.writes.len() > SHOWN_PARTS { "…" } else { "everything" };
        write!(out, "{following}")
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pause {
            None => write!(out, "(at once) ")?,
            Some(Duration::ZERO) => {}
            Some(pause) => write!(out, "(after {pause:?}) ")?,
        }
        if self.wakes {
            write!(out, "(spurious call) ")?;
        }
        match self.noise {
            Some(SocketInput::Signal) => write!(out, "(interrupted) ")?,
            Some(_) => write!(out, "(spurious event) ")?,
            None => {}
        }
        let is_cut = self.bytes.len() > SHOWN_BYTES;
        if is_cut {
            let shown = self.bytes[..SHOWN_BYTES].escape_ascii();
            write!(out, "\"{shown}…\" ({} bytes)", self.bytes.len())?;
        } else if !self.bytes.is_empty() {
            write!(out, "\"{}\"", self.bytes.escape_ascii())?;
        }
        match self.end {
            Some(_) if self.bytes.is_empty() => write!(out, "end"),
            Some(StreamEnd::WithBytes) => write!(out, " with the end"),
            Some(StreamEnd::Apart) => write!(out, ", end"),
            None => Ok(()),
        }
    }
}
