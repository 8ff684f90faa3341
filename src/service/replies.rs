//! Replies to one message: none, one or several, then perhaps the end of the connection.

use super::{CloseReason, Context, Output, PendingOutput, Wait};
use crate::codec::Framing;

/// Answers the messages of one connection, for [`Framed`](super::Framed) and [`Unframed`](super::Unframed). Implemented
/// by every closure and function of the form `|message: &[u8], replies: &mut Replies<'_>| …`.
///
/// ```
/// use multiconn::service::Replies;
///
/// /// Answers each word, and ends the connection at `quit`.
/// fn words(message: &[u8], replies: &mut Replies<'_>) {
///     match message {
///         b"quit" => replies.close(),
///         text if text.is_ascii() => text.split(|byte| *byte == b' ').for_each(|word| replies.send(word)),
///         _ => replies.fail("the text is not ASCII"),
///     }
/// }
/// ```
pub trait Respond {
    /// Answers `message` through `replies`. Called exactly once per message, in order.
    fn respond(&mut self, message: &[u8], replies: &mut Replies<'_>);

    /// Maximum size in bytes of all replies to one message, with their framing. Replies without room in the output are
    /// kept in memory, so this limits what a peer that does not read can make the server hold. `output_bytes` is the
    /// size of the output ([`Limits::buffer_bytes`](crate::connection::Limits)), and the default.
    ///
    /// The reply that exceeds it is not sent, nor are later ones. The connection closes as soon as the replies before it
    /// were sent, with [`CloseReason::ReplyTooLarge`](crate::connection::CloseReason::ReplyTooLarge).
    fn max_reply_bytes(&self, output_bytes: usize) -> usize {
        output_bytes
    }

    /// The connection has ended: see [`Service::closed`](super::Service::closed).
    fn closed(&mut self, reason: CloseReason) {
        let _ = reason;
    }

    /// Whether the peer still waits for a reply that is sent later, through a [`Handle`](super::Handle): see
    /// [`Service::is_busy`](super::Service::is_busy).
    fn is_busy(&self) -> bool {
        false
    }

    /// Heap memory in bytes that is held for the peer between messages: see
    /// [`Service::held_bytes`](super::Service::held_bytes). Kept replies are counted without it.
    fn held_bytes(&self) -> usize {
        0
    }
}

impl<F: FnMut(&[u8], &mut Replies<'_>)> Respond for F {
    fn respond(&mut self, message: &[u8], replies: &mut Replies<'_>) {
        self(message, replies);
    }
}

/// Sends the replies to one message.
///
/// Replies without room are kept, up to [`Respond::max_reply_bytes`], and no further message is read until they are
/// sent.
#[derive(Debug)]
pub struct Replies<'a> {
    output: Output<'a>,
    context: Context<'a>,
    pending: &'a mut PendingReplies,
    encoding: Encoding,
    /// Number of bytes that replies to this message may still have.
    remaining: usize,
    /// Shared by all messages of one call of the service.
    scratch: Vec<u8>,
}

/// How a reply becomes bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Encoding {
    /// A frame, with this type byte if the framing has one.
    Frame { framing: Framing, kind: Option<u8> },
    /// Text and the line end of the line that it answers.
    Text { line_end: &'static [u8] },
}

impl<'a> Replies<'a> {
    pub(super) fn new(
        output: &'a mut Output<'_>,
        context: &'a mut Context<'_>,
        pending: &'a mut PendingReplies,
    ) -> Self {
        let encoding = Encoding::Text { line_end: &[] };
        let (output, context) = (output.reborrow(), context.reborrow());
        Self { output, context, pending, encoding, remaining: 0, scratch: Vec::new() }
    }

    /// Sends `message` with the framing and the type byte of the message that it answers.
    ///
    /// A reply that the framing cannot carry closes the connection, like [`fail`](Self::fail). Nothing is sent after
    /// [`close`](Self::close) or `fail`.
    #[inline]
    pub fn send(&mut self, message: &[u8]) {
        match self.encoding {
            Encoding::Frame { framing, kind } => match framing.envelope(message, kind.unwrap_or_default()) {
                Ok(envelope) => self.write([envelope.before(), message, envelope.after()]),
                Err(error) => self.fail(format!("cannot frame the reply: {error}")),
            },
            Encoding::Text { line_end } => self.write([&[], message, line_end]),
        }
    }

