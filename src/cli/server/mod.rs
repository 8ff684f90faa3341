//! `multiconn-server`: runs the server from its command line.

mod proxy;
mod services;
mod udp;

use crate::cli::addresses::{in_order, listen_address, take_address, unexpected};
use crate::cli::logging::LogOptions;
use crate::cli::socket::StreamOptions;
use crate::cli::tls::ServerTls;
use crate::cli::variables::{self, Program, Typed};
use crate::cli::{
    FAILURE, INTERRUPTED, LONG_VERSION, Parsed, SUCCESS, output, parse_with_variables, report_error, values,
    with_common_options,
};
use crate::error::Error;
use crate::server::{AtLimit, ChildProgram, Server, ServerConfig, catch_server_signals, limit_panic_reports};
use crate::service::{Context, Proxy, Service};
use crate::socket::{Endpoint, Inherited};
use crate::units::parse_duration;
use clap::{CommandFactory, Parser, ValueEnum};
use ipnet::IpNet;
use proxy::ProxyOptions;
use services::ServiceOptions;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use udp::ServerUdpOptions;

/// Properties of the server's options.
const PROGRAM: Program = Program {
    prefix: "MULTICONN_SERVER_",
    // The programs have different options.
    own: &["config"],
    overrides: &[],
    replaced: |_| &[],
    common: &[
        "host",
        "port",
        "unix",
        "udp",
        "tls_cert",
        "tls_key",
        "tls_self_signed",
        "service",
        "frame",
        "upstream",
        "workers",
        "max_connections",
        "idle_timeout",
        "drain_timeout",
        "metrics",
        "config",
        "verbose",
        "quiet",
    ],
    examples: &[],
};

/// Default listen address.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 65432;

/// Serve many connections at once; the default service is echo.
#[derive(Debug, Parser)]
#[command(name = "multiconn-server", version, long_version = LONG_VERSION, max_term_width = 100)]
#[command(override_usage = "multiconn-server [OPTIONS] [HOST] [PORT]\n       \
                            multiconn-server [OPTIONS] [HOST:PORT|unix:PATH]")]
#[command(after_long_help = "Examples:\n  multiconn-server 127.0.0.1 65432\n  multiconn-server \"\" 0      \
                        every interface, a free port\n  multiconn-server [::1]:65432\n  multiconn-server --unix m.sock\n  \
                        multiconn-server 127.0.0.1 8080 --upstream 10.0.0.1:80      a proxy\n\n\
                        Signals:\n  TERM, INT  stop accepting and drain; repeat to exit now\n  \
                        HUP        reload the TLS files\n  \
                        USR1       log the counters\n  \
                        USR2       hand the listening sockets over to a new process\n\n\
                        Exit status:\n  0    stopped by a signal, all connections finished\n  \
                        1    something failed\n  2    invalid command line\n  \
                        130  stopped by a second signal before all connections finished")]
struct Options {
    #[command(flatten)]
    typed: Typed,
    /// Address or name to listen on; "" for every interface. HOST:PORT, [ADDRESS]:PORT, tcp://HOST:PORT or unix:PATH
    /// replace HOST and PORT. Default: 127.0.0.1, unless --unix is given.
    #[arg(index = 1)]
    host: Option<String>,
    /// Port to listen on; 0 takes a free one. Default: 65432.
    #[arg(index = 2, allow_negative_numbers = true)]
    port: Option<String>,

