//! Name resolution for outgoing connections, on threads of its own: getaddrinfo(3) blocks, and an event loop must not.
//!
//! A server has a few threads for this, started when the first names need them and ended with the server. A lookup that
//! runs cannot be interrupted, so nothing waits for these threads: one in a lookup ends when that returns. Equal names
//! are looked up once, and results are kept for a short time, so that one connection is not one DNS query.

#[cfg(test)]
mod tests;

use crate::error::in_words;
use crate::panic_guard::guarded;
use crate::socket::{Address, Endpoint};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of threads, and so of names that are looked up at the same time. A name whose servers do not answer
/// takes up a thread for 5 to 30 seconds (resolv.conf(5)).
const MAX_THREADS: usize = 4;

/// Maximum number of names that wait for a thread.
const MAX_QUEUED: usize = 1024;

/// Maximum number of names whose results are kept.
const MAX_CACHED: usize = 1024;

/// Maximum length of a name, in bytes (RFC 1035, section 2.3.4; 253 without the length bytes, and a final dot).
const MAX_NAME_BYTES: usize = 254;

/// How long the addresses of a name are used before it is looked up again. The time to live of a DNS record is not known
/// here; it is rarely shorter than this.
const KEEP_ADDRESSES: Duration = Duration::from_secs(10);

/// How long a failed lookup is not repeated.
const KEEP_FAILURE: Duration = Duration::from_secs(1);

/// The addresses of an endpoint, at least one; or why there are none.
pub(super) type Resolved = Result<Vec<Address>, String>;

/// Called with the result of a lookup, on a thread of the resolver.
type Callback = Box<dyn FnOnce(Resolved) + Send>;

/// Looks up a host; the ports of the result are not used.
type LookUp = Box<dyn Fn(&str) -> Resolved + Send + Sync>;

/// Resolves names for all workers of a server.
pub(super) struct Resolver {
    shared: Arc<Shared>,
}

/// A lookup that was requested.
#[derive(Debug)]
pub(super) enum Lookup {
    /// The result was known.
    Done(Resolved),
    /// The result follows.
    Pending(PendingLookup),
}

/// A lookup in progress. Dropping it cancels the callback.
pub(super) struct PendingLookup {
    shared: Arc<Shared>,
    host: String,
    waiter: u64,
}

struct Shared {
    look_up: LookUp,
    names: Mutex<Names>,
    changed: Condvar,
}

#[derive(Default)]
struct Names {
    by_host: HashMap<String, Name>,
    /// Hosts that wait for a thread.
    queue: VecDeque<String>,
    threads: usize,
    /// Threads that wait for a host, including those that were woken but do not run yet.
    idle_threads: usize,
    last_waiter: u64,
    is_closed: bool,
}

enum Name {
    /// In the queue, or looked up now.
    Pending(BTreeMap<u64, Callback>),
    Known(Resolved, Instant),
}

impl Resolver {
    /// A resolver that asks the system (getaddrinfo(3)).
    pub(super) fn new() -> Self {
        Self::with(|host| {
            let addresses = Endpoint::tcp(host, 0).resolve().map_err(|error| error.to_string())?;
            if addresses.is_empty() { Err(format!("{host:?} has no address")) } else { Ok(addresses) }
        })
    }

