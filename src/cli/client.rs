//! `multiconn-client`: the command line, the server of its own that `--embedded` brings, and the exit status.

use super::client_datagrams::{self, DatagramOptions};
use super::logging::Verbosity;
use super::progress::ProgressBar;
use super::tls::ClientTls;
use super::{FAILURE, INTERRUPTED, SUCCESS, Switch, output, parse, status_of, values};
use crate::client::{Client, ClientConfig, DatagramClientConfig, Report};
use crate::connection::Limits;
use crate::error::Error;
use crate::server::{Opened, Server, ServerConfig, ServerHandle, Summary};
use crate::service::search::Request;
use crate::service::{Echo, Search, Service};
use crate::socket::{Endpoint, Identity, TlsServerOptions};
use crate::units::parse_duration;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

/// The descriptors that an embedded server needs besides one per connection.
const SERVER_DESCRIPTORS: usize = 64;

/// Opens connections to an echo server, sends messages, and checks that every byte comes back.
#[derive(Debug, Parser)]
#[command(name = "multiconn-client", version, max_term_width = 100)]
#[command(override_usage = "multiconn-client [OPTIONS] <HOST> <PORT> [NUM_CONNECTIONS]\n       \
                            multiconn-client [OPTIONS] --unix <PATH>\n       \
                            multiconn-client [OPTIONS] --embedded")]
#[command(after_help = "Examples:\n  multiconn-client 127.0.0.1 65432 2\n  \
                        multiconn-client --embedded -c 1000      with a server of its own\n  \
                        multiconn-client 127.0.0.1 65432 10000 --hold 5s\n  \
                        multiconn-client 127.0.0.1 65432 --search ring   of a server with --service search\n\n\
                        Exit status: 0 all went as asked; 1 something failed; 2 the command line was wrong;\n\
                        130 interrupted (the report so far is printed)")]
