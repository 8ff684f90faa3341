//! Corruption: how many flipped bits the client detects, and whether it reports their offset.

use crate::arrival_server::{ArrivalServer, Behaviour, BitFlip, MESSAGE_BYTES};
use crate::client::Client;
use crate::common::Outcome;
use crate::context::Bench;

const CONNECTIONS: usize = 4;
const MESSAGES: usize = 250;

/// Flips one bit in one of four streams of 16,000 bytes.
pub(crate) fn one_bit(bench: &mut Bench) -> Outcome<()> {
    let runs = bench.setup.options.rounds * if bench.setup.options.quick { 5 } else { 40 };
    let (mut found, mut located) = (0, 0);
    for number in 0..runs {
        let flip = flip(number);
        let server = ArrivalServer::start(&bench.setup.cpus, Behaviour { flip: Some(flip), ..Behaviour::default() })?;
        let (connections, messages) = (CONNECTIONS.to_string(), MESSAGES.to_string());
        let work = ["-c", &connections, "--messages", &messages, "--pipeline", "10"];
        let results = Client::start(bench, server.port, &work)?.results()?;
        server.finish()?;
        found += usize::from(results.mismatches.count == 1 && results.connections.failed == 1);
        let offset = format!(", byte {}: ", flip.byte);
        located += usize::from(results.mismatches.first.iter().any(|words| words.contains(&offset)));
    }
    bench.judge("found", &format!("{found} of {runs}"), "all", found == runs);
    bench.judge("reported with its offset", &format!("{located} of {runs}"), "all", located == runs);
    Ok(())
}

/// A different bit for each `number`, deterministic.
fn flip(number: usize) -> BitFlip {
    // The finalizer of SplitMix64 (Steele, Lea and Flood 2014) decorrelates consecutive numbers.
    let mut mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let below = |bound: usize, shift: u32| usize::try_from((mixed >> shift) % bound as u64).unwrap_or_default();
    BitFlip {
        connection: below(CONNECTIONS, 0),
        byte: below(MESSAGES * MESSAGE_BYTES, 8),
        bit: u8::try_from(below(8, 40)).unwrap_or_default(),
    }
}
