//! What a server is asked to do with datagrams.

use crate::error::Error;
use crate::guard::guarded;
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

    pub(super) fn make(&self) -> Result<Box<dyn Responder>, String> {
        guarded(|| (self.0)())
    }
}

impl fmt::Debug for MakeResponder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MakeResponder")
    }
}

/// How many replies per second go to one source. One socket of a client of this program gets 180,000 over the loopback
/// interface, a network card less: who load-tests a server is not limited, and what a loop takes is bounded.
const RATE_LIMIT: f64 = 200_000.0;

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
    /// The most replies per second to one source address and port, from each worker; as many as in a second may go out at
    /// once. None sets no limit. Default: 200,000.
    pub rate_limit: Option<f64>,
    /// How the log puts what is sent, such as "Echoing". Default: "Sending".
    pub sending: &'static str,
}

impl DatagramConfig {
    /// The defaults, listening at `endpoint`.
    #[must_use]
    pub fn at(endpoint: Endpoint, responder: MakeResponder) -> Self {
        let (groups, multicast) = (Vec::new(), Multicast::default());
        let (longest_reply, rate_limit, sending) = (None, Some(RATE_LIMIT), "Sending");
        Self { listen: endpoint, responder, groups, multicast, longest_reply, rate_limit, sending }
    }

    /// Whether it can be meant.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for what can never work.
    pub(in crate::server) fn check(&self) -> Result<(), Error> {
        if self.rate_limit.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(Error::Usage("a rate limit is above 0; give one such as --udp-rate-limit 5k".to_owned()));
        }
        match self.groups.iter().find(|group| !group.is_multicast()) {
            Some(group) => Err(Error::Usage(format!(
                "{group} is no multicast group; give an address from 224.0.0.0/4 or ff00::/8, such as 239.1.2.3"
            ))),
            None => Ok(()),
        }
    }
}
