//! The expectation of an echo: every byte comes back as it was sent.

use super::{Checked, Job, Place};
use crate::client::report::Mismatch;

/// How many bytes a mismatch shows of what was expected and of what came.
const SHOWN_BYTES: usize = 16;

/// Looks at the first of what `connection` has `received`: they must be what was sent from `verified` on, and not be ahead
/// of `sent`.
pub(super) fn check(
    job: &Job,
    connection: usize,
    (verified, sent): (Place, Place),
    received: &[u8],
) -> Result<Checked, Mismatch> {
    let message = job.message(verified.messages);
    // Bytes that were not sent yet cannot come back.
    let on_its_way = verified.messages < sent.messages;
    let end = if on_its_way { message.len() } else { sent.bytes };
    let expected = &message[verified.bytes..end];
    let count = expected.len().min(received.len());
    if count == 0 || expected[..count] != received[..count] {
        return Err(find_mismatch(job, connection, verified, expected, received));
    }
    Ok(Checked::Right { bytes: count, ends_message: verified.bytes + count == message.len() })
}

fn find_mismatch(job: &Job, connection: usize, verified: Place, expected: &[u8], received: &[u8]) -> Mismatch {
    let same = expected.iter().zip(received).take_while(|(expected, received)| expected == received).count();
    let shown = |bytes: &[u8]| bytes[same..bytes.len().min(same + SHOWN_BYTES)].to_vec();
    let messages = &job.messages;
    let round: u64 = messages.iter().map(|message| message.len() as u64).sum();
    let rounds = verified.messages / messages.len() as u64;
    let rest = (rounds * messages.len() as u64..verified.messages).map(|number| job.message(number).len() as u64);
    Mismatch {
        connection,
        offset: rounds * round + rest.sum::<u64>() + (verified.bytes + same) as u64,
        expected: shown(expected),
        received: shown(received),
    }
}
