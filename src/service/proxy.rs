//! Proxy: a tunnel to one of several upstreams.

use super::tunnel::EndState;
use super::{CloseReason, Context, Input, Output, Service, Tunnel, Upstreams, Wait};
use crate::socket::Address;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Service of a proxied connection: a [`Tunnel`] to one of the [`Upstreams`].
///
/// If a connection to the first upstream cannot be established, the others are tried, each once. The bytes of the
/// client wait in its input meanwhile. If all fail, the client is reset, with the close reason of the last failure.
///
/// ```no_run
/// use multiconn::service::{Proxy, Upstreams};
/// use multiconn::{Endpoint, Server, ServerConfig};
/// use std::sync::Arc;
///
/// let upstreams = Arc::new(Upstreams::new([Endpoint::tcp("10.0.0.1", 80), Endpoint::tcp("10.0.0.2", 80)]));
/// let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 8080));
/// Server::bind(config, |context| Proxy::new(context, &upstreams))?.run()?;
/// # Ok::<(), multiconn::Error>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    upstreams: Arc<Upstreams>,
    tunnel: Tunnel,
    /// The connect to the upstream, until its result is known.
    attempt: Option<Attempt>,
}

/// A connect to one upstream.
#[derive(Debug)]
struct Attempt {
    began: Instant,
    /// Upstreams that were tried; the last one is tried now.
    tried: Vec<usize>,
}

impl Proxy {
    /// Connects to an upstream for the connection of `context`.
    #[must_use = "the result is the service of the connection"]
    pub fn new(context: &mut Context<'_>, upstreams: &Arc<Upstreams>) -> Self {
        // There is at least one.
        let index = upstreams.select(&[], context.now()).unwrap_or(0);
        Self {
            upstreams: Arc::clone(upstreams),
            tunnel: connect(context, upstreams, index),
            attempt: Some(Attempt { began: context.now(), tried: vec![index] }),
        }
    }

    /// Handles the result of the connect, if it is known: a failed one is followed by one to the next upstream.
    fn check_attempt(&mut self, context: &mut Context<'_>) {
        let Some(mut attempt) = self.attempt.take() else { return };
        let upstream = attempt.tried.last().copied().unwrap_or_default();
        match self.tunnel.other_state() {
            EndState::Connecting => self.attempt = Some(attempt),
            EndState::NotConnected(reason) if is_own_fault(reason) => {}
            EndState::NotConnected(reason) => {
                self.upstreams.failed(upstream, reason, attempt.began, context.now());
                let Some(next) = self.upstreams.select(&attempt.tried, context.now()) else { return };
                attempt.tried.push(next);
                attempt.began = context.now();
                // Nothing entered the tunnel before its other end was open.
                self.tunnel = connect(context, &self.upstreams, next);
                self.attempt = Some(attempt);
            }
            EndState::Open | EndState::Closed | EndState::Failed(_) => self.upstreams.connected(upstream),
        }
    }
}

impl Service for Proxy {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.attempt.is_some() {
            self.check_attempt(context);
        }
        self.tunnel.serve(input, output, context)
    }

    fn closed(&mut self, reason: CloseReason) {
        self.tunnel.closed(reason);
    }

    fn is_busy(&self) -> bool {
        self.attempt.is_some() || self.tunnel.is_busy()
    }

    fn held_bytes(&self) -> usize {
        self.tunnel.held_bytes()
    }
}

fn connect(context: &mut Context<'_>, upstreams: &Upstreams, index: usize) -> Tunnel {
    let mut options = upstreams.options(index).clone();
    if let Some(version) = upstreams.send_proxy() {
        let destination = context.local().unwrap_or_else(|| Address::Unix(PathBuf::new()));
        options.preamble = version.header(context.peer(), &destination);
    }
    Tunnel::connect(context, options)
}

/// Whether a connect failed because of this server rather than the upstream.
fn is_own_fault(reason: CloseReason) -> bool {
    use CloseReason::{DrainCut, Drained, MemoryLimit, OutgoingLimit, ServicePanicked, Stopped, TunnelFailed};
    matches!(reason, OutgoingLimit | Stopped | Drained | DrainCut | MemoryLimit | ServicePanicked | TunnelFailed)
}
