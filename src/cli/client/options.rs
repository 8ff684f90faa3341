//! The options, a group for each heading of `--help`.

use super::content::Content;
use super::datagrams::DatagramOptions;
use super::load::LoadOptions;
use crate::cli::logging::Verbosity;
use crate::cli::progress::View;
use crate::cli::results::Results;
use crate::cli::tls::ClientTls;
use crate::cli::{LONG_VERSION, Switch, values};
use crate::client::{ClientConfig, DatagramClientConfig, Load};
use crate::error::Error;
use crate::socket::{Endpoint, Sources};
use crate::units::{parse_duration, parse_rate};
use clap::builder::ArgPredicate;
use clap::{Args, Parser};
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// The descriptors that an embedded server needs besides one per connection.
const SERVER_DESCRIPTORS: usize = 64;

/// Opens connections to an echo server, sends messages, and checks that every byte comes back.
#[derive(Debug, Parser)]
#[command(name = "multiconn-client", version, long_version = LONG_VERSION, max_term_width = 100)]
#[command(override_usage = "multiconn-client [OPTIONS] <HOST> <PORT> [NUM_CONNECTIONS]\n       \
                            multiconn-client [OPTIONS] --target <HOST:PORT>... [-c <N>]\n       \
                            multiconn-client [OPTIONS] --unix <PATH>\n       \
                            multiconn-client [OPTIONS] --embedded")]
#[command(after_long_help = "Examples:\n  multiconn-client 127.0.0.1 65432 2\n  \
                        multiconn-client --embedded -c 1000      with a server of its own\n  \
                        multiconn-client 127.0.0.1 65432 10000 --hold 5s\n  \
                        multiconn-client 127.0.0.1 65432 1000 --duration 10s --rate 50k\n  \
                        multiconn-client --udp 127.0.0.1 65432 10 --duration 10s --rate 1k\n  \
                        multiconn-client 127.0.0.1 65432 --search ring   of a server with --service search\n  \
                        multiconn-client 127.0.0.1 65432 --stdin           talk to the server\n  \
                        multiconn-client 127.0.0.1 65432 --frame lines --expect any --message hello -v\n\n\
                        Exit status:\n  0    all went as asked\n  \
                        1    something failed, or nothing was measured\n  2    the command line was wrong\n  \
                        3    a threshold of --fail-if was crossed\n  \
                        130  a signal ended the run; the report so far is printed, and results are written")]
pub(super) struct Options {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) content: Content,
    #[command(flatten)]
    pub(super) amount: Amount,
    #[command(flatten)]
    pub(super) load: LoadOptions,
    #[command(flatten)]
    pub(super) connecting: Dialling,

    /// How many event loops, each on a thread of its own.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count, allow_negative_numbers = true, help_heading = "Workers")]
    workers: usize,
    /// Let each loop poll this long before it sleeps: quicker, for a whole CPU each.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration,
        help_heading = "Workers")]
    spin: Duration,

    #[command(flatten)]
    pub(super) datagrams: DatagramOptions,
    #[command(flatten)]
    pub(super) tls: ClientTls,

    #[command(flatten)]
    pub(super) results: Results,
    /// Show no progress bar, and no line for each second of a load. On a terminal there are both; with -v, only the lines.
    #[arg(long, help_heading = "Report")]
    no_progress: bool,
    #[command(flatten)]
    pub(super) verbosity: Verbosity,
}