    /// Sends the bytes that `write` appends to an empty vector, like [`send`](Self::send). The vector is reused.
    #[inline]
    pub fn send_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        write(&mut message);
        self.send(&message);
        self.scratch = message;
    }

    /// The type byte of replies; at first that of the message. `None` for a framing without one.
    #[must_use]
    pub fn kind(&self) -> Option<u8> {
        match self.encoding {
            Encoding::Frame { kind, .. } => kind,
            Encoding::Text { .. } => None,
        }
    }

    /// Sets the type byte of the following replies to this message. Without effect for a framing without one.
    pub fn set_kind(&mut self, new_kind: u8) {
        if let Encoding::Frame { kind: Some(kind), .. } = &mut self.encoding {
            *kind = new_kind;
        }
    }

    /// Closes the connection after the replies before this call were sent. Later messages are not answered.
    pub fn close(&mut self) {
        self.request_close(CloseRequest::Close);
    }

    /// Closes the connection like [`close`](Self::close), because the peer violated the protocol. `error_detail`
    /// describes that in the log: see [`Service::error_detail`](super::Service::error_detail).
    pub fn fail(&mut self, error_detail: impl Into<String>) {
        self.request_close(CloseRequest::Abort(error_detail.into()));
    }

    /// The context of the connection: the time, the peer, a handle. Bytes that are sent through the handle get no
    /// framing. They come between two replies.
    pub fn context(&mut self) -> &mut Context<'a> {
        &mut self.context
    }

    /// Begins the replies to another message, which may have `max_bytes` together.
    #[inline]
    pub(super) fn begin(&mut self, encoding: Encoding, max_bytes: usize) {
        self.encoding = encoding;
        self.remaining = max_bytes;
    }

    /// Returns what to wait for, or `None` when the next message can be answered.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<Wait> {
        self.pending.0.as_ref()?;
        let wait = self.pending.resume(&mut self.output);
        self.pending.shrink();
        wait
    }

    #[inline]
    fn write(&mut self, parts: [&[u8]; 3]) {
        let size = parts.iter().map(|part| part.len()).sum();
        if self.pending.0.is_none() && size <= self.remaining && self.output.write_parts(parts) {
            self.remaining -= size;
        } else {
            self.write_without_room(parts, size);
        }
    }

    #[cold]
    fn write_without_room(&mut self, parts: [&[u8]; 3], size: usize) {
        if size > self.remaining {
            return self.request_close(CloseRequest::TooLarge);
        }
        let blocked = self.pending.0.get_or_insert_default();
        if blocked.close.is_none() {
            self.remaining -= size;
            blocked.pending.push_with(|bytes| parts.iter().for_each(|part| bytes.extend_from_slice(part)));
        }
    }

    /// Only the first request counts.
    #[cold]
    fn request_close(&mut self, request: CloseRequest) {
        self.pending.0.get_or_insert_default().close.get_or_insert(request);
    }
}

/// Replies without room in the output, and a request to close the connection after them. Boxed, so that an idle
/// connection owns no heap.
#[derive(Debug, Default)]
pub(super) struct PendingReplies(Option<Box<Blocked>>);

#[derive(Debug, Default)]
struct Blocked {
    pending: PendingOutput,
    /// How the connection closes when nothing is pending.
    close: Option<CloseRequest>,
}

/// How a service closes its connection.
#[derive(Debug)]
enum CloseRequest {
    Close,
    /// The peer violated the protocol, with a description.
    Abort(String),
    /// The replies were larger than allowed.
    TooLarge,
}

impl PendingReplies {
    /// Sends what is pending. Returns what to wait for, or `None` when the next message can be answered.
    #[inline]
    pub(super) fn resume(&mut self, output: &mut Output<'_>) -> Option<Wait> {
        let blocked = self.0.as_mut()?;
        let is_flushed = blocked.pending.flush(output);
        match blocked.close {
            _ if !is_flushed => Some(Wait::Writable),
            Some(CloseRequest::Close) => Some(Wait::Close),
            Some(CloseRequest::Abort(_)) => Some(Wait::Abort),
            // The connection closes when the output is empty.
            Some(CloseRequest::TooLarge) => Some(Wait::Writable),
            None => {
                self.0 = None;
                None
            }
        }
    }

    fn shrink(&mut self) {
        if let Some(blocked) = &mut self.0 {
            blocked.pending.shrink();
        }
    }

    pub(super) fn error_detail(&self) -> Option<String> {
        match &self.0.as_ref()?.close {
            Some(CloseRequest::Abort(error_detail)) => Some(error_detail.clone()),
            _ => None,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |blocked| {
            let detail =
                if let Some(CloseRequest::Abort(error_detail)) = &blocked.close { error_detail.capacity() } else { 0 };
            size_of::<Blocked>() + blocked.pending.held_bytes() + detail
        })
    }
}
