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
    /// Of each listener that is registered; those of one queue are in different loops.
    pub(super) registrations: Vec<Registration>,
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

/// A listening socket: the number of its queue, and its registration.
#[derive(Debug)]
pub(crate) struct SimulatedListener(usize, Option<Registration>);

impl SimulatedListener {
    pub(crate) fn bind(address: SocketAddr, capacity: usize) -> Self {
        let number = with(|kernel| {
            let (registrations, waiting) = (Vec::new(), VecDeque::new());
            kernel.backlogs.push(Backlog { registrations, waiting, capacity, listeners: 1, address });
            kernel.backlogs.len() - 1
        });
        Self(number, None)
    }

    pub(crate) fn accept(&self) -> io::Result<(SimulatedStream, SocketAddr)> {
        with(|kernel| kernel.accept(self.0))
    }

    /// Another listener of the same queue, as dup(2) makes.
    pub(crate) fn duplicate(&self) -> Self {
        Self::of_queue(self.0).expect("this one is open")
    }

    /// Another listener of the queue `number`, unless all are closed.
    pub(crate) fn of_queue(number: usize) -> Option<Self> {
        with(|kernel| {
            let backlog = &mut kernel.backlogs[number];
            let is_open = backlog.listeners > 0;
            backlog.listeners += usize::from(is_open);
            is_open.then(|| Self(number, None))
        })
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
        let registration = with(|kernel| {
            let registration = (kernel.current, token);
            kernel.backlogs[self.0].registrations.push(registration);
            kernel.announce(Some(registration), Source::Backlog(self.0));
            registration
        });
        self.1 = Some(registration);
        Ok(())
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.register(registry, token, interests)
    }

    fn deregister(&mut self, _registry: &Registry) -> io::Result<()> {
        if let Some(registration) = self.1.take() {
            with(|kernel| {
                kernel.backlogs[self.0].registrations.retain(|other| *other != registration);
                kernel.forget(registration, Source::Backlog(self.0));
            });
        }
        Ok(())
    }
}

impl Drop for SimulatedListener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        with(|kernel| kernel.close_listener(self.0, self.1));
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
        self.endpoints[endpoint].accepted_by = self.current;
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
        for registration in backlog.registrations.clone() {
            self.announce(Some(registration), Source::Backlog(listener));
        }
        Some(client)
    }

    /// Whether a listener of the queue is open.
    pub(crate) fn is_listening(&self, listener: usize) -> bool {
        self.backlogs[listener].listeners > 0
    }

    /// Resets the pending connections of the last listener.
    fn close_listener(&mut self, number: usize, registration: Option<Registration>) {
        let backlog = &mut self.backlogs[number];
        let is_registered = registration.is_some_and(|own| backlog.registrations.contains(&own));
        assert!(!is_registered, "closed while registered");
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
