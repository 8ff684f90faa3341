//! Upper bound of the memory that a TLS session holds for its peer.
//!
//! rustls does not report its buffers. Their size is derived from the bytes that enter and leave the session:
//! incomplete records, incomplete handshake messages, unread plaintext, and ciphertext that the socket has not taken.

use rustls::{Connection, IoState};
use std::io::{self, ErrorKind, Read};

/// Memory of an idle session, in bytes: keys and state, without the peer's certificate; the first 4 KiB of the receive
/// buffer; and the allocator's overhead. Measured as resident memory of the server over 1,000 connections each: 2.3 KiB
/// after the accept, 6.4 KiB with a part of a ClientHello, 8.4 KiB after the server's part of the handshake, 8.2 KiB
/// for an idle session of TLS 1.2, 7.8 KiB of TLS 1.3.
pub(super) const SESSION_BYTES: usize = 10 * 1024;

/// Input that a server accepts before the handshake is complete, in bytes. A ClientHello takes 2 KiB with a
/// post-quantum key share, and a chain of client certificates 2 to 20 KiB. With 4 KiB more, this fills a receive buffer
/// of 32 KiB.
pub(super) const HANDSHAKE_BYTES: usize = 28 * 1024;

/// The maximum memory of one session, in bytes. It consists of the receive buffer with a handshake message of 64 KiB,
/// the longest that rustls accepts; two decrypted records; the output, with one record that the socket took in part;
/// and the message index of a failed record.
pub(super) const MAX_SESSION_BYTES: usize = SESSION_BYTES
    + 64 * 1024
    + UNSENT_BYTES
    + 3 * RECORD_BYTES
    + RECORD_BYTES / MESSAGE_HEADER_BYTES * INDEX_ENTRY_BYTES;

/// How much ciphertext may wait for the socket, in bytes: the size of one write call. Beyond that, writes return
/// `WouldBlock`.
pub(super) const UNSENT_BYTES: usize = 64 * 1024;

/// How much input is passed to rustls at a time, in bytes; its receive buffer grows in steps of this size.
const READ_BYTES: usize = 4 * 1024;

/// The maximum content of a record (RFC 8446, section 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// The shortest handshake message: a header without content (RFC 8446, section 4).
const MESSAGE_HEADER_BYTES: usize = 4;

/// The size of rustls's index entry for one handshake message in a record, in bytes. The whole record is indexed before
/// its first message is handled.
const INDEX_ENTRY_BYTES: usize = 48;

/// The maximum that encryption adds to a record: header, nonce and tag (RFC 5246, section 6.2.3).
const RECORD_OVERHEAD_BYTES: usize = 32;

/// Bounds the memory of one session.
#[derive(Debug)]
pub(super) struct SessionMemory {
    records: Records,
    /// Bytes of complete records that have produced no plaintext yet, such as those of an incomplete handshake message.
    unprocessed: usize,
    /// Bytes in the receive buffer before the read that made it as large as it is; 0 for its initial size.
    grown_from: usize,
    /// Bytes passed to rustls during the handshake, and their limit.
    handshake: usize,
    max_handshake: usize,
    is_handshaking: bool,
    /// The peer's certificates, which rustls keeps.
    certificates: usize,
    /// Unread plaintext, and the storage that it occupies.
    plain: usize,
    plain_storage: usize,
    /// Ciphertext that the socket has not taken.
    unsent: usize,
    /// The index of the handshake messages in a failed record, which rustls keeps until the session is dropped.
    index: usize,
}

impl SessionMemory {
    /// The memory of a new session, which accepts `max_handshake` bytes before its handshake is complete.
    pub(super) fn new(max_handshake: usize) -> Self {
        Self {
            records: Records::default(),
            unprocessed: 0,
            grown_from: 0,
            handshake: 0,
            max_handshake,
            is_handshaking: true,
            certificates: 0,
            plain: 0,
            plain_storage: 0,
            unsent: 0,
            index: 0,
        }
    }

