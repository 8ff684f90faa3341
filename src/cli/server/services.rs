//! Service options of the server, and construction of services by name.

use super::udp::check_text;
use crate::cli::values::{self, Bytes};
use crate::codec::Framing;
use crate::error::Error;
use crate::event_loop::unix_time;
use crate::service::{
    Chargen, Delayed, Discard, Echo, Framed, NeverRead, OneShot, Replies, Respond, Search, Service, Unframed, clock,
    daytime, greet, reverse, time, upper,
};
use crate::socket::Address;
use crate::units::{format_count, format_counted, parse_duration};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Service options.
#[derive(Debug, Clone, Args)]
pub(super) struct ServiceOptions {
    /// Service for every connection.
    #[arg(long, value_name = "NAME", value_enum, default_value_t = ServiceName::Echo,
        help_heading = "Service")]
    service: ServiceName,
    /// Text that answer sends for each message, and that greet sends as its greeting. Escapes such as \r\n are decoded.
    #[arg(long, value_name = "TEXT", value_parser = escaped_text, allow_hyphen_values = true, help_heading = "Service")]
    answer: Option<Arc<[u8]>>,
    /// Send local time with clock, in the time zone of TZ or of the system.
    #[arg(long, help_heading = "Service")]
    local: bool,
    #[arg(skip)]
    time_zone: Option<TimeZone>,
    /// How messages are delimited for echo, reverse, upper and answer. One of: lines, crlf, delimiter:TEXT, fixed:N, a length
    /// prefix (digits:N, u8, u16be, u16le, u32be, u32le, u64be, u64le, or with a type byte type+u32be), or end.
    /// Default: no framing; bytes are answered as they arrive.
    #[arg(long, value_name = "KIND", value_parser = values::framing, help_heading = "Service")]
    frame: Option<Framing>,
    /// Delay each reply, with microsecond resolution.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, help_heading = "Service")]
    reply_delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServiceName {
    /// Sends all bytes back (RFC 862)
    Echo,
    /// Discards all bytes (RFC 863)
    Discard,
    /// Sends an endless sequence of lines (RFC 864)
    Chargen,
    /// Sends date and time in UTC, and closes (RFC 867)
    Daytime,
    /// Sends the seconds since 1900 as 32 bits, and closes (RFC 868)
    Time,
    /// Sends a greeting or the text of --answer, and closes
    Greet,
    /// Sends the time of day as HH:MM:SS, in UTC unless --local is given, and closes
    Clock,
    /// Sends each line, or each frame, reversed
    Reverse,
    /// Sends all bytes back in upper case
    Upper,
    /// Sends the text of --answer for each line, or for each frame
    Answer,
    /// Never reads
    #[value(name = "never-read", alias = "stall")]
    NeverRead,
    /// Answers search requests with a JSON header
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
            Self::Answer => "answer",
            Self::NeverRead => "never-read",
            Self::Search => "search",
        }
    }

    /// Whether the service answers messages, and so supports framing.
    fn has_messages(self) -> bool {
        matches!(self, Self::Echo | Self::Reverse | Self::Upper | Self::Answer)
    }

    /// Whether the service sends data at all.
    fn sends_data(self) -> bool {
        !matches!(self, Self::Discard | Self::NeverRead)
    }
}

