//! Command line options of the client, one group per heading of `--help`.

use super::live::LiveOptions;
use super::load::LoadOptions;
use super::message_options::ContentOptions;
use super::search_options::SearchOptions;
use super::shards::ShardOptions;
use super::udp::ClientUdpOptions;
use crate::cli::addresses::{check_target, connect_address, in_order, invalid, take_address, unexpected};
use crate::cli::logging::LogOptions;
use crate::cli::progress::View;
use crate::cli::results::ReportOptions;
use crate::cli::socket::StreamOptions;
use crate::cli::tls::ClientTls;
use crate::cli::variables::Typed;
use crate::cli::{LONG_VERSION, output, values};
use crate::client::{ClientConfig, Expect, LoadConfig, RateSearch};
use crate::error::Error;
use crate::results::{Configuration, TimestampSource};
use crate::socket::{Endpoint, ProxyVersion, SourceAddresses};
use crate::units::{parse_duration, parse_rate};
use clap::builder::ArgPredicate;
use clap::{Args, Parser, ValueEnum};
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Descriptors of an embedded server besides one per connection.
const SERVER_DESCRIPTORS: usize = 64;

/// Open connections to an echo server, send messages, and verify every byte that comes back.
#[derive(Debug, Parser)]
#[command(name = "multiconn-client", version, long_version = LONG_VERSION, max_term_width = 100)]
#[command(override_usage = "multiconn-client [OPTIONS] <HOST> <PORT> [NUM_CONNECTIONS]\n       \
                            multiconn-client [OPTIONS] <HOST:PORT|unix:PATH> [NUM_CONNECTIONS]\n       \
                            multiconn-client [OPTIONS] <HOST> <PORT> <ACTION> <VALUE>\n       \
                            multiconn-client [OPTIONS] --target <HOST:PORT>... [-c <N>]\n       \
                            multiconn-client [OPTIONS] --embedded")]
#[command(after_long_help = "Examples:\n  multiconn-client 127.0.0.1 65432 2\n  \
                        multiconn-client --embedded -c 1000      with a server in the same process\n  \
                        multiconn-client 127.0.0.1 65432 10000 --hold 5s\n  \
                        multiconn-client 127.0.0.1 65432 1000 --duration 10s --rate 50k\n  \
                        multiconn-client 127.0.0.1 65432 64 --find-max 'p99<1ms' --rate 10k..200k\n  \
                        multiconn-client --udp 127.0.0.1 65432 10 --duration 10s --rate 1k\n  \
                        multiconn-client 127.0.0.1 65432 search ring     same as --search ring; needs --service search\n  \
                        multiconn-client 127.0.0.1 65432 --stdin           interactive\n  \
                        multiconn-client 127.0.0.1 65432 --frame lines --expect any --message hello -v\n\n\
                        Exit status:\n  0    success\n  \
                        1    something failed, nothing was measured, or --find-max found no rate that holds\n  2    invalid command line\n  \
                        3    a threshold of --fail-if or --stop-if was crossed, or one of --fail-if could not be evaluated\n  \
                        130  a signal ended the run; the report so far is printed, and result files are written")]
pub(super) struct Options {
    #[command(flatten)]
    typed: Typed,
    #[command(flatten)]
    pub(super) target: TargetOptions,
    #[command(flatten)]
    pub(super) content: ContentOptions,
    #[command(flatten)]
    pub(super) amount: AmountOptions,
    #[command(flatten)]
    pub(super) load: LoadOptions,
    #[command(flatten)]
    search: SearchOptions,
    #[command(flatten)]
    pub(super) connecting: ConnectOptions,

    /// Number of event loops, each on its own thread.
    #[arg(short = 't', long, value_name = "N", default_value = "1", value_parser = values::count, allow_negative_numbers = true, help_heading = "Workers")]
    workers: usize,
    /// Busy-poll this long before each sleep, for lower latency at the cost of a whole CPU per loop.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration,
        help_heading = "Workers")]
    spin: Duration,
    /// Make the kernel poll the network card this long before each sleep (EPIOCSPARAMS, Linux 6.9). No effect on the
    /// loopback interface.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration,
        help_heading = "Workers")]
    busy_poll: Duration,
    /// Take the arrival of replies from the kernel's receive timestamps, which the client's own delays do not affect, or
    /// from its clock after each read. The kernel has timestamps for TCP without TLS and for UDP, on Linux.
    #[arg(long, value_name = "kernel|user", value_enum, default_value_t = TimestampsName::Kernel,
        hide_possible_values = true, help_heading = "Workers")]
    timestamps: TimestampsName,

    #[command(flatten)]
    shards: ShardOptions,
    #[command(flatten)]
    pub(super) datagrams: ClientUdpOptions,
    #[command(flatten)]
    pub(super) tls: ClientTls,

    #[command(flatten)]
    pub(super) report: ReportOptions,
    #[command(flatten)]
    pub(super) live: LiveOptions,
    /// Show no progress bar, and no line per second of a load. On a terminal both are shown; with -v, or with
    /// TERM=dumb, only the lines.
    #[arg(long, help_heading = "Report")]
    no_progress: bool,
    #[command(flatten)]
    pub(super) log: LogOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TimestampsName {
    Kernel,
    User,
}

