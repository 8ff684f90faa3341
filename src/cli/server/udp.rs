//! UDP options of the server.

use crate::cli::udp::MulticastOptions;
use crate::cli::variables::Typed;
use crate::cli::variables::refuse_stray;
use crate::error::Error;
use crate::event_loop::unix_time;
use crate::server::{DatagramConfig, MakeResponder};
use crate::service::{
    ChargenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, FixedDatagram, ReverseDatagram, TimeDatagram,
    UpperDatagram,
};
use crate::socket::{Endpoint, MAX_DATAGRAM_BYTES};
use crate::units::{format_count, format_counted, parse_rate};
use clap::Args;
use std::net::IpAddr;
use std::sync::Arc;

/// UDP options of the server.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerUdpOptions {
    #[command(flatten)]
    typed: Typed,
    /// Serve UDP datagrams at HOST and PORT instead of connections.
    #[arg(long, help_heading = "Datagrams",
        conflicts_with_all = ["frame", "reply_delay"])]
    udp: bool,
    /// As --service answer --answer TEXT, for datagrams only and without escapes.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["service", "answer"],
        value_parser = datagram_answer, hide = true, help_heading = "Datagrams")]
    udp_answer: Option<Arc<[u8]>>,
    /// Maximum replies per second to one source address and port, per worker, such as 5k, or off. Default: 200k.
    #[arg(long, value_name = "RATE|off", value_parser = rate_limit,
        allow_negative_numbers = true, help_heading = "Datagrams")]
    udp_rate_limit: Option<RateLimitOption>,
    /// Allow replies larger than their requests, which forged requests can exploit for amplification. By default a
    /// reply is not sent if it has more bytes than its request, and more than 26.
    #[arg(long, help_heading = "Datagrams")]
    udp_allow_amplification: bool,
    /// Join this multicast group, such as 239.1.2.3; may be repeated.
    #[arg(long, value_name = "GROUP", value_parser = group,
        help_heading = "Datagrams")]
    multicast: Vec<IpAddr>,
    #[command(flatten)]
    options: MulticastOptions,
}

/// Replies per second to one source; none for no limit.
#[derive(Debug, Clone, Copy)]
struct RateLimitOption(Option<f64>);

impl ServerUdpOptions {
    /// The name of the service in the `Listening on` line.
    pub(super) fn service<'a>(&self, service: &'a str) -> &'a str {
        if self.udp_answer.is_some() { "answer" } else { service }
    }

    /// Whether --udp is given.
    pub(super) fn is_wanted(&self) -> bool {
        self.udp
    }

    /// Checks that no UDP option is given on the command line without --udp.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when one is.
    pub(super) fn check(&self) -> Result<(), Error> {
        let own = ["--udp-answer", "--udp-rate-limit", "--udp-allow-amplification", "--multicast"];
        let stray = || self.typed.first_of(own.into_iter().chain(MulticastOptions::NAMES));
        refuse_stray(if self.udp { None } else { stray() }, "datagrams", "--udp")
    }

    /// Configuration of the UDP socket at `listen`, with the service of this name, and the text that it answers.
    pub(super) fn config(
        &self,
        listen: Endpoint,
        service: &str,
        answer: Option<&Arc<[u8]>>,
    ) -> Result<DatagramConfig, Error> {
        let responder = responder(self.service(service), self.udp_answer.as_ref().or(answer))?;
        let mut config = DatagramConfig::at(listen, responder);
        config.longest_reply = self.udp_allow_amplification.then_some(MAX_DATAGRAM_BYTES);
        if let Some(RateLimitOption(rate)) = self.udp_rate_limit {
            config.rate_limit = rate;
        }
        if self.service(service) == "echo" {
            config.sending = "Echoing";
        }
        config.groups.clone_from(&self.multicast);
        config.multicast = self.options.multicast();
        Ok(config)
    }
}

fn datagram_answer(text: &str) -> Result<Arc<[u8]>, String> {
    check_text(text.as_bytes()).map(|()| text.as_bytes().into())
}

/// Checks that `text` fits a datagram; returns the problem.
pub(super) fn check_text(text: &[u8]) -> Result<(), String> {
    if text.len() <= MAX_DATAGRAM_BYTES {
        return Ok(());
    }
    Err(format!(
        "it is {} long, and a datagram holds {}; give a shorter one",
        format_counted(text.len() as u64, "byte"),
        format_count(MAX_DATAGRAM_BYTES as u64)
    ))
}

fn rate_limit(text: &str) -> Result<RateLimitOption, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(RateLimitOption(None));
    }
    parse_rate(text).map(|rate| RateLimitOption(Some(rate))).map_err(|error| format!("{error}, or off"))
}

fn group(text: &str) -> Result<IpAddr, String> {
    text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast).ok_or_else(|| {
        format!("{text:?} is no multicast group; give an address from 224.0.0.0/4 or ff00::/8, such as 239.1.2.3")
    })
}

/// The datagram service with this name; `answer` is the text of a fixed reply.
fn responder(service: &str, answer: Option<&Arc<[u8]>>) -> Result<MakeResponder, Error> {
    let text = answer.cloned().unwrap_or_default();
    Ok(match service {
        "answer" => MakeResponder::new(move || FixedDatagram(Arc::clone(&text))),
        "echo" => MakeResponder::new(|| EchoDatagram),
        "discard" => MakeResponder::new(|| DiscardDatagram),
        "chargen" => MakeResponder::new(ChargenDatagram::default),
        "daytime" => MakeResponder::new(|| DaytimeDatagram(unix_time)),
        "time" => MakeResponder::new(|| TimeDatagram(unix_time)),
        "upper" => MakeResponder::new(|| UpperDatagram),
        "reverse" => MakeResponder::new(|| ReverseDatagram),
        other => {
            return Err(Error::Usage(format!(
                "the service {other:?} needs connections; with --udp give echo, discard, chargen, daytime, time, upper, \
                 reverse or answer"
            )));
        }
    })
}
