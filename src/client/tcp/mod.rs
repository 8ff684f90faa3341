//! Connections over TCP, TLS and Unix sockets: the message exchange of each, and its observer.

pub(super) mod exchange;
pub(super) mod in_flight;
mod inline_queue;
pub(super) mod interactive;
pub(super) mod observer;
pub(super) mod read_only;
pub(super) mod service;
pub(super) mod tls_events;
