//! Pages of a program about itself: /metrics, /healthz and /readyz.

use std::fmt;
use std::time::Instant;
#[cfg(feature = "metrics")]
use {
    super::{Context, HttpRequest, HttpResponse, Routes},
    crate::counter::ExpositionFormat,
    std::sync::Arc,
};

/// What a program tells about itself. `Ok` and `Err` hold one line each: 200 and 503.
pub(crate) trait AdminPages: Send + Sync {
    /// All metrics in the OpenMetrics text format.
    fn metrics(&self) -> String;

    /// Whether the program works; if not, a restart would help.
    fn health(&self, now: Instant) -> Result<String, String>;

    /// Whether the program does its work now.
    fn readiness(&self, now: Instant) -> Result<String, String>;
}

impl fmt::Debug for dyn AdminPages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AdminPages")
    }
}

/// Serves the pages over HTTP.
#[cfg(feature = "metrics")]
#[derive(Debug, Clone)]
pub(crate) struct AdminRoutes(pub(crate) Arc<dyn AdminPages>);

#[cfg(feature = "metrics")]
impl AdminRoutes {
    fn page(&self, request: &HttpRequest<'_>, now: Instant) -> HttpResponse {
        let state = |state: Result<String, String>| match state {
            Ok(line) => HttpResponse::text(200, &line),
            Err(line) => HttpResponse::text(503, &line),
        };
        match request.head.path() {
            "/metrics" => {
                let format = ExpositionFormat::preferred(request.head.field("accept"));
                let page = format.convert(self.0.metrics());
                HttpResponse::new(200, format.content_type(), page).with_field("Vary", "Accept")
            }
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
            "GET" | "HEAD" => self.page(request, context.now()),
            // The field is required by RFC 9110, section 15.5.6.
            _ => HttpResponse::text(405, "only GET and HEAD are supported").with_field("Allow", "GET, HEAD"),
        }
    }
}
