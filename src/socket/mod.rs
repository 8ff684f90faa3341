//! Everything that is a socket: addresses, listeners, streams, the options set on them, and the descriptors they use.
//!
//! A socket knows nothing of conversations and nothing of the loop that waits for it. It turns the system's errors
//! into words where a person has to act on them (listening, resolving), and leaves them as they are elsewhere.

mod address;
mod bequest;
mod connect;
mod datagram;
mod delivery;
mod descriptors;
mod inherited;
mod listener;
mod options;
mod range;
mod source;
mod stream;
mod tls;
mod unix_path;
mod zone;

pub use address::{Address, Endpoint};
pub use bequest::{Answer, Bequest, INHERIT_VARIABLE, Place, Predecessor, describe, identity, mark};
pub use connect::{Progress, begin_connect, check_connect, rehearse_options};
pub use datagram::{
    Arrival, BoundDatagrams, DatagramSocket, Inbox, Interface, Letter, MAX_DATAGRAM_BYTES, Multicast, Outbox, Peer,
    bind_datagrams, needs_broadcast, open_towards, reply_hops,
};
pub use delivery::Delivery;
pub use descriptors::{DescriptorLimit, raise_descriptor_limit};
pub use inherited::Inherited;
pub use listener::{BoundListener, Listener, bind};
pub use options::SocketOptions;
pub use range::canonical_range;
pub use source::Sources;
pub use stream::{Stream, Transport};
pub use tls::{
    Identity, MOST_TLS_BYTES, TlsAcceptor, TlsClientOptions, TlsConnector, TlsFault, TlsServerOptions, TlsStream,
};
