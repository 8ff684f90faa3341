//! The `multiconn-server` program.

fn main() {}
