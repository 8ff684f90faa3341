//! What a service manager such as systemd is told, by the protocol of sd_notify(3): a few lines in a datagram.
//!
//! Nothing happens without `NOTIFY_SOCKET` in the environment. Telling never blocks and never fails: a manager that does
//! not listen must not keep the server from serving.

use super::{Message, ServerHandle};
use rustix::time::{ClockId, clock_gettime};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// The variable with how often the watchdog wants to hear of us, in microseconds (sd_watchdog_enabled(3)).
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// The variable with the process that the watchdog means. A successor is another one.
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// The manager, if there is one and it is to be told.
#[derive(Debug)]
pub(super) struct ServiceManager {
    address: Option<SocketAddr>,
    /// A successor took over: what this process does is no longer what the service does.
    is_relieved: AtomicBool,
    is_stopping: AtomicBool,
}

impl ServiceManager {
    /// The manager of `NOTIFY_SOCKET`, if it is `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        let address = if wanted { address_from_environment() } else { None };
        Self { address, is_relieved: AtomicBool::new(false), is_stopping: AtomicBool::new(false) }
    }

    /// The server accepts, or goes on to accept after a hand-over that failed.
    pub(super) fn tell_ready(&self) {
        self.tell("READY=1");
    }

    /// A successor is being started.
    pub(super) fn tell_reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The process `child_program` is the service from now on, and accepts. In one datagram: the manager hears nobody but the
    /// main process, and after the first of these two that is another one.
    pub(super) fn tell_relieved(&self, child_program: u32) {
        self.tell(&format!("MAINPID={child_program}\nREADY=1"));
        self.is_relieved.store(true, Ordering::Relaxed);
    }

    /// The server ends. Only the first call tells.
    pub(super) fn tell_stopping(&self) {
        if !self.is_stopping.swap(true, Ordering::Relaxed) {
            self.tell("STOPPING=1");
        }
    }

    fn tell(&self, text: &str) {
        let Some(address) = &self.address else { return };
        if self.is_relieved.load(Ordering::Relaxed) {
            return;
        }
        let send = || -> io::Result<usize> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.send_to_addr(text.as_bytes(), address)
        };
        match send() {
            Ok(_) => log::debug!("Told the service manager: {}", text.replace('\n', " ")),
            Err(error) => log::warn!("cannot tell the service manager {text:?}: {error}"),
        }
    }

    /// Whether the watchdog wants to hear of this process, and how often at least.
    fn watchdog(&self) -> Option<Duration> {
        self.address.as_ref()?;
        let is_other = |pid: String| pid != std::process::id().to_string();
        if std::env::var(WATCHDOG_PID).is_ok_and(is_other) {
            return None;
        }
        let micros = std::env::var(WATCHDOG_USEC).ok()?.parse().ok().filter(|&micros| micros > 0)?;
        Some(Duration::from_micros(micros))
    }
}

/// Tells the watchdog of `manager`, if there is one, twice in each of its intervals that all workers go round. When one
/// hangs it is told nothing, until that goes on.
///
/// On a thread of its own, which ends after the workers: only so all of them can be watched, the first one included.
pub(super) fn serve_watchdog(shared: &std::sync::Arc<super::Shared>) -> io::Result<()> {
    let Some(interval) = shared.service_manager.watchdog() else { return Ok(()) };
    let shared = std::sync::Arc::clone(shared);
    let watch = move || {
        while all_go_round(&shared.handle) {
            shared.service_manager.tell("WATCHDOG=1");
            std::thread::sleep(interval / 2);
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map(drop)
}

/// Waits until every worker has gone round once; false when all have ended.
fn all_go_round(handle: &ServerHandle) -> bool {
    let (sender, answers) = mpsc::channel();
    handle.workers.iter().for_each(|worker| worker.send(Message::Ping(sender.clone())));
    drop(sender);
    // Until each has answered or dropped the question, because it has ended.
    answers.iter().count() > 0
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
