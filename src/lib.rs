//! multiconn.

pub mod buffer;
pub mod cli;
pub mod connection;
pub mod counter;
pub mod error;
pub mod event_loop;
pub mod pump;
pub mod repr;
pub mod server;
pub mod service;
pub mod socket;
pub mod units;
