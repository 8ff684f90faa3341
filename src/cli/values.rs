//! Values that people type: each is refused with an example of a good one.

use crate::codec::{Framing, FramingError};
use crate::socket::{Endpoint, canonical_range};
use ipnet::IpNet;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroUsize};

/// Whether the environment switches an option that has no value on the command line.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no; give 1 or 0")),
    }
}

/// How often the environment says -v.
pub(super) fn level(text: &str) -> Result<u8, String> {
    let level = text.parse().or_else(|_| switch(text).map(u8::from));
    level.map_err(|_| format!("{text:?} is not a level; give 0, 1 (as -v does) or 2 (as -vv does)"))
}

/// A port to listen on.
pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not a port; give a number from 0 to 65535 such as 65432 (0 takes a free one)")
    })
}

/// A host, without its port.
pub(super) fn host(text: &str) -> Result<String, String> {
    match host_and_port(text) {
        Ok(_) => Err(format!("{text:?} is a host and a port in one; give two words such as 127.0.0.1 65432")),
        Err(_) => Ok(text.to_owned()),
    }
}

/// A host to listen on. A number alone would be looked up as an address of 32 bits, which nobody means.
pub(super) fn listening_host(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is a number, and no host; give both such as 127.0.0.1 65432"));
    }
    host(text)
}

/// A host and a port to listen on, such as 127.0.0.1:9464.
pub(super) fn host_and_port(text: &str) -> Result<Endpoint, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    // Of ::1:9464 nobody knows where the address ends.
    let is_one_host = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
    match port.parse() {
        Ok(port) if is_one_host => Ok(Endpoint::tcp(host, port)),
        _ => Err(format!(
            "{text:?} is not a host and a port; give one like 127.0.0.1:9464 or [::1]:9464 (0 takes a free port)"
        )),
    }
}

/// A port to connect to.
pub(super) fn target_port(text: &str) -> Result<u16, String> {
    let port: NonZeroU16 =
        text.parse().map_err(|_| format!("{text:?} is not a port; give a number from 1 to 65535 such as 65432"))?;
    Ok(port.get())
}

/// A host and a port to connect to, such as 127.0.0.1:65432.
pub(super) fn target(text: &str) -> Result<Endpoint, String> {
    match host_and_port(text) {
        Ok(Endpoint::Tcp { host, port: 1.. }) if !host.is_empty() => host_and_port(text),
        _ => Err(format!("{text:?} is not a host and a port; give one like 127.0.0.1:65432 or [::1]:65432")),
    }
}

/// How many times, none included.
pub(super) fn times(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a count; give a whole number from 0 up such as 5"))
}

/// Where chance begins.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a seed; give a whole number from 0 up such as 42"))
}

/// How many of something, at least one.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let number: NonZeroUsize =
        text.parse().map_err(|_| format!("{text:?} is not a count; give a whole number from 1 up such as 1000"))?;
    Ok(number.get())
}

/// A size in bytes, such as 64KiB.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let bytes = crate::units::parse_size(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes).map_err(|_| format!("{text:?} is more than this machine can address; give one like 64KiB"))
}

/// How messages are told apart, such as lines.
pub(super) fn framing(text: &str) -> Result<Framing, String> {
    text.parse().map_err(|error: FramingError| error.to_string())
}

/// A range of addresses, or a single one; an IPv4-mapped one is the IPv4 range that it stands for.
pub(super) fn range(text: &str) -> Result<IpNet, String> {
    let single = |_| text.parse().map(|address: IpAddr| IpNet::from(address));
    let range = text.parse().or_else(single).map_err(|_| {
        format!("{text:?} is not a range of addresses; give one like 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1")
    })?;
    canonical_range(range).ok_or_else(|| {
        format!("{text:?} holds IPv4-mapped and IPv6 addresses; give one like 0.0.0.0/0 or ::ffff:0:0/96 for IPv4, ::/0 for IPv6")
    })
}

/// The longest message, in bytes: every one is held in memory.
pub(super) const MESSAGE_BYTES: usize = 1 << 30;

/// The size of a message in bytes, such as 64KiB.
pub(super) fn message_size(text: &str) -> Result<usize, String> {
    let bytes = size(text)?;
    if bytes > MESSAGE_BYTES {
        return Err(format!("{text:?} is more than a message of 1GiB; give less, and more messages (--messages)"));
    }
    Ok(bytes)
}

/// The endpoints named by a host and a port or by Unix paths.
pub(super) fn endpoints(host: Option<&str>, port: Option<u16>, unix: &[std::path::PathBuf]) -> Vec<Endpoint> {
    let tcp = host.zip(port).map(|(host, port)| Endpoint::tcp(host, port));
    unix.iter().map(Endpoint::unix).chain(tcp).collect()
}

#[cfg(test)]
mod tests {
    use super::{count, host, host_and_port, listening_host, port, range, size};

    #[test]
    fn a_bad_value_is_named_beside_a_good_one() {
        for bad in ["70000", "-1", "http", ""] {
            let error = port(bad).expect_err("not a port");
            assert!(error.contains(&format!("{bad:?}")) && error.contains("65432"), "{error}");
        }
        for bad in ["", "9464", "localhost", "127.0.0.1:", "127.0.0.1:http", "::1:9464", "127.0.0.1:65536", "a:-1"] {
            let error = host_and_port(bad).expect_err("not a host and a port");
            assert!(error.contains(&format!("{bad:?}")) && error.contains("127.0.0.1:9464"), "{error}");
        }
        for good in ["127.0.0.1:9464", "[::1]:0", "localhost:1", ":80"] {
            assert_eq!(host_and_port(good).map(|endpoint| endpoint.to_string()), Ok(good.to_owned()));
        }
        for bad in ["127.0.0.1:65432", ":65432", "localhost:0", "[::1]:1"] {
            assert!(host(bad).is_err_and(|error| error.contains(bad) && error.contains("127.0.0.1 65432")), "{bad}");
        }
        assert!(listening_host("65432").is_err_and(|error| error.contains("127.0.0.1 65432")));
        for good in ["", "::", "::1", "[::1]", "localhost", "1.2.3.4", "fe80::1%lo", "2001:db8::65432"] {
            assert_eq!(listening_host(good), Ok(good.to_owned()));
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
    }
}
