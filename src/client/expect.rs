//! What a server is expected to answer, and the messages as they go over the wire.

use super::ClientConfig;
use crate::codec::{Framing, FramingError};
use crate::error::Error;

/// What is expected to come back for what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Every byte, as it was sent.
    #[default]
    Echo,
    /// Some answer to each message: one of the size that was given, or a frame, if messages are framed. Else nothing tells where
    /// an answer ends: bytes that come let the next messages go, and neither answers nor their latencies are counted. A
    /// datagram answers the oldest one without an answer.
    Any,
    /// Nothing, but that the server ends in order after everything was sent and our half was shut. What comes is ignored.
    /// Datagrams are only sent.
    Nothing,
    /// Nothing is sent, and whatever comes is read: until the server closes, or the duration or the hold is over. Not of
    /// datagrams.
    ReadOnly,
}

/// When our half is shut before the conversation is over, to be followed by the server's own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HalfClose {
    /// It is not.
    Never,
    /// When the only message was sent: that is how it ends.
    WithMessage,
    /// When there is nothing more to do.
    WhenDone,
}

impl HalfClose {
    pub(super) fn of(config: &ClientConfig) -> Self {
        match (config.framing, config.expect) {
            (Some(Framing::UntilEnd), _) => Self::WithMessage,
            (_, Expect::Nothing) => Self::WhenDone,
            _ => Self::Never,
        }
    }
}

/// The messages with what their framing puts before and after each. The type byte, where there is one, is 0.
///
/// # Errors
///
/// [`Error::Usage`] for a message that the framing cannot carry, or that nobody could see.
pub(super) fn framed(config: &mut ClientConfig) -> Result<Vec<Vec<u8>>, Error> {
    let mut messages = std::mem::take(&mut config.messages);
    if let Some(framing) = config.framing {
        for message in &mut messages {
            let envelope = framing.envelope(message, 0).map_err(|error| refusal(&error))?;
            message.reserve_exact(envelope.size());
            message.splice(..0, envelope.before().iter().copied());
            message.extend_from_slice(envelope.after());
        }
    }
    if messages.is_empty() || messages.iter().any(Vec::is_empty) {
        let text = "an empty message cannot be told apart in an echo; give at least 1 byte, such as \"hello\"";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(messages)
}

fn refusal(error: &FramingError) -> Error {
    let way_out = match error {
        // With which bytes is a matter of the protocol.
        FramingError::WrongSize { size, fixed } if size < fixed => format!(
            "pad it: with spaces, such as --message \"$(printf %-{fixed}s hello)\", or with zero bytes, such as \
             `printf hello > m.bin; truncate -s {fixed} m.bin` and --message-file m.bin"
        ),
        _ => "give another message, or another framing such as --frame u32be".to_owned(),
    };
    Error::Usage(format!("{error}; {way_out}"))
}
