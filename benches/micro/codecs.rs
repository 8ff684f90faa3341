//! Search for a frame in buffered bytes, per frame, and the bytes around a payload.

use crate::harness::Harness;
use multiconn::codec::http::HeadDecoder;
use multiconn::codec::{Decoder, Framing, LengthFormat, LengthPrefix};
use std::hint::black_box;

const PAYLOADS: [usize; 3] = [16, 1024, 64 * 1024];

/// A limit above all frames here.
const MAX_FRAME_BYTES: usize = 1024 * 1024;

const LENGTH: Framing = Framing::LengthPrefixed(LengthPrefix { format: LengthFormat::BigEndian(4), has_kind: false });

/// A request with the fields that a browser sends.
const REQUEST: &[u8] = b"GET /index.html?page=1 HTTP/1.1\r\nHost: localhost:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\
    Cookie: session=0123456789abcdef\r\n\r\n";

pub(crate) fn bench(harness: &Harness) {
    for (name, framing) in [("codec/decode line", Framing::LINES), ("codec/decode u32be", LENGTH)] {
        harness.bench_each(name, &PAYLOADS, |payload_bytes| {
            let (bytes, mut decoder) = (frame(framing, payload_bytes), Decoder::new(framing, MAX_FRAME_BYTES));
            move || decoder.decode(black_box(&bytes), false).is_ok_and(|frame| frame.is_some())
        });
    }
    let payload = [b'm'; 64];
    harness.bench("codec/envelope u32be", || LENGTH.envelope(black_box(&payload), 0));
    let mut decoder = HeadDecoder::new(16 * 1024);
    harness.bench("codec/decode HTTP request", || decoder.request(black_box(REQUEST)).is_ok_and(|head| head.is_some()));
}

/// One frame of this framing.
fn frame(framing: Framing, payload_bytes: usize) -> Vec<u8> {
    let payload = vec![b'm'; payload_bytes];
    let envelope = framing.envelope(&payload, 0).expect("the payload has no delimiter and fits the length");
    [envelope.before(), &payload, envelope.after()].concat()
}
