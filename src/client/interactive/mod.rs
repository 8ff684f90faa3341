//! A conversation with a person, or with whatever is piped in: what is typed goes to the server, what the server says
//! comes out. The end of the input shuts our half, and the server's end ends the conversation.

mod pipe;
mod threads;

use super::ClientConfig;
use super::exchange::ExchangeOutcome;
use super::failure::Failure;
use crate::codec::{Decoder, FrameError, Framing};
use crate::connection::CloseReason;
use crate::error::Error;
use crate::service::{Input, Output, Service, Wait};
use crate::units::later;
use pipe::Pipe;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Wakes the loop.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// How long to wait when there is nothing to wait for but the two pipes, which wake the loop themselves.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// What the conversation and the two threads share.
#[derive(Debug)]
pub(super) struct Interactive {
    keyboard: Pipe,
    screen: Pipe,
    framing: Option<Framing>,
    /// The longest frame that the server may send, in bytes.
    max_bytes: usize,
    reply_timeout: Duration,
    /// A line could not be sent in a frame.
    has_left_out: AtomicBool,
}

impl Interactive {
    pub(super) fn new(config: &ClientConfig) -> Arc<Self> {
        Arc::new(Self {
            keyboard: Pipe::default(),
            screen: Pipe::default(),
            framing: config.framing,
            max_bytes: config.buffer_bytes,
            reply_timeout: config.reply_timeout,
            has_left_out: AtomicBool::new(false),
        })
    }

    /// Starts to read and to write.
    pub(super) fn start(
        self: &Arc<Self>,
        input: Box<dyn Read + Send>,
        output: Box<dyn Write + Send>,
        wake: &Wake,
    ) -> Result<(), Error> {
        threads::start(self, input, output, wake)
    }

    /// The conversation is over: what the server said is still written.
    pub(super) fn abort_attempt(&self) {
        self.keyboard.abandon();
        self.screen.end();
    }

    /// Nothing more is to be written, either.
    pub(super) fn abandon(&self) {
        self.keyboard.abandon();
        self.screen.abandon();
    }

    /// Whether something that the server said could not be written, although somebody wanted to read it.
    pub(super) fn has_lost(&self) -> bool {
        self.screen.broken().is_some_and(|kind| kind != ErrorKind::BrokenPipe)
    }

    /// Whether all was written that the server said.
    pub(super) fn is_settled(&self) -> bool {
        self.screen.is_settled()
    }
}

/// The service that speaks for the person.
#[derive(Debug)]
pub(super) struct InteractiveExchange {
    interactive: Arc<Interactive>,
    /// None when what the server says is passed on as it comes.
    decoder: Option<Decoder>,
    /// When the server last said something, or our half was shut.
    progress: Instant,
    outcome: Option<ExchangeOutcome>,
}

impl InteractiveExchange {
    pub(super) fn new(interactive: Arc<Interactive>, now: Instant) -> Self {
        let framing = interactive.framing.filter(|framing| *framing != Framing::UntilEnd);
        let decoder = framing.map(|framing| Decoder::new(framing, interactive.max_bytes));
        Self { interactive, decoder, progress: now, outcome: None }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(ExchangeOutcome::Failed(_)))
    }

    /// What became of it, now that the conversation has ended for `reason`.
    pub(super) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        self.outcome.unwrap_or(ExchangeOutcome::Failed(Failure::of_close(reason)))
    }

    /// Shows what the server says; false when the screen takes no more for now.
    fn show(&mut self, input: &mut Input<'_>) -> Result<bool, FrameError> {
        let Some(decoder) = &mut self.decoder else {
            let count = self.interactive.screen.offer(input.bytes());
            input.consume(count);
            return Ok(input.is_empty());
        };
        while let Some(frame) = decoder.decode(input.bytes(), input.has_ended())? {
            if !self.interactive.screen.offer_line(&input.bytes()[frame.payload]) {
                return Ok(false);
            }
            input.consume(frame.size);
        }
        Ok(true)
    }

    /// Says what was typed, as far as there is room; whether that was all there will ever be.
    fn speak(&self, output: &mut Output<'_>) -> bool {
        self.interactive.keyboard.drain(|bytes| output.write(bytes));
        self.interactive.keyboard.is_over()
    }

    /// The server has ended, and all it said is on its way to the screen.
    fn finish(&mut self, has_spoken: bool) -> Wait {
        let failure = if has_spoken || self.interactive.keyboard.is_empty() {
            if !has_spoken {
                log::info!("The server has closed the connection");
            }
            self.interactive.has_left_out.load(Ordering::Relaxed).then_some(Failure::Unsendable)
        } else {
            Some(Failure::ClosedEarly)
        };
        self.end(failure.map_or(ExchangeOutcome::Verified, ExchangeOutcome::Failed))
    }

    fn end(&mut self, outcome: ExchangeOutcome) -> Wait {
        self.outcome = Some(outcome);
        Wait::Close
    }
}

impl Service for InteractiveExchange {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        match self.interactive.screen.broken() {
            None => {}
            // Whoever reads us has seen enough.
            Some(ErrorKind::BrokenPipe) => return self.end(ExchangeOutcome::Verified),
            Some(_) => return self.end(ExchangeOutcome::Failed(Failure::OwnEnd)),
        }
        let waiting = input.bytes().len();
        let is_shown = match self.show(input) {
            Ok(is_shown) => is_shown,
            Err(error) => {
                log::error!("what the server says makes no sense: {error}");
                let is_truncated = matches!(error, FrameError::Truncated { .. });
                return self.end(ExchangeOutcome::Failed(if is_truncated {
                    Failure::CutFrame
                } else {
                    Failure::BadFrame
                }));
            }
        };
        if input.bytes().len() < waiting || !is_shown {
            self.progress = now;
        }
        if !output.has_ended() && self.speak(output) {
            if self.interactive.keyboard.broken().is_some() {
                return self.end(ExchangeOutcome::Failed(Failure::OwnEnd));
            }
            output.end();
            self.progress = now;
        }
        if input.has_ended() && is_shown {
            return self.finish(output.has_ended());
        }
        if !output.has_ended() {
            return Wait::Deadline(now + LONG);
        }
        let reply_due = later(self.progress, self.interactive.reply_timeout);
        if reply_due <= now {
            self.end(ExchangeOutcome::Failed(Failure::ReplyTimeout))
        } else {
            Wait::Deadline(reply_due)
        }
    }
}
