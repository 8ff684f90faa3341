//! Routes of the admin pages: /metrics, /healthz and /readyz.

use super::exposition;
use crate::event_loop::unix_time;
use crate::server::shared::Shared;
use crate::service::{Context, HttpRequest, HttpResponse, HttpService, Routes};
use crate::units::format_duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A worker without a heartbeat for this long is stuck. Heartbeats come every second, so four or five are missing.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The service of an admin connection.
pub(super) type PageService = HttpService<Pages>;

pub(super) fn page_service(shared: &Arc<Shared>) -> PageService {
    HttpService::new(unix_time, Pages::new(shared))
}

/// The pages of a server.
#[derive(Debug)]
pub(in crate::server) struct Pages(Arc<Shared>);

impl Pages {
    fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// 503 if a worker's loop is stuck, which a restart would fix.
    fn health(&self, now: Instant) -> HttpResponse {
        let age = self.0.process.age_s(now);
        for (number, counters) in self.0.counters.iter().enumerate() {
            let rounds = &counters.rounds;
            let silence = Duration::from_secs(age.saturating_sub(rounds.heartbeat_s.get()));
            if rounds.has_exited.get() == 0 && silence >= STUCK_AFTER {
                let line = format!("worker {number} has been stuck for {}", format_duration(silence));
                return HttpResponse::text(503, &line);
            }
        }
        HttpResponse::text(200, "alive")
    }

    fn page(&self, path: &str, now: Instant) -> HttpResponse {
        match path {
            "/metrics" => HttpResponse::new(200, exposition::CONTENT_TYPE, exposition::page(&self.0)),
            "/healthz" => self.health(now),
            "/readyz" => self.readiness(),
            _ => HttpResponse::text(404, "there is no such page; there are /metrics, /healthz and /readyz"),
        }
    }

    /// 503 while new connections are not accepted.
    fn readiness(&self) -> HttpResponse {
        if self.0.process.is_draining.load(Ordering::Relaxed) {
            HttpResponse::text(503, "draining")
        } else {
            HttpResponse::text(200, "ready")
        }
    }
}

impl Routes for Pages {
    fn respond(&mut self, request: &HttpRequest<'_>, context: &mut Context<'_>) -> HttpResponse {
        match request.head.method {
            "GET" | "HEAD" => self.page(request.head.path(), context.now()),
            // The field is required by RFC 9110, section 15.5.6.
            _ => HttpResponse::text(405, "only GET and HEAD are supported").with_field("Allow", "GET, HEAD"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pages, STUCK_AFTER};
    use crate::server::{Server, ServerConfig};
    use crate::service::Echo;
    use crate::socket::Endpoint;
    use std::time::Duration;

    #[test]
    fn a_worker_without_heartbeats_is_stuck_unless_it_has_exited() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        let server = Server::bind(config, |_| Echo).expect("a free port");
        let (shared, pages) = (&server.shared, Pages::new(&server.shared));
        let now = shared.process.created + Duration::from_secs(60);
        let beats = |number: usize| &shared.counters[number].rounds;
        beats(0).heartbeat_s.set(60);
        beats(1).heartbeat_s.set(60 - STUCK_AFTER.as_secs() + 1);
        assert_eq!(pages.page("/healthz", now).status, 200);
        beats(1).heartbeat_s.set(60 - STUCK_AFTER.as_secs());
        let answer = pages.page("/healthz", now);
        assert_eq!((answer.status, &answer.body[..]), (503, &b"worker 1 has been stuck for 5.00 s\n"[..]));
        beats(1).has_exited.set(1);
        assert_eq!(pages.page("/healthz", now).status, 200);
    }
}
