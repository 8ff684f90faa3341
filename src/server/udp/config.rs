//! UDP configuration of a server.

use crate::error::Error;
use crate::panic_guard::guarded;
use crate::service::Responder;
use crate::socket::{Endpoint, Multicast};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A factory of responders, called for each worker and address.
#[derive(Clone)]
pub struct MakeResponder(Arc<dyn Fn() -> Box<dyn Responder> + Send + Sync>);

impl MakeResponder {
    /// Calls `make` for each worker and address.
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

/// The default maximum of replies per second to one source. One socket of this program's client receives 180,000 per
/// second over the loopback interface, and fewer over a network card. So load tests are not limited, while the cost of
/// a reply loop is bounded.
const RATE_LIMIT: f64 = 200_000.0;

/// Where a server answers datagrams (UDP, RFC 768), and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DatagramConfig {
    /// A host and a port to listen on.
    pub listen: Endpoint,
    /// The factory of the responders.
    pub responder: MakeResponder,
    /// Multicast groups to join, on the same port. Default: none.
    pub groups: Vec<IpAddr>,
    /// Multicast options.
    pub multicast: Multicast,
    /// The maximum length of a reply, in bytes, whatever the request. By default a reply is no longer than its request,
    /// or than [`SHORT_REPLY_BYTES`](crate::service::SHORT_REPLY_BYTES). So the server cannot be used to amplify
    /// traffic to a forged source address.
    pub longest_reply: Option<usize>,
    /// The maximum number of replies per second to one source address and port, from each worker; the replies of one
    /// second may go out at once. None means no limit. Default: 200,000.
    pub rate_limit: Option<f64>,
    /// The verb for sent datagrams in the log, such as "Echoing". Default: "Sending".
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

    /// Validates the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an invalid value.
    pub(in crate::server) fn check(&self) -> Result<(), Error> {
        if self.rate_limit.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Err(Error::config(&["datagrams.rate_limit"], "a rate limit is above 0; give one such as 5k"));
        }
        match self.groups.iter().find(|group| !group.is_multicast()) {
            Some(group) => Err(Error::config(
                &["datagrams.groups"],
                format!(
                    "{group} is no multicast group; give an address from 224.0.0.0/4 or ff00::/8, such as 239.1.2.3"
                ),
            )),
            None => Ok(()),
        }
    }
}
