//! The pump on a scripted socket.