    pub(super) fn with(look_up: impl Fn(&str) -> Resolved + Send + Sync + 'static) -> Self {
        let shared = Shared { look_up: Box::new(look_up), names: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Resolves `endpoint` without blocking. If its addresses are not known, `callback` is called with them later. An IP
    /// address or the path of a Unix socket needs no lookup.
    pub(super) fn look_up(
        &self,
        endpoint: &Endpoint,
        now: Instant,
        callback: impl FnOnce(Resolved) + Send + 'static,
    ) -> Lookup {
        if let Some(addresses) = endpoint.resolve_literal() {
            return Lookup::Done(addresses.map_err(|error| error.to_string()));
        }
        let (host, port) = match endpoint {
            Endpoint::Tcp { host, port } => (host, *port),
            Endpoint::Unix(_) => unreachable!("the path of a Unix socket needs no lookup"),
        };
        if host.len() > MAX_NAME_BYTES {
            return Lookup::Done(Err(format!("a host name of {} bytes is too long", host.len())));
        }
        let callback = Box::new(move |resolved: Resolved| callback(with_port(&resolved, port)));
        let mut names = self.shared.names();
        let waiter = match names.request(host, now, callback) {
            Ok(waiter) => waiter,
            Err(resolved) => return Lookup::Done(with_port(&resolved, port)),
        };
        if let Err(error) = self.shared.provide_thread(&mut names) {
            names.cancel(host, waiter);
            return Lookup::Done(Err(format!("cannot resolve {host:?}: cannot start a thread: {error}")));
        }
        Lookup::Pending(PendingLookup { shared: Arc::clone(&self.shared), host: host.clone(), waiter })
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.names().is_closed = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for PendingLookup {
    fn drop(&mut self) {
        self.shared.names().cancel(&self.host, self.waiter);
    }
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, Names> {
        // No statement under the lock leaves the names inconsistent, even if it panics.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes or starts a thread for a host that was queued.
    ///
    /// # Errors
    ///
    /// The description of the error, if there is no thread and none can be started.
    fn provide_thread(self: &Arc<Self>, names: &mut Names) -> Result<(), String> {
        if names.queue.len() <= names.idle_threads {
            self.changed.notify_one();
        } else if names.threads < MAX_THREADS {
            let shared = Arc::clone(self);
            match std::thread::Builder::new().name("resolver".to_owned()).spawn(move || shared.work()) {
                Ok(_) => names.threads += 1,
                Err(error) if names.threads == 0 => return Err(in_words(&error)),
                // The other threads look it up later.
                Err(error) => log::debug!(error = in_words(&error); "cannot start another resolver thread"),
            }
        }
        Ok(())
    }

    /// Looks up queued hosts until the resolver is dropped.
    fn work(&self) {
        let mut names = self.names();
        while !names.is_closed {
            let Some(host) = names.queue.pop_front() else {
                names.idle_threads += 1;
                names = self.changed.wait(names).unwrap_or_else(PoisonError::into_inner);
                names.idle_threads -= 1;
                continue;
            };
            drop(names);
            let resolved = guarded(|| (self.look_up)(&host)).unwrap_or_else(|panic| Err(format!("panicked: {panic}")));
            let callbacks = self.names().finish(host, resolved.clone(), Instant::now());
            for callback in callbacks.into_values() {
                callback(resolved.clone());
            }
            names = self.names();
        }
        names.threads -= 1;
    }
}

impl Names {
    /// Adds a waiter for `host`, and queues the host if necessary. Returns the waiter, or the result if it is known.
    fn request(&mut self, host: &str, now: Instant, callback: Callback) -> Result<u64, Resolved> {
        let waiter = self.last_waiter + 1;
        match self.by_host.get_mut(host) {
            Some(Name::Known(resolved, until)) if now < *until => return Err(resolved.clone()),
            Some(Name::Pending(waiters)) => drop(waiters.insert(waiter, callback)),
            _ if self.queue.len() >= MAX_QUEUED => {
                return Err(Err(format!("cannot resolve {host:?}: {MAX_QUEUED} other names wait")));
            }
            _ => {
                self.by_host.insert(host.to_owned(), Name::Pending(BTreeMap::from([(waiter, callback)])));
                self.queue.push_back(host.to_owned());
            }
        }
        self.last_waiter = waiter;
        Ok(waiter)
    }

    /// Removes a waiter. A queued host without waiters is not looked up.
    fn cancel(&mut self, host: &str, waiter: u64) {
        let Some(Name::Pending(waiters)) = self.by_host.get_mut(host) else { return };
        waiters.remove(&waiter);
        if waiters.is_empty()
            && let Some(place) = self.queue.iter().position(|queued| queued == host)
        {
            self.queue.remove(place);
            self.by_host.remove(host);
        }
    }

    /// Keeps the result of a lookup. Returns the callbacks to call with it.
    fn finish(&mut self, host: String, resolved: Resolved, now: Instant) -> BTreeMap<u64, Callback> {
        self.make_room(now);
        let until = now + if resolved.is_ok() { KEEP_ADDRESSES } else { KEEP_FAILURE };
        match self.by_host.insert(host, Name::Known(resolved, until)) {
            Some(Name::Pending(waiters)) => waiters,
            _ => BTreeMap::new(),
        }
    }

    /// Removes expired results when many are kept; the one that expires first if that was not enough.
    fn make_room(&mut self, now: Instant) {
        if self.known().count() < MAX_CACHED {
            return;
        }
        self.by_host.retain(|_, name| !matches!(name, Name::Known(_, until) if *until <= now));
        if self.known().count() >= MAX_CACHED
            && let Some(host) = self.known().min().map(|(_, host)| host.to_owned())
        {
            self.by_host.remove(&host);
        }
    }

    /// The hosts whose results are kept, and until when.
    fn known(&self) -> impl Iterator<Item = (Instant, &str)> {
        self.by_host.iter().filter_map(|(host, name)| match name {
            Name::Known(_, until) => Some((*until, host.as_str())),
            Name::Pending(_) => None,
        })
    }
}

fn with_port(resolved: &Resolved, port: u16) -> Resolved {
    resolved.as_ref().map(|all| all.iter().map(|address| address.with_port(port)).collect()).map_err(Clone::clone)
}

impl fmt::Debug for Resolver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.shared.names();
        out.debug_struct("Resolver").field("names", &names.by_host.len()).field("threads", &names.threads).finish()
    }
}

impl fmt::Debug for PendingLookup {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PendingLookup").field("host", &self.host).finish_non_exhaustive()
    }
}
