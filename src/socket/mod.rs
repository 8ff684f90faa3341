//! Sockets: addresses, listeners, streams (TCP, Unix, TLS), UDP, socket options and descriptor limits.
//!
//! This module knows neither connections nor the event loop. It explains system errors in words where an operator has
//! to act on them (listening, resolving), and returns them unchanged elsewhere.

mod address;
mod connect;
mod descriptors;
mod fd_passing;
mod inherited;
mod listener;
mod options;
#[cfg_attr(not(feature = "systemd"), path = "passed_sockets_disabled.rs")]
mod passed_sockets;
mod range;
mod source_address;
mod stream;
mod sys;
mod tcp_info;
#[cfg_attr(not(feature = "tls"), path = "tls_disabled.rs")]
mod tls;
mod tls_fault;
mod transport;
mod udp;
mod unix_path;
mod zone;

pub use address::{Address, Endpoint};
pub use connect::{ConnectProgress, begin_connect, check_connect, rehearse_options};
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use fd_passing::{BoundEndpoint, ChildAnswer, FdSender, INHERIT_VARIABLE, ParentProcess, describe, identity, mark};
pub use inherited::Inherited;
pub use listener::{BoundListener, Listener, bind};
pub use options::SocketOptions;
pub use range::canonical_range;
pub use source_address::SourceAddresses;
pub use stream::{Stream, TlsStream};
pub use tcp_info::Delivery;
pub use tls::{Identity, MAX_TLS_BYTES, TlsAcceptor, TlsClientOptions, TlsConnector, TlsLayer, TlsServerOptions};
pub use tls_fault::TlsFault;
pub use transport::Transport;
pub use udp::{
    BoundDatagrams, DatagramSocket, InDatagram, Interface, MAX_DATAGRAM_BYTES, Multicast, OutDatagram, Peer, RecvBatch,
    SendBatch, bind_datagrams, needs_broadcast, open_towards, reply_hops,
};
