//! Parsers for option values. An error quotes the value and shows a valid example.

use crate::client::ExpectedText;
use crate::codec::{Framing, FramingError};
use crate::error::Error;
use crate::escape::unescape;
use crate::socket::{ProxyVersion, canonical_range};
use crate::units::{Problem, Quantity, UnitError, parse_count};
use ipnet::IpNet;
use std::net::IpAddr;

/// Parses an environment variable of an option that takes no value on the command line.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no; give 1 or 0")),
    }
}

/// Parses an environment variable of -v: the number of repetitions.
pub(super) fn level(text: &str) -> Result<u8, String> {
    let level = text.parse().or_else(|_| switch(text).map(u8::from));
    level.map_err(|_| format!("{text:?} is not a level; give 0, 1 (as -v does) or 2 (as -vv does)"))
}

/// Parses a port; 0 means any free port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not a port; give a number from 0 to 65535 such as 65432 (0 takes a free one)")
    })
}

/// Parses a port to connect to.
pub(super) fn target_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text:?} is not a port; give a number from 1 to 65535 such as 65432"))
}

/// Whether `text` consists of digits only.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses a number of messages, which may be 0.
pub(super) fn messages(text: &str) -> Result<usize, String> {
    if text == "0" { Ok(0) } else { count(text).map_err(|error| format!("{error}, or 0 to read only")) }
}

/// Parses a number of times, which may be 0.
pub(super) fn times(text: &str) -> Result<u32, String> {
    whole_number(text).map_err(|error| error.to_string())
}

/// Parses a random seed.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    parse_count(text).map_err(|_| format!("{text:?} is not a seed; give a whole number from 0 up such as 42"))
}

/// Parses a count of at least 1.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let count =
        whole_number(text).and_then(|count| if count == 0 { Err(no_count(text, Problem::Zero)) } else { Ok(count) });
    count.map_err(|error| error.to_string())
}

fn whole_number<T: TryFrom<u64>>(text: &str) -> Result<T, UnitError> {
    parse_count(text)?.try_into().map_err(|_| no_count(text, Problem::TooLarge))
}

fn no_count(text: &str, problem: Problem) -> UnitError {
    UnitError { input: text.to_owned(), quantity: Quantity::Count, problem }
}

/// Parses a size in bytes, such as 64KiB.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bytes = crate::units::parse_size(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes).map_err(|_| format!("{text:?} is more than this machine can address; give one like 64KiB"))
}

/// Parses a framing, such as lines.
pub(super) fn framing(text: &str) -> Result<Framing, String> {
    text.parse().map_err(|error: FramingError| error.to_string())
}

/// Parses a version of the PROXY protocol.
pub(super) fn proxy_version(text: &str) -> Result<ProxyVersion, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// Parses the status code of an HTTP response.
pub(super) fn http_status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (100..600).contains(status));
    status.ok_or_else(|| format!("{text:?} is not a status code; give a number from 100 to 599 such as 200"))
}

/// Parses what replies must contain, such as ready or /^(ok|ready)/.
pub(super) fn expected_text(text: &str) -> Result<ExpectedText, String> {
    text.parse().map_err(|error| match error {
        Error::Config { problem, .. } => problem,
        other => other.to_string(),
    })
}

/// Bytes given as text.
#[derive(Debug, Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Parses text with escapes, such as hello\r\n.
pub(super) fn escaped_bytes(text: &str) -> Result<Bytes, String> {
    unescape(text).map(Bytes).map_err(|error| error.to_string())
}

/// Parses a message with escapes.
pub(super) fn escaped_message(text: &str) -> Result<Bytes, String> {
    escaped_bytes(text).map_err(|error| format!("{error}; --message-raw takes a text as it is"))
}

/// Parses an address range or a single address. An IPv4-mapped range becomes the IPv4 range.
pub(super) fn range(text: &str) -> Result<IpNet, String> {
    let single = |_| text.parse().map(|address: IpAddr| IpNet::from(address));
    let range = text.parse().or_else(single).map_err(|_| {
        format!("{text:?} is not a range of addresses; give one like 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1")
    })?;
    canonical_range(range).ok_or_else(|| {
        format!("{text:?} holds IPv4-mapped and IPv6 addresses; give one like 0.0.0.0/0 or ::ffff:0:0/96 for IPv4, ::/0 for IPv6")
    })
}

/// Maximum size of a message, in bytes. Every message is held in memory.
pub(super) const MESSAGE_BYTES: usize = 1 << 30;

/// Parses a message size in bytes, such as 64KiB.
pub(super) fn message_size(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if bytes > MESSAGE_BYTES {
        return Err(format!("{text:?} is more than a message of 1 GiB; give less, and more messages (--messages)"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{count, port, range, seed, size, times};
    use crate::units::{Quantity, parse_duration, parse_rate, parse_size};
    use std::time::Duration;

    #[test]
    fn errors_quote_the_value_and_an_example() {
        for bad in ["70000", "-1", "http", ""] {
            let error = port(bad).expect_err("not a port");
            assert!(error.contains(&format!("{bad:?}")) && error.contains("65432"), "{error}");
        }
        for bad in ["0", "-5", "many"] {
            let error = count(bad).expect_err("not a count");
            assert!(error.contains(&format!("{bad:?}")) && error.contains("1000"), "{error}");
        }
        for bad in ["10.0.0.0/33", "localhost", ""] {
            let error = range(bad).expect_err("not a range");
            assert!(error.contains(&format!("{bad:?}")) && error.contains("10.0.0.0/8"), "{error}");
        }
        for (text, shown) in
            [("::1", "::1/128"), ("::ffff:127.0.0.0/104", "127.0.0.0/8"), ("::ffff:1.2.3.4", "1.2.3.4/32")]
        {
            assert_eq!(range(text).map(|range| range.to_string()), Ok(shown.to_owned()));
        }
        assert!(range("::ffff:0:0/80").is_err_and(|error| error.contains("0.0.0.0/0")));
        assert!(size("64 parsecs").expect_err("not a size").contains("64KiB"));
        assert_eq!((port("0"), count("1"), size("64KiB")), (Ok(0), Ok(1), Ok(65_536)));
        assert_eq!(
            (count("10k"), count("1_000"), times("1k"), seed("1M")),
            (Ok(10_000), Ok(1000), Ok(1000), Ok(1_000_000))
        );
    }

    #[test]
    fn parsers_work_as_clap_value_parsers() {
        let command = clap::Command::new("x")
            .arg(clap::Arg::new("hold").value_parser(parse_duration))
            .arg(clap::Arg::new("size").value_parser(parse_size))
            .arg(clap::Arg::new("rate").value_parser(parse_rate));
        let matches = command.clone().get_matches_from(["x", "5s", "1k", "5k/s"]);
        assert_eq!(matches.get_one("hold"), Some(&Duration::from_secs(5)));
        let refused = command.try_get_matches_from(["x", "5"]).expect_err("no unit");
        assert!(refused.to_string().contains(Quantity::Duration.examples()));
    }
}
