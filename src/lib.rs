//! multiconn.
