//! A multi-connection event-loop server and a load client on one small [`mio`] loop.
//!
//! One picture holds the whole program. Bytes go round a circle, and the source tree is that circle:
//!
//! ```text
//! socket -> input buffer -> service -> output buffer -> socket
//! ```
//!
//! The server and the client go round the same circle. The server's service answers; the client's service asks and
//! checks the answer.
//!
//! # The rooms, in import order
//!
//! Each group imports only what stands above it; `tests/tidy` sees to that.
//!
//! | group | room | what it holds |
//! | --- | --- | --- |
//! | numbers | `units` | "64KiB", "10s", "5k/s" to numbers and back |
//! | words | `python_repr` | bytes as Python shows them |
//! | | `escape` | external text made safe to show: terminals, logs, reports |
//! | | `counter` | numbers that one thread writes and any may read: counters, gauges, tallies, histograms |
//! | | `guard` | calls of code that may panic |
//! | | `error` | the few errors an operator can act on, and words for those of the system |
//! | pure: no socket, no clock, no thread | `buffer` | a bounded queue of bytes, and the lender of its storage |
//! | | `codec` | bytes to frames and back: fixed, delimited, length-prefixed, messages with a header |
//! | | `service` | the trait, and a file for each built-in service |
//! | | `connection` | one conversation: phases, buffers, watermarks, half-close, lingering, deadlines |
//! | touches the system | `socket` | addresses, options, listeners (opened or inherited), streams, TLS on them, datagrams, descriptors |
//! | | `event_loop` | poll, slab with generations, timer wheel, alarms, ready queue, mailbox, signals |
//! | joins them | `pump` | the circle itself: read, serve, write, shut; nothing else joins a socket to a connection |
//! | what a run left behind; pure, too | `results` | the file, its validity, thresholds, merging, comparing, the page |
//! | programs | `server` | configuration, workers, doors, drain, hand-over, counters, metrics, summary |
//! | | `client` | configuration, runner, dialler, schedule, pacer, workload, ledger, recorder, report, relay of a keyboard |
//! | faces | `cli`, `bin` | the command lines, and three `main`s of a line each |
//!
//! `socket` and `event_loop` know neither each other nor the pure middle; `server` and `client` never import each
//! other. Above `event_loop` time is an argument, so that a whole conversation can be replayed in a test.
//!
//! # Five ideas that keep the number of concepts small
//!
//! 1. **One service method.** [`Service::serve`](service::Service::serve) gets input, output and the time, and says
//!    what it [waits](service::Wait) for: more input, more room, an instant, or nothing ever again.
//! 2. **Back-pressure is a full buffer.** A service that cannot write leaves its input where it is; the input buffer
//!    fills, the connection no longer wants to read, and TCP tells the peer. No callback, no flag.
//! 3. **One ready queue.** A turn ends [blocked, yielded or closed](pump::Turn). Who yielded goes to the back of the
//!    queue, after a few turns in a row at its front. Fairness and edge-triggered draining are the same mechanism, and the listener is an entry of that queue,
//!    too.
//! 4. **One deadline per connection.** The wheel holds one entry for it, which activity never touches: it is looked at
//!    when it comes up, and put back if the deadline has moved.
//! 5. **Buffers are lent.** A worker owns a few 64 KiB blocks; a connection borrows one for its turn. An idle connection
//!    owns no heap at all, and echo hands its input buffer over as its output buffer instead of copying.
//!
//! # Where to begin
//!
//! To write a server: [`server::Server`] and [`service::Service`], and `examples/shout.rs`; `chat` and `file_transfer` beside
//! it are whole applications. To put load on one: [`client::Client`]; to work with what it measured: [`results::RunResults`].
//! To read the source: `pump`, then `connection`, then `server/worker.rs`.

pub mod buffer;
pub mod cli;
pub mod client;
pub mod codec;
pub mod connection;
pub mod counter;
pub mod error;
pub mod escape;
pub mod event_loop;
mod guard;
pub mod pump;
pub mod python_repr;
pub mod results;
pub mod server;
pub mod service;
pub mod socket;
pub mod units;
