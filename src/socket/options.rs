//! Socket options (buffers, no-delay, keep-alive), and what the kernel granted of them.

use super::sys::{self, REPORTED_PER_ASKED};
use crate::error::Error;
use crate::units::{format_duration, format_size};
use socket2::{Domain, Socket, TcpKeepalive};
use std::fmt;
use std::io;
use std::time::Duration;

/// The default backlog: how many connections may wait to be accepted. The kernel limits it to `net.core.somaxconn`,
/// 4,096 by default since Linux 5.4 (listen(2)).
const BACKLOG: u32 = 4096;

/// The largest size that setsockopt(2) takes, which is an `int`.
const MAX_REQUESTED_BYTES: usize = i32::MAX as usize;

/// The options set on every socket. `None` keeps the system's default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// How many connections may wait to be accepted (listen(2)). Default: 4,096.
    pub backlog: u32,
    /// `TCP_NODELAY`: send small messages at once (tcp(7)). Default: on.
    pub no_delay: bool,
    /// `SO_KEEPALIVE`: probe a silent peer after this long, in whole seconds, and repeat at the same interval (tcp(7),
    /// `TCP_KEEPIDLE` and `TCP_KEEPINTVL`). Default: off; the idle timeout ends silent connections.
    pub keepalive: Option<Duration>,
    /// `SO_RCVBUF`, in bytes (socket(7)). Setting it disables the kernel's own tuning. Default: the kernel's.
    pub recv_buffer: Option<usize>,
    /// `SO_SNDBUF`, in bytes (socket(7)). Setting it disables the kernel's own tuning. Default: the kernel's.
    pub send_buffer: Option<usize>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, no_delay: true, keepalive: None, recv_buffer: None, send_buffer: None }
    }
}

impl SocketOptions {
    /// The backlog that the kernel grants when a larger one is requested: `net.core.somaxconn` (listen(2)). Returns `None`
    /// when the request is granted or the limit is unknown.
    #[must_use]
    pub fn cut_backlog(&self) -> Option<u32> {
        let max = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()?;
        Some(max).filter(|max| *max < self.backlog)
    }

    /// Validates the options.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a keep-alive time that the kernel does not support.
    pub fn check(&self) -> Result<(), Error> {
        match self.keepalive {
            Some(time) if time < Duration::from_secs(1) || time > Duration::from_secs(32_767) => {
                let time = format_duration(time);
                let problem = format!("a keep-alive of {time} is not kept by the kernel; give 1s to 9h, such as 1m");
                Err(Error::config(&["socket.keepalive"], problem))
            }
            _ => Ok(()),
        }
    }

    /// Sets the options on a socket of `domain`. On Linux and the BSDs accepted connections inherit them from the
    /// listener, which saves a call for each.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2); `InvalidInput` with an explanation when the kernel granted less than was asked for.
    pub(super) fn apply(&self, socket: &Socket, domain: Domain) -> io::Result<()> {
        self.apply_buffers(socket)?;
        if domain == Domain::UNIX {
            return Ok(());
        }
        socket.set_tcp_nodelay(self.no_delay)?;
        if let Some(time) = self.keepalive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(time))?;
        }
        Ok(())
    }

    /// Sets the kernel's buffer sizes, which every kind of socket has.
    pub(super) fn apply_buffers(&self, socket: &Socket) -> io::Result<()> {
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes.min(MAX_REQUESTED_BYTES))?;
            expect_granted("receive buffer", bytes, socket.recv_buffer_size()?, "net.core.rmem_max")?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes.min(MAX_REQUESTED_BYTES))?;
            expect_granted("send buffer", bytes, socket.send_buffer_size()?, "net.core.wmem_max")?;
        }
        Ok(())
    }
}

fn expect_granted(what: &str, asked: usize, reported: usize, setting: &str) -> io::Result<()> {
    let granted = reported / REPORTED_PER_ASKED;
    if granted >= asked {
        return Ok(());
    }
    let (asked, granted) = (format_size(asked as u64), format_size(granted as u64));
    let text = format!("a {what} of {asked} was asked for and {granted} granted; ask for less, or raise {setting}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// The options in force on a socket, as read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantedOptions {
    no_delay: Option<bool>,
    keepalive: Option<Duration>,
    recv_buffer: usize,
    send_buffer: usize,
}

impl GrantedOptions {
    pub(super) fn of(socket: &Socket) -> io::Result<Self> {
        let is_tcp = sys::domain(socket)? != Domain::UNIX;
        let keeps_alive = is_tcp && socket.keepalive()?;
        Ok(Self {
            no_delay: if is_tcp { Some(socket.tcp_nodelay()?) } else { None },
            keepalive: if keeps_alive { Some(socket.tcp_keepalive_time()?) } else { None },
            recv_buffer: socket.recv_buffer_size()? / REPORTED_PER_ASKED,
            send_buffer: socket.send_buffer_size()? / REPORTED_PER_ASKED,
        })
    }
}

impl fmt::Display for GrantedOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(no_delay) = self.no_delay {
            write!(out, "no-delay {}, ", if no_delay { "on" } else { "off" })?;
            match self.keepalive {
                Some(time) => write!(out, "keep-alive {}, ", format_duration(time))?,
                None => out.write_str("keep-alive off, ")?,
            }
        }
        let (recv, send) = (format_size(self.recv_buffer as u64), format_size(self.send_buffer as u64));
        write!(out, "receive buffer {recv}, send buffer {send}")
    }
}

#[cfg(test)]
mod tests {
    use super::{GrantedOptions, SocketOptions};
    use socket2::{Domain, Socket, Type};
    use std::time::Duration;

    #[test]
    fn options_are_read_back() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let options = SocketOptions {
            no_delay: true,
            keepalive: Some(Duration::from_secs(60)),
            recv_buffer: Some(16 * 1024),
            send_buffer: Some(32 * 1024),
            ..SocketOptions::default()
        };
        options.apply(&socket, Domain::IPV4).expect("common options");
        let granted = GrantedOptions::of(&socket).expect("readable options").to_string();
        assert_eq!(granted, "no-delay on, keep-alive 1 m, receive buffer 16 KiB, send buffer 32 KiB");
    }

    #[test]
    fn a_smaller_buffer_than_requested_is_an_error() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let most = {
            let options = SocketOptions { recv_buffer: Some(1 << 30), ..SocketOptions::default() };
            options.apply(&socket, Domain::IPV4).expect_err("no kernel grants a gibibyte by default").to_string()
        };
        assert!(most.starts_with("a receive buffer of 1 GiB was asked for") && most.contains("rmem_max"), "{most}");
        // A size above 32 bits is capped, not truncated to its low bits.
        let options = SocketOptions { recv_buffer: Some(1 << 40), ..SocketOptions::default() };
        let error = options.apply(&socket, Domain::IPV4).expect_err("no kernel grants a tebibyte").to_string();
        assert_eq!(error, most.replace("1 GiB", "1 TiB"));
    }

    #[test]
    fn a_keepalive_below_a_second_is_refused() {
        let options = SocketOptions { keepalive: Some(Duration::from_millis(10)), ..SocketOptions::default() };
        assert!(options.check().is_err_and(|error| error.to_string().contains("10.0 ms")));
    }
}
