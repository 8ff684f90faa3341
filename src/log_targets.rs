//! Log targets of the lines that the tutorial's programs print, too, in their form.

/// Log target of the server's lines: events at level `debug`, payloads at `trace`.
pub const SERVER_LOG: &str = "multiconn::server::tutorial";

/// Log target of the client's lines; see [`SERVER_LOG`].
pub const CLIENT_LOG: &str = "multiconn::client::tutorial";