struct Options {
    /// The address or name to connect to; all addresses of a name are tried.
    #[arg(required_unless_present_any = ["unix", "embedded"], conflicts_with_all = ["unix", "embedded"])]
    host: Option<String>,
    /// The port.
    #[arg(value_parser = values::target_port, allow_negative_numbers = true,
        required_unless_present_any = ["unix", "embedded"])]
    port: Option<u16>,
    /// How many connections to open; the same as -c. Default: 1.
    #[arg(value_parser = values::count, allow_negative_numbers = true, conflicts_with = "connections")]
    num_connections: Option<usize>,

    /// How many connections to open.
    #[arg(short, long, value_name = "N", value_parser = values::count, allow_negative_numbers = true,
        env = "MULTICONN_CONNECTIONS", help_heading = "How much")]
    connections: Option<usize>,
    /// Connect to the Unix socket at PATH.
    #[arg(long, value_name = "PATH", conflicts_with = "embedded", env = "MULTICONN_UNIX", help_heading = "Where")]
    unix: Option<PathBuf>,
    /// Start a server in this process, on a free loopback port, and connect to it.
    #[arg(long, env = "MULTICONN_EMBEDDED", value_parser = values::switch, help_heading = "Where")]
    embedded: bool,

    /// A message to send, instead of the two of the tutorial; may be repeated.
    #[arg(long, value_name = "TEXT", env = "MULTICONN_MESSAGE", help_heading = "What")]
    message: Vec<String>,
    /// Send messages of SIZE bytes instead.
    #[arg(long, value_name = "SIZE", value_parser = values::message_size, conflicts_with = "message", env = "MULTICONN_SIZE",
        help_heading = "What")]
    size: Option<usize>,
    /// Ask a server of the message protocol to search for VALUE, and print its answer; may be repeated.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "size", "udp"], allow_hyphen_values = true,
        env = "MULTICONN_SEARCH", help_heading = "What")]
    search: Vec<String>,
    /// Send it VALUE as a binary request, behind the word binary; may be repeated.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "size", "udp"], allow_hyphen_values = true,
        env = "MULTICONN_BINARY", help_heading = "What")]
    binary: Vec<String>,

    /// How many messages each connection sends. Default: each once.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true,
        env = "MULTICONN_MESSAGES", help_heading = "How much")]
    messages: Option<usize>,
    /// How many messages of a connection may be unanswered at a time. Default: all.
    #[arg(long, value_name = "N", value_parser = values::count, allow_negative_numbers = true,
        env = "MULTICONN_PIPELINE", help_heading = "How much")]
    pipeline: Option<usize>,
    /// When all connections were opened, keep them open for this long.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "MULTICONN_HOLD",
        help_heading = "How much")]
    hold: Option<Duration>,

    /// Give up a connect after this long.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration,
        env = "MULTICONN_CONNECT_TIMEOUT", help_heading = "Connecting")]
    connect_timeout: Duration,
    /// Give up a connection when a reply takes this long.
    #[arg(long, value_name = "DURATION", default_value = "10s", default_value_if("udp", "true", "1s"), value_parser = parse_duration,
        env = "MULTICONN_REPLY_TIMEOUT", help_heading = "Connecting")]
    reply_timeout: Duration,
    /// How many connects may be in progress at a time.
    #[arg(long, value_name = "N", default_value = "512", value_parser = values::count, allow_negative_numbers = true,
        env = "MULTICONN_MAX_CONNECTING", help_heading = "Connecting")]
    max_connecting: usize,
    /// Send small messages at once (TCP_NODELAY).
    #[arg(long, value_name = "on|off", value_enum, default_value_t = Switch::On, env = "MULTICONN_NO_DELAY",
        hide_possible_values = true, help_heading = "Connecting")]
    no_delay: Switch,

    /// How many event loops, each on a thread of its own.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count, allow_negative_numbers = true,
        env = "MULTICONN_WORKERS", help_heading = "Workers")]
    workers: usize,

    #[command(flatten)]
    datagrams: DatagramOptions,
    #[command(flatten)]
    tls: ClientTls,

    /// Show no progress bar.
    #[arg(long, env = "MULTICONN_NO_PROGRESS", value_parser = values::switch, help_heading = "Report")]
    no_progress: bool,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Options {
    fn connections(&self) -> usize {
        self.connections.or(self.num_connections).unwrap_or(1)
    }

    fn requests(&self) -> Vec<Request> {
        let searches = self.search.iter().cloned().map(Request::Search);
        searches.chain(self.binary.iter().map(|value| Request::binary(value))).collect()
    }

    fn config(&self, target: Endpoint) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::to(target);
        config.tls = self.tls.options(&config.target)?;
        config.connections = self.connections();
        if let Some(size) = self.size {
            config.messages = vec![pattern(size)];
        } else if !self.message.is_empty() {
            config.messages = self.message.iter().map(|text| text.clone().into_bytes()).collect();
        }
        config.requests = self.requests();
        config.messages_per_connection = self.messages.map(|count| count as u64);
        config.pipeline = self.pipeline.map(|count| count as u64);
        config.hold = self.hold;
        config.connect_timeout = self.connect_timeout;
        config.reply_timeout = self.reply_timeout;
        config.max_connecting = self.max_connecting;
        config.workers = self.workers;
        config.socket.no_delay = self.no_delay == Switch::On;
        config.handle_signals = true;
        if self.embedded {
            config.other_descriptors = self.connections().saturating_add(SERVER_DESCRIPTORS);
            // There is nobody else it could be.
            config.tls.iter_mut().for_each(|tls| tls.insecure = true);
        }
        Ok(config)
    }
}

impl Options {
    /// The work with datagrams.
    fn datagram_config(&self) -> DatagramClientConfig {
        let (host, port) = (self.host.clone().unwrap_or_default(), self.port.unwrap_or_default());
        let mut config = DatagramClientConfig::to(Endpoint::tcp(host, port));
        config.sockets = self.connections();
        config.size = self.size;
        if !self.message.is_empty() {
            config.messages = self.message.iter().map(|text| text.clone().into_bytes()).collect();
        }
        config.messages_per_socket = self.messages.map(|count| count as u64);
        config.pipeline = self.pipeline.map_or(config.pipeline, |count| count as u64);
        config.reply_timeout = self.reply_timeout;
        config.workers = self.workers;
        config.handle_signals = true;
        self.datagrams.apply(&mut config);
        config
    }

    fn shows_progress(&self) -> bool {
        !self.no_progress && !self.verbosity.speaks() && !self.verbosity.is_quiet()
    }
}

