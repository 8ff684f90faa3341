//! Frames with a length prefix, optionally after a type byte.

use super::error::FrameError;
use super::frame::{Found, Frame};

/// Maximum number of digits of a length: that of the largest 64-bit number.
pub(super) const MAX_DIGITS: u8 = 20;

/// Format of a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthFormat {
    /// That many ASCII digits, 1 to 20, with leading zeros.
    Digits(u8),
    /// Unsigned integer of 1, 2, 4 or 8 bytes, most significant byte first (network byte order, RFC 1700).
    BigEndian(u8),
    /// Unsigned integer of 1, 2, 4 or 8 bytes, least significant byte first.
    LittleEndian(u8),
}

/// Prefix of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthPrefix {
    /// Format of the payload's length.
    pub format: LengthFormat,
    /// Whether a type byte precedes the length.
    pub has_kind: bool,
}

impl LengthPrefix {
    /// Size of the prefix in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        usize::from(self.has_kind) + self.length_size()
    }

    fn length_size(self) -> usize {
        let (LengthFormat::Digits(size) | LengthFormat::BigEndian(size) | LengthFormat::LittleEndian(size)) =
            self.format;
        size.into()
    }

    pub(super) fn decode(self, bytes: &[u8], max_bytes: usize) -> Result<Found, FrameError> {
        let before = self.size();
        let Some(prefix) = bytes.get(..before) else {
            // Counts the prefix only, because the payload may be empty.
            return Ok(Found::Missing((before - bytes.len()) as u64));
        };
        let (kind, digits) = prefix.split_at(usize::from(self.has_kind));
        let length = self.read(digits)?;
        let size = length.saturating_add(before as u64);
        let total = usize::try_from(size).ok().filter(|&size| size <= max_bytes);
        let Some(total) = total else {
            return Err(FrameError::TooLarge { size, max: max_bytes as u64 });
        };
        Ok(match total.checked_sub(bytes.len()) {
            None | Some(0) => Found::Frame(Frame { payload: before..total, size: total, kind: kind.first().copied() }),
            Some(missing) => Found::Missing(missing as u64),
        })
    }

    fn read(self, bytes: &[u8]) -> Result<u64, FrameError> {
        let shifted = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        match self.format {
            LengthFormat::Digits(_) => read_digits(bytes),
            LengthFormat::BigEndian(_) => Ok(bytes.iter().fold(0, shifted)),
            LengthFormat::LittleEndian(_) => Ok(bytes.iter().rev().fold(0, shifted)),
        }
    }

    /// Writes the length of a payload; `None` if this format cannot represent it.
    pub(super) fn write(self, length: u64, room: &mut [u8]) -> Option<()> {
        let mut remaining = length;
        let mut put = |place: &mut u8, base: u64, zero: u8| {
            // The remainder is below 256.
            #[allow(clippy::cast_possible_truncation)]
            let digit = (remaining % base) as u8;
            *place = zero + digit;
            remaining /= base;
        };
        match self.format {
            LengthFormat::Digits(_) => room.iter_mut().rev().for_each(|place| put(place, 10, b'0')),
            LengthFormat::BigEndian(_) => room.iter_mut().rev().for_each(|place| put(place, 256, 0)),
            LengthFormat::LittleEndian(_) => room.iter_mut().for_each(|place| put(place, 256, 0)),
        }
        (remaining == 0).then_some(())
    }
}

/// Parses digits only: no sign, no space, no underscore.
fn read_digits(bytes: &[u8]) -> Result<u64, FrameError> {
    let mut number = 0_u64;
    for &byte in bytes {
        if !byte.is_ascii_digit() {
            return Err(FrameError::NotDigits { text: bytes.escape_ascii().to_string() });
        }
        // Saturates: a value that does not fit is too large in any case.
        number = number.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    }
    Ok(number)
}
