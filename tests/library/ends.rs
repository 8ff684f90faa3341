//! Connection ends under limits that the programs have no options for.

use super::Running;
use super::support::{connect, connect_with_buffers, expect_reset_of_new};
use multiconn::connection::CloseReason;
use multiconn::service::{Chargen, Context, Input, Output, Service, Wait};
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// A peer that is still sending when the server has finished, and reads slowly: the server closes only when its whole
/// reply has arrived. Closing earlier answers the peer's data with a reset, which destroys the rest of the reply.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the acknowledged bytes (TCP_INFO)")]
fn lingering_lasts_until_a_slow_reader_has_everything() {
    let server = Running::start_with(
        |config| {
            config.workers = 1;
            config.socket.send_buffer = Some(128 << 10);
            config.limits.lifetime = Some(Duration::from_secs(1));
            config.limits.linger = Duration::from_millis(300);
            config.limits.write = Some(Duration::from_secs(15));
        },
        |_| Chargen::default(),
    );
    let mut peer = connect_with_buffers(server.address, 16 << 10);
    let (mut room, mut received, since) = (vec![0; 16 << 10], 0, Instant::now());
    loop {
        // It may just have closed in order.
        let _ = peer.write(b"!");
        match peer.read(&mut room).unwrap_or_else(|error| panic!("{error} after {received} bytes")) {
            0 => break,
            count => received += count,
        }
        // Slow reading is under test.
        std::thread::sleep(Duration::from_millis(100));
    }
    // The lifetime and twice the time to linger.
    assert!(since.elapsed() > Duration::from_millis(1600), "not slow enough: {:?}", since.elapsed());
    let summary = server.drain();
    assert_eq!((summary.sent_bytes, summary.closed), (received as u64, [(CloseReason::Lifetime, 1)].into()));
}

/// Sends part of a reply to the first input, and panics on the second one.
struct Halfway;

impl Service for Halfway {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        assert!(input.bytes() != b"2", "a panic that the test asked for");
        if !input.is_empty() {
            output.write(b"half of a reply");
            input.clear();
        }
        Wait::Input
    }
}

#[test]
fn a_panic_resets_the_connection() {
    let server = Running::start(1, |opened| {
        assert!(opened.id() != 2, "a panic that the test asked for");
        Halfway
    });
    let mut peer = connect(server.address);
    peer.write_all(b"1").unwrap();
    let mut reply = [0; 15];
    peer.read_exact(&mut reply).unwrap();
    peer.write_all(b"2").unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    expect_reset_of_new(server.address);
    assert_eq!(server.drain().closed, [(CloseReason::ServicePanicked, 2)].into());
}
