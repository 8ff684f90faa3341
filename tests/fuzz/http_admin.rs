//! Requests to the admin pages: each is answered by a well-formed response, in order, whatever the split.

use super::{Memory, Target};
use crate::codec::http::{DecodedResponse, ResponseDecoder};
use crate::connection::Limits;
use crate::service::{AdminPages, AdminRoutes, HttpService};
use crate::testing::Simulation;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The buffers of a connection, the page, and the simulation.
const MEMORY: Memory = Memory { fixed: 1024 * 1024, per_byte: 128 };

#[derive(Debug)]
struct Pages;

impl AdminPages for Pages {
    fn metrics(&self) -> String {
        "# HELP messages Messages.\n# TYPE messages counter\nmessages_total 7\n# EOF\n".to_owned()
    }

    fn health(&self, _now: Instant) -> Result<String, String> {
        Ok("alive".to_owned())
    }

    fn readiness(&self, _now: Instant) -> Result<String, String> {
        Err("draining".to_owned())
    }
}

#[test]
fn http_admin() {
    Target { name: "http_admin", memory: MEMORY, check }.fuzz();
}

fn check(stream: &[u8]) {
    let clock = || Duration::from_secs(1_795_000_000);
    let limits = Limits { buffer_bytes: 64 * 1024, ..Limits::without_timeouts() };
    let server = Simulation::new(|_| HttpService::new(clock, AdminRoutes(Arc::new(Pages)))).with_limits(limits);
    let answer = |split: usize| {
        let mut peer = server.connect();
        let (first, second) = stream.split_at(split);
        peer.send(first);
        server.advance(Duration::ZERO);
        peer.send(second);
        server.advance(Duration::ZERO);
        peer.end();
        server.advance(Duration::from_secs(1));
        let answer = peer.receive();
        assert!(peer.closed().is_some(), "it is still open");
        answer
    };
    let whole = answer(0);
    check_responses(&whole);
    let sum = stream.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let split = sum % (stream.len() + 1);
    let other = answer(split);
    assert_eq!(other.escape_ascii().to_string(), whole.escape_ascii().to_string(), "split at {split}");
}

/// Checks that these are whole responses, of which each may belong to `HEAD`.
fn check_responses(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let decode = |is_head| ResponseDecoder::new(8192).decode(rest, true, is_head);
        // A response to `HEAD` announces a body that does not follow: the next response or the end does.
        let whole: Option<DecodedResponse> = [false, true].into_iter().find_map(|is_head| {
            let decoded = decode(is_head).ok().filter(|decoded| decoded.response.is_some())?;
            let next = &rest[decoded.size..];
            (next.is_empty() || next.starts_with(b"HTTP/1.1 ")).then_some(decoded)
        });
        let decoded = whole.unwrap_or_else(|| panic!("no response: {}", rest.escape_ascii()));
        let status = decoded.response.map_or(0, |response| response.status);
        assert!([200, 400, 404, 405, 431, 501, 503, 505].contains(&status), "{status}");
        rest = &rest[decoded.size..];
    }
}
