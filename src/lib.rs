//! Event-loop server and load generator for TCP, TLS, UDP and Unix sockets, on one [`mio`] loop per thread.
//!
//! The data path is a circle, and the source tree follows it:
//!
//! ```text
//! socket -> input buffer -> service -> output buffer -> socket
//! ```
//!
//! The server and the client use the same data path. The server's service answers requests; the client's service sends
//! them and verifies the answers.
//!
//! # Modules, in import order
//!
//! Each group imports only modules above it; `tests/tidy` enforces that.
//!
//! | group | module | contents |
//! | --- | --- | --- |
//! | numbers | `units` | quantities such as "64KiB", "10s", "5k/s" as text and back |
//! | text | `python_repr` | Python notation for bytes, text, JSON and addresses |
//! | | `escape` | external text escaped for terminals, logs and reports; typed escapes decoded |
//! | | `counter` | single-writer counters, gauges, tallies and histograms |
//! | | `random` | pseudo-random numbers that equal seeds repeat |
//! | | `guard` | containment of panics in user code |
//! | | `error` | errors that an operator can act on; texts and backoff for system errors |
//! | pure: no socket, no clock, no thread | `buffer` | bounded byte queue, pool of shared blocks, memory account |
//! | | `codec` | framing: fixed size, delimiter, length prefix, messages with a JSON header |
//! | | `service` | the service trait, and one file per built-in service |
//! | | `connection` | connection state machine: phases, buffers, watermarks, half-close, lingering, deadlines |
//! | operating system | `socket` | addresses, options, listeners (opened or inherited), streams, TLS, UDP, file descriptors |
//! | | `event_loop` | poll, slab with generations, timer wheel, precise timers, ready queue, mailbox, signals |
//! | socket and connection | `pump` | read, serve, write, shut down; nothing else joins a socket to a connection |
//! | results of a run; pure as well | `results` | one mergeable type; files, validation, thresholds, comparison, text and HTML reports |
//! | programs | `server` | configuration, workers, acceptor, admission, drain, handover, counters, metrics, summary |
//! | | `client` | configuration, arrivals, connector, dispatcher, exchange, in flight, metrics, interactive mode |
//! | command line | `cli`, `bin` | options of the three programs and their `main` functions |
//!
//! `socket` and `event_loop` know neither each other nor the pure modules; `server` and `client` never import each
//! other. Services, connections and the pump get the time as an argument, so a whole connection can be replayed in a
//! test. `docs/glossary.md` defines the terms.
//!
//! # Design
//!
//! 1. **One service method.** [`Service::serve`](service::Service::serve) gets input, output and the time. It returns
//!    what it [waits](service::Wait) for: more input, output space, an instant, or the end of the connection.
//! 2. **Back-pressure is a full buffer.** A service that cannot write leaves its input in place. The input buffer
//!    fills, the connection stops reading, and TCP slows the peer down. There is no callback and no flag.
//! 3. **One ready queue.** A turn ends [blocked, yielded or closed](pump::Turn). A connection that yielded goes to the
//!    back of the queue, after a few consecutive turns at its front. Fairness and edge-triggered draining share this
//!    mechanism, and listeners are entries of the queue too.
//! 4. **One deadline per connection.** The timer wheel holds one entry per connection, which activity never touches.
//!    When the entry expires, it is armed again if the deadline has moved.
//! 5. **Buffers are lent.** A worker owns a few 64 KiB blocks; a connection borrows one for its turn. An idle
//!    connection owns no heap memory, and echo turns its input buffer into its output buffer instead of copying.
//!
//! # Where to begin
//!
//! To write a server: [`server::Server`], [`service::Service`] and `examples/shout.rs`; the examples `chat` and
//! `file_transfer` are complete applications. To generate load: [`client::Client`]. To process its results:
//! [`results::RunResults`]. To read the source: `pump`, then `connection`, then `server/worker.rs`.

// The programs use everything, so their build finds dead code. The library alone has some that only they need.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, rustdoc::broken_intra_doc_links))]

#[cfg(not(unix))]
compile_error!("multiconn runs on Unix systems only, such as Linux, macOS and FreeBSD");

pub mod buffer;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
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
mod random;
#[cfg(feature = "client")]
pub mod results;
pub mod server;
pub mod service;
pub mod socket;
pub mod units;

/// Compiles the Rust code of README.md and docs/library.md as doc tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct DocumentationTests;
