//! Notifications to a service manager such as systemd (sd_notify(3)): readiness, reloads, stopping, watchdog.
//!
//! Nothing is sent without `NOTIFY_SOCKET` in the environment. Notifying never blocks and never fails: a manager that
//! does not read must not keep the server from serving. The `sd-notify` crate blocks, and takes no abstract address.

use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The environment variable with the watchdog interval, in microseconds (sd_watchdog_enabled(3)).
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// The environment variable with the process that the watchdog supervises. A new process has another PID.
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The service manager, if there is one and notifications are enabled.
#[derive(Debug)]
pub(super) struct ServiceManager {
    address: Option<SocketAddr>,
    /// A new process is the main process: the state of this one no longer matters to the service manager.
    is_handed_over: AtomicBool,
    is_stopping: AtomicBool,
}

impl ServiceManager {
    /// The manager named by `NOTIFY_SOCKET`, if `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        let address = if wanted { address_from_environment() } else { None };
        Self { address, is_handed_over: AtomicBool::new(false), is_stopping: AtomicBool::new(false) }
    }

    /// The server accepts, or continues to accept after a failed handover.
    pub(super) fn notify_ready(&self) {
        self.notify("READY=1");
    }

    /// A handover starts.
    pub(super) fn notify_reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.notify(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The process `child` is the main process from now on, and accepts. Both facts go into one datagram: the manager
    /// accepts notifications only from the main process, which is another one after the first fact.
    pub(super) fn notify_handed_over(&self, child: u32) {
        self.notify(&format!("MAINPID={child}\nREADY=1"));
        self.is_handed_over.store(true, Ordering::Relaxed);
    }

    /// The server shuts down. Only the first call sends.
    pub(super) fn notify_stopping(&self) {
        if !self.is_stopping.swap(true, Ordering::Relaxed) {
            self.notify("STOPPING=1");
        }
    }

    /// All workers responded within the watchdog interval.
    pub(super) fn notify_watchdog(&self) {
        self.notify("WATCHDOG=1");
    }

    fn notify(&self, text: &str) {
        let Some(address) = &self.address else { return };
        if self.is_handed_over.load(Ordering::Relaxed) {
            return;
        }
        let send = || -> io::Result<usize> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to_addr(text.as_bytes(), address)
        };
        match send() {
            Ok(_) => log::debug!("Notified the service manager: {}", text.replace('\n', " ")),
            Err(error) => log::warn!("cannot notify the service manager {text:?}: {error}"),
        }
    }

    /// The watchdog interval, if this process is supervised.
    pub(super) fn watchdog_interval(&self) -> Option<Duration> {
        self.address.as_ref()?;
        let is_other = |pid: String| pid != std::process::id().to_string();
        if std::env::var(WATCHDOG_PID).is_ok_and(is_other) {
            return None;
        }
        let micros = std::env::var(WATCHDOG_USEC).ok()?.parse().ok().filter(|&micros| micros > 0)?;
        Some(Duration::from_micros(micros))
    }
}

fn address_from_environment() -> Option<SocketAddr> {
    let name = std::env::var_os("NOTIFY_SOCKET")?;
    let address = match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(&name),
    };
    address.inspect_err(|error| log::warn!("NOTIFY_SOCKET={} cannot be used: {error}", name.display())).ok()
}
