//! Admin pages: HTTP connections of the first worker, and the metrics that every worker records each round.

mod connections;
mod exposition;
mod round_metrics;
mod routes;

pub(super) use connections::{AdminConnection, AdminConnections};
pub(super) use round_metrics::RoundMetrics;
