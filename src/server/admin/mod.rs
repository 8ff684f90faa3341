//! Admin pages: HTTP connections of the first worker, and the metrics that every worker records each round.

mod connections;
#[cfg(feature = "metrics")]
mod exposition;
mod round_metrics;
#[cfg_attr(not(feature = "metrics"), path = "routes_disabled.rs")]
mod routes;

pub(super) use connections::{AdminConnection, AdminConnections};
pub(super) use round_metrics::RoundMetrics;
