//! Connects of the loops, and their errors.

use super::{Action, Kernel, Script, SimulatedStream, with};
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;

/// How many connects failed, by how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ConnectFaults {
    /// In the call, or when the socket was registered.
    pub(crate) at_once: u64,
    pub(crate) refused: u64,
    pub(crate) unanswered: u64,
}

/// What the loops connect to.
pub(crate) trait Destination {
    /// Room of the two receive buffers of the next connection: of the loop, and of the script.
    fn rooms(&mut self, kernel: &mut Kernel) -> [usize; 2];
    /// The script at the other end, which has this endpoint.
    fn script(&mut self, kernel: &mut Kernel, endpoint: usize) -> Box<dyn Script>;
}

impl SimulatedStream {
    /// Begins to connect.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        with(|kernel| kernel.begin_connect(address)).map(Self::new)
    }

    /// Whether the connect has completed.
    pub(crate) fn check_connect(&self) -> io::Result<bool> {
        with(|kernel| {
            let now = kernel.now;
            let endpoint = &mut kernel.endpoints[self.endpoint()];
            if let Some(error) = endpoint.error.take() {
                return Err(error.into());
            }
            if !endpoint.is_connecting {
                endpoint.connected = Some(now);
            }
            Ok(!endpoint.is_connecting)
        })
    }
}

impl Kernel {
    /// Lets the loops connect to `destination`.
    pub(crate) fn set_destination(&mut self, destination: Box<dyn Destination>) {
        self.destination = Some(destination);
    }

    /// Whether the connection of `number` is established.
    pub(crate) fn is_connected(&self, number: usize) -> bool {
        !self.other(number).is_connecting
    }

    fn begin_connect(&mut self, address: SocketAddr) -> io::Result<usize> {
        self.call(8, self.endpoints.len());
        if self.faults.descriptors.is_some_and(|limit| self.descriptors >= limit) {
            self.connect_faults.at_once += 1;
            return Err(Errno::MFILE.into());
        }
        let fault = if self.faults.connect_errors { self.rng.below(8) } else { u64::MAX };
        if fault == 0 {
            self.connect_faults.at_once += 1;
            return Err(self.rng.pick(&[Errno::NETUNREACH, Errno::ADDRNOTAVAIL, Errno::NOBUFS]).into());
        }
        let mut destination = self.destination.take().ok_or(Errno::CONNREFUSED)?;
        let (rooms, number) = (destination.rooms(self), self.scripts.len());
        let [own, other] = self.new_pair(rooms, address, number);
        self.endpoints[own].is_connecting = true;
        let script = destination.script(self, other);
        self.scripts.push(Some(script));
        self.destination = Some(destination);
        self.descriptors += 1;
        let delay = self.delay();
        match fault {
            1 => {
                self.connect_faults.refused += 1;
                self.schedule(self.now + delay, Action::Refuse(own));
            }
            // Nothing answers.
            2 => self.connect_faults.unanswered += 1,
            _ => self.schedule(self.now + delay, Action::Connect(own)),
        }
        Ok(own)
    }

    pub(super) fn complete_connect(&mut self, number: usize) {
        let endpoint = &mut self.endpoints[number];
        endpoint.is_connecting = false;
        let peer = endpoint.peer;
        self.news(number);
        self.news(peer);
    }

    pub(super) fn refuse_connect(&mut self, number: usize) {
        let endpoint = &mut self.endpoints[number];
        endpoint.is_connecting = false;
        endpoint.is_reset = true;
        endpoint.error = Some(Errno::CONNREFUSED);
        let peer = endpoint.peer;
        self.endpoints[peer].is_reset = true;
        self.news(number);
        self.news(peer);
    }
}
