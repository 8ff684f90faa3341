//! The state machine of a connection, without a socket.