/// Target options.
#[derive(Debug, Args)]
pub(super) struct TargetOptions {
    /// Address or name to connect to; all addresses of a name are tried. HOST:PORT, [ADDRESS]:PORT, tcp://HOST:PORT or
    /// unix:PATH replace HOST and PORT.
    #[arg(index = 1, conflicts_with_all = ["unix", "embedded"])]
    host: Option<String>,
    /// Port to connect to.
    #[arg(index = 2, allow_negative_numbers = true)]
    port: Option<String>,
    /// Number of connections, same as -c. Alternatively two words, ACTION VALUE, form a request of the message
    /// protocol, as in the tutorial's client: `search morpheus` is --search morpheus, `binary x` is --binary x, and any
    /// other action is sent as JSON.
    #[arg(index = 3, value_name = "NUM_CONNECTIONS", allow_negative_numbers = true)]
    words: Vec<String>,
    #[arg(skip)]
    address: Option<Endpoint>,
    /// Add a target; may be repeated. Connections go to all targets in turn, and HOST PORT may be omitted.
    #[arg(long, value_name = "HOST:PORT", value_parser = connect_address, conflicts_with_all = ["unix", "embedded"],
        help_heading = "Target")]
    target: Vec<Endpoint>,
    /// Connect to the Unix socket at PATH.
    #[arg(long, value_name = "PATH", conflicts_with = "embedded", help_heading = "Target")]
    unix: Option<PathBuf>,
    /// Connect from the addresses of this range, in turn; may be repeated. Each address has its own range of ports.
    /// Default: chosen by the system.
    #[arg(long, value_name = "CIDR", value_parser = values::range, conflicts_with = "unix", help_heading = "Target")]
    source: Vec<IpNet>,
    /// Start a server in this process, on a free loopback port, and connect to it.
    #[arg(long, help_heading = "Target")]
    pub(super) embedded: bool,
}

impl TargetOptions {
    /// All targets: Unix socket, address, and --target.
    pub(super) fn targets(&self) -> Vec<Endpoint> {
        let unix = self.unix.iter().map(Endpoint::unix);
        unix.chain(self.address.clone()).chain(self.target.iter().cloned()).collect()
    }

    /// Takes the address from the positional arguments, and returns the arguments after it.
    fn take_address(&mut self, typed: &Typed) -> Result<Vec<String>, Error> {
        let words = in_order(self.host.as_deref(), self.port.as_deref(), &self.words, typed)?;
        if let [number] = &words[..]
            && values::is_number(number)
        {
            return Err(Error::Usage(format!(
                "{number:?} is not HOST:PORT; give an address such as 127.0.0.1:65432, or -c {number} for the number of \
                 connections"
            )));
        }
        let (address, rest) = take_address(&words, None)?;
        let rest = rest.to_vec();
        if let Some(address) = &address {
            check_target(address).map_err(Error::Usage)?;
        } else if self.unix.is_none() && !self.embedded && self.target.is_empty() {
            let text = "<HOST> <PORT> is missing; give an address such as 127.0.0.1 65432, or --embedded; see --help";
            return Err(Error::Usage(text.to_owned()));
        }
        self.address = address;
        Ok(rest)
    }
}

/// Number of connections and messages.
#[derive(Debug, Args)]
pub(super) struct AmountOptions {
    #[arg(skip)]
    num_connections: Option<usize>,
    /// Number of connections (default: 1). All stay open until each has finished its exchange or failed. With --frame
    /// end and with --reconnect-every each closes on its own.
    #[arg(short, long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, help_heading = "Amount")]
    connections: Option<usize>,
    /// Messages sent per connection. Default: each message once. With 0 a connection only reads, until the server
    /// closes it or --duration or --hold ends.
    #[arg(long, value_name = "N", value_parser = values::messages, allow_negative_numbers = true, help_heading = "Amount")]
    messages: Option<usize>,
    /// Maximum unanswered messages per connection. Default: all, or 1 in a closed loop with --duration and with --frame
    /// http. No effect with --expect none, where no message counts as unanswered.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, help_heading = "Amount")]
    pipeline: Option<usize>,
    /// Keep all connections open this long: with --duration after the load ends, otherwise after all are open. A
    /// connection that the server closes earlier counts as failed.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration,
        help_heading = "Amount")]
    hold: Option<Duration>,
}