/// Where to connect.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The address or name to connect to; all addresses of a name are tried.
    #[arg(value_parser = values::host, required_unless_present_any = ["unix", "embedded", "target"], conflicts_with_all = ["unix", "embedded"])]
    host: Option<String>,
    /// The port.
    #[arg(value_parser = values::target_port, allow_negative_numbers = true,
        required_unless_present_any = ["unix", "embedded", "target"])]
    port: Option<u16>,
    /// A further place to connect to, in turn with the others; may be repeated. HOST PORT may be left out then.
    #[arg(long, value_name = "HOST:PORT", value_parser = values::target, conflicts_with_all = ["unix", "embedded"], help_heading = "Where")]
    target: Vec<Endpoint>,
    /// Connect to the Unix socket at PATH.
    #[arg(long, value_name = "PATH", conflicts_with = "embedded", help_heading = "Where")]
    unix: Option<PathBuf>,
    /// Connect from the addresses of this range, in turn; may be repeated. Each has ports of its own. Default: the system
    /// chooses.
    #[arg(long, value_name = "CIDR", value_parser = values::range, conflicts_with_all = ["unix", "udp"], help_heading = "Where")]
    source: Vec<IpNet>,
    /// Start a server in this process, on a free loopback port, and connect to it.
    #[arg(long, help_heading = "Where")]
    pub(super) embedded: bool,
}

impl Place {
    /// The places that were named.
    pub(super) fn targets(&self) -> Result<Vec<Endpoint>, Error> {
        let first = match (&self.unix, &self.host, self.port) {
            (Some(path), ..) => Some(Endpoint::unix(path)),
            (None, Some(host), Some(port)) => Some(Endpoint::tcp(host, port)),
            (None, Some(host), None) => {
                return Err(Error::Usage(format!(
                    "HOST {host:?} stands without a PORT; give both such as 127.0.0.1 65432, or -c 10 for 10 connections"
                )));
            }
            _ => None,
        };
        Ok(first.into_iter().chain(self.target.iter().cloned()).collect())
    }
}

/// How much to do.
#[derive(Debug, Args)]
pub(super) struct Amount {
    /// How many connections to open; the same as -c. Default: 1.
    #[arg(value_parser = values::count, allow_negative_numbers = true, conflicts_with = "connections")]
    num_connections: Option<usize>,
    /// How many connections to open. All stay open until every one has finished its exchange or failed; with --frame end
    /// and with --reconnect-every each ends on its own.
    #[arg(short, long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, help_heading = "How much")]
    connections: Option<usize>,
    /// How many messages each connection sends. Default: each once.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, help_heading = "How much")]
    messages: Option<usize>,
    /// How many messages of a connection may be unanswered at a time. Default: all.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true, help_heading = "How much")]
    pipeline: Option<usize>,
    /// Keep all connections open for at least this long after the last one was opened. One that the server closes before
    /// has failed.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration,
        help_heading = "How much")]
    hold: Option<Duration>,
}

impl Amount {
    pub(super) fn connections(&self) -> usize {
        self.connections.or(self.num_connections).unwrap_or(1)
    }

    fn apply(&self, config: &mut ClientConfig) {
        config.connections = self.connections();
        config.messages_per_connection = self.messages.map(|count| count as u64);
        config.pipeline = self.pipeline.map(|count| count as u64);
        config.hold = self.hold;
    }
}

/// How to connect.
#[derive(Debug, Args)]
pub(super) struct Dialling {
    /// Give up a connect after this long.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Connecting")]
    connect_timeout: Duration,
    /// Give up a connection when a reply takes this long; with --stdin: when the server reads nothing for this long, or is
    /// silent for this long after the end of the input.
    #[arg(long, value_name = "DURATION", default_value = "10s", default_value_if("udp", ArgPredicate::IsPresent, "1s"),
        value_parser = parse_duration, help_heading = "Connecting")]
    reply_timeout: Duration,
    /// Try a connect that was refused or timed out again, up to N times.
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::times, allow_negative_numbers = true, help_heading = "Connecting")]
    retries: u32,
    /// Wait about this long before the first retry, and twice as long before each further one, 30s at most.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = parse_duration, help_heading = "Connecting")]
    retry_delay: Duration,
    /// How many connects may be in progress at a time.
    #[arg(long, value_name = "N", default_value = "512", value_parser = values::count, allow_negative_numbers = true, help_heading = "Connecting")]
    max_connecting: usize,
    /// Begin so many connects per second in all, evenly, such as 5k; 100M at most. Default: as soon as there is a place.
    #[arg(long, value_name = "RATE", value_parser = parse_rate, allow_negative_numbers = true, conflicts_with_all =
        ["stdin", "udp"], help_heading = "Connecting")]
    connect_rate: Option<f64>,
    /// Send small messages at once (TCP_NODELAY).
    #[arg(long, value_name = "on|off", value_enum, default_value_t = Switch::On,
        hide_possible_values = true, help_heading = "Connecting")]
    no_delay: Switch,
    /// Let the kernel probe a silent server after this long, in whole seconds (SO_KEEPALIVE). Default: never.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration,
        help_heading = "Connecting")]
    keepalive: Option<Duration>,
    /// The kernel's receive buffer of each connection (SO_RCVBUF). Default: the kernel tunes it.
    #[arg(long, value_name = "SIZE", value_parser = values::size,
        help_heading = "Connecting")]
    recv_buffer: Option<usize>,
    /// The kernel's send buffer of each connection (SO_SNDBUF). Default: the kernel tunes it.
    #[arg(long, value_name = "SIZE", value_parser = values::size,
        help_heading = "Connecting")]
    send_buffer: Option<usize>,
}

