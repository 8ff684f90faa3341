//! Framed request-response service: decodes messages, answers each, and encodes the replies.

use super::{Context, Input, Output, Service, Wait};
use crate::codec::{Decoder, Frame, FrameError, Framing, FramingError};

/// Answers messages. Implemented by every closure and function of the form `|request, reply| …`.
pub trait Respond {
    /// Appends the answer to `request` to `reply`, which is empty. Called once per message, in order.
    fn respond(&mut self, request: &[u8], reply: &mut Vec<u8>);
}

impl<F: FnMut(&[u8], &mut Vec<u8>)> Respond for F {
    fn respond(&mut self, request: &[u8], reply: &mut Vec<u8>) {
        self(request, reply);
    }
}

/// Answers each frame with one frame of the same kind, and with the same type byte if there is one.
///
/// A reply without room is kept, and reading stops until it has been sent. An invalid, oversized or truncated frame
/// closes the connection after earlier messages were answered; so does a reply that the framing cannot carry.
/// [`error_detail`](Service::error_detail) describes the cause.
///
/// ```
/// use multiconn::codec::Framing;
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::Framed;
/// use multiconn::socket::Endpoint;
///
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
/// let max_bytes = config.limits.buffer_bytes;
/// let count = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.len().to_string().into_bytes());
/// let server = Server::bind(config, move |_| Framed::new(Framing::LINES, max_bytes, count))?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Framed<R> {
    respond: R,
    decoder: Decoder,
    /// Boxed, so that an idle connection owns no heap.
    blocked: Option<Box<Blocked>>,
}

/// Reason why the service cannot continue.
#[derive(Debug)]
enum Blocked {
    /// This encoded reply waits for room in the output.
    Reply(Vec<u8>),
    /// The reply can never fit the output: the connection closes after earlier replies were sent.
    TooLarge,
    /// The input or the reply is invalid, with a description.
    Invalid(String),
}

impl<R: Respond> Framed<R> {
    /// Answers frames of at most `max_bytes` with `respond`. That should not exceed the buffers of the connection
    /// ([`Limits::buffer_bytes`](crate::connection::Limits)). [`Framing::check`] tells whether it is enough for the
    /// framing.
    pub fn new(framing: Framing, max_bytes: usize, respond: R) -> Self {
        Self { respond, decoder: Decoder::new(framing, max_bytes), blocked: None }
    }

    fn abort(&mut self, error_detail: String) -> Wait {
        self.blocked = Some(Box::new(Blocked::Invalid(error_detail)));
        Wait::Abort
    }

    /// Encodes `payload` as a frame.
    fn encode(&self, payload: &[u8], kind: Option<u8>, framed: &mut Vec<u8>) -> Result<(), FramingError> {
        let envelope = self.decoder.framing().envelope(payload, kind.unwrap_or_default())?;
        framed.clear();
        framed.extend_from_slice(envelope.before());
        framed.extend_from_slice(payload);
        framed.extend_from_slice(envelope.after());
        Ok(())
    }

    fn decode(&mut self, input: &Input<'_>) -> Result<Option<Frame>, FrameError> {
        self.decoder.decode(input.bytes(), input.has_ended())
    }
}

impl<R: Respond> Service for Framed<R> {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        match self.blocked.as_deref() {
            Some(Blocked::Reply(reply)) if !output.write_whole(reply) => return Wait::Writable,
            Some(Blocked::TooLarge) => return Wait::Writable,
            Some(Blocked::Invalid(_)) => return Wait::Abort,
            _ => self.blocked = None,
        }
        // Shared by all messages of this call, and freed afterwards.
        let (mut reply, mut framed) = (Vec::new(), Vec::new());
        loop {
            let frame = match self.decode(input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Wait::Input,
                Err(error) => return self.abort(error.to_string()),
            };
            reply.clear();
            self.respond.respond(&input.bytes()[frame.payload], &mut reply);
            input.consume(frame.size);
            if let Err(error) = self.encode(&reply, frame.kind, &mut framed) {
                return self.abort(format!("cannot frame the reply: {error}"));
            }
            if !output.write_whole(&framed) {
                framed.shrink_to_fit();
                let is_too_large = framed.len() > output.limit();
                self.blocked = Some(Box::new(if is_too_large { Blocked::TooLarge } else { Blocked::Reply(framed) }));
                return Wait::Writable;
            }
        }
    }

    fn error_detail(&self) -> Option<String> {
        match self.blocked.as_deref() {
            Some(Blocked::Invalid(error_detail)) => Some(error_detail.clone()),
            _ => None,
        }
    }

    fn held_bytes(&self) -> usize {
        match self.blocked.as_deref() {
            Some(Blocked::Reply(bytes)) => size_of::<Blocked>() + bytes.capacity(),
            Some(Blocked::Invalid(error_detail)) => size_of::<Blocked>() + error_detail.capacity(),
            Some(Blocked::TooLarge) => size_of::<Blocked>(),
            None => 0,
        }
    }
}