impl AmountOptions {
    pub(super) fn connections(&self) -> usize {
        self.num_connections.or(self.connections).unwrap_or(1)
    }

    /// Takes NUM_CONNECTIONS from the arguments after the address.
    fn take_count(&mut self, words: &[String], typed: &Typed) -> Result<(), Error> {
        let count = match words {
            [] => return Ok(()),
            [word] if !looks_like_count(word) => {
                let text = format!(
                    "{word:?} is neither NUM_CONNECTIONS, such as 1000, nor ACTION VALUE, such as search morpheus"
                );
                return Err(Error::Usage(text));
            }
            [count] => count,
            [_, word, ..] => return Err(unexpected(word)),
        };
        if typed.first_of(["--connections"]).is_some() {
            let text = format!("NUM_CONNECTIONS {count:?} and --connections are the same; give one of them");
            return Err(Error::Usage(text));
        }
        self.num_connections = Some(values::count(count).map_err(|error| invalid("NUM_CONNECTIONS", &error))?);
        Ok(())
    }

    fn apply(&self, config: &mut ClientConfig) {
        config.connections = self.connections();
        config.messages_per_connection = self.messages.filter(|count| *count > 0).map(|count| count as u64);
        config.pipeline = self.pipeline.map(|count| count as u64);
        config.hold = self.hold;
        if self.messages == Some(0) {
            config.expect = Expect::ReadOnly;
        }
    }
}

/// Options that the positional arguments replace: NUM_CONNECTIONS after the address replaces --connections.
pub(super) fn replaced_by_arguments(arguments: &[String]) -> &'static [&'static str] {
    let count = match arguments {
        [host, _, count] if Endpoint::is_host(host) => count,
        [address, count] if !Endpoint::is_host(address) => count,
        _ => return &[],
    };
    if looks_like_count(count) { &["connections"] } else { &[] }
}

/// Whether an argument after the address is meant as NUM_CONNECTIONS, valid or not, rather than as an ACTION.
fn looks_like_count(word: &str) -> bool {
    word.is_empty() || word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first))
}

/// Connect options.
#[derive(Debug, Args)]
pub(super) struct ConnectOptions {
    /// Give up connecting after this long.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Connecting")]
    connect_timeout: Duration,
    /// Give up a connection that is silent for this long. Silent means that no byte of a reply arrives after a message
    /// was sent, or that the server accepts no bytes; with --stdin, also after the end of the input.
    #[arg(long, value_name = "DURATION", default_value = "10s", default_value_if("udp", ArgPredicate::IsPresent, "1s"),
        value_parser = parse_duration, help_heading = "Connecting")]
    reply_timeout: Duration,
    /// Retry a connect up to N times if it was refused, timed out, or found no free local port.
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::times, allow_negative_numbers = true, help_heading = "Connecting")]
    retries: u32,
    /// Wait about this long before the first retry; doubles with each retry, up to 30s.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_duration, help_heading = "Connecting")]
    retry_delay: Duration,
    /// Maximum number of connects in progress.
    #[arg(long, value_name = "N", default_value = "512", value_parser = values::count, allow_negative_numbers = true, help_heading = "Connecting")]
    max_connecting: usize,
    /// Start this many connects per second in total, evenly spaced, such as 5k; at most 100M. Default: as fast as
    /// --max-connecting allows.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, allow_negative_numbers = true, conflicts_with = "stdin",
        help_heading = "Connecting")]
    connect_rate: Option<f64>,
    /// Send a PROXY protocol header of this version as the first bytes of each connection, before TLS. It names the
    /// connection's own addresses; over a Unix socket it names none. Default: no header.
    #[arg(long, value_name = "v1|v2", value_parser = values::proxy_version, conflicts_with = "embedded",
        help_heading = "Connecting")]
    proxy_protocol: Option<ProxyVersion>,
    #[command(flatten, next_help_heading = "Connecting")]
    socket: StreamOptions,
}

impl ConnectOptions {
    fn apply(&self, config: &mut ClientConfig) {
        config.connect_timeout = self.connect_timeout;
        config.reply_timeout = self.reply_timeout;
        config.retries = self.retries;
        config.retry_delay = self.retry_delay;
        config.max_connecting = self.max_connecting;
        config.connect_rate = self.connect_rate;
        config.proxy_protocol = self.proxy_protocol;
        self.socket.apply(&mut config.socket);
    }
}