impl Dialling {
    fn apply(&self, config: &mut ClientConfig) {
        config.connect_timeout = self.connect_timeout;
        config.reply_timeout = self.reply_timeout;
        config.retries = self.retries;
        config.retry_delay = self.retry_delay;
        config.max_connecting = self.max_connecting;
        config.connect_rate = self.connect_rate;
        config.socket.keepalive = self.keepalive;
        config.socket.recv_buffer = self.recv_buffer;
        config.socket.send_buffer = self.send_buffer;
        config.socket.no_delay = self.no_delay == Switch::On;
    }
}

impl Options {
    /// What the options ask for, against `targets`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a file of messages that cannot be read.
    pub(super) fn config(&self, targets: Vec<Endpoint>) -> Result<ClientConfig, Error> {
        if self.content.stdin && targets.len() > 1 {
            let text = "--stdin talks to one server; give one --target, such as --target 127.0.0.1:65432 --stdin";
            return Err(Error::Usage(text.to_owned()));
        }
        let mut config = ClientConfig::to_all(targets);
        config.tls = self.tls.options(&config.targets)?;
        self.content.apply(&mut config)?;
        self.amount.apply(&mut config);
        config.load = self.load.load();
        self.connecting.apply(&mut config);
        config.sources = Sources(self.place.source.clone());
        config.workers = self.workers;
        config.spin = self.spin;
        config.handle_signals = true;
        if self.place.embedded {
            config.other_descriptors = self.amount.connections().saturating_add(SERVER_DESCRIPTORS);
            // There is nobody else it could be.
            config.tls.iter_mut().for_each(|tls| tls.insecure = true);
        }
        Ok(config)
    }

    /// The work with datagrams.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a file of messages that cannot be read.
    pub(super) fn datagram_config(&self) -> Result<DatagramClientConfig, Error> {
        let mut config = DatagramClientConfig::to_all(self.place.targets()?);
        self.content.apply_to_datagrams(&mut config)?;
        config.sockets = self.amount.connections();
        config.messages_per_socket = self.amount.messages.map(|count| count as u64);
        config.pipeline = self.amount.pipeline.map(|count| count as u64);
        config.load = self.load.load();
        config.reply_timeout = self.connecting.reply_timeout;
        config.socket.recv_buffer = self.connecting.recv_buffer;
        config.socket.send_buffer = self.connecting.send_buffer;
        config.workers = self.workers;
        config.spin = self.spin;
        config.handle_signals = true;
        self.datagrams.apply(&mut config);
        Ok(config)
    }

    /// What is shown of a run while it lasts, if anything is.
    pub(super) fn view(&self, connections: usize, load: &Load) -> Option<View> {
        let view = View {
            connections: connections as u64,
            time: load.duration.map(|duration| duration.saturating_add(load.warm_up)),
            seconds: load.rate.is_some() || load.duration.is_some(),
            bar: !self.verbosity.speaks(),
        };
        let is_allowed = !self.no_progress && !self.verbosity.is_quiet();
        Some(view).filter(|view| is_allowed && (view.bar || view.seconds))
    }
}