    /// Listen on a Unix socket at PATH; may be repeated.
    #[arg(long, value_name = "PATH", help_heading = "Listening")]
    unix: Vec<PathBuf>,
    /// Length of the accept queue. The kernel limits it to net.core.somaxconn; the server warns if that is less.
    #[arg(long, value_name = "N", default_value = "4096", value_parser = values::count,
        help_heading = "Listening", allow_negative_numbers = true)]
    backlog: usize,

    /// Accept only peers in this address range; may be repeated. Bits after the prefix are ignored, and an IPv4-mapped
    /// range (::ffff:10.0.0.0/104) is the IPv4 range. Default: every peer.
    #[arg(long, value_name = "CIDR", value_parser = values::range, help_heading = "Listening")]
    allow: Vec<IpNet>,
    /// Require a PROXY protocol header, version 1 or 2, at the start of each connection, before TLS. The client that it
    /// names is the peer in the log, and for --allow and --max-per-address. Needs --proxy-from, except on Unix sockets.
    #[arg(long, help_heading = "Listening")]
    proxy_protocol: bool,
    /// Trust the headers of proxies in this address range, and refuse all other peers; may be repeated. Such as
    /// 127.0.0.1 or 10.0.0.0/8.
    #[arg(long, value_name = "CIDR", value_parser = values::range, help_heading = "Listening")]
    proxy_from: Vec<IpNet>,

    #[command(flatten)]
    service: ServiceOptions,
    #[command(flatten)]
    proxy: ProxyOptions,
    /// Number of event loops, each on its own thread. Each has its own listener on every address (SO_REUSEPORT), so `ss
    /// -ltn` shows one line per worker. Default: one per CPU.
    #[arg(long, value_name = "N", value_parser = values::count,
        allow_negative_numbers = true)]
    workers: Option<usize>,
    /// Busy-poll this long before each sleep, for lower latency at the cost of a whole CPU per loop.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration)]
    spin: Duration,
    /// Make the kernel poll the network card this long before each sleep (EPIOCSPARAMS, Linux 6.9). No effect on the
    /// loopback interface.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration)]
    busy_poll: Duration,

    /// Maximum open connections. Default: as many as the descriptor limit allows.
    #[arg(long, value_name = "N", value_parser = values::count,
        help_heading = "Limits", allow_negative_numbers = true)]
    max_connections: Option<usize>,
    /// Maximum open connections per address (IPv6: per /64).
    #[arg(long, value_name = "N", value_parser = values::count,
        help_heading = "Limits", allow_negative_numbers = true)]
    max_per_address: Option<usize>,
    /// At the connection limit, leave new connections in the backlog (wait) or close them at once (refuse).
    #[arg(long, value_name = "wait|refuse", value_enum, default_value_t = AtLimitName::Wait, hide_possible_values = true, help_heading = "Limits")]
    at_limit: AtLimitName,
    /// Maximum bytes buffered per connection and direction; for --service search, per message content.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::size, help_heading = "Limits")]
    buffer_limit: usize,
    /// Maximum memory for all connections, including buffers, pending replies and TLS; a connection that would exceed
    /// it is closed.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = values::size, help_heading = "Limits")]
    memory_limit: usize,
    /// Close a connection that is idle for this long; 0 disables the timeout. Idle means that no byte was transferred,
    /// and none acknowledged while output waits.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration, help_heading = "Limits")]
    idle_timeout: Duration,
    /// Close a connection that has neither received nor sent a byte this long after it opened; 0 disables the timeout.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration, help_heading = "Limits")]
    first_byte_timeout: Duration,
    /// Reset a connection whose peer acknowledges none of the waiting output for this long; 0 disables the timeout.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration, help_heading = "Limits")]
    write_timeout: Duration,
    /// Finish a connection this long after it opened, even if it is active; 0 disables the limit.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, help_heading = "Limits")]
    lifetime: Duration,
    /// On shutdown, let connections finish for this long.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, help_heading = "Limits")]
    drain_timeout: Duration,
    /// On SIGUSR2, wait this long for the new process to accept; then end it and continue to serve.
    #[arg(long = "hand-over-timeout", value_name = "DURATION", default_value = "30s", value_parser = parse_duration, help_heading = "Limits")]
    handover_timeout: Duration,

    #[command(flatten, next_help_heading = "Socket")]
    socket: StreamOptions,

    #[command(flatten)]
    tls: ServerTls,

    /// Serve /metrics, /healthz and /readyz over HTTP. The address can be a Unix socket (unix:PATH); /metrics has the
    /// OpenMetrics format. At most 16 clients are served at a time; one more replaces the client that has waited
    /// longest. Default: off.
    #[arg(long, value_name = "HOST:PORT", value_parser = listen_address,
        help_heading = "Logging")]
    metrics: Option<Endpoint>,
    #[command(flatten)]
    datagrams: ServerUdpOptions,
    #[command(flatten)]
    log: LogOptions,
    /// Check the options and the files they name, and exit without listening. Whether the addresses are free is not
    /// checked.
    #[arg(long, help_heading = None)]
    check: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AtLimitName {
    Wait,
    Refuse,
}

