//! Parser for endpoints: `HOST:PORT`, `[ADDRESS]:PORT`, `HOST PORT`, `tcp://HOST:PORT` or `unix:PATH`.

use super::Endpoint;
use crate::error::Error;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// URL schemes and their default ports (RFC 9110, section 4.2; RFC 6455, section 3).
const URL_SCHEMES: [(&str, u16); 4] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];

impl FromStr for Endpoint {
    type Err = Error;

    /// Parses `HOST:PORT`, `[ADDRESS]:PORT`, `HOST PORT`, `tcp://HOST:PORT` or `unix:PATH`. An empty
    /// host means every interface; with port 0 the system chooses a free one.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] or [`Error::Config`] for anything else. For a URL, the error contains its address.
    fn from_str(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim();
        if let Some(path) = unix_path(trimmed) {
            return Ok(Self::unix(path.strip_prefix("//").unwrap_or(path)));
        }
        let Some((scheme, rest)) = trimmed.split_once("://") else {
            return host_and_port(trimmed).ok_or_else(|| not_an_address(text));
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "tcp" {
            return host_and_port(rest.trim_end_matches('/')).ok_or_else(|| not_an_address(text));
        }
        Err(wrong_scheme(text, &scheme, rest))
    }
}

impl Endpoint {
    /// Whether `text` is a host without a port.
    #[must_use]
    pub fn is_host(text: &str) -> bool {
        let has_scheme = unix_path(text).is_some() || text.contains("://");
        let has_port = text.contains(':') && !is_ipv6(text) || host_and_port(text).is_some();
        !has_scheme && !has_port && !is_number(text)
    }
}

fn host_and_port(text: &str) -> Option<Endpoint> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (host, port) = match words[..] {
        [host, port] => Some((host, port)).filter(|(host, _)| !host.contains(':') || is_ipv6(host))?,
        // Without brackets, the end of the address in ::1:9464 is ambiguous.
        [word] => {
            word.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.starts_with('[') && is_ipv6(host))?
        }
        _ => return None,
    };
    let port = Some(port).filter(|port| is_number(port))?.parse().ok()?;
    // The resolver would read a number as a 32-bit address.
    Some(Endpoint::tcp(host, port)).filter(|_| !is_number(host))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `text` is an IPv6 address, with or without brackets, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let bare = text.strip_prefix('[').map_or(Some(text), |rest| rest.strip_suffix(']'));
    let address = bare.map(|bare| bare.split_once('%').map_or(bare, |(address, _)| address));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// The path after `unix:`, in upper or lower case like other schemes.
fn unix_path(text: &str) -> Option<&str> {
    const SCHEME: &str = "unix:";
    let (scheme, path) = text.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(path)
}

fn not_an_address(text: &str) -> Error {
    let port = text.rsplit_once([':', ' ']).map(|(_, port)| port);
    let reason = match port.filter(|port| is_number(port) && port.parse::<u16>().is_err()) {
        Some(port) => format!("has the port {port}, which is above 65535"),
        None => "is not an address".to_owned(),
    };
    Error::Usage(format!("{text:?} {reason}; give one like 127.0.0.1:65432, [::1]:65432 or unix:/tmp/m.sock"))
}

