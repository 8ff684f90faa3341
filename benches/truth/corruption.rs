//! Servers that lie, each time elsewhere: how many of them the client finds, and whether it says where the lie was.

use crate::arrival_server::{Lie, MESSAGE_BYTES, Recorder};
use crate::client::Client;
use crate::common::Outcome;
use crate::context::Bench;

const CONNECTIONS: usize = 4;
const MESSAGES: usize = 250;

/// In one of four streams of 16,000 bytes one bit is wrong.
pub(crate) fn one_bit(bench: &mut Bench) -> Outcome<()> {
    let runs = bench.setting.options.rounds * if bench.setting.options.quick { 5 } else { 40 };
    let (mut found, mut placed) = (0, 0);
    for number in 0..runs {
        let lie = lie(number);
        let recorder = Recorder::start(&bench.setting.cpus, Some(lie))?;
        let (connections, messages) = (CONNECTIONS.to_string(), MESSAGES.to_string());
        let work = ["-c", &connections, "--messages", &messages, "--pipeline", "10"];
        let record = Client::start(bench, recorder.port, &work)?.record()?;
        recorder.finish()?;
        found += usize::from(record.mismatches.count == 1 && record.connections.failed == 1);
        let place = format!(", byte {}: ", lie.byte);
        placed += usize::from(record.mismatches.first.iter().any(|words| words.contains(&place)));
    }
    bench.judge("found", &format!("{found} of {runs}"), "all", found == runs);
    bench.judge("and named with its place", &format!("{placed} of {runs}"), "all", placed == runs);
    Ok(())
}

/// Another one each time, the same in every run.
fn lie(number: usize) -> Lie {
    // The finalizer of splitmix64 (Steele, Lea and Flood 2014): neighbours have nothing in common.
    let mut mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let below = |bound: usize, shift: u32| usize::try_from((mixed >> shift) % bound as u64).unwrap_or_default();
    Lie {
        connection: below(CONNECTIONS, 0),
        byte: below(MESSAGES * MESSAGE_BYTES, 8),
        bit: u8::try_from(below(8, 40)).unwrap_or_default(),
    }
}
