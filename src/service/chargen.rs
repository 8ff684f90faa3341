//! The character generator, RFC 864: lines without end, as fast as the peer takes them.

use super::{Input, Output, Service, Wait};
use std::time::Instant;

/// The printing characters of ASCII, the space among them.
const FIRST: u8 = b' ';
const CHARACTERS: usize = 95;

/// The characters of a line; its end takes two bytes more.
const LINE: usize = 72;

/// Every line begins one character later than the line before, so that after 95 lines all begins anew.
const PATTERN: [u8; CHARACTERS * (LINE + 2)] = pattern();

/// Sends 72 of the 95 printing characters of ASCII in each line, without end (RFC 864), until the peer goes. What the peer
/// sends is thrown away meanwhile, however slowly it reads. That it has shut its half ends nothing: who wants no more closes.
#[derive(Debug, Default)]
pub struct Chargen {
    /// Where in the pattern it goes on.
    position: usize,
}

impl Service for Chargen {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _now: Instant) -> Wait {
        input.clear();
        while output.room() > 0 {
            self.position += output.write(&PATTERN[self.position..]);
            self.position %= PATTERN.len();
        }
        // Not for room alone: then nothing would be read, and a peer that writes as well would wait for ever.
        Wait::Either
    }
}

const fn pattern() -> [u8; CHARACTERS * (LINE + 2)] {
    let mut pattern = [0; CHARACTERS * (LINE + 2)];
    let mut line = 0;
    while line < CHARACTERS {
        let start = line * (LINE + 2);
        let mut column = 0;
        while column < LINE {
            // Below 95.
            #[allow(clippy::cast_possible_truncation)]
            let character = ((line + column) % CHARACTERS) as u8;
            pattern[start + column] = FIRST + character;
            column += 1;
        }
        pattern[start + LINE] = b'\r';
        pattern[start + LINE + 1] = b'\n';
        line += 1;
    }
    pattern
}
