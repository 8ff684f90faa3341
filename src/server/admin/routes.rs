//! Which pages there are, and what they say.

use super::exposition;
use crate::event_loop::unix_time;
use crate::server::Shared;
use crate::service::{HttpResponse, Routes};
use crate::units::{format_duration, format_http_date};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A worker whose loop has not turned for this long is stuck: with a heartbeat every second, four or five are missing.
const STUCK: Duration = Duration::from_secs(5);

/// The pages of a server.
#[derive(Debug)]
pub(super) struct Pages(Arc<Shared>);

impl Pages {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Whether every worker turns its loop: a restart would help one that does not.
    fn health(&self, now: Instant) -> HttpResponse {
        let age = self.0.process.age_s(now);
        for (number, counters) in self.0.counters.iter().enumerate() {
            let rounds = &counters.rounds;
            let silence = Duration::from_secs(age.saturating_sub(rounds.beat_s.get()));
            if rounds.has_left.get() == 0 && silence >= STUCK {
                let line = format!("worker {number} has been stuck for {}", format_duration(silence));
                return HttpResponse::text(503, &line);
            }
        }
        HttpResponse::text(200, "alive")
    }

    /// Whether new connections are welcome.
    fn readiness(&self) -> HttpResponse {
        if self.0.process.is_draining.load(Ordering::Relaxed) {
            HttpResponse::text(503, "draining")
        } else {
            HttpResponse::text(200, "ready")
        }
    }
}

impl Routes for Pages {
    fn page(&mut self, path: &str, now: Instant) -> HttpResponse {
        match path {
            "/metrics" => {
                HttpResponse { status: 200, content_type: exposition::CONTENT_TYPE, body: exposition::page(&self.0) }
            }
            "/healthz" => self.health(now),
            "/readyz" => self.readiness(),
            _ => HttpResponse::text(404, "there is no such page; there are /metrics, /healthz and /readyz"),
        }
    }

    fn date(&mut self) -> String {
        format_http_date(unix_time().as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::{Pages, STUCK};
    use crate::server::{Server, ServerConfig};
    use crate::service::{Echo, Routes};
    use crate::socket::Endpoint;
    use std::time::Duration;

    #[test]
    fn a_worker_that_does_not_turn_is_stuck_and_one_that_has_left_is_not() {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 2;
        let server = Server::bind(config, |_| Echo).expect("a free port");
        let (shared, mut pages) = (&server.shared, Pages::new(&server.shared));
        let now = shared.process.born + Duration::from_secs(60);
        let beats = |number: usize| &shared.counters[number].rounds;
        beats(0).beat_s.set(60);
        beats(1).beat_s.set(60 - STUCK.as_secs() + 1);
        assert_eq!(pages.page("/healthz", now).status, 200);
        beats(1).beat_s.set(60 - STUCK.as_secs());
        let answer = pages.page("/healthz", now);
        assert_eq!((answer.status, answer.body.as_str()), (503, "worker 1 has been stuck for 5.00 s\n"));
        beats(1).has_left.set(1);
        assert_eq!(pages.page("/healthz", now).status, 200);
    }
}
