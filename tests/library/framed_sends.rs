//! Framed replies larger than the output, on a connection that is also sent to through its handle.

use super::Running;
use super::support::{PATIENCE, connect_narrow};
use multiconn::codec::Framing;
use multiconn::service::{Framed, Replies, Respond};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::sync::mpsc;

/// Replies to the requests of one peer: more than all buffers on the path hold.
const REPLIES: usize = 400;
const REPLY_BYTES: usize = 40_000;

/// Size of the output in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

struct Large;

impl Respond for Large {
    fn respond(&mut self, _message: &[u8], replies: &mut Replies<'_>) {
        replies.send(&vec![b'x'; REPLY_BYTES]);
    }

    fn max_reply_bytes(&self, _output_bytes: usize) -> usize {
        REPLY_BYTES + 1
    }
}

#[test]
fn a_send_never_splits_a_reply() {
    let (sender, handles) = mpsc::channel();
    let server = Running::start_with(
        |config| config.limits.buffer_bytes = BUFFER_BYTES,
        move |context| {
            sender.send(context.handle()).unwrap();
            Framed::new(Framing::LINES, 100, Large)
        },
    );
    let mut peer = BufReader::new(connect_narrow(server.address));
    peer.get_mut().write_all(&b"\n".repeat(REPLIES)).unwrap();
    peer.get_mut().shutdown(Shutdown::Write).unwrap();
    let handle = handles.recv_timeout(PATIENCE).unwrap();
    let (mut replies, mut sends, mut sent, mut line) = (0, 0, 0, Vec::new());
    while peer.read_until(b'\n', &mut line).unwrap() > 0 {
        match line.len() {
            6 => sends += 1,
            size => {
                assert_eq!(size, REPLY_BYTES + 1, "of the reply after {replies} others");
                replies += 1;
                sent += usize::from(handle.send(*b"hello\n").is_ok());
            }
        }
        line.clear();
    }
    assert_eq!((replies, sends), (REPLIES, sent));
    assert!(sent > REPLIES / 4, "only {sent} sends");
}
