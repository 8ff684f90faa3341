//! Tests of the built-in responders and of their reply limits.

use super::*;
use std::time::Duration;

/// Reply of `responder` to `request` with a limit of `limit` bytes.
fn reply_within(limit: usize, responder: &mut dyn Responder, request: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = b"before".to_vec();
    let answers = responder.respond(request, &mut Reply::new(&mut bytes, limit), Instant::now());
    assert!(bytes.starts_with(b"before") && bytes.len() <= 6 + limit);
    answers.then(|| bytes.split_off(6))
}

fn reply(responder: &mut dyn Responder, request: &str) -> Option<String> {
    let limit = request.len().max(SHORT_REPLY_BYTES);
    reply_within(limit, responder, request.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("text"))
}

#[test]
fn text_is_transformed_by_characters() {
    assert_eq!(reply(&mut ReverseDatagram, "añb🐰").as_deref(), Some("🐰bña"));
    assert_eq!(reply(&mut UpperDatagram, "grüße, 🐰").as_deref(), Some("GRÜSSE, 🐰"));
    assert_eq!(reply(&mut EchoDatagram, "").as_deref(), Some(""));
    assert_eq!(reply(&mut DiscardDatagram, "anything"), None);
    assert_eq!(
        reply(&mut FixedDatagram(b"Message received".as_slice().into()), "").as_deref(),
        Some("Message received")
    );
}

#[test]
fn invalid_utf8_is_preserved() {
    let bytes = b"\xffa\xf0\x9fb\xfe";
    assert_eq!(reply_within(9, &mut UpperDatagram, bytes), Some(b"\xffA\xf0\x9fB\xfe".to_vec()));
    assert_eq!(reply_within(9, &mut ReverseDatagram, bytes), Some(b"\xfeb\xf0\x9fa\xff".to_vec()));
}

#[test]
fn no_reply_exceeds_its_limit() {
    // Two bytes of lower case become six of upper case.
    let request = "ΐ".repeat(40);
    let upper = reply(&mut UpperDatagram, &request).expect("a reply");
    assert!(upper.len() <= request.len() && upper.chars().count() == 40, "{upper}");
    for length in [0, 1, 72, 73, 74, 75, 500, 512, 513, 60_000] {
        let mut chargen = ChargenDatagram::default();
        let text = reply(&mut chargen, &"x".repeat(length)).expect("a reply");
        assert_eq!(text.len(), length.min(512));
    }
}

#[test]
fn chargen_advances_by_one_line() {
    let mut chargen = ChargenDatagram::default();
    let request = "x".repeat(75);
    let first = reply(&mut chargen, &request).expect("a reply");
    assert!(first.starts_with(" !\"#") && first.ends_with("fg\r\n!"), "{first}");
    assert!(reply(&mut chargen, &request).is_some_and(|second| second.starts_with("!\"#")));
    for _ in 2..95 {
        reply(&mut chargen, &request);
    }
    assert_eq!(reply(&mut chargen, &request), Some(first));
}

#[test]
fn daytime_and_time_follow_their_rfcs() {
    let in_1994 = || Duration::from_secs(784_111_777);
    assert_eq!(reply(&mut DaytimeDatagram(in_1994), "").as_deref(), Some("Sun Nov  6 08:49:37 1994\r\n"));
    // The example of RFC 868.
    assert_eq!(
        reply_within(4, &mut TimeDatagram(|| Duration::ZERO), b""),
        Some(2_208_988_800u32.to_be_bytes().to_vec())
    );
    let in_2036 = || Duration::from_secs(u64::from(u32::MAX) - 2_208_988_800 + 6);
    assert_eq!(reply_within(4, &mut TimeDatagram(in_2036), b""), Some(vec![0, 0, 0, 5]));
}
