//! Non-blocking connect (connect(2), `EINPROGRESS`).

use super::options::GrantedOptions;
use super::source_address::bind_source;
use super::{Address, SocketOptions, Stream, sys};
use crate::error::Error;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// State of a connect that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectProgress {
    /// Not connected yet; an event follows.
    Pending,
    /// Connected.
    Connected,
}

/// Starts to connect to `address` and returns at once. The local address is `source`, or the system's choice without
/// one.
///
/// # Errors
///
/// Those of socket(2), bind(2) and connect(2). `EADDRNOTAVAIL` means that no port is free. When this machine has no
/// address to connect from, the error is [`ErrorKind::AddrNotAvailable`] without a number. A Unix socket whose backlog is
/// full returns `WouldBlock`: no event follows, and the call must be repeated later.
pub fn begin_connect(address: &Address, options: &SocketOptions, source: Option<IpAddr>) -> io::Result<Stream> {
    let target = match address {
        Address::Ip(ip) => SockAddr::from(*ip),
        Address::Unix(path) => SockAddr::unix(path)?,
    };
    let socket = open(address, options)?;
    if let Some(source) = source {
        bind_source(&socket, source)?;
    }
    if matches!(address, Address::Ip(_)) {
        sys::choose_from_all_ports(&socket);
    }
    match socket.connect(&target) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) if is_without_source(&error, &target, source) => return Err(ErrorKind::AddrNotAvailable.into()),
        Err(error) => return Err(error),
    }
    let descriptor = OwnedFd::from(socket);
    Ok(match address {
        Address::Ip(_) => Stream::Tcp(mio::net::TcpStream::from_std(descriptor.into())),
        Address::Unix(_) => Stream::Unix(mio::net::UnixStream::from_std(descriptor.into())),
    })
}

/// Whether connect(2) failed for want of an address to connect from, as towards ::1 where IPv6 is switched off. `EADDRNOTAVAIL`
/// also says that no port is free; UDP has ports of its own and needs the same address.
fn is_without_source(error: &io::Error, target: &SockAddr, source: Option<IpAddr>) -> bool {
    let is_unavailable = |error: &io::Error| error.kind() == ErrorKind::AddrNotAvailable;
    let probe = || {
        let socket = Socket::new(target.domain(), Type::DGRAM, None)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        socket.connect(target)
    };
    is_unavailable(error) && probe().is_err_and(|error| is_unavailable(&error))
}

fn open(address: &Address, options: &SocketOptions) -> io::Result<Socket> {
    let domain = match address {
        Address::Ip(ip) => Domain::for_address(*ip),
        Address::Unix(_) => Domain::UNIX,
    };
    let socket = sys::nonblocking(domain, Type::STREAM)?;
    options.apply(&socket, domain)?;
    Ok(socket)
}

/// Sets the options on an unconnected test socket and logs what the kernel granted. An option that is not granted is so
/// reported before the first of many connections.
///
/// # Errors
///
/// [`Error::System`] when the kernel refuses an option, or grants less than was asked for.
pub fn check_socket_options(address: &Address, options: &SocketOptions) -> Result<(), Error> {
    let granted = open(address, options).and_then(|socket| GrantedOptions::of(&socket));
    let granted = granted.map_err(Error::system("set the options of the sockets"))?;
    log::debug!("options of connections to {address}: {granted}");
    Ok(())
}

/// Checks after an event whether the connect has completed.
///
/// # Errors
///
/// The error of connect(2). A socket that is connected to itself counts as refused: the system can connect an ephemeral
/// port to itself when nothing listens there.
pub fn check_connect(stream: &Stream) -> io::Result<ConnectProgress> {
    let stream = match stream {
        Stream::Tcp(stream) => stream,
        Stream::Unix(_) => return Ok(ConnectProgress::Connected),
        Stream::Tls(stream) => return check_connect(stream.socket()),
    };
    match stream.peer_addr() {
        Ok(peer) if stream.local_addr()? == peer => Err(ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(ConnectProgress::Connected),
        // A connect that has failed left its error on the socket.
        Err(error) => match stream.take_error()? {
            Some(cause) => Err(cause),
            None if error.kind() == ErrorKind::NotConnected => Ok(ConnectProgress::Pending),
            None => Err(error),
        },
    }
}

#[cfg(all(test, target_os = "linux", not(multiconn_fallbacks)))]
mod tests {
    use super::begin_connect;
    use crate::socket::byte_stream::ByteStream;
    use crate::socket::{Address, SocketOptions, Stream};
    use std::net::TcpListener;

    /// Linux chooses from every second port first, and from the others only when these are taken.
    #[test]
    fn local_ports_are_even_and_odd() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or_default());
        if (numbers.next(), numbers.next()) < (Some(6), Some(14)) {
            return;
        }
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(host) else { continue };
            let address = Address::Ip(listener.local_addr().expect("it is bound"));
            let connect = |_| begin_connect(&address, &SocketOptions::default(), None).expect("it listens");
            // Each of 40 connections goes to a port of its own.
            let streams: Vec<_> = (0..40).map(connect).collect();
            let port = |stream: &Stream| stream.local_address().and_then(|local| local.port());
            let odd = streams.iter().filter(|stream| port(stream).is_some_and(|port| port % 2 == 1)).count();
            assert!((1..40).contains(&odd), "{odd} of 40 are odd");
        }
    }
}