impl Options {
    /// The listen endpoints: Unix sockets first, then the address.
    fn endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        let only_unix = !self.unix.is_empty() && !self.datagrams.is_wanted();
        let host = self.host.as_deref().or((!only_unix).then_some(DEFAULT_HOST));
        let words = in_order(host, self.port.as_deref(), &[], &self.typed)?;
        let (address, rest) = take_address(&words, Some(DEFAULT_PORT))?;
        match rest.first() {
            Some(word) => Err(unexpected(word)),
            None => Ok(self.unix.iter().map(Endpoint::unix).chain(address).collect()),
        }
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        let mut config = ServerConfig::at(Endpoint::tcp("", 0));
        config.listen = self.endpoints()?;
        config.workers = self.workers.unwrap_or(config.workers);
        config.spin = self.spin;
        config.busy_poll = self.busy_poll;
        config.max_connections = self.max_connections;
        config.max_per_address = self.max_per_address;
        config.at_limit = match self.at_limit {
            AtLimitName::Wait => AtLimit::Wait,
            AtLimitName::Refuse => AtLimit::Refuse,
        };
        config.allow.clone_from(&self.allow);
        config.proxy_protocol = self.proxy_protocol;
        config.proxy_from.clone_from(&self.proxy_from);
        config.limits.buffer_bytes = self.service.buffer_bytes(self.buffer_limit);
        config.memory_limit = self.memory_limit;
        let unless_zero = |timeout: Duration| Some(timeout).filter(|timeout| !timeout.is_zero());
        config.limits.idle = unless_zero(self.idle_timeout);
        config.limits.first_byte = unless_zero(self.first_byte_timeout);
        config.limits.write = unless_zero(self.write_timeout);
        config.limits.lifetime = unless_zero(self.lifetime);
        config.drain_timeout = self.drain_timeout;
        config.handover_timeout = self.handover_timeout;
        config.socket.backlog = u32::try_from(self.backlog).unwrap_or(u32::MAX);
        self.socket.apply(&mut config.socket);
        config.metrics.clone_from(&self.metrics);
        config.dropped_log_lines = Some(output::dropped_log_lines);
        config.handle_signals = true;
        config.notify = true;
        config.sending = self.service.sending();
        config.tls = self.tls.options(&config.listen, self.proxy_protocol)?;
        config.limits.handshake = self.tls.handshake_timeout();
        Ok(config)
    }

    /// The first option given on the command line that has no effect on a server of datagrams only.
    fn for_connections(&self, config: &ServerConfig) -> Option<&'static str> {
        let usual = ServerConfig::at(Endpoint::tcp("", 0));
        let given = [
            ("--max-connections", self.max_connections.is_some()),
            ("--max-per-address", self.max_per_address.is_some()),
            ("--at-limit", matches!(self.at_limit, AtLimitName::Refuse)),
            ("--proxy-protocol", self.proxy_protocol),
            ("--backlog", config.socket.backlog != usual.socket.backlog),
            ("--buffer-limit", config.limits.buffer_bytes != usual.limits.buffer_bytes),
            ("--memory-limit", config.memory_limit != usual.memory_limit),
            ("--idle-timeout", config.limits.idle != usual.limits.idle),
            ("--first-byte-timeout", config.limits.first_byte != usual.limits.first_byte),
            ("--write-timeout", config.limits.write != usual.limits.write),
            ("--lifetime", config.limits.lifetime.is_some()),
            ("--no-delay", !config.socket.no_delay),
            ("--keepalive", config.socket.keepalive.is_some()),
        ];
        self.typed.first_of(given.into_iter().filter_map(|(option, is_given)| is_given.then_some(option)))
    }
}

/// The command line, for tests of the names of options.
#[cfg(test)]
pub(super) fn command() -> clap::Command {
    Options::command()
}

