//! Messages answered with messages: the frames are taken care of, what remains is to answer one.

use super::{Input, Output, Service, Wait};
use crate::codec::{Decoder, Frame, FrameError, Framing, FramingError};
use std::time::Instant;

/// Answers messages. Every closure and function of this form does: `|request, reply| …`.
pub trait Respond {
    /// Appends to `reply`, which is empty, the answer to `request`. Called once for each message, in their order.
    fn respond(&mut self, request: &[u8], reply: &mut Vec<u8>);
}

impl<F: FnMut(&[u8], &mut Vec<u8>)> Respond for F {
    fn respond(&mut self, request: &[u8], reply: &mut Vec<u8>) {
        self(request, reply);
    }
}

/// Answers each frame with one frame of the same kind, and of the same type byte where there is one.
///
/// A reply that finds no room is kept, and nothing more is read until it has been sent. What is no frame, or is larger than
/// allowed, or ends in its middle, ends the conversation after what came before was answered; so does a reply that this
/// framing cannot carry. [`error_detail`](Service::error_detail) says what it was.
///
/// ```
/// use multiconn::codec::Framing;
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::Framed;
/// use multiconn::socket::Endpoint;
///
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
/// let most_bytes = config.limits.buffer_bytes;
/// let count = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.len().to_string().into_bytes());
/// let server = Server::bind(config, move |_| Framed::new(Framing::LINES, most_bytes, count))?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Framed<R> {
    respond: R,
    decoder: Decoder,
    /// An idle connection owns none of this.
    stuck: Option<Box<Stuck>>,
}

/// Why it does not go on.
#[derive(Debug)]
enum Stuck {
    /// For this reply there is no room yet.
    Reply(Vec<u8>),
    /// For the reply there will never be room: the conversation ends when those before it were sent.
    TooLarge,
    /// This is wrong.
    Broken(String),
}

impl<R: Respond> Framed<R> {
    /// Answers frames of at most `most_bytes` with `respond`. That should be no more than the buffers of the connection hold
    /// ([`Limits::buffer_bytes`](crate::connection::Limits)), and [`Framing::check`] says whether it is enough.
    pub fn new(framing: Framing, most_bytes: usize, respond: R) -> Self {
        Self { respond, decoder: Decoder::new(framing, most_bytes), stuck: None }
    }

    fn refuse(&mut self, error_detail: String) -> Wait {
        self.stuck = Some(Box::new(Stuck::Broken(error_detail)));
        Wait::Abort
    }

    /// Puts `payload` into a frame.
    fn enclose(&self, payload: &[u8], kind: Option<u8>, framed: &mut Vec<u8>) -> Result<(), FramingError> {
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
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        match self.stuck.as_deref() {
            Some(Stuck::Reply(reply)) if !output.write_whole(reply) => return Wait::Writable,
            Some(Stuck::TooLarge) => return Wait::Writable,
            Some(Stuck::Broken(_)) => return Wait::Abort,
            _ => self.stuck = None,
        }
        // The same for all messages that wait, and gone afterwards.
        let (mut reply, mut framed) = (Vec::new(), Vec::new());
        loop {
            let frame = match self.decode(input) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Wait::Input,
                Err(error) => return self.refuse(error.to_string()),
            };
            reply.clear();
            self.respond.respond(&input.bytes()[frame.payload], &mut reply);
            input.consume(frame.size);
            if let Err(error) = self.enclose(&reply, frame.kind, &mut framed) {
                return self.refuse(format!("no frame for the reply: {error}"));
            }
            if !output.write_whole(&framed) {
                framed.shrink_to_fit();
                let is_too_large = framed.len() > output.limit();
                self.stuck = Some(Box::new(if is_too_large { Stuck::TooLarge } else { Stuck::Reply(framed) }));
                return Wait::Writable;
            }
        }
    }

    fn error_detail(&self) -> Option<String> {
        match self.stuck.as_deref() {
            Some(Stuck::Broken(error_detail)) => Some(error_detail.clone()),
            _ => None,
        }
    }

    fn held_bytes(&self) -> usize {
        match self.stuck.as_deref() {
            Some(Stuck::Reply(bytes)) => size_of::<Stuck>() + bytes.capacity(),
            Some(Stuck::Broken(error_detail)) => size_of::<Stuck>() + error_detail.capacity(),
            Some(Stuck::TooLarge) => size_of::<Stuck>(),
            None => 0,
        }
    }
}
