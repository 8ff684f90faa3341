//! What a server is asked to do with datagrams.

use crate::error::Error;
use crate::service::Responder;
use crate::socket::{Endpoint, Multicast};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Makes a responder for each worker and address.
#[derive(Clone)]
pub struct MakeResponder(Arc<dyn Fn() -> Box<dyn Responder> + Send + Sync>);

impl MakeResponder {
    /// Has `make` called for each worker and address.
    pub fn new<R: Responder + 'static>(make: impl Fn() -> R + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    pub(super) fn make(&self) -> Box<dyn Responder> {
        (self.0)()
    }
}

impl fmt::Debug for MakeResponder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MakeResponder")
    }
}

/// Where a server answers datagrams (UDP, RFC 768), and how.
#[derive(Debug, Clone)]
pub struct DatagramConfig {
    /// Where to listen: a host and a port.
    pub listen: Endpoint,
    /// What answers.
    pub responder: MakeResponder,
    /// Groups to join, on the same port. Default: none.
    pub groups: Vec<IpAddr>,
    /// Where and how to join them.
    pub multicast: Multicast,
    /// The longest reply, in bytes, whatever the request. Default: a reply is no longer than its request, or than
    /// [`SHORT_REPLY_BYTES`](crate::service::SHORT_REPLY_BYTES), so that nobody can use the server to multiply what he
    /// throws at a forged address.
    pub longest_reply: Option<usize>,
}

impl DatagramConfig {
    /// The defaults, listening at `endpoint`.
    #[must_use]
    pub fn at(endpoint: Endpoint, responder: MakeResponder) -> Self {
        let (groups, multicast) = (Vec::new(), Multicast::default());
        Self { listen: endpoint, responder, groups, multicast, longest_reply: None }
    }

    /// Whether it can be meant.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for what can never work.
    pub(in crate::server) fn check(&self) -> Result<(), Error> {
        match self.groups.iter().find(|group| !group.is_multicast()) {
            Some(group) => Err(Error::Usage(format!(
                "{group} is no multicast group; give an address from 224.0.0.0/4 or ff00::/8, such as 239.1.2.3"
            ))),
            None => Ok(()),
        }
    }
}
