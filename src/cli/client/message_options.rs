//! Message options of the client: what to send, and which replies to expect.

use super::message_content::{letter_pattern, pattern, read_file};
use crate::cli::values::{self, Bytes, MESSAGE_BYTES};
use crate::cli::variables::Typed;
use crate::client::{ClientConfig, Expect, ExpectedText};
use crate::codec::Framing;
use crate::error::Error;
use crate::service::search::Request;
use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// Message and reply options.
#[derive(Debug, Args)]
pub(super) struct ContentOptions {
    /// Send TEXT instead of the tutorial's two messages; may be repeated. Escapes: \r, \n, \t, \0, \xNN and \\.
    #[arg(long, value_name = "TEXT", value_parser = values::escaped_message, help_heading = "Messages")]
    message: Vec<Bytes>,
    /// Send TEXT without interpreting escapes; may be repeated. These follow the messages of --message.
    #[arg(long, value_name = "TEXT", help_heading = "Messages")]
    message_raw: Vec<String>,
    /// Send the content of FILE: as one message, one per line with --frame lines, or one per request with --frame http.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["message", "message_raw"], help_heading = "Messages")]
    message_file: Option<PathBuf>,
    /// Send messages of SIZE bytes.
    #[arg(long, value_name = "SIZE", value_parser = values::message_size, conflicts_with_all = ["message", "message_raw", "message_file"],
        help_heading = "Messages")]
    size: Option<usize>,
    /// Search a server of the message protocol for VALUE; may be repeated. The reply is printed. With -q only the
    /// reply is printed, for scripts: one line for each request, on stderr if stdout is taken by --json -, and nothing
    /// for a load.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "message_raw", "message_file", "size", "frame", "expect", "udp"],
        allow_hyphen_values = true, help_heading = "Messages")]
    search: Vec<String>,
    /// Send VALUE as a binary request of the message protocol, after the word binary; may be repeated.
    #[arg(long, value_name = "VALUE", conflicts_with_all = ["message", "message_raw", "message_file", "size", "frame", "expect", "udp"],
        allow_hyphen_values = true, help_heading = "Messages")]
    binary: Vec<String>,
    #[arg(skip)]
    request: Option<(String, String)>,
    /// Send lines from the keyboard or a pipe, and print replies. Replies go unchanged to a file or a pipe; on a
    /// terminal control characters are escaped. The end of the input half-closes the connection.
    #[arg(long, help_heading = "Messages", conflicts_with_all =
        ["message", "message_raw", "message_file", "size", "search", "binary", "expect", "messages", "pipeline", "hold", "connections",
        "workers", "max_connecting", "json", "hgrm", "hdr_log", "html", "fail_if"])]
    pub(super) stdin: bool,
    /// How messages and replies are delimited: lines, crlf, delimiter:TEXT, fixed:64, digits:5, u8, u16be, u32le,
    /// u64be, type+u32be, end (half-close), or http. TEXT may contain the escapes of --message. With fixed:64 each message
    /// must have 64 bytes: pad a shorter one, such as --message "$(printf %-64s hello)". With http messages are HTTP/1.1
    /// requests, of which a file may hold several. A connection that the server closes after a response is replaced.
    #[arg(long, value_name = "KIND", help_heading = "Messages")]
    frame: Option<ClientFraming>,
    /// Expected reply: the echo; any reply to each message, by size or frame; or none. Extra bytes are a failure until
    /// the server closes or 5s have passed; they are not checked with none. With any, but neither --frame nor
    /// --reply-size, the end of a reply is unknown: the client counts reads and bytes, but no replies, and the only
    /// latency is that of the first bytes on each connection.
    #[arg(long, value_name = "echo|any|none", value_enum, default_value_t = Expected::Echo,
        default_value_ifs([("reply_size", ArgPredicate::IsPresent, "any"), ("expect_text", ArgPredicate::IsPresent, "any"), ("frame", ArgPredicate::Equals("http".into()), "any")]),
        hide_possible_values = true, help_heading = "Messages")]
    expect: Expected,
    /// Expected status of each HTTP response, such as 200, with --frame http. Another status is a wrong reply, and the
    /// connection goes on. Default: any status.
    #[arg(long, value_name = "N", value_parser = values::http_status, requires = "frame", help_heading = "Messages")]
    expect_status: Option<u16>,
    /// Text that each reply must contain, with the escapes of --message, or /REGEX/ that it must match. Implies --expect
    /// any. Needs --frame, --reply-size or --udp, since the end of a reply must be known. With --frame http it applies to
    /// the body. A reply without it is a wrong reply, and the connection goes on. A TEXT that begins and ends with / is
    /// written with \x2f. A regex matches bytes, with the syntax of Rust's regex crate; (?i) ignores case.
    #[arg(long, value_name = "TEXT", value_parser = values::expected_text, allow_hyphen_values = true,
        conflicts_with_all = ["search", "binary", "stdin"], help_heading = "Messages")]
    expect_text: Option<ExpectedText>,
    /// Size of each reply, with any content. Implies --expect any; conflicts with --frame. It may exceed the buffer.
    #[arg(long, value_name = "SIZE", value_parser = values::size, conflicts_with_all = ["search", "binary", "udp", "stdin", "frame"],
        help_heading = "Messages")]
    reply_size: Option<usize>,
    /// Maximum bytes buffered per connection and direction; a framed reply must fit.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = values::size,
        help_heading = "Messages")]
    buffer_limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Expected {
    Echo,
    Any,
    None,
}

