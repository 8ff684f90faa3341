//! Parsing of addresses on the command line: option values, and the positional HOST PORT.

use super::variables::Typed;
use super::{option_names, values};
use crate::error::Error;
use crate::socket::Endpoint;

/// Parses an address to listen on, such as 127.0.0.1:9464.
pub(super) fn listen_address(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: Error| option_names::in_words(&error))
}

/// Parses an address to connect to, such as 127.0.0.1:65432.
pub(super) fn connect_address(text: &str) -> Result<Endpoint, String> {
    let endpoint = listen_address(text)?;
    check_target(&endpoint).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(endpoint)
}

/// Joins HOST, PORT and the positional arguments after them in one list. A PORT from an environment variable is ignored
/// when HOST is missing, or was typed and has a port.
///
/// # Errors
///
/// [`Error::Usage`] if both come from environment variables and HOST has a port.
pub(super) fn in_order(
    host: Option<&str>,
    port: Option<&str>,
    rest: &[String],
    typed: &Typed,
) -> Result<Vec<String>, Error> {
    let needs_port = host.is_some_and(Endpoint::is_host);
    if let (Some(host), Some(port)) = (host.filter(|host| !values::is_number(host)), port)
        && !needs_port
        && typed.first_of(["host", "port"]).is_none()
    {
        return Err(Error::Usage(format!("HOST {host:?} needs no PORT, and PORT is {port:?}; unset one of them")));
    }
    let port = port.filter(|_| needs_port || typed.first_of(["port"]).is_some());
    Ok(host.into_iter().chain(port).map(str::to_owned).chain(rest.iter().cloned()).collect())
}

/// Takes HOST PORT, or an address in one argument, from the front of `words`. Returns the address and the remaining
/// arguments. Without arguments there is no address. HOST alone takes `default_port`, if there is one.
///
/// # Errors
///
/// [`Error::Usage`] when `words` do not begin with an address.
pub(super) fn take_address(
    words: &[String],
    default_port: Option<u16>,
) -> Result<(Option<Endpoint>, &[String]), Error> {
    match (words, default_port) {
        ([], _) => Ok((None, words)),
        ([number, ..], _) if values::is_number(number) => Err(Error::Usage(format!(
            "HOST {number:?} is a number; give HOST and PORT such as 127.0.0.1 65432, or 127.0.0.1:65432"
        ))),
        ([address, rest @ ..], _) if !Endpoint::is_host(address) => {
            let endpoint: Endpoint = listen_address(address).map_err(|error| invalid("HOST", &error))?;
            let port = endpoint.port().map(|port| port.to_string());
            if port.is_some() && port.as_ref() == rest.first() {
                let text = format!("{address:?} and {:?} name the port twice; leave out the second one", rest[0]);
                return Err(Error::Usage(text));
            }
            Ok((Some(endpoint), rest))
        }
        ([host, port, rest @ ..], _) => {
            let parse = if default_port.is_some() { values::port } else { values::target_port };
            let port = parse(port).map_err(|error| invalid("PORT", &error))?;
            Ok((Some(Endpoint::tcp(host, port)), rest))
        }
        ([host], Some(port)) => Ok((Some(Endpoint::tcp(host, port)), &[])),
        ([host], None) => Err(Error::Usage(format!(
            "<PORT> is missing after HOST {host:?}; give both such as 127.0.0.1 65432, or 127.0.0.1:65432"
        ))),
    }
}

/// Checks that `endpoint` can be connected to: it has a host, and a port other than 0.
pub(super) fn check_target(endpoint: &Endpoint) -> Result<(), String> {
    match endpoint {
        Endpoint::Tcp { host, .. } if host.is_empty() => {
            Err("HOST \"\" is not a host to connect to; give an address or a name such as 127.0.0.1:65432".to_owned())
        }
        Endpoint::Tcp { port: 0, .. } => {
            Err("PORT \"0\" is not a port to connect to; give one from 1 to 65535, such as 127.0.0.1:65432".to_owned())
        }
        _ => Ok(()),
    }
}

/// The error for an invalid value of the argument `name`.
pub(super) fn invalid(name: &str, error: &str) -> Error {
    Error::Usage(format!("invalid value for {name}: {error}"))
}

/// The error for a positional argument that is not expected.
pub(super) fn unexpected(word: &str) -> Error {
    Error::Usage(format!("unexpected argument '{word}' found; see --help"))
}

#[cfg(test)]
mod tests {
    use super::{connect_address, take_address};

    fn taken(words: &[&str], default_port: Option<u16>) -> Result<(String, usize), String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (endpoint, rest) = take_address(&words, default_port).map_err(|error| error.to_string())?;
        Ok((endpoint.map_or_else(String::new, |endpoint| endpoint.to_string()), rest.len()))
    }

    #[test]
    fn address_takes_one_or_two_arguments() {
        for (words, address, rest) in [
            (&[][..], "", 0),
            (&["127.0.0.1", "65432"], "127.0.0.1:65432", 0),
            (&["127.0.0.1", "65432", "2"], "127.0.0.1:65432", 1),
            (&["::1", "65432", "2"], "[::1]:65432", 1),
            (&["", "0"], ":0", 0),
            (&["<broadcast>", "9"], "<broadcast>:9", 0),
            (&["127.0.0.1:65432"], "127.0.0.1:65432", 0),
            (&["127.0.0.1:65432", "2"], "127.0.0.1:65432", 1),
            (&["[::1]:65432", "2", "3"], "[::1]:65432", 2),
            (&["127.0.0.1 65432", "2"], "127.0.0.1:65432", 1),
            (&["unix:m.sock", "2"], "m.sock", 1),
        ] {
            assert_eq!(taken(words, None), Ok((address.to_owned(), rest)), "{words:?}");
        }
        assert_eq!(taken(&["::1"], Some(65432)), Ok(("[::1]:65432".to_owned(), 0)));
    }

    #[test]
    fn invalid_addresses_are_quoted_in_errors() {
        for (words, parts) in [
            (&["127.0.0.1"][..], ["\"127.0.0.1\"", "<PORT>"]),
            (&["127.0.0.1", "http"], ["\"http\"", "65432"]),
            (&["65432"], ["\"65432\"", "127.0.0.1:65432"]),
            (&["65432", "2"], ["\"65432\"", "127.0.0.1:65432"]),
            (&["::1:65432", "2"], ["\"::1:65432\"", "[::1]:65432"]),
            (&["127.0.0.1:65432", "65432"], ["\"127.0.0.1:65432\"", "twice"]),
            (&["http://127.0.0.1", "80"], ["\"http://127.0.0.1\"", "127.0.0.1:80"]),
        ] {
            let error = taken(words, None).expect_err("no address");
            assert!(parts.iter().all(|part| error.contains(part)), "{words:?}: {error}");
        }
        for text in [":65432", "127.0.0.1:0", "", "65432"] {
            let error = connect_address(text).expect_err("not a target");
            assert!(error.contains("65432"), "{text}: {error}");
        }
    }
}
