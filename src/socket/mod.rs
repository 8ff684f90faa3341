//! Sockets: addresses, listeners, streams (TCP, Unix, TLS), UDP, socket options and descriptor limits.
//!
//! This module knows neither connections nor the event loop. It explains system errors in words where an operator has
//! to act on them (listening, resolving), and returns them unchanged elsewhere.

mod address;
mod address_range;
mod bind;
mod byte_stream;
#[cfg_attr(multiconn_simulated, path = "simulated_connect.rs")]
mod connect;
mod descriptors;
mod fd_passing;
#[cfg(all(test, feature = "cli"))]
#[path = "../../tests/fuzz/descriptors.rs"]
mod fuzz;
mod inherited;
#[cfg_attr(not(feature = "systemd"), path = "listen_fds_disabled.rs")]
mod listen_fds;
#[cfg_attr(multiconn_simulated, path = "simulated_listener.rs")]
mod listener;
mod options;
#[cfg_attr(not(feature = "proxy-protocol"), path = "proxy_protocol_disabled.rs")]
mod proxy_protocol;
mod source_address;
#[cfg_attr(multiconn_simulated, path = "simulated_stream.rs")]
mod stream;
mod sys;
mod tcp_info;
#[cfg_attr(not(feature = "tls"), path = "tls_disabled.rs")]
mod tls;
mod tls_facts;
mod tls_fault;
mod udp;
mod unix_path;
mod zone;

pub use address::{Address, Endpoint};
pub use inherited::Inherited;
pub use options::SocketOptions;
pub use proxy_protocol::ProxyVersion;
pub use source_address::SourceAddresses;
pub use tls::{Identity, TlsAcceptor, TlsClientOptions, TlsConnector, TlsServerOptions};
pub use tls_facts::TlsFacts;
pub use tls_fault::TlsFault;
pub use udp::{Interface, MAX_DATAGRAM_BYTES, Multicast};
#[doc(hidden)]
pub use udp::{Peer, open_towards};

pub(crate) use address_range::canonical_range;
pub(crate) use bind::BoundListener;
pub(crate) use byte_stream::ByteStream;
pub(crate) use connect::{ConnectProgress, begin_connect, check_connect, check_socket_options};
pub(crate) use descriptors::raise_descriptor_limit;
pub(crate) use fd_passing::{
    BoundEndpoint, ChildAnswer, FdSender, INHERIT_VARIABLE, ParentProcess, describe, identity, mark,
};
pub(crate) use listener::Listener;
pub(crate) use proxy_protocol::{ProxyHeader, receive_header, send_header};
pub(crate) use stream::{Stream, TlsStream};
pub(crate) use sys::REPORTS_ARRIVALS;
pub(crate) use tls::MAX_TLS_BYTES;
pub(crate) use udp::{BoundDatagrams, DatagramSocket, RecvBatch, SendBatch, needs_broadcast, reply_hops};
