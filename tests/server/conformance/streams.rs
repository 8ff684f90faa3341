//! Streams of messages: split at every position, byte by byte, several in one segment, truncated at every position.

use super::case::{Case, answer, binary, binary_answer, json, search};
use multiconn::units::format_count;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = several();
    cases.extend(byte_by_byte());
    cases.extend(splits());
    cases.extend(truncations());
    cases
}

const RING: &str = "In the caves beneath the Misty Mountains. 💍";

fn several() -> Vec<Case> {
    let (ring, no) = (search("ring"), search("nope"));
    let (ring_answer, no_answer) = (answer(RING), answer("No match for 'nope'."));
    let two = [&ring[..], &no].concat();
    let two_answers = [&ring_answer[..], &no_answer].concat();
    let mixed = [&ring[..], &binary(b""), &no, &binary(b"0123456789ab")].concat();
    let mixed_answers = [&ring_answer[..], &binary_answer(b""), &no_answer, &binary_answer(b"0123456789")].concat();
    let broken = [&two[..], b"\0\x02[]", &ring].concat();
    let garbage = [&ring[..], b"\xff\xff"].concat();
    let array = [&ring[..], &json("[]"), &no].concat();
    let not_object = "the header is not a JSON object: ";
    let short = |missing: u64| format!("the input ended {} bytes short of a whole message", format_count(missing));
    vec![
        Case::answers("nothing at all", Vec::new(), Vec::new()),
        Case::answers("two in one segment", two.clone(), two_answers.clone()),
        Case::answers("the other way round", [&no[..], &ring].concat(), [&no_answer[..], &ring_answer].concat()),
        Case::answers("four of both kinds in one segment", mixed.clone(), mixed_answers.clone()),
        Case::answers("1,000 in one segment", ring.repeat(1000), ring_answer.repeat(1000)),
        Case::answers("the border in the middle of a segment", two.clone(), two_answers.clone())
            .in_segments(vec![two[..ring.len() + 50].to_vec(), two[ring.len() + 50..].to_vec()]),
        Case::refused_after("a broken one behind two", broken.clone(), two_answers.clone(), not_object),
        Case::refused_after("no request behind a request", array, ring_answer.clone(), "the request is an array"),
        Case::refused_after("bytes behind a message", garbage, ring_answer.clone(), &short(65_535)).with_end(),
        Case::refused_after("half behind a whole one", two[..two.len() - 10].to_vec(), ring_answer, &short(10))
            .with_end(),
        Case::refused("a stream of another protocol", b"\x16\x03\x01\x02\x00\x01".to_vec(), &short(5631)).with_end(),
    ]
}

fn byte_by_byte() -> Vec<Case> {
    let two = [search("ring"), search("nope")].concat();
    let two_answers = [answer(RING), answer("No match for 'nope'.")].concat();
    vec![
        Case::answers("a search, byte by byte", search("ring"), answer(RING)).byte_by_byte(),
        Case::answers("an emoji, byte by byte", search("🐶"), answer("🐾 Playing ball! 🏐")).byte_by_byte(),
        Case::answers("a binary one, byte by byte", binary(b"x"), binary_answer(b"x")).byte_by_byte(),
        Case::answers("two, byte by byte", two, two_answers).byte_by_byte(),
        Case::refused("a broken one, byte by byte", b"\0\x02[]".to_vec(), "the header is not a JSON object: ")
            .byte_by_byte(),
    ]
}

fn splits() -> Vec<Case> {
    let sent = search("ring");
    let split = |at: usize| {
        let (first, second) = sent.split_at(at);
        Case::answers(&format!("split at byte {at}"), sent.clone(), answer(RING))
            .in_segments(vec![first.to_vec(), second.to_vec()])
    };
    (1..sent.len()).map(split).collect()
}

/// How much is missing depends on what has arrived: the length, the header, the content.
fn truncations() -> Vec<Case> {
    let sent = search("ring");
    let header = sent.len() - 37;
    let truncated = |at: usize| {
        let whole = if at < 2 {
            2
        } else if at < header {
            header
        } else {
            sent.len()
        };
        let missing = whole - at;
        let words = format!("the input ended {missing} byte{} short", if missing == 1 { "" } else { "s" });
        Case::refused(&format!("cut off at byte {at}"), sent[..at].to_vec(), &words).with_end()
    };
    (1..sent.len()).map(truncated).collect()
}