/// Framing of messages and replies.
#[derive(Debug, Clone, Copy)]
enum ClientFraming {
    Stream(Framing),
    /// HTTP/1.1 requests and responses.
    Http,
}

impl FromStr for ClientFraming {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "http" => Ok(Self::Http),
            _ => values::framing(text).map(Self::Stream).map_err(|error| format!("{error}, or http")),
        }
    }
}

impl ContentOptions {
    /// The requests for a server of the message protocol.
    pub(super) fn requests(&self) -> Vec<Request> {
        let searches = self.search.iter().cloned().map(Request::Search);
        let binaries = self.binary.iter().map(|value| Request::binary(value));
        let typed = self.request.iter().map(|(action, value)| Request::of(action, value));
        searches.chain(binaries).chain(typed).collect()
    }

    /// Takes ACTION VALUE, as the tutorial's client does, in place of message options. Such options from the
    /// environment are then ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] when such an option was given on the command line.
    pub(super) fn take_request(&mut self, action: &str, value: &str, typed: &Typed) -> Result<(), Error> {
        const OTHERS: [&str; 9] = [
            "--message",
            "--message-raw",
            "--message-file",
            "--size",
            "--frame",
            "--expect",
            "--expect-text",
            "--stdin",
            "--udp",
        ];
        if let Some(option) = typed.first_of(OTHERS) {
            return Err(Error::Usage(format!(
                "ACTION {action:?} VALUE {value:?} are a request of the message protocol, which {option} has no part in; leave \
                 out one of them"
            )));
        }
        (self.message_file, self.size, self.frame, self.expect_text, self.stdin) = (None, None, None, None, false);
        self.expect = Expected::Echo;
        self.request = Some((action.to_owned(), value.to_owned()));
        Ok(())
    }

    /// ACTION VALUE, if given.
    pub(super) fn request(&self) -> Option<&(String, String)> {
        self.request.as_ref()
    }

    /// Checks the options that go with HTTP requests.
    fn check_http(&self) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Usage(text.to_owned()));
        if self.stdin {
            return refuse("--stdin sends lines, which are no HTTP requests; give the requests as --message-file FILE");
        }
        if self.expect != Expected::Any {
            return refuse("--frame http expects an HTTP response to each message; leave out --expect");
        }
        if self.message.is_empty() && self.message_raw.is_empty() && self.message_file.is_none() {
            return refuse(
                r#"--frame http needs a request; give --message-file FILE, or one such as --message "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n""#,
            );
        }
        Ok(())
    }

    pub(super) fn apply(&self, config: &mut ClientConfig) -> Result<(), Error> {
        config.requests = self.requests();
        let framing = match self.frame {
            Some(ClientFraming::Stream(framing)) => Some(framing),
            Some(ClientFraming::Http) | None => None,
        };
        let is_http = matches!(self.frame, Some(ClientFraming::Http));
        config.framing = framing;
        config.buffer_bytes = self.buffer_limit;
        config.expect = match self.expect {
            Expected::Echo => Expect::Echo,
            Expected::Any => Expect::Any,
            Expected::None => Expect::Nothing,
        };
        if is_http {
            self.check_http()?;
            config.expect = Expect::Http { status: self.expect_status };
        } else if self.expect_status.is_some() {
            return Err(Error::Usage("--expect-status is for HTTP responses; give --frame http".to_owned()));
        }
        config.expected_text.clone_from(&self.expect_text);
        config.reply_size = self.reply_size;
        let raw = self.message_raw.iter().map(|text| text.clone().into_bytes());
        let typed: Vec<Vec<u8>> = self.message.iter().map(|Bytes(bytes)| bytes.clone()).chain(raw).collect();
        if let Some(path) = &self.message_file {
            config.messages = read_file(path, framing)?;
        } else if !typed.is_empty() {
            config.messages = typed;
        } else {
            match (framing, self.size) {
                (Some(Framing::UntilEnd), None) => config.messages.truncate(1),
                (Some(Framing::Delimited(_)), Some(size)) => config.messages = vec![letter_pattern(size)],
                (None, Some(size)) => config.size = Some(size),
                (_, Some(size)) => config.messages = vec![pattern(size)],
                // The default messages have another size than the frame.
                (Some(Framing::Fixed(size)), None) if size <= MESSAGE_BYTES => config.messages = vec![pattern(size)],
                _ => {}
            }
        }
        Ok(())
    }
}
