//! Silent connections, held open while the benchmark reads the server's memory.

use std::io::{self, Read};

use super::LoadParameters;
use super::socket::{close_all, open_all};
use crate::common::Outcome;

/// Holds the connections until end of standard input.
pub(super) fn run(parameters: &LoadParameters) -> Outcome<()> {
    let streams = open_all(parameters)?;
    println!("open");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map_err(|error| format!("cannot wait for the end of standard input: {error}"))?;
    close_all(&streams)
}
