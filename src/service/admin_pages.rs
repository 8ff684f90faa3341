//! Pages of a program about itself: /metrics, /healthz and /readyz.

use std::fmt;
use std::time::Instant;
#[cfg(feature = "metrics")]
use {
    super::{Context, HttpRequest, HttpResponse, Routes},
    crate::counter::CONTENT_TYPE,
    std::sync::Arc,
};

/// What a program tells about itself. `Ok` and `Err` hold one line each: 200 and 503.
pub(crate) trait AdminPages: fmt::Debug + Send + Sync {
    /// All metrics in the OpenMetrics text format.
    fn metrics(&self) -> String;

    /// Whether the program works; if not, a restart would help.
    fn health(&self, now: Instant) -> Result<String, String>;

    /// Whether the program does its work now.
    fn readiness(&self, now: Instant) -> Result<String, String>;
}

/// Serves the pages over HTTP.
#[cfg(feature = "metrics")]
#[derive(Debug, Clone)]
pub(crate) struct AdminRoutes(pub(crate) Arc<dyn AdminPages>);

#[cfg(feature = "metrics")]
impl AdminRoutes {
    fn page(&self, path: &str, now: Instant) -> HttpResponse {
        let state = |state: Result<String, String>| match state {
            Ok(line) => HttpResponse::text(200, &line),
            Err(line) => HttpResponse::text(503, &line),
        };
        match path {
            "/metrics" => HttpResponse::new(200, CONTENT_TYPE, self.0.metrics()),
            "/healthz" => state(self.0.health(now)),
            "/readyz" => state(self.0.readiness(now)),
            _ => HttpResponse::text(404, "there is no such page; there are /metrics, /healthz and /readyz"),
        }
    }
}

#[cfg(feature = "metrics")]
impl Routes for AdminRoutes {
    fn respond(&mut self, request: &HttpRequest<'_>, context: &mut Context<'_>) -> HttpResponse {
        match request.head.method {
            "GET" | "HEAD" => self.page(request.head.path(), context.now()),
            // The field is required by RFC 9110, section 15.5.6.
            _ => HttpResponse::text(405, "only GET and HEAD are supported").with_field("Allow", "GET, HEAD"),
        }
    }
}
