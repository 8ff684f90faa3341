//! What is sent, and what is expected to come back.

use super::messages::{datagrams, pattern, read_file};
use crate::cli::values::{self, Bytes, MESSAGE_BYTES};
use crate::cli::variables::Typed;
use crate::client::{ClientConfig, DatagramClientConfig, Expect};
use crate::codec::Framing;
use crate::error::Error;
use crate::service::search::Request;
use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to send.
#[derive(Debug, Args)]
pub(super) struct ContentOptions {
    /// A message to send, instead of the two of the tutorial; may be repeated. Escapes are \r, \n, \t, \0, \xNN and \\.
    #[arg(long, value_name = "TEXT", value_parser = values::escaped_bytes, help_heading = "What")]
    message: Vec<Bytes>,
    /// The same without escapes: a backslash is sent as it is. May be repeated; these follow those of --message.
    #[arg(long, value_name = "TEXT", help_heading = "What")]
    message_raw: Vec<String>,
    /// Send what is in FILE: as one message, or line by line with --frame lines.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["message", "message_raw"], help_heading = "What")]
    message_file: Option<PathBuf>,
    /// Send messages of SIZE bytes instead.
    #[arg(long, value_name = "SIZE", value_parser = values::message_size, conflicts_with_all = ["message", "message_raw", "message_file"],
        help_heading = "What")]
    size: Option<usize>,
    /// Search a server of the message protocol for VALUE. Its answer is printed; with -q nothing but that, for scripts. May be
    /// repeated.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "message_raw", "message_file", "size", "frame", "expect", "udp"],
        allow_hyphen_values = true, help_heading = "What")]
    search: Vec<String>,
    /// Send it VALUE as a binary request, behind the word binary; may be repeated.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "message_raw", "message_file", "size", "frame", "expect", "udp"],
        allow_hyphen_values = true, help_heading = "What")]
    binary: Vec<String>,
    #[arg(skip)]
    request: Option<(String, String)>,
    /// Talk to the server: lines from the keyboard, or whatever is piped in, are sent, and its replies are printed: as they
    /// are to a file or a pipe, with control characters escaped to a terminal. The end of the input half-closes.
    #[arg(long, help_heading = "What", conflicts_with_all =
        ["message", "message_raw", "message_file", "size", "search", "binary", "expect", "messages", "pipeline", "hold", "connections",
        "workers", "max_connecting", "json", "hgrm", "hdr_log", "html", "fail_if"])]
    pub(super) stdin: bool,
    /// How messages and answers are told apart: lines, crlf, delimiter:TEXT, fixed:64, digits:5, u8, u16be, u32le, u64be,
    /// type+u32be, or end (half-close). TEXT may have the escapes of --message. With fixed:64 each message has to have 64 bytes:
    /// pad a shorter one, such as --message "$(printf %-64s hello)".
    #[arg(long, value_name = "KIND", help_heading = "What")]
    frame: Option<Framing>,
    /// What must come back: the echo; any answer to each message, of a size or in a frame; or none but the server's end. More
    /// than that is a failure, until the server has closed or 5s have passed; not with none. With any, but neither --frame
    /// nor --reply-size, where a reply ends is not known: reads and bytes are counted, no replies, and no latencies but to the
    /// first bytes on each connection.
    #[arg(long, value_name = "echo|any|none", value_enum, default_value_t = Expected::Echo,
        default_value_if("reply_size", ArgPredicate::IsPresent, "any"),
        hide_possible_values = true, help_heading = "What")]
    expect: Expected,
    /// How long each reply is, with any content: --expect any, and instead of a frame. It may be larger than the buffer.
    #[arg(long, value_name = "SIZE", value_parser = values::size, conflicts_with_all = ["search", "binary", "udp", "stdin"],
        help_heading = "What")]
    reply_size: Option<usize>,
    /// The most bytes of a connection that wait in each direction; an answer in a frame has to fit.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::size,
        help_heading = "What")]
    buffer_limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Expected {
    Echo,
    Any,
    None,
}

impl ContentOptions {
    /// What to ask a server of the message protocol.
    pub(super) fn requests(&self) -> Vec<Request> {
        let searches = self.search.iter().cloned().map(Request::Search);
        let binaries = self.binary.iter().map(|value| Request::binary(value));
        let typed = self.request.iter().map(|(action, value)| Request::of(action, value));
        searches.chain(binaries).chain(typed).collect()
    }

    /// Takes ACTION VALUE, as the tutorial's client does, in the place of options about messages. Such options in the
    /// environment do not count then.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when such an option was typed.
    pub(super) fn take_request(&mut self, action: &str, value: &str, typed: &Typed) -> Result<(), Error> {
        const OTHERS: [&str; 8] =
            ["--message", "--message-raw", "--message-file", "--size", "--frame", "--expect", "--stdin", "--udp"];
        if let Some(option) = typed.first_of(OTHERS) {
            return Err(Error::Usage(format!(
                "ACTION {action:?} VALUE {value:?} are a request of the message protocol, which {option} has no part in; leave \
                 out one of them"
            )));
        }
        (self.message_file, self.size, self.frame, self.stdin) = (None, None, None, false);
        self.expect = Expected::Echo;
        self.request = Some((action.to_owned(), value.to_owned()));
        Ok(())
    }

    /// ACTION VALUE, where they were given.
    pub(super) fn request(&self) -> Option<&(String, String)> {
        self.request.as_ref()
    }

    /// The messages that were typed.
    fn typed(&self) -> Vec<Vec<u8>> {
        let raw = self.message_raw.iter().map(|text| text.clone().into_bytes());
        self.message.iter().map(|Bytes(bytes)| bytes.clone()).chain(raw).collect()
    }

    fn expect(&self) -> Expect {
        match self.expect {
            Expected::Echo => Expect::Echo,
            Expected::Any => Expect::Any,
            Expected::None => Expect::Nothing,
        }
    }

    /// Sets what is sent in datagrams, each message in one.
    pub(super) fn apply_to_datagrams(&self, config: &mut DatagramClientConfig) -> Result<(), Error> {
        config.size = self.size;
        config.expect = self.expect();
        let typed = self.typed();
        if let Some(path) = &self.message_file {
            config.messages = read_file(path, None)?;
        } else if !typed.is_empty() {
            config.messages = typed;
        }
        Ok(())
    }

    pub(super) fn apply(&self, config: &mut ClientConfig) -> Result<(), Error> {
        config.requests = self.requests();
        config.framing = self.frame;
        config.buffer_bytes = self.buffer_limit;
        config.expect = self.expect();
        config.reply_size = self.reply_size;
        let typed = self.typed();
        if let Some(path) = &self.message_file {
            config.messages = read_file(path, self.frame)?;
        } else if !typed.is_empty() {
            config.messages = typed;
        } else {
            match (self.frame, self.size) {
                (Some(Framing::UntilEnd), None) => config.messages.truncate(1),
                (Some(Framing::Delimited(_)), Some(size)) => config.messages = vec![datagrams(size)],
                (None, Some(size)) => config.size = Some(size),
                (_, Some(size)) => config.messages = vec![pattern(size)],
                // Nobody asked for messages of another size.
                (Some(Framing::Fixed(size)), None) if size <= MESSAGE_BYTES => config.messages = vec![pattern(size)],
                _ => {}
            }
        }
        Ok(())
    }
}
