//! HTTP/1.1 message framing (RFC 9112): where the head and the body of a request or response end.
//!
//! [`HeadDecoder`] finds and parses a head, and [`BodyDecoder`] delimits the body that follows it, by Content-Length,
//! by chunks or by the end of the connection. [`ResponseDecoder`] does both, for a client that only needs to know where
//! a response ends. Like the other codecs they get the buffered bytes, keep none of them, and touch no socket.
//!
//! - A head that arrives whole is parsed once. One that arrives in pieces is searched for its end, and each byte only
//!   once.
//! - Body bytes are consumed as they arrive, so a body may be larger than any buffer.
//! - Heads, chunk sizes with their extensions, and trailers are bounded.
//! - A request whose length could be understood in two ways is an error (request smuggling, RFC 9112, section 11.2).
//!
//! Redirects, cookies, content codings and HTTP/2 are not covered.

mod body;
mod error;
mod fields;
mod head;
mod response;
#[cfg(test)]
mod tests;

pub use body::{BodyDecoder, BodyPart};
pub use error::HttpError;
pub use head::{HeadDecoder, RequestHead, ResponseHead};
pub use response::{DecodedResponse, Response, ResponseDecoder};
