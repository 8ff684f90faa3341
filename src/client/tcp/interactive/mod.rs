//! Interactive mode (`--stdin`): forwards the input to the server and writes received bytes to the output.
//!
//! The end of the input shuts down the sending half; the server's close ends the session.

mod pipe;
mod threads;

use super::exchange::ExchangeOutcome;
use crate::client::ClientConfig;
use crate::client::failure::Failure;
use crate::codec::{Decoder, FrameError, Framing};
use crate::connection::CloseReason;
use crate::error::Error;
use crate::log_targets::CLIENT_LOG;
use crate::python_repr::BytesRepr;
use crate::service::{Context, Input, Output, Service, Wait};
use crate::units::later;
use pipe::Pipe;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Wakes the event loop.
pub(in crate::client) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Deadline while only the two pipes matter, which wake the loop themselves.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// State shared by the connection and the two threads.
#[derive(Debug)]
pub(in crate::client) struct Interactive {
    input_pipe: Pipe,
    output_pipe: Pipe,
    framing: Option<Framing>,
    /// Maximum size of a received frame, in bytes.
    max_bytes: usize,
    reply_timeout: Duration,
    /// A line of the input was not sent, because the framing cannot carry it.
    has_skipped_line: AtomicBool,
}

impl Interactive {
    pub(in crate::client) fn new(config: &ClientConfig) -> Arc<Self> {
        Arc::new(Self {
            input_pipe: Pipe::default(),
            output_pipe: Pipe::default(),
            framing: config.framing,
            max_bytes: config.buffer_bytes,
            reply_timeout: config.reply_timeout,
            has_skipped_line: AtomicBool::new(false),
        })
    }

    /// Starts the input and the output thread.
    pub(in crate::client) fn start(
        self: &Arc<Self>,
        input: Box<dyn Read + Send>,
        output: Box<dyn Write + Send>,
        wake: &Wake,
    ) -> Result<(), Error> {
        threads::start(self, input, output, wake)
    }

    /// The connection is closed: bytes received so far are still written.
    pub(in crate::client) fn connection_closed(&self) {
        self.input_pipe.abandon();
        self.output_pipe.end();
    }

    /// The run was stopped: nothing more is written.
    pub(in crate::client) fn abandon(&self) {
        self.input_pipe.abandon();
        self.output_pipe.abandon();
    }

    /// Whether received bytes could not be written, although the reader of the output is still there.
    pub(in crate::client) fn has_lost_output(&self) -> bool {
        self.output_pipe.broken().is_some_and(|kind| kind != ErrorKind::BrokenPipe)
    }

    /// Whether all received bytes were written, or never will be.
    pub(in crate::client) fn is_output_done(&self) -> bool {
        self.output_pipe.is_finished()
    }
}

/// Service of the interactive connection.
#[derive(Debug)]
pub(in crate::client) struct InteractiveExchange {
    interactive: Arc<Interactive>,
    /// `None` when received bytes are forwarded unchanged.
    decoder: Option<Decoder>,
    /// When bytes were last received, or the sending half was shut down.
    progress: Instant,
    outcome: Option<ExchangeOutcome>,
}

impl InteractiveExchange {
    pub(in crate::client) fn new(interactive: Arc<Interactive>, now: Instant) -> Self {
        let framing = interactive.framing.filter(|framing| *framing != Framing::UntilEnd);
        let decoder = framing.map(|framing| Decoder::new(framing, interactive.max_bytes));
        Self { interactive, decoder, progress: now, outcome: None }
    }

    pub(in crate::client) fn has_failed(&self) -> bool {
        matches!(self.outcome, Some(ExchangeOutcome::Failed(_)))
    }

    /// Outcome after the connection was closed for `reason`.
    pub(in crate::client) fn outcome_after(&self, reason: CloseReason) -> ExchangeOutcome {
        self.outcome.unwrap_or(ExchangeOutcome::Failed(Failure::of_close(reason)))
    }

    /// Writes received bytes or frames to the output pipe. Returns false when the pipe is full.
    fn write_received(&mut self, input: &mut Input<'_>) -> Result<bool, FrameError> {
        let Some(decoder) = &mut self.decoder else {
            let count = self.interactive.output_pipe.offer(input.bytes());
            input.consume(count);
            return Ok(input.is_empty());
        };
        while let Some(frame) = decoder.decode(input.bytes(), input.has_ended())? {
            if !self.interactive.output_pipe.offer_line(&input.bytes()[frame.payload]) {
                return Ok(false);
            }
            input.consume(frame.size);
        }
        Ok(true)
    }

    /// Sends input as far as there is room. Returns whether the input has ended and everything is sent.
    fn send_input(&self, output: &mut Output<'_>) -> bool {
        self.interactive.input_pipe.drain(|bytes| {
            let count = output.write(bytes);
            if count > 0 {
                log::trace!(
                    target: CLIENT_LOG, connection = 1, bytes = count;
                    "Sending {} to connection 1", BytesRepr(&bytes[..count])
                );
            }
            count
        });
        self.interactive.input_pipe.is_over()
    }

    /// The server has closed, and everything received is in the output pipe.
    fn finish(&mut self, has_ended_input: bool) -> Wait {
        let failure = if has_ended_input || self.interactive.input_pipe.is_empty() {
            if !has_ended_input {
                log::info!("the server has closed the connection");
            }
            self.interactive.has_skipped_line.load(Ordering::Relaxed).then_some(Failure::Unsendable)
        } else {
            Some(Failure::ClosedEarly)
        };
        self.end(failure.map_or(ExchangeOutcome::Completed, ExchangeOutcome::Failed))
    }

    fn end(&mut self, outcome: ExchangeOutcome) -> Wait {
        self.outcome = Some(outcome);
        Wait::Close
    }
}

impl Service for InteractiveExchange {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        match self.interactive.output_pipe.broken() {
            None => {}
            // The reader of the output has closed it.
            Some(ErrorKind::BrokenPipe) => return self.end(ExchangeOutcome::Completed),
            Some(_) => return self.end(ExchangeOutcome::Failed(Failure::LocalIo)),
        }
        let waiting = input.bytes().len();
        let is_written = match self.write_received(input) {
            Ok(is_written) => is_written,
            Err(error) => {
                log::error!("invalid frame from the server: {error}");
                let is_truncated = matches!(error, FrameError::Truncated { .. });
                return self.end(ExchangeOutcome::Failed(if is_truncated {
                    Failure::IncompleteFrame
                } else {
                    Failure::BadFrame
                }));
            }
        };
        if input.bytes().len() < waiting || !is_written {
            self.progress = now;
        }
        if !output.has_ended() && self.send_input(output) {
            if self.interactive.input_pipe.broken().is_some() {
                return self.end(ExchangeOutcome::Failed(Failure::LocalIo));
            }
            output.end();
            self.progress = now;
        }
        if input.has_ended() && is_written {
            return self.finish(output.has_ended());
        }
        if !output.has_ended() {
            return Wait::Deadline(now + MAX_WAIT);
        }
        let reply_due = later(self.progress, self.interactive.reply_timeout);
        if reply_due <= now {
            self.end(ExchangeOutcome::Failed(Failure::ReplyTimeout))
        } else {
            Wait::Deadline(reply_due)
        }
    }
}
