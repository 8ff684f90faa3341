//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) between a connection and its socket.
//!
//! rustls does the work; this module supplies bytes and files, and describes failures. An operator's mistake is an
//! [`Error`](crate::error::Error). A peer's fault is a [`TlsFault`], which ends only its own connection. Nothing here
//! blocks.

mod acceptor;
mod classify;
mod connector;
mod files;
mod identity;
mod memory;
mod session;
mod trust;
mod unsupported;

pub use acceptor::{TlsAcceptor, TlsServerOptions};
pub use connector::{TlsClientOptions, TlsConnector};
pub use identity::Identity;
pub use session::TlsLayer;

/// The maximum memory that TLS holds for one connection, in bytes.
pub const MAX_TLS_BYTES: usize = memory::MAX_SESSION_BYTES;

use rustls::crypto::CryptoProvider;
use std::net::Ipv6Addr;
use std::sync::{Arc, LazyLock};

/// The cryptography of ring, which needs only the Rust compiler and a C compiler.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// The name of `host` in certificates: an IPv6 address without its brackets and without its zone (RFC 4007, section 11),
/// which is valid only on this machine.
fn certificate_name(host: &str) -> &str {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.split_once('%') {
        Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => address,
        _ => bare,
    }
}

/// Protocol names in their wire form (RFC 7301).
fn wire_names(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::certificate_name;

    #[test]
    fn a_certificate_name_has_no_brackets_and_no_zone() {
        for host in ["fe80::1", "[fe80::1]", "fe80::1%lo", "[fe80::1%lo]"] {
            assert_eq!(certificate_name(host), "fe80::1");
        }
        for name in ["localhost", "127.0.0.1", "odd%name", ""] {
            assert_eq!(certificate_name(name), name);
        }
    }
}
