//! Testing of services in memory: a server on a simulated loop, with a simulated clock and scripted sockets.
//!
//! A [`Simulation`] makes a service for each [`Peer`] that connects, and runs it as a worker of a server does. The test
//! is the peer: it sends, stalls, ends or resets, and lets time pass. Nothing waits for real time, and a test takes the
//! same course every time. It fails when the loop finds a broken invariant, such as a buffer above its limit.
//!
//! All connections of a simulation share its loop, so services may use [`Handle`](crate::service::Handle)s of each
//! other. A service that opens connections is tested with both its peers: see [`Simulation::pending_connect`].
//!
//! ```
//! use multiconn::service::{Context, Input, Output, Service, Wait};
//! use multiconn::testing::Simulation;
//! use multiconn::{CloseReason, Limits};
//! use std::time::Duration;
//!
//! /// Repeats each line with its number.
//! #[derive(Default)]
//! struct Numbered(usize);
//!
//! impl Service for Numbered {
//!     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
//!         while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
//!             let line = String::from_utf8_lossy(&input.bytes()[..=end]);
//!             if !output.write_whole(format!("{}: {line}", self.0 + 1).as_bytes()) {
//!                 return Wait::Writable; // The line stays in the input, and is not counted yet.
//!             }
//!             self.0 += 1;
//!             input.consume(end + 1);
//!         }
//!         Wait::Input
//!     }
//! }
//!
//! // A conversation.
//! let server = Simulation::new(|_context| Numbered::default());
//! let mut peer = server.connect();
//! peer.send(b"one\ntw");
//! assert_eq!(peer.receive(), b"1: one\n");
//! peer.send(b"o\n");
//! assert_eq!(peer.receive(), b"2: two\n");
//!
//! // Back-pressure: the peer takes three more bytes, then the socket is full.
//! peer.stall_after(3);
//! peer.send(b"three\n");
//! assert_eq!(peer.receive(), b"3: ");
//! peer.resume();
//! assert_eq!(peer.receive(), b"three\n");
//!
//! // Time: the default idle timeout expires, and the linger time after it.
//! let mut silent = server.connect();
//! silent.send(b"one\n");
//! server.advance(Duration::from_secs(5 * 60));
//! assert!(silent.received_end());
//! server.advance(Limits::default().linger);
//! assert_eq!(silent.closed(), Some(CloseReason::Idle));
//!
//! // Every split of the stream, with small buffers and short writes, gives the same answer.
//! assert_eq!(server.assert_split_invariant(b"one\ntwo\n"), b"1: one\n2: two\n");
//! ```

mod schedule;
mod scripted_socket;
#[cfg(all(test, multiconn_simulated))]
mod session_check;
mod simulated_connection;
mod simulation;
mod split;
#[cfg(test)]
mod tests;

pub use simulation::{Peer, PendingConnect, Simulation};

#[cfg(test)]
pub(crate) use scripted_socket::{Event, ScriptedSocket, SimulatedSocket, SocketInput, SocketOutput};
#[cfg(all(test, multiconn_simulated))]
pub(crate) use session_check::{check_budget, check_session};
#[cfg(test)]
pub(crate) use simulated_connection::{ConnectionFacts, SimulatedConnection};
