//! The admin pages of a server: /metrics, /healthz and /readyz.

use super::exposition;
use crate::event_loop::unix_time;
use crate::server::shared::Shared;
use crate::service::{AdminPages, AdminRoutes, HttpService};
use crate::units::format_duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A worker without a heartbeat for this long is stuck. Heartbeats come every second, so four or five are missing.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The service of an admin connection.
pub(super) type PageService = HttpService<AdminRoutes>;

pub(super) fn page_service(shared: &Arc<Shared>) -> PageService {
    let pages = shared.config.admin_pages.clone();
    HttpService::new(unix_time, AdminRoutes(pages.unwrap_or_else(|| Arc::new(ServerPages(Arc::clone(shared))))))
}

/// What a server tells about itself.
struct ServerPages(Arc<Shared>);

impl AdminPages for ServerPages {
    fn metrics(&self) -> String {
        exposition::page(&self.0)
    }

    /// Not if a worker's loop is stuck.
    fn health(&self, now: Instant) -> Result<String, String> {
        let age = self.0.process.age_s(now);
        for (number, counters) in self.0.counters.iter().enumerate() {
            let rounds = &counters.rounds;
            let silence = Duration::from_secs(age.saturating_sub(rounds.heartbeat_s.get()));
            if rounds.has_exited.get() == 0 && silence >= STUCK_AFTER {
                return Err(format!("worker {number} has been stuck for {}", format_duration(silence)));
            }
        }
        Ok("alive".to_owned())
    }

    /// Not while new connections are not accepted.
    fn readiness(&self, _now: Instant) -> Result<String, String> {
        let is_draining = self.0.process.is_draining.load(Ordering::Relaxed);
        if is_draining { Err("draining".to_owned()) } else { Ok("ready".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{STUCK_AFTER, ServerPages};
    use crate::server::{Server, ServerConfig};
    use crate::service::{AdminPages, Echo};
    use crate::socket::Endpoint;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_worker_without_heartbeats_is_stuck_unless_it_has_exited() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        let server = Server::bind(config, |_| Echo).expect("a free port");
        let (shared, pages) = (&server.shared, ServerPages(Arc::clone(&server.shared)));
        let now = shared.process.created + Duration::from_secs(60);
        let beats = |number: usize| &shared.counters[number].rounds;
        beats(0).heartbeat_s.set(60);
        beats(1).heartbeat_s.set(60 - STUCK_AFTER.as_secs() + 1);
        assert_eq!(pages.health(now).as_deref(), Ok("alive"));
        beats(1).heartbeat_s.set(60 - STUCK_AFTER.as_secs());
        assert_eq!(pages.health(now), Err("worker 1 has been stuck for 5.00 s".to_owned()));
        beats(1).has_exited.set(1);
        assert_eq!(pages.health(now).as_deref(), Ok("alive"));
    }
}
