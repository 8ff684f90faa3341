//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) between a conversation and its socket.
//!
//! The work is rustls's; this room gives it bytes and files, and puts what goes wrong into words. What an operator gives
//! wrong is an [`Error`](crate::error::Error); what a peer does wrong is a [`TlsFault`], which ends its connection and no
//! other. Nothing in here waits.

mod acceptor;
mod connector;
mod fault;
mod files;
mod identity;
mod memory;
mod session;
mod trust;

pub use acceptor::{TlsAcceptor, TlsServerOptions};
pub use connector::{TlsClientOptions, TlsConnector};
pub use fault::TlsFault;
pub use identity::Identity;
pub use session::TlsStream;

/// The most memory that TLS holds for one connection, in bytes.
pub const MOST_TLS_BYTES: usize = memory::MOST_SESSION_BYTES;

use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// The algorithms: those of ring, which needs no compiler but Rust's and a C one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The names of protocols as they go over the wire (RFC 7301).
fn wire_names(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}
