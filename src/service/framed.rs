//! Framed service: decodes messages, and answers each with messages of the same framing.

use super::replies::{Encoding, PendingReplies};
use super::{CloseReason, Context, Input, Output, Replies, Respond, Service, Wait};
use crate::codec::{Decoder, Framing};

/// Answers each frame with none, one or several frames of the same kind, and with the same type byte if there is one.
///
/// Each message is given to [`Respond::respond`] exactly once. Replies without room are kept, and reading stops until
/// they have been sent. An invalid, oversized or truncated frame closes the connection after earlier messages were
/// answered; so does a reply that the framing cannot carry. [`error_detail`](Service::error_detail) describes the cause.
///
/// ```
/// use multiconn::codec::Framing;
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::{Framed, Replies};
/// use multiconn::socket::Endpoint;
///
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
/// let max_bytes = config.limits.buffer_bytes;
/// let count = |message: &[u8], replies: &mut Replies<'_>| replies.send(message.len().to_string().as_bytes());
/// let server = Server::bind(config, move |_| Framed::new(Framing::LINES, max_bytes, count))?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Framed<R> {
    respond: R,
    decoder: Decoder,
    pending: PendingReplies,
}

impl<R: Respond> Framed<R> {
    /// Answers frames of at most `max_bytes` with `respond`. That should not exceed the buffers of the connection
    /// ([`Limits::buffer_bytes`](crate::connection::Limits)). [`Framing::check`] tells whether it is enough for the
    /// framing.
    pub fn new(framing: Framing, max_bytes: usize, respond: R) -> Self {
        Self { respond, decoder: Decoder::new(framing, max_bytes), pending: PendingReplies::default() }
    }
}

impl<R: Respond> Service for Framed<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if let Some(wait) = self.pending.resume(output) {
            return wait;
        }
        let (framing, max_reply_bytes) = (self.decoder.framing(), self.respond.max_reply_bytes(output.limit()));
        let mut replies = Replies::new(output, context, &mut self.pending);
        loop {
            match self.decoder.decode(input.bytes(), input.has_ended()) {
                Ok(Some(frame)) => {
                    replies.context().count_message();
                    replies.begin(Encoding::Frame { framing, kind: frame.kind }, max_reply_bytes);
                    self.respond.respond(&input.bytes()[frame.payload], &mut replies);
                    input.consume(frame.size);
                }
                Ok(None) => return Wait::Input,
                Err(error) => replies.fail(error.to_string()),
            }
            if let Some(wait) = replies.finish() {
                return wait;
            }
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.respond.closed(reason);
    }

    fn is_busy(&self) -> bool {
        self.respond.is_busy()
    }

    fn error_detail(&self) -> Option<String> {
        self.pending.error_detail()
    }

    fn held_bytes(&self) -> usize {
        self.pending.held_bytes() + self.respond.held_bytes()
    }
}
