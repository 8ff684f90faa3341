//! Context of a service's call: the time, the connection that the service belongs to, and its handle.

use super::{CloseReason, ConnectOptions, Handle, Service};
use crate::socket::{Address, ByteStream, TlsFacts};
use std::fmt;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Instant;

/// What a service may ask about its connection and of its loop, during a call.
pub struct Context<'a> {
    now: Instant,
    is_draining: bool,
    /// Whether the output has not ended.
    takes_sends: bool,
    handle: &'a mut dyn HandleSlot,
    host: &'a mut dyn Host,
    socket: &'a dyn ByteStream,
}

/// Where a connection keeps its handle, once there is one.
pub(crate) trait HandleSlot {
    /// The place of the handle.
    fn handle(&mut self) -> &mut Option<Handle>;
}

/// The owner of a connection, as a [`Context`] asks it. The defaults are for services that never ask.
pub(crate) trait Host {
    /// The number of the connection.
    fn id(&self) -> u64 {
        0
    }

    /// The address of the peer.
    fn peer(&self) -> &Address {
        static UNNAMED: LazyLock<Address> = LazyLock::new(|| Address::Unix(PathBuf::new()));
        &UNNAMED
    }

    /// The address of the listener that accepted the connection.
    fn listener(&self) -> Option<&Address> {
        None
    }

    /// Makes the handle of the connection.
    fn new_handle(&self) -> Handle {
        Handle::inert()
    }

    /// Requests an outgoing connection. Returns its handle.
    fn connect(&mut self, _options: ConnectOptions, mut service: Box<dyn Service>) -> Handle {
        service.closed(CloseReason::ConnectFailed);
        Handle::inert()
    }

    /// Counts a message that the service has received.
    fn count_message(&mut self) {}
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        now: Instant,
        [is_draining, takes_sends]: [bool; 2],
        handle: &'a mut dyn HandleSlot,
        host: &'a mut dyn Host,
        socket: &'a dyn ByteStream,
    ) -> Self {
        Self { now, is_draining, takes_sends, handle, host, socket }
    }

    /// Returns the same context with a shorter lifetime, for a value that holds it.
    #[inline]
    pub(super) fn reborrow(&mut self) -> Context<'_> {
        let Self { now, is_draining, takes_sends, handle, host, socket } = self;
        let (is_draining, takes_sends) = (*is_draining, *takes_sends);
        Context { now: *now, is_draining, takes_sends, handle: *handle, host: *host, socket: *socket }
    }

    /// Start of the loop's current round: a service reads no clock.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The number of the connection, counted from 1 over the whole server. Logs name it as `connection`.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.host.id()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> &Address {
        self.host.peer()
    }

    /// The local address of the connection (getsockname(2)); none if the system does not tell.
    #[must_use]
    pub fn local(&self) -> Option<Address> {
        self.socket.local_address()
    }

    /// The address of the listener that accepted the connection; none for an outgoing connection.
    #[must_use]
    pub fn listener(&self) -> Option<&Address> {
        self.host.listener()
    }

    /// What was negotiated in the TLS handshake; none without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts<'_>> {
        self.socket.tls_facts()
    }

    /// Whether the server is draining. A service is called when a drain begins.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// A handle of this connection, for other threads and other connections.
    #[must_use]
    pub fn handle(&mut self) -> Handle {
        let new_handle = || {
            let handle = self.host.new_handle();
            if !self.takes_sends {
                handle.refuse();
            }
            handle
        };
        self.handle.handle().get_or_insert_with(new_handle).clone()
    }

    /// Opens an outgoing connection on the same loop, and returns its handle at once. `options` can be an
    /// [`Endpoint`](crate::socket::Endpoint), or [`ConnectOptions`] for TLS, limits and timeouts.
    ///
    /// The connection is independent of this one: a service that needs its end closes it through the handle, and learns
    /// of it from [`Service::closed`]. `service` is first called when the connection is established, after the TLS
    /// handshake. Names are looked up without blocking the loop. If the connection cannot be established, `closed` is
    /// called with [`Unresolved`](CloseReason::Unresolved), [`ConnectRefused`](CloseReason::ConnectRefused),
    /// [`ConnectTimeout`](CloseReason::ConnectTimeout), [`ConnectFailed`](CloseReason::ConnectFailed),
    /// [`OutgoingLimit`](CloseReason::OutgoingLimit) or a reason of the handshake, and `serve` is never called. That
    /// happens after the current call.
    ///
    /// The handle works at once: bytes that are sent wait until the connection is established, and a close or reset
    /// abandons it. An outgoing connection counts against the memory limit and against
    /// [`max_outgoing`](crate::server::ServerConfig::max_outgoing) or, without that, against
    /// [`max_connections`](crate::server::ServerConfig::max_connections). A drain of the server finishes it like any
    /// other connection.
    ///
    /// ```
    /// use multiconn::{CloseReason, Context, Endpoint, Input, Output, Service, Wait};
    ///
    /// /// Sends one request, and prints the answer.
    /// struct Request;
    ///
    /// impl Service for Request {
    ///     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
    ///         if input.has_ended() {
    ///             println!("{}", String::from_utf8_lossy(input.bytes()));
    ///             return Wait::Close;
    ///         }
    ///         if !output.has_ended() {
    ///             output.write(b"hello");
    ///             output.end();
    ///         }
    ///         Wait::Input
    ///     }
    ///
    ///     fn closed(&mut self, reason: CloseReason) {
    ///         println!("{reason}");
    ///     }
    /// }
    ///
    /// fn ask(context: &mut Context<'_>) {
    ///     context.connect(Endpoint::tcp("localhost", 7), Request);
    /// }
    /// ```
    pub fn connect(&mut self, options: impl Into<ConnectOptions>, service: impl Service + 'static) -> Handle {
        self.host.connect(options.into(), Box::new(service))
    }

    /// Counts a message that the service has received, for the metrics of the server. The framed services of this crate
    /// call it for each message; a service with a protocol of its own does the same.
    #[inline]
    pub fn count_message(&mut self) {
        self.host.count_message();
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, peer) = (self.id(), self.peer());
        out.debug_struct("Context").field("now", &self.now).field("id", &id).field("peer", peer).finish_non_exhaustive()
    }
}
