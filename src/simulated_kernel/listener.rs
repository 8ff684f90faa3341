//! Listeners: a bounded backlog, and the errors of accept(2).

use super::poll::Source;
use super::{Kernel, Nanos, Registration, SimulatedStream, with};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

/// Connections that wait to be accepted.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) registration: Option<Registration>,
    /// Endpoints of the server.
    waiting: VecDeque<usize>,
    capacity: usize,
    /// Listeners of this queue that are open.
    listeners: usize,
    address: SocketAddr,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct SimulatedListener(usize);

impl SimulatedListener {
    pub(crate) fn bind(address: SocketAddr, capacity: usize) -> Self {
        Self(with(|kernel| {
            let (registration, waiting) = (None, VecDeque::new());
            kernel.backlogs.push(Backlog { registration, waiting, capacity, listeners: 1, address });
            kernel.backlogs.len() - 1
        }))
    }

    pub(crate) fn accept(&self) -> io::Result<(SimulatedStream, SocketAddr)> {
        with(|kernel| kernel.accept(self.0))
    }

    /// Another listener of the same queue, as dup(2) makes.
    pub(crate) fn duplicate(&self) -> Self {
        with(|kernel| kernel.backlogs[self.0].listeners += 1);
        Self(self.0)
    }

    /// The number of its queue.
    pub(crate) fn number(&self) -> usize {
        self.0
    }

    pub(crate) fn address(&self) -> SocketAddr {
        with(|kernel| kernel.backlogs[self.0].address)
    }
}

impl mio::event::Source for SimulatedListener {
    fn register(&mut self, _registry: &Registry, token: Token, _interests: Interest) -> io::Result<()> {
        with(|kernel| {
            kernel.backlogs[self.0].registration = Some((kernel.current, token));
            kernel.announce(Some((kernel.current, token)), Source::Backlog(self.0));
        });
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.register(registry, token, interests)
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        with(|kernel| {
            if let Some(registration) = kernel.backlogs[self.0].registration.take() {
                kernel.forget(registration, Source::Backlog(self.0));
            }
        });
        Ok(())
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        with(|kernel| kernel.close_listener(self.0));
    }
}

impl Kernel {
    fn accept(&mut self, number: usize) -> io::Result<(SimulatedStream, SocketAddr)> {
        self.call(3, number);
        let backlog = &mut self.backlogs[number];
        if backlog.waiting.is_empty() {
            return Err(Errno::AGAIN.into());
        }
        if self.faults.descriptors.is_some_and(|limit| self.descriptors >= limit) {
            return Err(Errno::MFILE.into());
        }
        if self.faults.accept_errors && self.rng.one_in(10) {
            return Err(self
                .rng
                .pick(&[Errno::CONNABORTED, Errno::INTR, Errno::NOMEM, Errno::NOBUFS, Errno::PROTO])
                .into());
        }
        let endpoint = self.backlogs[number].waiting.pop_front().ok_or(Errno::AGAIN)?;
        self.descriptors += 1;
        let address = self.endpoints[endpoint].peer_address;
        self.endpoints[endpoint].accepted = Some(self.now);
        Ok((SimulatedStream::new(endpoint), address))
    }

    /// Connects a script from `address`. Returns its endpoint, or none if the backlog is full or the listener closed.
    pub(crate) fn connect(
        &mut self,
        listener: usize,
        script: usize,
        address: SocketAddr,
        rooms: [usize; 2],
    ) -> Option<usize> {
        let backlog = &self.backlogs[listener];
        if backlog.listeners == 0 || backlog.waiting.len() >= backlog.capacity {
            return None;
        }
        let [server, client] = self.new_pair(rooms, address, script);
        let backlog = &mut self.backlogs[listener];
        backlog.waiting.push_back(server);
        let registration = backlog.registration;
        self.announce(registration, Source::Backlog(listener));
        Some(client)
    }

    /// Resets the pending connections of the last listener.
    fn close_listener(&mut self, number: usize) {
        let backlog = &mut self.backlogs[number];
        assert!(backlog.registration.is_none(), "closed while registered");
        backlog.listeners -= 1;
        if backlog.listeners == 0 {
            let waiting = std::mem::take(&mut backlog.waiting);
            for endpoint in waiting {
                self.endpoints[endpoint].was_refused = true;
                self.send_reset(endpoint);
            }
        }
    }

    /// Number of connections that wait to be accepted, and arrived before `time`.
    pub(crate) fn waiting_since(&self, time: Nanos) -> usize {
        let waiting = self.backlogs.iter().flat_map(|backlog| &backlog.waiting);
        waiting.filter(|&&endpoint| self.endpoints[endpoint].opened < time).count()
    }
}