impl Options {
    /// Interprets the positional arguments: HOST PORT or an address in one argument, then NUM_CONNECTIONS or ACTION
    /// VALUE.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they are invalid, or contradict an option.
    pub(super) fn interpret_positionals(&mut self) -> Result<(), Error> {
        let rest = self.target.take_address(&self.typed)?;
        match &rest[..] {
            [action, _, word, ..] if !looks_like_count(action) => return Err(unexpected(word)),
            [action, value] if !looks_like_count(action) => self.content.take_request(action, value, &self.typed)?,
            _ => self.amount.take_count(&rest, &self.typed)?,
        }
        if self.content.stdin && !rest.is_empty() {
            let text = format!("NUM_CONNECTIONS {:?} cannot be used with --stdin, which opens one connection", rest[0]);
            return Err(Error::Usage(text));
        }
        Ok(())
    }

    /// The configuration as stored in result files: the positional arguments by their meaning, then the `options`.
    pub(super) fn settings(&self, options: &Configuration) -> Configuration {
        let mut settings = Configuration::default();
        if let Some(Endpoint::Tcp { host, port }) = &self.target.address {
            settings.set("host", host.as_str());
            settings.set("port", *port);
        }
        let path = |target: &Endpoint| match target {
            Endpoint::Unix(path) => Some(path.to_string_lossy().into_owned()),
            Endpoint::Tcp { .. } => None,
        };
        // Only a run that uses Unix sockets alone has this setting.
        if let Some(paths) = self.target.targets().iter().map(path).collect::<Option<Vec<_>>>()
            && !paths.is_empty()
        {
            settings.set("unix", paths.join(", "));
        }
        if let Some((action, value)) = self.content.request() {
            settings.set("action", action.as_str());
            settings.set("value", value.as_str());
        }
        if let Some(count) = self.amount.num_connections {
            settings.set("num-connections", count);
            settings.set("connections", count);
        }
        for (name, value) in options.iter() {
            if settings.get(name).is_none() {
                settings.set(name, value.clone());
            }
        }
        settings
    }

    /// The client's configuration for connections to `targets`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a message file that cannot be read.
    pub(super) fn config(&self, targets: Vec<Endpoint>) -> Result<ClientConfig, Error> {
        if self.content.stdin && targets.len() > 1 {
            let text = "--stdin connects to one server; give one --target, such as --target 127.0.0.1:65432 --stdin";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut config = ClientConfig::to_all(targets);
        config.udp = self.datagrams.udp_options();
        config.tls = self.tls.options(&config.targets)?;
        self.content.apply(&mut config)?;
        self.amount.apply(&mut config);
        config.load = self.load.load();
        if self.search.is_wanted() {
            // The bounds of the search.
            (config.load.rate, config.load.ramp_to) = (None, None);
        }
        self.connecting.apply(&mut config);
        self.shards.apply(&mut config);
        self.live.apply(&mut config);
        config.sources = SourceAddresses(self.target.source.clone());
        config.workers = self.workers;
        config.spin = self.spin;
        config.busy_poll = self.busy_poll;
        config.timestamps = match self.timestamps {
            TimestampsName::Kernel => TimestampSource::Kernel,
            TimestampsName::User => TimestampSource::User,
        };
        config.handle_signals = true;
        if self.target.embedded {
            let of_server = self.amount.connections().saturating_add(SERVER_DESCRIPTORS);
            config.other_descriptors = config.other_descriptors.saturating_add(of_server);
            // The embedded server is in this process; its certificate needs no verification.
            config.tls.iter_mut().for_each(|tls| tls.insecure = true);
        }
        Ok(config)
    }

    /// The search for the highest rate; none if none is requested.
    pub(super) fn search(&self) -> Result<Option<RateSearch>, Error> {
        self.search.search(self.load.rate())
    }

    /// The progress view of the run; none if nothing is to be shown.
    pub(super) fn view(&self, connections: usize, load: &LoadConfig) -> Option<View> {
        let view = View {
            started: Instant::now(),
            connections: connections as u64,
            warm_up: load.warm_up,
            time: load.duration.map(|duration| duration.saturating_add(load.warm_up)),
            seconds: load.rate.is_some() || load.duration.is_some() || self.search.is_wanted(),
            bar: !self.log.shows_progress() && !output::is_dumb_terminal(),
        };
        let is_allowed = !self.no_progress && !self.log.is_quiet() && (!view.bar || output::is_terminal());
        Some(view).filter(|view| is_allowed && (view.bar || view.seconds))
    }
}
