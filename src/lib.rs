//! Event-loop server and load generator for TCP, TLS, UDP and Unix sockets, on one `mio` loop per thread.
//!
//! A server is a [`Service`] for each connection. This one answers in upper case:
//!
//! ```no_run
//! use multiconn::{Context, Endpoint, Error, Input, Output, Server, ServerConfig, Service, Wait};
//!
//! struct Upper;
//!
//! impl Service for Upper {
//!     fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
//!         let count = output.write(&input.bytes().to_ascii_uppercase());
//!         input.consume(count);
//!         if input.is_empty() { Wait::Input } else { Wait::Writable }
//!     }
//! }
//!
//! let server = Server::bind(ServerConfig::at(Endpoint::tcp("127.0.0.1", 65432)), |_| Upper)?;
//! println!("{}", server.run()?);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Public modules
//!
//! | module | begin with | purpose |
//! | --- | --- | --- |
//! | [`server`] | [`Server`], [`ServerConfig`] | listening, workers, limits, drain, handover |
//! | [`service`] | [`Service`], [`Framed`](service::Framed) | the application side of a connection or of a datagram; built-in services |
//! | [`codec`] | [`Framing`](codec::Framing), [`Decoder`](codec::Decoder) | bytes to frames and back |
//! | [`connection`] | [`Limits`], [`CloseReason`] | limits of a connection, and why it ended |
//! | [`socket`] | [`Endpoint`], [`SocketOptions`](socket::SocketOptions) | addresses, socket options, TLS files |
//! | [`client`] | [`Client`](client::Client), [`ClientConfig`](client::ClientConfig) | load generator |
//! | [`results`] | [`RunResults`](results::RunResults) | results of a run: reading, merging, comparison |
//! | [`testing`] | [`Simulation`](testing::Simulation) | tests of services in memory, with a simulated clock |
//! | [`error`] | [`Error`] | errors of a server or a client |
//! | [`units`] | [`parse_duration`](units::parse_duration) | quantities such as "64KiB", "10s", "5k/s" as text and back |
//!
//! `docs/library.md` is a guide. The examples `calculator`, `reverse`, `web`, `broker`, `proxy`, `chat` and
//! `file_transfer` are complete programs.
//!
//! # Cargo features
//!
//! | feature | adds |
//! | --- | --- |
//! | `cli` (default) | the programs multiconn-server, multiconn-client and multiconn-report, and all other features |
//! | `client` | the modules [`client`] and [`results`] |
//! | `http` | HTTP/1.1: the framing `codec::http` and the service `HttpService` |
//! | `metrics` | admin pages over HTTP, of the server and of the programs' client |
//! | `proxy-protocol` | the PROXY protocol in the server and the client |
//! | `systemd` | sockets from a service manager, and notifications to it |
//! | `tls` | TLS in the server and the client; needs a C compiler |
//!
//! Without features the crate is the server, the services and the codecs.
//!
//! # Design
//!
//! 1. **One service method.** [`Service::serve`] gets input, output and a [context](Context): the time, the peer, a
//!    [handle](service::Handle). It returns what it [waits](Wait) for: more input, output space, a wake, an instant, or
//!    the end of the connection.
//! 2. **Back-pressure is a full buffer.** A service that cannot write leaves its input in place. The input buffer
//!    fills, the connection stops reading, and TCP slows the peer down. There is no callback and no flag.
//! 3. **One ready queue.** A turn ends blocked, yielded or closed. A connection that yielded goes to the
//!    back of the queue, after a few consecutive turns at its front. Fairness and edge-triggered draining share this
//!    mechanism, and listeners are entries of the queue too.
//! 4. **One deadline per connection.** The timer wheel holds one entry per connection, which activity never touches.
//!    When the entry expires, it is armed again if the deadline has moved.
//! 5. **Buffers are lent.** A worker owns a few 64 KiB blocks; a connection borrows one for its turn. An idle
//!    connection owns no heap memory, and echo turns its input buffer into its output buffer instead of copying.
//!
//! # Source tree, in import order
//!
//! The data path is a circle, and the source tree follows it:
//!
//! ```text
//! socket -> input buffer -> service -> output buffer -> socket
//! ```
//!
//! The server and the client use the same data path. The server's service answers requests; the client's service sends
//! them and verifies the answers. Each group imports only modules above it; `tests/tidy` enforces that.
//!
//! | group | module | contents |
//! | --- | --- | --- |
//! | numbers | `units` | quantities such as "64KiB", "10s", "5k/s" as text and back |
//! | threads | `sync` | mutexes, atomics and channels: those of std, or of a model that tries all schedules |
//! | text | `python_repr` | Python notation for bytes, text, JSON and addresses |
//! | | `log_targets` | log targets of the lines that the tutorial's programs print, too |
//! | | `escape` | external text escaped for terminals, logs and reports; typed escapes decoded |
//! | | `counter` | single-writer counters, gauges, tallies and histograms |
//! | | `moment` | instants in half the space of an `Instant` |
//! | | `random` | pseudo-random numbers that equal seeds repeat |
//! | | `simulated_kernel` | poll, clock and sockets of simulations, in place of those of the system |
//! | | `panic_guard` | containment of panics in user code |
//! | | `error` | errors that an operator can act on; texts and backoff for system errors |
//! | pure: no socket, no clock, no thread | `buffer` | bounded byte queue, pool of shared blocks, memory account |
//! | | `codec` | framing: fixed size, delimiter, length prefix, messages with a JSON header, HTTP/1.1 |
//! | operating system | `socket` | addresses, options, listeners (opened or inherited), streams, TLS, UDP, file descriptors |
//! | pure; of `socket` they name data and a trait | `service` | the service trait, its context and handles, and one file per built-in service |
//! | | `connection` | connection state machine: phases, buffers, watermarks, half-close, lingering, deadlines |
//! | operating system | `event_loop` | poll, slab with generations, timer wheel, precise timers, ready queue, mailbox, signals |
//! | socket and connection | `pump` | read, serve, write, shut down; nothing else joins a socket to a connection |
//! | results of a run; pure as well | `results` | one mergeable type; files, validation, thresholds, comparison, text and HTML reports |
//! | programs | `server` | configuration, workers, acceptor, admission, drain, handover, counters, metrics, summary |
//! | | `client` | configuration, arrivals, dispatcher, connector, driver, TCP and UDP transports, checks of replies, metrics |
//! | command line | `cli`, `bin` | options of the three programs and their `main` functions |
//! | tests in memory | `testing` | a simulated loop and clock, peers on scripted sockets, splits of streams |
//!
//! `socket` and `event_loop` know neither each other nor services and connections; `server` and `client` never import each
//! other. Services, connections and the pump get the time as an argument, so a whole connection can be replayed in a
//! test. `docs/glossary.md` defines the terms.
//!
//! To read the source, begin with `pump`, then `connection`, then `server/worker.rs`.

#![cfg_attr(docsrs, feature(doc_cfg))]
// The programs use everything, so their build finds dead code. The library alone has some that only they need.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, rustdoc::broken_intra_doc_links))]

#[cfg(not(unix))]
compile_error!("multiconn runs on Unix systems only, such as Linux, macOS and FreeBSD");

mod buffer;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod codec;
pub mod connection;
mod counter;
pub mod error;
mod escape;
mod event_loop;
#[cfg(all(test, feature = "cli"))]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;
mod log_targets;
mod moment;
mod panic_guard;
mod pump;
mod python_repr;
mod random;
#[cfg(feature = "client")]
pub mod results;
pub mod server;
pub mod service;
#[cfg(multiconn_simulated)]
mod simulated_kernel;
pub mod socket;
mod sync;
pub mod testing;
pub mod units;

pub use connection::{CloseReason, Limits};
pub use error::Error;
pub use escape::is_unsafe;
pub use server::{Server, ServerConfig};
pub use service::{Context, Input, Output, Service, Wait};
pub use socket::Endpoint;

/// Compiles the Rust code of README.md and docs/library.md as doc tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/library.md")]
struct DocumentationTests;