/// Bytes in which a lost, repeated or moved block shows: the numbers from 0 on, mixed by SplitMix64 (Steele, Lea and
/// Flood, OOPSLA 2014), which gives each a word of its own.
fn pattern(size: usize) -> Vec<u8> {
    let mix = |number: u64| {
        let word = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)).to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(size + 8);
    (0..size.div_ceil(8) as u64).for_each(|number| bytes.extend_from_slice(&mix(number)));
    bytes.truncate(size);
    bytes
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let options: Options = match parse() {
        Ok(options) => options,
        Err(status) => return status.into(),
    };
    options.verbosity.start_log();
    if options.datagrams.is_wanted() {
        let config = options.datagram_config();
        return client_datagrams::run(config, &options.verbosity, options.shows_progress()).into();
    }
    let status = match run(&options) {
        Ok(report) => {
            // With -q, no news is good news.
            let is_told = options.verbosity.is_quiet() && report.is_success() || output::say(&report);
            match (is_told, report.interrupted, report.is_success()) {
                (_, true, _) => INTERRUPTED,
                (true, _, true) => SUCCESS,
                _ => FAILURE,
            }
        }
        Err(error) => {
            output::complain(&error.to_string());
            status_of(&error)
        }
    };
    status.into()
}

fn run(options: &Options) -> Result<Report, Error> {
    if options.embedded {
        return run_embedded(options);
    }
    let target = match (&options.unix, &options.host, options.port) {
        (Some(path), ..) => Endpoint::unix(path),
        (None, Some(host), Some(port)) => Endpoint::tcp(host, port),
        _ => {
            return Err(Error::Usage(
                "give a host and a port such as 127.0.0.1 65432, --unix or --embedded".to_owned(),
            ));
        }
    };
    run_client(options, options.config(target)?)
}

fn run_client(options: &Options, config: ClientConfig) -> Result<Report, Error> {
    let connections = config.connections as u64;
    let client = Client::new(config)?;
    let bar = options.shows_progress().then(|| ProgressBar::start(client.progress(), connections));
    let report = client.run();
    drop(bar);
    report
}

/// The client's work against a server in the same process.
fn run_embedded(options: &Options) -> Result<Report, Error> {
    // First, whether it can be done at all: the server alone would complain of something nobody asked for.
    let _ = Client::new(options.config(Endpoint::tcp("127.0.0.1", 0))?)?;
    let with_tls = options.tls.is_wanted();
    let most_bytes = Limits::default().buffer_bytes;
    let server = if options.requests().is_empty() {
        EmbeddedServer::start(with_tls, "Echoing", most_bytes, |_| Echo)?
    } else {
        EmbeddedServer::start(with_tls, "Sending", Search::buffer_bytes(most_bytes), move |_| Search::new(most_bytes))?
    };
    let report = run_client(options, options.config(Endpoint::tcp("127.0.0.1", server.port))?);
    server.end()?;
    report
}

/// A server on a thread of this process.
struct EmbeddedServer {
    port: u16,
    handle: ServerHandle,
    thread: JoinHandle<Result<Summary, Error>>,
}

impl EmbeddedServer {
    fn start<S: Service>(
        with_tls: bool,
        sending: &'static str,
        buffer_bytes: usize,
        make_service: impl Fn(&Opened<'_>) -> S + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 1;
        config.sending = sending;
        config.limits.buffer_bytes = buffer_bytes;
        config.tls = with_tls.then(|| TlsServerOptions::new(Identity::SelfSigned { names: Vec::new() }));
        let server = Server::bind(config, make_service)?;
        let port = server.addresses().iter().find_map(|address| address.port()).unwrap_or_default();
        let handle = server.handle();
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || server.run());
        Ok(Self { port, handle, thread: thread.map_err(Error::system("start the server's thread"))? })
    }

    fn end(self) -> Result<(), Error> {
        self.handle.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::pattern;
    use std::collections::HashSet;

    #[test]
    fn no_block_of_the_pattern_stands_elsewhere() {
        let bytes = pattern(1 << 20);
        let blocks: HashSet<&[u8]> = bytes.windows(8).collect();
        assert_eq!(blocks.len(), bytes.len() - 7);
    }
}
