//! Proxy options of the server.

use crate::cli::addresses::connect_address;
use crate::cli::values;
use crate::cli::variables::{Typed, refuse_stray};
use crate::error::Error;
use crate::server::ServerConfig;
use crate::service::{ConnectOptions, Upstreams};
use crate::socket::{Endpoint, ProxyVersion, TlsClientOptions, TlsConnector, raise_descriptor_limit};
use crate::units::parse_duration;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Upstreams that the line about a listener names. Further ones are counted.
const NAMED_UPSTREAMS: usize = 3;

/// Descriptors that are left for everything but connections when half of the others are reserved for upstreams.
const OTHER_DESCRIPTORS: u64 = 64;

/// Proxy options.
#[derive(Debug, Clone, Args)]
pub(super) struct ProxyOptions {
    #[command(flatten)]
    typed: Typed,
    /// Forward every connection to this server; may be repeated: connections go to the upstreams in turn. One that
    /// cannot be connected to is left out for 1 second, then 2, 4 and so on up to 30.
    #[arg(long, value_name = "HOST:PORT", value_parser = connect_address, help_heading = "Proxy",
        conflicts_with_all = ["service", "frame", "answer", "local", "reply_delay", "udp"])]
    upstream: Vec<Endpoint>,
    /// Use TLS 1.2 or 1.3 to the upstreams.
    #[arg(long, help_heading = "Proxy")]
    upstream_tls: bool,
    /// Trust the CA or server certificates in FILE (PEM) for upstreams instead of the system's CAs.
    #[arg(long, value_name = "FILE", help_heading = "Proxy")]
    upstream_tls_ca: Option<PathBuf>,
    /// Do not verify the certificates of upstreams.
    #[arg(long, conflicts_with = "upstream_tls_ca", help_heading = "Proxy")]
    upstream_tls_insecure: bool,
    /// Name that the certificate of every upstream must match. Default: its HOST.
    #[arg(long, value_name = "NAME", help_heading = "Proxy")]
    upstream_server_name: Option<String>,
    /// Send the address of the client to the upstreams in a PROXY protocol header of this version.
    #[arg(long, value_name = "v1|v2", value_parser = values::proxy_version, help_heading = "Proxy")]
    send_proxy: Option<ProxyVersion>,
    /// Give up a connect to an upstream after this long, and try the next one. The TLS handshake may take as long again.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, help_heading = "Proxy")]
    connect_timeout: Duration,
}

impl ProxyOptions {
    /// What the server does, in place of the name of a service; none without upstreams.
    pub(super) fn name(&self) -> Option<String> {
        let mut parts: Vec<_> = self.upstream.iter().take(NAMED_UPSTREAMS).map(ToString::to_string).collect();
        if let Some(more @ 1..) = self.upstream.len().checked_sub(NAMED_UPSTREAMS) {
            parts.push(format!("{more} more"));
        }
        (!parts.is_empty()).then(|| format!("proxy to {}", parts.join(", ")))
    }

    /// Makes the upstreams with the limits and socket options of `config`, which gets a limit for connections to them.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] and [`Error::Config`] for invalid options; [`Error::File`] for a file that cannot be used.
    pub(super) fn upstreams(&self, config: &mut ServerConfig) -> Result<Option<Arc<Upstreams>>, Error> {
        if self.upstream.is_empty() {
            return self.without_upstream().map(|()| None);
        }
        if !self.upstream_tls {
            let options = ["--upstream-tls-ca", "--upstream-tls-insecure", "--upstream-server-name"];
            refuse_stray(self.typed.first_of(options), "TLS", "--upstream-tls")?;
        }
        if self.connect_timeout.is_zero() {
            return Err(Error::Usage(
                "--connect-timeout 0 leaves no time to connect; give more, such as 5s".to_owned(),
            ));
        }
        config.sending = "Sending";
        let others = |limit: u64| OTHER_DESCRIPTORS.min(limit / 2);
        let half = || raise_descriptor_limit().map(|limit| (limit.soft - others(limit.soft)) / 2);
        config.max_outgoing = config.max_connections.or_else(|| half().and_then(|half| half.try_into().ok()));
        let options = self.upstream.iter().map(|endpoint| self.connect_options(endpoint, config));
        let upstreams = Upstreams::new(options.collect::<Result<Vec<_>, _>>()?);
        let upstreams = match self.send_proxy {
            Some(version) => upstreams.with_proxy_header(version),
            None => upstreams,
        };
        let upstreams = Arc::new(upstreams);
        config.upstreams = Some(Arc::clone(&upstreams));
        Ok(Some(upstreams))
    }

    fn without_upstream(&self) -> Result<(), Error> {
        let options = [
            "--upstream-tls",
            "--upstream-tls-ca",
            "--upstream-tls-insecure",
            "--upstream-server-name",
            "--send-proxy",
            "--connect-timeout",
        ];
        refuse_stray(self.typed.first_of(options), "an upstream", "--upstream HOST:PORT")
    }

    fn connect_options(&self, endpoint: &Endpoint, config: &ServerConfig) -> Result<ConnectOptions, Error> {
        endpoint.resolve_literal().transpose()?;
        let mut options = ConnectOptions::to(endpoint.clone());
        options.limits = config.limits.clone();
        options.limits.first_byte = None;
        options.socket = config.socket.clone();
        options.connect_timeout = self.connect_timeout;
        options.limits.handshake = Some(self.connect_timeout);
        if self.upstream_tls {
            options.tls = Some(self.tls_connector(endpoint)?);
        }
        Ok(options)
    }

    fn tls_connector(&self, endpoint: &Endpoint) -> Result<TlsConnector, Error> {
        let host = match endpoint {
            Endpoint::Tcp { host, .. } => host,
            // A server at the path of a Unix socket has no other name.
            Endpoint::Unix(_) => "localhost",
        };
        let mut options = TlsClientOptions::new(self.upstream_server_name.as_deref().unwrap_or(host));
        options.ca.clone_from(&self.upstream_tls_ca);
        options.insecure = self.upstream_tls_insecure;
        TlsConnector::new(&options).map_err(|error| match error {
            Error::Config { problem, .. } => Error::Usage(format!("{problem} (--upstream-server-name)")),
            error => error,
        })
    }
}
