//! Search service: the server of the tutorial's application pair, which answers messages with a JSON header.
//!
//! A JSON request, `{"action": "search", "value": "ring"}`, is looked up in a table. A binary request gets its first
//! ten bytes back. The answers equal those of the tutorial's server byte for byte. That server handles one message per
//! connection; this one handles any number: see [`Search`].

mod answer;
mod messages;
#[cfg(test)]
mod tests;

pub use answer::{SearchError, look_up};
pub use messages::{Request, Response};

use super::{Context, Input, Output, Service, Wait};
use crate::codec::message::{Content, MAX_BEFORE_CONTENT, MessageDecoder};
use crate::log_targets::SERVER_LOG;
use crate::python_repr::JsonRepr;
use crate::units::format_counted;
use std::time::{Duration, Instant};

/// How long a connection without keep-alive stays open for another message. The tutorial's server closes after its
/// answer, and a peer may wait for exactly that. A peer that sends a second message does so at once.
const KEEP_OPEN: Duration = Duration::from_millis(500);

/// Answers messages with a JSON header.
///
/// Messages may arrive one at a time or many at once; each is answered, in order. A message may request keep-alive
/// ([`Header::keeps_alive`](crate::codec::message::Header::keeps_alive)). If the last one did not, the connection
/// closes half a second after its answer, or as soon as the peer has shut down its half. An invalid message closes the
/// connection after earlier messages were answered; the log describes the error.
///
/// ```
/// use multiconn::server::{Server, ServerConfig};
/// use multiconn::service::Search;
/// use multiconn::socket::Endpoint;
///
/// let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
/// config.limits.buffer_bytes = Search::buffer_bytes(4096);
/// let server = Server::bind(config, |_| Search::new(4096))?;
/// # Ok::<(), multiconn::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Search {
    decoder: MessageDecoder,
    /// When to close, unless another message begins before.
    close_at: Option<Instant>,
    /// Boxed, because few connections have one.
    fault: Option<Box<SearchError>>,
    /// Name of the peer in the log, if requests are logged.
    peer: Option<Box<PeerName>>,
}

#[derive(Debug)]
struct PeerName(String);

/// Maximum number of characters of a request in the log.
const MAX_LOGGED_CHARACTERS: usize = 1000;

/// Result of handling the first message of the input.
enum Step {
    Answered { keeps_alive: bool },
    Incomplete,
    NoRoom,
}

impl Search {
    /// Creates a service for messages with at most `max_content_bytes` of content.
    #[must_use]
    pub fn new(max_content_bytes: usize) -> Self {
        Self { decoder: MessageDecoder::new(max_content_bytes), close_at: None, fault: None, peer: None }
    }

    /// Logs each answered request at level `debug`, in the words of the tutorial's server. `peer` returns the name of the
    /// peer; it is called only if that level is logged.
    #[must_use]
    pub fn logging(mut self, peer: impl FnOnce() -> String) -> Self {
        self.peer = log::log_enabled!(target: SERVER_LOG, log::Level::Debug).then(|| Box::new(PeerName(peer())));
        self
    }

    /// Buffer size in bytes that a connection needs for such messages: the content plus the longest possible header.
    /// The answer's header is shorter.
    #[must_use]
    pub fn buffer_bytes(max_content_bytes: usize) -> usize {
        max_content_bytes.saturating_add(MAX_BEFORE_CONTENT)
    }

    fn step(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Step, SearchError> {
        let Some(message) = self.decoder.decode(input.bytes(), input.has_ended())? else {
            return Ok(Step::Incomplete);
        };
        let content = message.content()?;
        let Ok(answer) = Response::to(&content)?.message() else {
            unreachable!("the headers of our answers are short");
        };
        if !output.write_whole(&answer) {
            return Ok(Step::NoRoom);
        }
        if let Some(PeerName(peer)) = self.peer.as_deref() {
            log::debug!(target: SERVER_LOG, "Received {} from {peer}", describe(&content, &message.header.content_type));
        }
        let (size, keeps_alive) = (message.size, message.header.keeps_alive);
        input.consume(size);
        Ok(Step::Answered { keeps_alive })
    }
}

/// Formats a request like the tutorial's server.
fn describe(content: &Content<'_>, content_type: &str) -> String {
    match content {
        Content::Json(request) => {
            let text = JsonRepr(request).to_string();
            match text.char_indices().nth(MAX_LOGGED_CHARACTERS) {
                Some((end, _)) => {
                    format!("request {}... ({})", &text[..end], format_counted(text.len() as u64, "byte"))
                }
                None => format!("request {text}"),
            }
        }
        Content::Binary(_) => format!("{content_type} request"),
    }
}

impl Service for Search {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        loop {
            match self.step(input, output) {
                Ok(Step::Answered { keeps_alive }) => {
                    context.count_message();
                    self.close_at = (!keeps_alive).then(|| now + KEEP_OPEN);
                }
                Ok(Step::Incomplete) => break,
                Ok(Step::NoRoom) => return Wait::Writable,
                Err(error) => {
                    self.fault = Some(Box::new(error));
                    return Wait::Abort;
                }
            }
        }
        match self.close_at.filter(|_| input.is_empty() && !input.has_ended()) {
            Some(end) if end <= now => Wait::Close,
            Some(end) => Wait::Deadline(end),
            None => Wait::Input,
        }
    }

    fn error_detail(&self) -> Option<String> {
        self.fault.as_ref().map(ToString::to_string)
    }

    fn held_bytes(&self) -> usize {
        let peer = self.peer.as_ref().map_or(0, |peer| size_of::<PeerName>() + peer.0.capacity());
        self.fault.as_ref().map_or(0, |_| size_of::<SearchError>()) + peer
    }
}