impl ServiceOptions {
    pub(super) fn name(&self) -> &'static str {
        self.service.name()
    }

    /// The verb of log lines about sent bytes.
    pub(super) fn sending(&self) -> &'static str {
        match self.service {
            ServiceName::Echo => "Echoing",
            _ => "Sending",
        }
    }

    /// Buffer limit of a connection for the user's `limit`. For the search service, `limit` applies to the content of a
    /// message.
    pub(super) fn buffer_bytes(&self, limit: usize) -> usize {
        if self.service == ServiceName::Search { Search::buffer_bytes(limit) } else { limit }
    }

    /// Checks that the options are consistent.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they are not.
    pub(super) fn check(&self, buffer_limit: usize) -> Result<(), Error> {
        let name = self.name();
        if let Some(framing) = self.frame {
            if !self.service.has_messages() {
                return Err(Error::Usage(format!(
                    "--service {name} does not support framing; give --frame {framing} with echo, reverse, upper or answer"
                )));
            }
            framing.check(buffer_limit).map_err(|error| Error::Usage(format!("{error}; see --buffer-limit")))?;
        }
        self.check_answer(buffer_limit)?;
        if self.local && self.service != ServiceName::Clock {
            return Err(Error::Usage(format!("--service {name} sends no local time; give --local with clock")));
        }
        if !self.reply_delay.is_zero() && !self.service.sends_data() {
            return Err(Error::Usage(format!(
                "--service {name} never answers; give --reply-delay with another one, such as echo"
            )));
        }
        Ok(())
    }

    /// Checks that the text of --answer is used, and can be sent.
    fn check_answer(&self, buffer_limit: usize) -> Result<(), Error> {
        let name = self.name();
        let Some(text) = &self.answer else {
            return match self.service {
                ServiceName::Answer => {
                    Err(Error::Usage("--service answer needs a text; give --answer \"Message received\"".to_owned()))
                }
                _ => Ok(()),
            };
        };
        if !matches!(self.service, ServiceName::Answer | ServiceName::Greet) {
            return Err(Error::Usage(format!(
                "--service {name} does not send a given text; give --answer with answer or greet"
            )));
        }
        let framing_bytes = match self.frame.map(|framing| framing.envelope(text, 0)) {
            Some(Ok(envelope)) => envelope.size(),
            Some(Err(error)) => return Err(Error::Usage(format!("--answer cannot be sent with --frame: {error}"))),
            // The longest line end.
            None if self.service == ServiceName::Answer => 2,
            None => 0,
        };
        let size = text.len().saturating_add(framing_bytes);
        if size > buffer_limit {
            return Err(Error::Usage(format!(
                "a reply with the text of --answer has {}, and --buffer-limit is {}; give a shorter text or a larger limit",
                format_counted(size as u64, "byte"),
                format_count(buffer_limit as u64)
            )));
        }
        Ok(())
    }

    /// Reads the local time zone if the service needs it. Changes of the clock follow its rules from then on.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the time zone is not known.
    pub(super) fn read_time_zone(&mut self) -> Result<(), Error> {
        if self.local {
            let unknown = |error| io::Error::other(format!("{error}; set TZ, such as TZ=Europe/Berlin or TZ=UTC"));
            let zone = TimeZone::try_system().map_err(unknown).map_err(Error::system("read the local time zone"))?;
            self.time_zone = Some(zone);
        }
        Ok(())
    }

    /// The text of --answer.
    pub(super) fn answer(&self) -> Option<&Arc<[u8]>> {
        self.answer.as_ref()
    }

    /// Checks that datagrams can be served with these options: each datagram is one message, and is answered at once.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when they cannot.
    pub(super) fn check_datagrams(&self) -> Result<(), Error> {
        if let Some(text) = &self.answer {
            check_text(text).map_err(|problem| Error::Usage(format!("--answer: {problem}")))?;
        }
        let given = [("--frame", self.frame.is_some()), ("--reply-delay", !self.reply_delay.is_zero())];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(Error::Usage(format!("{option} is for connections; give it without --udp"))),
            None => Ok(()),
        }
    }

    /// Creates the service of one connection.
    pub(super) fn make(&self, buffer_limit: usize, peer: &Address) -> Box<dyn Service> {
        match self.service {
            ServiceName::Echo => match self.frame {
                Some(framing) => self.with_reply_delay(Framed::new(framing, buffer_limit, echo)),
                None => self.with_reply_delay(Echo),
            },
            ServiceName::Discard => self.with_reply_delay(Discard),
            ServiceName::Chargen => self.with_reply_delay(Chargen::default()),
            ServiceName::Daytime => self.with_reply_delay(daytime(unix_time)),
            ServiceName::Time => self.with_reply_delay(time(unix_time)),
            ServiceName::Greet => match self.answer.clone() {
                Some(text) => self.with_reply_delay(OneShot::new(move || Arc::clone(&text))),
                None => self.with_reply_delay(greet()),
            },
            ServiceName::Clock => match self.time_zone.clone() {
                Some(zone) => self.with_reply_delay(OneShot::new(move || local_time_of_day(&zone))),
                None => self.with_reply_delay(clock(unix_time)),
            },
            ServiceName::Reverse => self.responding(change(reverse), buffer_limit),
            ServiceName::Upper => self.responding(change(upper), buffer_limit),
            ServiceName::Answer => self.responding(fixed(self.answer.clone().unwrap_or_default()), buffer_limit),
            ServiceName::NeverRead => self.with_reply_delay(NeverRead),
            ServiceName::Search => self.with_reply_delay(Search::new(buffer_limit).logging(|| peer.in_python())),
        }
    }

    fn responding(&self, respond: impl Respond + 'static, buffer_limit: usize) -> Box<dyn Service> {
        match self.frame {
            Some(framing) => self.with_reply_delay(Framed::new(framing, buffer_limit, respond)),
            None => self.with_reply_delay(Unframed::new(respond)),
        }
    }

    fn with_reply_delay<S: Service + 'static>(&self, service: S) -> Box<dyn Service> {
        if self.reply_delay.is_zero() { Box::new(service) } else { Box::new(Delayed::new(service, self.reply_delay)) }
    }
}

fn echo(message: &[u8], replies: &mut Replies<'_>) {
    replies.send(message);
}

/// Answers each message with `text`.
fn fixed(text: Arc<[u8]>) -> impl Respond {
    move |_: &[u8], replies: &mut Replies<'_>| replies.send(&text)
}

/// Answers each message with one that `append` makes of it.
fn change(append: fn(&[u8], &mut Vec<u8>)) -> impl Respond {
    move |message: &[u8], replies: &mut Replies<'_>| replies.send_with(|reply| append(message, reply))
}

fn escaped_text(text: &str) -> Result<Arc<[u8]>, String> {
    values::escaped_bytes(text).map(|Bytes(bytes)| bytes.into())
}

/// The time of day as `17:37:43`, in this time zone.
fn local_time_of_day(zone: &TimeZone) -> String {
    let now = i64::try_from(unix_time().as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    zone.to_datetime(now.unwrap_or(Timestamp::MAX)).strftime("%H:%M:%S").to_string()
}
