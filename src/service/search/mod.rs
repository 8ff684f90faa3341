//! Search: the server of the tutorial's application pair, which answers messages with a header.
//!
//! A request in JSON, `{"action": "search", "value": "ring"}`, is looked up in a table; a binary one gets its first ten
//! bytes back. The answers are byte for byte those of the tutorial's server. That one serves one message per connection;
//! this one any number, as long as they come: see [`Search`].

mod answer;
mod messages;
#[cfg(test)]
mod tests;

pub use answer::{SearchError, look_up};
pub use messages::{Request, Response};

use super::{Input, Output, Service, Wait};
use crate::codec::message::{Content, MOST_BEFORE_CONTENT, MessageDecoder};
use crate::python_repr::JsonRepr;
use crate::units::format_counted;
use std::time::{Duration, Instant};

/// How long a peer that did not ask to keep the connection may think about another message. The tutorial's server closes
/// once it has answered, and a peer may wait for just that; one that sends a second message does so at once.
const GRACE: Duration = Duration::from_millis(500);

/// Answers messages with a header.
///
/// Messages may come one after the other, or many at once: each is answered, in order. When the last one did not ask to
/// keep the connection ([`Header::keeps_alive`](crate::codec::message::Header::keeps_alive)), the connection is closed
/// half a second after its answer, or as soon as the peer has shut its half. A message that cannot be answered ends the
/// conversation; those before it are answered, and the peer's fault is named in the log.
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
    /// When to close, unless another message begins.
    end_by: Option<Instant>,
    /// Boxed, since hardly any conversation has one.
    fault: Option<Box<SearchError>>,
    /// What the log calls the peer, if it is to have the requests.
    peer: Option<Box<PeerName>>,
}

#[derive(Debug)]
struct PeerName(String);

/// How many characters of a request the log shows.
const LOGGED_CHARACTERS: usize = 1000;

/// What became of the first message.
enum Step {
    Answered { keeps_alive: bool },
    Incomplete,
    NoRoom,
}

impl Search {
    /// Answers messages whose content takes at most `most_content_bytes`.
    #[must_use]
    pub fn new(most_content_bytes: usize) -> Self {
        Self { decoder: MessageDecoder::new(most_content_bytes), end_by: None, fault: None, peer: None }
    }

    /// Logs each request that is answered, at the level `debug` and in the words of the tutorial's server. `peer` names the peer,
    /// and is called only when that level is logged.
    #[must_use]
    pub fn logging(mut self, peer: impl FnOnce() -> String) -> Self {
        self.peer = log::log_enabled!(log::Level::Debug).then(|| Box::new(PeerName(peer())));
        self
    }

    /// What the buffers of a connection must hold for that: the content, and the longest header, which is as long as it
    /// is by construction.
    #[must_use]
    pub fn buffer_bytes(most_content_bytes: usize) -> usize {
        most_content_bytes.saturating_add(MOST_BEFORE_CONTENT)
    }

    fn step(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Step, SearchError> {
        let Some(message) = self.decoder.decode(input.bytes(), input.has_ended())? else {
            return Ok(Step::Incomplete);
        };
        let content = message.content()?;
        let Ok(answer) = Response::to(&content)?.message() else {
            unreachable!("the types and encodings of our answers are short");
        };
        if !output.write_whole(&answer) {
            return Ok(Step::NoRoom);
        }
        if let Some(PeerName(peer)) = self.peer.as_deref() {
            log::debug!("Received {} from {peer}", describe(&content, &message.header.content_type));
        }
        let (size, keeps_alive) = (message.size, message.header.keeps_alive);
        input.consume(size);
        Ok(Step::Answered { keeps_alive })
    }
}

/// A request in the words of the tutorial's server.
fn describe(content: &Content<'_>, content_type: &str) -> String {
    match content {
        Content::Json(request) => {
            let text = JsonRepr(request).to_string();
            match text.char_indices().nth(LOGGED_CHARACTERS) {
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
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        loop {
            match self.step(input, output) {
                Ok(Step::Answered { keeps_alive }) => self.end_by = (!keeps_alive).then(|| now + GRACE),
                Ok(Step::Incomplete) => break,
                Ok(Step::NoRoom) => return Wait::Writable,
                Err(error) => {
                    self.fault = Some(Box::new(error));
                    return Wait::Abort;
                }
            }
        }
        match self.end_by.filter(|_| input.is_empty() && !input.has_ended()) {
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
