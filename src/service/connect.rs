//! Options of an outgoing connection.

use super::Limits;
use crate::socket::{Endpoint, SocketOptions, TlsConnector};
use std::time::Duration;

/// Default connect timeout: enough for three lost packets of the TCP handshake, which is repeated after 1, 3 and 7
/// seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how [`Context::connect`](super::Context::connect) connects. An [`Endpoint`] converts into the defaults.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The endpoint to connect to. The addresses of a name are tried in the order of the resolver (getaddrinfo(3)) until
    /// one accepts the connection.
    pub endpoint: Endpoint,
    /// TLS over the connection. Default: none.
    pub tls: Option<TlsConnector>,
    /// The limits of the connection, once it is established. The handshake timeout covers the TLS handshake alone.
    /// Default: those of [`Limits::default`], without a first-byte timeout.
    pub limits: Limits,
    /// Connect timeout: how long the lookup of the name and the connects to all its addresses may take together. Each
    /// address that is left gets an equal share of what is left of the time. Default: 10 seconds.
    pub connect_timeout: Duration,
    /// The socket options. Default: those of [`SocketOptions::default`].
    pub socket: SocketOptions,
    /// Bytes sent in plain text as soon as the connection is established, such as a PROXY protocol header. They precede
    /// the TLS handshake and the bytes of the service. Default: none.
    pub preamble: Vec<u8>,
}

impl ConnectOptions {
    /// The defaults, connecting to `endpoint`.
    #[must_use]
    pub fn to(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
            limits: Limits { first_byte: None, ..Limits::default() },
            connect_timeout: CONNECT_TIMEOUT,
            socket: SocketOptions::default(),
            preamble: Vec::new(),
        }
    }
}

impl From<Endpoint> for ConnectOptions {
    fn from(endpoint: Endpoint) -> Self {
        Self::to(endpoint)
    }
}
