//! Expected replies, and messages as they are sent on the wire.

use super::ClientConfig;
use super::http_requests::divide;
use crate::codec::{Framing, FramingError};
use crate::error::Error;

/// Expected replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Every byte comes back as it was sent.
    #[default]
    Echo,
    /// Any reply to each message: of the configured size, or a frame if messages are framed.
    ///
    /// Otherwise the end of a reply is unknown: any bytes received let the next messages be sent, and neither replies
    /// nor their latencies are counted. A datagram answers the oldest unanswered message.
    Any,
    /// An HTTP/1.1 response to each message. The messages are requests; one that holds several requests is divided.
    ///
    /// A server may close a connection after a response, or while no request is in flight. A new connection then sends
    /// the remaining messages.
    Http {
        /// The expected status code (RFC 9110, section 15); a response with another one is a wrong reply. Default: any.
        status: Option<u16>,
    },
    /// No reply. After everything was sent and the sending half was shut down, the server has to close in order.
    /// Received bytes are ignored. Datagrams are only sent.
    Nothing,
    /// Nothing is sent, and everything received is read, until the server closes, or the duration or the hold ends. Not
    /// available for datagrams.
    ReadOnly,
}

/// When the sending half is shut down before the connection ends, so that the server closes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum HalfClose {
    /// Never.
    Never,
    /// After the only message, whose end it marks.
    WithMessage,
    /// When the exchange is complete.
    WhenDone,
}

impl HalfClose {
    pub(in crate::client) fn of(config: &ClientConfig) -> Self {
        match (config.framing, config.expect) {
            (Some(Framing::UntilEnd), _) => Self::WithMessage,
            (_, Expect::Nothing) => Self::WhenDone,
            _ => Self::Never,
        }
    }
}

/// Takes the messages of the configuration and puts each into its frame. The type byte, where there is one, is 0.
///
/// # Errors
///
/// [`Error::Config`] for a message that the framing cannot carry, or that is empty and therefore cannot be verified.
pub(in crate::client) fn framed(config: &mut ClientConfig) -> Result<Vec<Vec<u8>>, Error> {
    let mut messages = std::mem::take(&mut config.messages);
    if matches!(config.expect, Expect::Http { .. }) {
        return divide(&messages).map_err(|problem| Error::config(&["messages"], problem));
    }
    if let Some(framing) = config.framing {
        for message in &mut messages {
            let envelope = framing.envelope(message, 0).map_err(|error| framing_error(&error))?;
            message.reserve_exact(envelope.size());
            message.splice(..0, envelope.before().iter().copied());
            message.extend_from_slice(envelope.after());
        }
    }
    if messages.is_empty() || messages.iter().any(Vec::is_empty) {
        let problem = "an empty message cannot be told apart in an echo; give at least 1 byte, such as \"hello\"";
        return Err(Error::config(&["messages"], problem));
    }
    Ok(messages)
}

fn framing_error(error: &FramingError) -> Error {
    let remedy = match error {
        // Which bytes to pad with depends on the protocol.
        FramingError::WrongSize { size, fixed } if size < fixed => format!(
            "pad it: with spaces, such as `printf %-{fixed}s hello` writes, or with zero bytes in a file, such as \
             `printf hello > m.bin; truncate -s {fixed} m.bin` makes"
        ),
        _ => "give another message, or another framing such as u32be".to_owned(),
    };
    Error::config(&["messages", "framing"], format!("{error}; {remedy}"))
}