    /// The memory held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        // The receive buffer doubles. During a handshake, messages are also kept for its hash and certificates.
        let receive_buffer = (self.grown_from + READ_BYTES).next_power_of_two() - READ_BYTES;
        let handshake = if self.is_handshaking { self.handshake } else { self.certificates };
        let output = if self.unsent > 0 { self.unsent + RECORD_BYTES } else { 0 };
        SESSION_BYTES + receive_buffer + handshake + self.plain_storage + output + self.index
    }

    /// How many of `available` bytes of input may be passed to rustls now; 0 when the handshake is too large.
    pub(super) fn admitted(&self, available: usize) -> usize {
        let left = if self.is_handshaking { self.max_handshake - self.handshake } else { usize::MAX };
        available.min(READ_BYTES).min(left)
    }

    /// rustls has taken `bytes` into its receive buffer.
    pub(super) fn handle_fed(&mut self, bytes: &[u8]) {
        let pending = self.pending();
        self.grown_from = if pending == 0 { 0 } else { self.grown_from.max(pending) };
        self.unprocessed += self.records.follow(bytes);
        if self.is_handshaking {
            self.handshake += bytes.len();
        }
    }

    /// rustls has processed its input.
    pub(super) fn handle_processed(&mut self, session: &Connection, state: &IoState) {
        let fresh = state.plaintext_bytes_to_read().saturating_sub(self.plain);
        self.plain += fresh;
        self.plain_storage += fresh;
        self.unsent = state.tls_bytes_to_write();
        // Plaintext cannot occur within a handshake message.
        let has_progressed = fresh > 0 || (self.is_handshaking && !session.is_handshaking());
        if has_progressed {
            self.unprocessed = 0;
        }
        if self.is_handshaking && !session.is_handshaking() {
            self.is_handshaking = false;
            self.certificates = session.peer_certificates().into_iter().flatten().map(|one| one.len()).sum();
        }
    }

    /// rustls failed to process its input. The index of a record with many short handshake messages is many times the
    /// record's size.
    pub(super) fn handle_failed(&mut self) {
        let messages = self.pending().min(RECORD_BYTES) / MESSAGE_HEADER_BYTES;
        self.index = messages.next_power_of_two() * INDEX_ENTRY_BYTES;
    }

    /// `count` bytes of plaintext were read.
    pub(super) fn handle_taken(&mut self, count: usize) {
        self.plain = self.plain.saturating_sub(count);
        if self.plain == 0 {
            self.plain_storage = 0;
        }
    }

    /// `count` bytes of plaintext were written.
    pub(super) fn handle_written(&mut self, count: usize) {
        self.unsent += count + (count / RECORD_BYTES + 1) * RECORD_OVERHEAD_BYTES;
    }

    /// The socket took `count` bytes of ciphertext; `all` means that none is left.
    pub(super) fn handle_flushed(&mut self, count: usize, all: bool) {
        self.unsent = if all { 0 } else { self.unsent.saturating_sub(count) };
    }

    /// Makes rustls shrink an empty receive buffer to its initial size. Without this, rustls does so only at its next
    /// read, which may be far away.
    pub(super) fn shrink(&mut self, session: &mut Connection) {
        if self.grown_from > 0 && self.pending() == 0 {
            let result = session.read_tls(&mut EmptyInput);
            if result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                self.grown_from = 0;
            }
        }
    }

    /// The maximum content of the receive buffer, in bytes.
    fn pending(&self) -> usize {
        self.unprocessed + self.records.partial
    }
}

/// Finds record boundaries (RFC 8446, section 5.1).
#[derive(Debug, Default)]
struct Records {
    header: [u8; 5],
    /// How many bytes of the latest record have arrived, including its header.
    partial: usize,
}

impl Records {
    /// Parses `bytes`, and returns the total size of the records that end in them.
    fn follow(&mut self, mut bytes: &[u8]) -> usize {
        let mut complete = 0;
        while let Some(&byte) = bytes.first() {
            let size = self.size();
            let count = match self.header.get_mut(self.partial) {
                Some(header_byte) => {
                    *header_byte = byte;
                    1
                }
                None => bytes.len().min(size - self.partial),
            };
            self.partial += count;
            bytes = &bytes[count..];
            if self.partial >= self.header.len() && self.partial == self.size() {
                complete += std::mem::take(&mut self.partial);
            }
        }
        complete
    }

    /// The size of the latest record with its header, once the header has arrived.
    fn size(&self) -> usize {
        usize::from(u16::from_be_bytes([self.header[3], self.header[4]])) + self.header.len()
    }
}

/// A reader that always returns `WouldBlock`.
struct EmptyInput;

impl Read for EmptyInput {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use super::{HANDSHAKE_BYTES, READ_BYTES, Records, SESSION_BYTES, SessionMemory};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn record(content: usize) -> Vec<u8> {
        let length = u16::try_from(content).expect("a record is short").to_be_bytes();
        [&[23, 3, 3, length[0], length[1]][..], &vec![0; content]].concat()
    }

    proptest! {
        /// Record boundaries are found however the bytes are split.
        #[test]
        fn record_ends_are_found(sizes in vec(0usize..400, 1..20), parts in vec(1usize..300, 1..40), cut in 0usize..400) {
            let whole: Vec<u8> = sizes.iter().flat_map(|&size| record(size)).collect();
            let bytes = [&whole[..], &record(cut)[..cut]].concat();
            let (mut records, mut complete, mut rest) = (Records::default(), 0, &bytes[..]);
            for &part in parts.iter().cycle() {
                let (now, later) = rest.split_at(part.min(rest.len()));
                complete += records.follow(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!((complete, records.partial), (whole.len(), cut));
        }
    }

    #[test]
    fn a_handshake_uses_at_most_32_kib_of_receive_buffer() {
        let mut memory = SessionMemory::new(HANDSHAKE_BYTES);
        let hello = record(60_000);
        let mut fed = 0;
        loop {
            let count = memory.admitted(hello.len() - fed);
            if count == 0 {
                break;
            }
            memory.handle_fed(&hello[fed..fed + count]);
            fed += count;
        }
        assert_eq!(fed, HANDSHAKE_BYTES);
        assert_eq!(memory.held_bytes(), SESSION_BYTES + HANDSHAKE_BYTES + 32 * 1024 - READ_BYTES);
    }

    /// An encrypted handshake message that never becomes complete. From outside, its records look like any others.
    #[test]
    fn records_without_plaintext_are_counted() {
        let mut memory = SessionMemory::new(HANDSHAKE_BYTES);
        memory.is_handshaking = false;
        assert_eq!(memory.held_bytes(), SESSION_BYTES);
        let mut received = 0;
        while received < 60_000 {
            let record = record(1000);
            memory.handle_fed(&record);
            received += record.len();
            let held = memory.held_bytes() - SESSION_BYTES + READ_BYTES;
            assert!(received <= held && held <= 2 * (received + READ_BYTES), "{held} bytes for {received}");
        }
    }
}
