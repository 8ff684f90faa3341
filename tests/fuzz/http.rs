//! HTTP/1.1 heads and bodies: the same requests and responses whatever the split, and one meaning of each length.

use super::{Choices, Memory, Target};
use crate::codec::http::{HeadDecoder, HttpError, ResponseDecoder};

/// Maximum size of a head in bytes, small enough to be exceeded.
const MAX_HEAD_BYTES: usize = 512;

const MEMORY: Memory = Memory { fixed: 64 * 1024, per_byte: 64 };

/// A request: method, target, whether the connection persists, and the body.
type Request = (String, String, bool, Vec<u8>);

#[test]
fn http_requests() {
    Target { name: "http_requests", memory: MEMORY, check: |stream| check(stream, requests) }.fuzz();
}

#[test]
fn http_responses() {
    Target {
        name: "http_responses",
        memory: MEMORY,
        check: |input| {
            let mut choices = Choices(input);
            match choices.below(2) {
                0 => check(choices.0, |stream, ends| responses(stream, ends, false)),
                _ => check(choices.0, |stream, ends| responses(stream, ends, true)),
            }
        },
    }
    .fuzz();
}

fn check<T: PartialEq + std::fmt::Debug>(stream: &[u8], decode: impl Fn(&[u8], &[usize]) -> T) {
    let whole = decode(stream, &[stream.len()]);
    if stream.len() < 1024 {
        let bytewise: Vec<usize> = (1..=stream.len()).collect();
        assert_eq!(decode(stream, &bytewise), whole, "byte by byte");
    }
    let sum = stream.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    for split in [1, 3, 7].map(|factor| sum * factor % (stream.len() + 1)) {
        assert_eq!(decode(stream, &[split, stream.len()]), whole, "split at {split}");
    }
}

/// The arrivals of a stream: its parts, and whether the input has ended with that part.
fn arrivals(stream: &[u8], ends: &[usize]) -> impl Iterator<Item = (usize, bool)> {
    ends.iter().map(|end| (*end, false)).chain([(stream.len(), true)]).collect::<Vec<_>>().into_iter()
}

fn requests(stream: &[u8], ends: &[usize]) -> (Vec<Request>, Option<HttpError>) {
    let mut heads = HeadDecoder::new(MAX_HEAD_BYTES);
    let (mut requests, mut start) = (Vec::new(), 0);
    let mut current: Option<(Request, crate::codec::http::BodyDecoder)> = None;
    for (end, has_ended) in arrivals(stream, ends) {
        loop {
            let bytes = &stream[start..end];
            let Some((request, body)) = &mut current else {
                match heads.request(bytes) {
                    Ok(Some(head)) => {
                        assert!(head.size <= MAX_HEAD_BYTES && head.size <= bytes.len());
                        assert!(!head.path().contains('?') && head.field("host").count() <= 1);
                        let persists = head.is_persistent;
                        let request = (head.method.to_owned(), head.target.to_owned(), persists, Vec::new());
                        current = Some((request, head.body));
                        start += head.size;
                        continue;
                    }
                    // A malformed head that arrives slowly may be noticed at its end only.
                    Ok(None) if has_ended => {
                        let error = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes).err();
                        return (requests, error);
                    }
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            };
            if body.is_complete() {
                requests.extend(current.take().map(|(request, _)| request));
                continue;
            }
            match body.decode(bytes, has_ended) {
                Ok(part) => {
                    assert!(part.size <= bytes.len() && part.data.end <= part.size, "{part:?}");
                    request.3.extend_from_slice(&bytes[part.data]);
                    start += part.size;
                    if part.size == 0 {
                        break;
                    }
                }
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// The responses, each with its content, and whether an error follows. Which error that is depends on the split: a
/// malformed head is noticed at its end, or when the input ends before that.
fn responses(stream: &[u8], ends: &[usize], is_head: bool) -> (Vec<(u16, bool, Vec<u8>)>, bool) {
    let mut decoder = ResponseDecoder::new(MAX_HEAD_BYTES);
    let (mut responses, mut content, mut start) = (Vec::new(), Vec::new(), 0);
    for (end, has_ended) in arrivals(stream, ends) {
        loop {
            let bytes = &stream[start..end];
            match decoder.decode_body(bytes, has_ended, is_head, |part| content.extend_from_slice(part)) {
                Ok(found) => {
                    assert!(found.size <= bytes.len());
                    start += found.size;
                    match found.response {
                        Some(response) => {
                            let content = std::mem::take(&mut content);
                            responses.push((response.status, response.is_persistent, content));
                        }
                        None => break,
                    }
                }
                Err(_) => return (responses, true),
            }
        }
    }
    (responses, false)
}
