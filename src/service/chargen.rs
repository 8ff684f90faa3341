//! Character generator (RFC 864): endless lines, as fast as the peer reads them.

use super::{Context, Input, Output, Service, Wait};

/// The printable characters of ASCII, including the space.
const FIRST_CHARACTER: u8 = b' ';
const CHARACTERS: usize = 95;

/// Characters per line, without its end.
const LINE_CHARACTERS: usize = 72;

/// Bytes per line with its end.
pub(super) const LINE_BYTES: usize = LINE_CHARACTERS + 2;

/// Each line starts one character later than the one before, so the pattern repeats after 95 lines.
pub(super) const PATTERN: [u8; CHARACTERS * LINE_BYTES] = pattern();

/// Sends endless lines of 72 of the 95 printable ASCII characters (RFC 864), until the peer closes. Input is discarded,
/// even while the peer reads slowly. A half-close of the peer does not end it.
#[derive(Debug, Default)]
pub struct Chargen {
    /// Position in the pattern.
    position: usize,
}

impl Service for Chargen {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        input.clear();
        while output.room() > 0 {
            self.position += output.write(&PATTERN[self.position..]);
            self.position %= PATTERN.len();
        }
        // Not `Writable`: then nothing would be read, and a peer that writes as well would wait for ever.
        Wait::Either
    }
}

const fn pattern() -> [u8; CHARACTERS * LINE_BYTES] {
    let mut pattern = [0; CHARACTERS * LINE_BYTES];
    let mut line = 0;
    while line < CHARACTERS {
        let start = line * LINE_BYTES;
        let mut column = 0;
        while column < LINE_CHARACTERS {
            // The remainder is below 95.
            #[allow(clippy::cast_possible_truncation)]
            let character = ((line + column) % CHARACTERS) as u8;
            pattern[start + column] = FIRST_CHARACTER + character;
            column += 1;
        }
        pattern[start + LINE_CHARACTERS] = b'\r';
        pattern[start + LINE_CHARACTERS + 1] = b'\n';
        line += 1;
    }
    pattern
}
