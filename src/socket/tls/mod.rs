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
mod unsupported;

pub use acceptor::{TlsAcceptor, TlsServerOptions};
pub use connector::{TlsClientOptions, TlsConnector};
pub use fault::TlsFault;
pub use identity::Identity;
pub use session::TlsStream;

/// The most memory that TLS holds for one connection, in bytes.
pub const MOST_TLS_BYTES: usize = memory::MOST_SESSION_BYTES;

use rustls::crypto::CryptoProvider;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// The algorithms: those of ring, which needs no compiler but Rust's and a C one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The name of `host` as certificates have it: an IPv6 address without its brackets and its zone (RFC 4007, section 11), which
/// has a meaning on this machine only.
fn certificate_name(host: &str) -> &str {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.split_once('%') {
        Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => address,
        _ => bare,
    }
}

/// The names of protocols as they go over the wire (RFC 7301).
fn wire_names(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::certificate_name;

    #[test]
    fn a_certificate_is_for_an_address_without_brackets_and_zone() {
        for host in ["fe80::1", "[fe80::1]", "fe80::1%lo", "[fe80::1%lo]"] {
            assert_eq!(certificate_name(host), "fe80::1");
        }
        for name in ["localhost", "127.0.0.1", "odd%name", ""] {
            assert_eq!(certificate_name(name), name);
        }
    }
}
