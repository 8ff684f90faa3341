//! The `multiconn-client` program.

fn main() {}