/// The error for a scheme other than tcp: it shows the address and the options to give instead.
fn wrong_scheme(text: &str, scheme: &str, rest: &str) -> Error {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some((_, port)) = URL_SCHEMES.iter().find(|(known, _)| *known == scheme) {
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let address = match host_and_port(authority) {
            _ if authority.is_empty() => format!("127.0.0.1:{port}"),
            Some(address) => address.to_string(),
            None if is_ipv6(authority) => format!("{authority}:{port}"),
            None => format!("{host}:{port}"),
        };
        let problem = format!(
            "{text:?} is a URL, and this program sends bytes and frames, not HTTP requests; give the address {address}"
        );
        return if *port == 443 { Error::config(&["tls"], problem + " and use TLS") } else { Error::Usage(problem) };
    }
    let (transport, settings): (_, &[_]) = match scheme {
        "udp" => ("UDP", &["udp"]),
        "tls" | "ssl" => ("TLS", &["tls"]),
        _ => return not_an_address(text),
    };
    let problem =
        format!("{text:?} names the transport, which is a setting of its own; give {authority} and use {transport}");
    Error::config(settings, problem)
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn every_form_of_address_is_parsed() {
        for (text, endpoint) in [
            ("127.0.0.1:9464", Endpoint::tcp("127.0.0.1", 9464)),
            ("[::1]:0", Endpoint::tcp("[::1]", 0)),
            ("[fe80::1%lo]:80", Endpoint::tcp("[fe80::1%lo]", 80)),
            ("localhost:1", Endpoint::tcp("localhost", 1)),
            (":80", Endpoint::tcp("", 80)),
            ("<broadcast>:9", Endpoint::tcp("<broadcast>", 9)),
            ("127.0.0.1 80", Endpoint::tcp("127.0.0.1", 80)),
            (" ::1\t80 ", Endpoint::tcp("::1", 80)),
            ("[::1] 80", Endpoint::tcp("[::1]", 80)),
            ("tcp://127.0.0.1:80", Endpoint::tcp("127.0.0.1", 80)),
            ("TCP://[::1]:80/", Endpoint::tcp("[::1]", 80)),
            ("unix:m.sock", Endpoint::unix("m.sock")),
            ("UNIX:/tmp/m.sock", Endpoint::unix("/tmp/m.sock")),
            ("Unix:///tmp/m.sock", Endpoint::unix("/tmp/m.sock")),
            ("unix:/tmp/a b:1", Endpoint::unix("/tmp/a b:1")),
            ("unix:///tmp/m.sock", Endpoint::unix("/tmp/m.sock")),
        ] {
            assert_eq!(text.parse::<Endpoint>().ok(), Some(endpoint), "{text}");
            assert!(!Endpoint::is_host(text), "{text}");
        }
    }

    #[test]
    fn a_host_alone_is_not_an_address() {
        for host in ["", "::", "::1", "[::1]", "localhost", "1.2.3.4", "fe80::1%lo", "no such host"] {
            assert!(Endpoint::is_host(host), "{host}");
            assert!(host.parse::<Endpoint>().is_err(), "{host}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_an_example() {
        let malformed =
            ["9464", "127.0.0.1:", "127.0.0.1:http", "::1:65432", "a:65536", "a:-1", "a:+1", "1:1", "1::65432"];
        for text in malformed.into_iter().chain(["a:1 2", "a b c", "ftp://a:1", "tcp://a", "[::1:80", "[a:b]:1"]) {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("127.0.0.1:65432"), "{error}");
            assert!(!Endpoint::is_host(text) || text == "a b c", "{text}");
        }
    }

    #[test]
    fn a_port_that_is_too_large_is_named() {
        for text in ["127.0.0.1:99999", "[::1]:99999", "tcp://a:99999", "a 99999"] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains("port 99999") && error.contains("65535"), "{error}");
        }
    }

    #[test]
    fn the_error_for_a_url_contains_its_address() {
        for (url, address) in [
            ("http://example.org/path?query", "give the address example.org:80"),
            ("https://user:word@example.org", "give the address example.org:443 and use TLS (tls)"),
            ("HTTP://127.0.0.1:8080/", "give the address 127.0.0.1:8080"),
            ("ws://[::1]/chat", "give the address [::1]:80"),
            ("wss://[::1]:99#a", "give the address [::1]:99"),
            ("http://example.org:", "give the address example.org:80"),
            ("http://", "give the address 127.0.0.1:80"),
            ("udp://127.0.0.1:9", "give 127.0.0.1:9 and use UDP (udp)"),
            ("tls://127.0.0.1:9", "give 127.0.0.1:9 and use TLS (tls)"),
        ] {
            let error = url.parse::<Endpoint>().expect_err(url).to_string();
            assert!(error.contains(&format!("{url:?}")) && error.contains(address), "{error}");
        }
    }
}