/// Makes the configuration of a parsed command line, for fuzzers.
#[cfg(test)]
pub(super) fn configure(matches: &clap::ArgMatches) -> Result<(), Error> {
    use clap::FromArgMatches;
    let options = Options::from_arg_matches(matches).map_err(|error| Error::Usage(error.to_string()))?;
    let mut config = options.config()?;
    options.service.check(options.buffer_limit)?;
    options.datagrams.check()?;
    options.proxy.upstreams(&mut config)?;
    let datagrams = config.datagrams.iter_mut().map(|datagrams| &mut datagrams.listen);
    for endpoint in config.listen.iter_mut().chain(&mut config.metrics).chain(datagrams) {
        // A name would be looked up in the network.
        if endpoint.resolve_literal().is_none() {
            *endpoint = Endpoint::tcp("127.0.0.1", endpoint.port().unwrap_or_default());
        }
    }
    config.validate()
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything that takes time. If this fails, the server reports it. The guard is never dropped: a signal while
    // the process exits must not change the exit status.
    let _signals = ManuallyDrop::new(catch_server_signals());
    super::first_process::reap_orphans();
    let Parsed { options, variables, .. }: Parsed<Options> = match parse_with_variables(&PROGRAM) {
        Ok(parsed) => parsed,
        Err(status) => return status.into(),
    };
    let _log = options.log.start_log();
    limit_panic_reports();
    variables::warn_of_unknown(&with_common_options(Options::command()), &PROGRAM);
    serve(&options).unwrap_or_else(|error| report_error(&error, &variables)).into()
}

/// Serves until a signal stops the server. Returns the exit status.
fn serve(options: &Options) -> Result<u8, Error> {
    let mut service = options.service.clone();
    let mut config = options.config()?;
    let buffer_limit = options.buffer_limit;
    service.check(buffer_limit)?;
    service.read_time_zone()?;
    options.datagrams.check()?;
    let for_connections = options.for_connections(&config);
    if options.datagrams.is_wanted() {
        service.check_datagrams()?;
        // The last endpoint is the address; those before it come from --unix.
        let listen = config.listen.pop().unwrap_or_else(|| Endpoint::tcp(DEFAULT_HOST, DEFAULT_PORT));
        config.datagrams = Some(options.datagrams.config(listen, service.name(), service.answer())?);
    }
    config.child_program = match ChildProgram::of_this_program() {
        Ok(child_program) => Some(child_program),
        Err(error) => {
            log::warn!("SIGUSR2 will not hand over: the program's own path is not known: {error}");
            None
        }
    };
    let upstreams = options.proxy.upstreams(&mut config)?;
    let make_service = |opened: &mut Context<'_>| -> Box<dyn Service> {
        match &upstreams {
            Some(upstreams) => Box::new(Proxy::new(opened, upstreams)),
            None => service.make(buffer_limit, opened.peer()),
        }
    };
    let name = options.proxy.name().unwrap_or_else(|| service.name().to_owned());
    if options.check {
        refuse_without_connections(for_connections, config.listen.is_empty())?;
        config.validate()?;
        let is_told = options.log.is_quiet() || output::print("the configuration is valid");
        return Ok(if is_told { SUCCESS } else { FAILURE });
    }
    let server = Server::inherit(config, Inherited::from_environment()?, make_service)?;
    refuse_without_connections(for_connections, server.addresses().is_empty())?;
    for address in server.addresses() {
        let transport = match (address.transport(), server.tls()) {
            ("tcp", Some(_)) => "tls".to_owned(),
            (transport, Some(_)) => format!("{transport} tls"),
            (transport, None) => transport.to_owned(),
        };
        output::print_line(format_args!("Listening on {address} ({transport}, {name})"));
    }
    if let Some(tls) = server.tls().filter(|tls| tls.is_self_signed()) {
        output::print(format_args!("Self-signed certificate, SHA-256 fingerprint {}", tls.fingerprint()));
    }
    for address in server.datagram_addresses() {
        output::print_line(format_args!("Listening on {address} (udp, {})", options.datagrams.service(service.name())));
    }
    for address in server.metrics_addresses() {
        output::print_line(format_args!("Listening on {address} ({}, metrics)", address.transport()));
    }
    let summary = server.run()?;
    let written = options.log.is_quiet() || output::print_report(&summary);
    Ok(match (summary.was_stopped(), written) {
        // A second signal cut off connections that the first one would have let finish.
        (true, _) => INTERRUPTED,
        (false, true) => SUCCESS,
        (false, false) => FAILURE,
    })
}

/// Rejects an option that has no effect on a server of datagrams only.
fn refuse_without_connections(option: Option<&str>, has_no_listener: bool) -> Result<(), Error> {
    option.filter(|_| has_no_listener).map_or(Ok(()), |option| {
        Err(Error::Usage(format!("{option} is for connections; give it without --udp, or with --unix m.sock")))
    })
}
