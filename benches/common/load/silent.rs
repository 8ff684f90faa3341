//! Connections that stay and say nothing, while somebody else looks at the server's memory.

use std::io::{self, Read};

use super::Order;
use super::socket::{close_all, open_all};
use crate::common::Outcome;

/// Holds the connections until its standard input ends.
pub(super) fn run(order: &Order) -> Outcome<()> {
    let streams = open_all(order)?;
    println!("open");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(|error| format!("cannot wait for the end of standard input: {error}"))?;
    close_all(&streams)
}
