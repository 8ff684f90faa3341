//! The services by name, and how they are made.

use crate::cli::values;
use crate::codec::Framing;
use crate::error::Error;
use crate::event_loop::unix_time;
use crate::service::{
    Chargen, Delayed, Discard, Echo, Framed, NeverRead, Search, Service, Unframed, clock, daytime, greet, reverse,
    time, upper,
};
use crate::socket::Address;
use crate::units::parse_duration;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// What every connection is served with.
#[derive(Debug, Clone, Args)]
pub(super) struct ServiceOptions {
    /// What every connection is served with.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = ServiceName::Echo,
        help_heading = "Service")]
    service: ServiceName,
    /// How messages are told apart, for echo, reverse and upper: lines, crlf, delimiter:TEXT, fixed:N, a length before each
    /// (digits:N, u8, u16be, u16le, u32be, u32le, u64be, u64le, or with a type byte type+u32be), or end. Default: what has come
    /// is answered at once.
    #[arg(long, value_name = "KIND", value_parser = values::framing, help_heading = "Service")]
    frame: Option<Framing>,
    /// Answer this much later, to the microsecond.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, help_heading = "Service")]
    reply_delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServiceName {
    /// Sends everything back (RFC 862).
    Echo,
    /// Throws everything away (RFC 863).
    Discard,
    /// Sends lines without end (RFC 864).
    Chargen,
    /// Sends date and time in UTC, and closes (RFC 867).
    Daytime,
    /// Sends the seconds since 1900 as 32 bits, and closes (RFC 868).
    Time,
    /// Sends a greeting, and closes.
    Greet,
    /// Sends the time of day in UTC as HH:MM:SS, and closes.
    Clock,
    /// Sends each line, or each frame, backwards.
    Reverse,
    /// Sends everything back in upper case.
    Upper,
    /// Reads nothing.
    #[value(name = "never-read", alias = "stall")]
    NeverRead,
    /// Looks up what messages with a JSON header ask for.
    Search,
}

impl ServiceName {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
            Self::Daytime => "daytime",
            Self::Time => "time",
            Self::Greet => "greet",
            Self::Clock => "clock",
            Self::Reverse => "reverse",
            Self::Upper => "upper",
            Self::NeverRead => "never-read",
            Self::Search => "search",
        }
    }

    /// Whether it answers messages.
    fn has_messages(self) -> bool {
        matches!(self, Self::Echo | Self::Reverse | Self::Upper)
    }

    /// Whether it sends anything at all.
    fn speaks(self) -> bool {
        !matches!(self, Self::Discard | Self::NeverRead)
    }
}

impl ServiceOptions {
    pub(super) fn name(&self) -> &'static str {
        self.service.name()
    }

    /// What the log says when bytes go out.
    pub(super) fn sending(&self) -> &'static str {
        match self.service {
            ServiceName::Echo => "Echoing",
            _ => "Sending",
        }
    }

    /// What the buffers of a connection hold when the user says `limit`, which for messages is that of their contents.
    pub(super) fn buffer_bytes(&self, limit: usize) -> usize {
        if self.service == ServiceName::Search { Search::buffer_bytes(limit) } else { limit }
    }

    /// Whether the options go together.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they do not.
    pub(super) fn check(&self, buffer_limit: usize) -> Result<(), Error> {
        let name = self.name();
        if let Some(framing) = self.frame {
            if !self.service.has_messages() {
                return Err(Error::Usage(format!(
                    "--service {name} knows no messages; give --frame {framing} with echo, reverse or upper"
                )));
            }
            framing.check(buffer_limit).map_err(|error| Error::Usage(format!("{error}; see --buffer-limit")))?;
        }
        if !self.reply_delay.is_zero() && !self.service.speaks() {
            return Err(Error::Usage(format!(
                "--service {name} never answers; give --reply-delay with another one, such as echo"
            )));
        }
        Ok(())
    }

    /// Whether the options are such as datagrams can be served with: each of them is a message already, and answered at once.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they are not.
    pub(super) fn check_datagrams(&self) -> Result<(), Error> {
        let given = [("--frame", self.frame.is_some()), ("--reply-delay", !self.reply_delay.is_zero())];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::Usage(format!("{option} is for connections; give it without --udp"))),
            None => Ok(()),
        }
    }

    /// The service of one connection.
    pub(super) fn make(&self, buffer_limit: usize, peer: &Address) -> Box<dyn Service> {
        match self.service {
            ServiceName::Echo => match self.frame {
                Some(framing) => self.later(Framed::new(framing, buffer_limit, same)),
                None => self.later(Echo),
            },
            ServiceName::Discard => self.later(Discard),
            ServiceName::Chargen => self.later(Chargen::default()),
            ServiceName::Daytime => self.later(daytime(unix_time)),
            ServiceName::Time => self.later(time(unix_time)),
            ServiceName::Greet => self.later(greet()),
            ServiceName::Clock => self.later(clock(unix_time)),
            ServiceName::Reverse => self.answering(reverse, buffer_limit),
            ServiceName::Upper => self.answering(upper, buffer_limit),
            ServiceName::NeverRead => self.later(NeverRead),
            ServiceName::Search => self.later(Search::new(buffer_limit).logging(|| peer.in_python())),
        }
    }

    fn answering<R>(&self, respond: R, buffer_limit: usize) -> Box<dyn Service>
    where
        R: Fn(&[u8], &mut Vec<u8>) + 'static,
    {
        match self.frame {
            Some(framing) => self.later(Framed::new(framing, buffer_limit, respond)),
            None => self.later(Unframed::new(respond)),
        }
    }

    fn later<S: Service + 'static>(&self, service: S) -> Box<dyn Service> {
        if self.reply_delay.is_zero() { Box::new(service) } else { Box::new(Delayed::new(service, self.reply_delay)) }
    }
}

fn same(request: &[u8], reply: &mut Vec<u8>) {
    reply.extend_from_slice(request);
}
