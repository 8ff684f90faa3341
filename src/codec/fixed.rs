//! Frames of a fixed size.

use super::frame::{Found, Frame};

pub(super) fn decode(size: usize, bytes: &[u8]) -> Found {
    match size.checked_sub(bytes.len()) {
        None | Some(0) => Found::Frame(Frame { payload: 0..size, size, kind: None }),
        Some(missing) => Found::Missing(missing as u64),
    }
}
