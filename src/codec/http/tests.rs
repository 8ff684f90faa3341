//! Tests of HTTP/1.1 framing: any split of a stream gives the same messages, and hostile framing is refused.

use super::{BodyDecoder, HeadDecoder, HttpError, ResponseDecoder};
use proptest::prelude::*;

const MAX_HEAD_BYTES: usize = 1024;

/// Method, target and body of a request.
type DecodedRequest = (String, String, Vec<u8>);

/// Decodes the requests of `stream`, which arrives in portions of the given sizes in turn.
fn requests(stream: &[u8], sizes: &[usize]) -> Result<Vec<DecodedRequest>, HttpError> {
    let (mut decoder, mut found) = (HeadDecoder::new(MAX_HEAD_BYTES), Vec::new());
    let mut body: Option<BodyDecoder> = None;
    feed(stream, sizes, |bytes, has_ended| {
        if let Some(rest) = &mut body {
            let part = rest.decode(bytes, has_ended)?;
            let (.., content): &mut DecodedRequest = found.last_mut().expect("a head comes before its body");
            content.extend_from_slice(&bytes[part.data]);
            let is_complete = rest.is_complete();
            body = body.filter(|_| !is_complete);
            return Ok((part.size, is_complete));
        }
        let Some(head) = decoder.request(bytes)? else { return Ok((0, false)) };
        found.push((head.method.to_owned(), head.target.to_owned(), Vec::new()));
        body = Some(head.body);
        Ok((head.size, true))
    })?;
    assert!(body.is_none(), "a body was not complete at the end");
    Ok(found)
}

/// Status and persistence of a response.
type Decoded = (u16, bool);

/// Decodes the responses of `stream`. `is_head` says which of them answer `HEAD`.
fn responses(stream: &[u8], sizes: &[usize], is_head: &[bool]) -> Result<Vec<Decoded>, HttpError> {
    let (mut decoder, mut found) = (ResponseDecoder::new(MAX_HEAD_BYTES), Vec::new());
    feed(stream, sizes, |bytes, has_ended| {
        let is_head = is_head.get(found.len()).copied().unwrap_or(false);
        let part = decoder.decode(bytes, has_ended, is_head)?;
        found.extend(part.response.map(|response| (response.status, response.is_persistent)));
        Ok((part.size, part.response.is_some()))
    })?;
    Ok(found)
}

/// Passes `stream` to `decode` in portions, which returns the number of bytes to consume, and whether to go on without
/// more bytes.
fn feed(
    stream: &[u8],
    sizes: &[usize],
    mut decode: impl FnMut(&[u8], bool) -> Result<(usize, bool), HttpError>,
) -> Result<(), HttpError> {
    let (mut buffered, mut rest) = (Vec::new(), stream);
    let mut sizes = sizes.iter().copied().cycle();
    loop {
        let (portion, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        buffered.extend_from_slice(portion);
        rest = after;
        loop {
            let (size, goes_on) = decode(&buffered, rest.is_empty())?;
            buffered.drain(..size);
            if size == 0 && !goes_on || buffered.is_empty() && !rest.is_empty() {
                break;
            }
        }
        if rest.is_empty() {
            assert!(buffered.is_empty(), "left over: {}", buffered.escape_ascii());
            return Ok(());
        }
    }
}

const REQUESTS: &[u8] = b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\n\r\nPOST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
    POST /chunks HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX: y\r\n\r\n\
    HEAD / HTTP/1.0\nContent-Length: 0\n\nPUT /zero HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n123";

const RESPONSES: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
    Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\n\
    Content-Length: 7\r\n\r\nHTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nx\r\n2 \r\nyz\r\n00\r\n\r\n\
    HTTP/1.0 404 No\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200\r\nConnection: upgrade, CLOSE\r\n\r\nto the end";

fn expected_requests() -> Vec<DecodedRequest> {
    let request = |method: &str, target: &str, body: &[u8]| (method.to_owned(), target.to_owned(), body.to_vec());
    vec![
        request("GET", "/a?b", b""),
        request("POST", "/length", b"hello"),
        request("POST", "/chunks", b"abc0123456789"),
        request("HEAD", "/", b""),
        request("PUT", "/zero", b"123"),
    ]
}

/// The second of the responses answers `HEAD`.
const IS_HEAD: [bool; 3] = [false, true, false];

fn expected_responses() -> Vec<Decoded> {
    vec![(200, true), (200, true), (204, true), (304, true), (500, true), (404, true), (200, false)]
}

#[test]
fn every_split_of_a_stream_gives_the_same_messages() {
    for offset in 0..=REQUESTS.len() {
        let found = requests(REQUESTS, &[offset.max(1), REQUESTS.len()]);
        assert_eq!(found, Ok(expected_requests()), "split at {offset}");
    }
    for offset in 0..=RESPONSES.len() {
        let found = responses(RESPONSES, &[offset.max(1), RESPONSES.len()], &IS_HEAD);
        assert_eq!(found, Ok(expected_responses()), "split at {offset}");
    }
    for size in 1..8 {
        assert_eq!(requests(REQUESTS, &[size]), Ok(expected_requests()), "{size} bytes at a time");
        assert_eq!(responses(RESPONSES, &[size], &IS_HEAD), Ok(expected_responses()), "{size} bytes at a time");
    }
}

/// A stream that ends within a message is never taken for a whole one.
#[test]
fn every_truncation_is_reported() {
    let sized = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789";
    for end in sized.len() - 9..sized.len() {
        assert_eq!(requests(&sized[..end], &[50, 3]), Err(HttpError::Truncated), "cut at {end}");
    }
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n";
    for end in 1..chunked.len() {
        assert_eq!(responses(&chunked[..end], &[7], &[]), Err(HttpError::Truncated), "cut at {end}");
    }
    let whole = b"HTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(responses(whole, &[whole.len()], &[]), Ok(vec![(200, false)]), "an empty body up to the close");
}

#[track_caller]
fn refuse(request: &str, error: HttpError) {
    let bytes = format!("{request}\r\n\r\n");
    assert_eq!(HeadDecoder::new(MAX_HEAD_BYTES).request(bytes.as_bytes()).err(), Some(error), "{request}");
}

/// Heads whose body another program might delimit differently (RFC 9112, section 11.2).
#[test]
fn ambiguous_lengths_are_refused() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let with = |fields: &str| format!("{post}{fields}");
    refuse(&with("Content-Length: 5\r\nTransfer-Encoding: chunked"), HttpError::TwoLengths);
    refuse(&with("Transfer-Encoding: chunked\r\nContent-Length: 0"), HttpError::TwoLengths);
    refuse(&with("Content-Length: 5\r\nContent-Length: 6"), HttpError::ContentLength);
    for length in ["5, 6", "+5", "-1", "0x5", "5 5", "", "5,", "5_0", "1e3", "18446744073709551616", "٣"] {
        refuse(&with(&format!("Content-Length: {length}")), HttpError::ContentLength);
    }
    for coding in ["gzip", "chunked, gzip", "gzip, chunked", "identity", "xchunked", "chunked;q=1", ""] {
        refuse(&with(&format!("Transfer-Encoding: {coding}")), HttpError::TransferCoding);
    }
    refuse(&with("Transfer-Encoding: chunked, chunked"), HttpError::TransferCoding);
    refuse(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), HttpError::TransferCoding);
    refuse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked", HttpError::TransferCoding);
    refuse(&with("Content-Length : 5"), HttpError::Head("invalid field name"));
    refuse(&with("Content-Length: 5\r\n folded"), HttpError::Head("invalid field name"));
    refuse(&with("X\0: 5"), HttpError::Head("invalid field name"));
    refuse("POST / HTTP/1.1\r\nA: b", HttpError::Host);
    refuse(&with("host: b"), HttpError::Host);
    refuse("GET / HTTP/2.0\r\nHost: a", HttpError::Version);
    refuse("GET /", HttpError::Head("invalid first line"));
    for length in ["Content-Length: 5\r\ncontent-length: 5", "Content-Length: 5, 5", "Content-Length: 05"] {
        let bytes = format!("{post}{length}\r\n\r\n");
        let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes.as_bytes()).expect("equal lengths");
        assert_eq!(head.and_then(|head| head.body.remaining()), Some(5), "{length}");
    }
}

#[test]
fn malformed_chunks_are_refused() {
    let skip = |chunks: &str| BodyDecoder::chunked().skip(chunks.as_bytes(), false);
    for chunks in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x5\r\n",
        " 5\r\nhello\r\n",
        "5\nhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5 6\r\nhello\r\n",
        "5\r\nhelloXX",
        "5\r\nhello\n0\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
    ] {
        assert_eq!(skip(chunks), Err(HttpError::Chunk), "{chunks:?}");
    }
    for trailer in ["no colon\r\n", ": no name\r\n", "a: b\n\r\n", "a: \0\r\n", "a: b\rc\r\n"] {
        assert_eq!(skip(&format!("0\r\n{trailer}\r\n")), Err(HttpError::Trailer), "{trailer:?}");
    }
    // The largest size that there is, of which little has arrived.
    let mut largest = BodyDecoder::chunked();
    assert_eq!(largest.skip(b"ffffffffffffffff\r\nabc", false), Ok(21));
    assert!(!largest.is_complete());
}

#[test]
fn everything_is_bounded() {
    let head = |bytes: usize| {
        let (before, after) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
        format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
    };
    let too_large = HttpError::HeadTooLarge { max_bytes: 1024 };
    let mut decoder = HeadDecoder::new(MAX_HEAD_BYTES);
    assert!(decoder.request(head(MAX_HEAD_BYTES).as_bytes()).is_ok_and(|head| head.is_some()));
    assert_eq!(decoder.request(head(MAX_HEAD_BYTES + 1).as_bytes()).err(), Some(too_large));
    assert_eq!(HeadDecoder::new(MAX_HEAD_BYTES).request(&b"\r\n".repeat(512)).err(), Some(too_large));
    refuse(&format!("GET / HTTP/1.1{}", "\r\nA: b".repeat(97)), HttpError::TooManyFields);
    for (chunks, is_valid) in [
        (format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(1000)), true),
        (format!("1;{}", "x".repeat(1023)), false),
        (format!("0\r\nX: {}\r\n\r\n", "x".repeat(8000)), true),
        (format!("0\r\n{}\r\n", "X: y\r\n".repeat(1365)), true),
        (format!("0\r\n{}", "X: y\r\n".repeat(1366)), false),
        (format!("0\r\nX: {}", "x".repeat(8200)), false),
    ] {
        // Whole, and in two parts.
        for split in [chunks.len(), 900] {
            let mut body = BodyDecoder::chunked();
            let first = body.skip(&chunks.as_bytes()[..split.min(chunks.len())], false);
            let second = first.and_then(|taken| body.skip(&chunks.as_bytes()[taken..], false));
            assert_eq!(second.is_ok() && body.is_complete(), is_valid, "{:?} …", &chunks[..10]);
        }
    }
}

#[test]
fn a_trailer_is_bounded_as_a_whole() {
    let trailer = format!("0\r\n{}", "X: y\r\n".repeat(1366));
    for split in [3, 900, trailer.len()] {
        let mut body = BodyDecoder::chunked();
        let first = body.skip(&trailer.as_bytes()[..split], false);
        let second = first.and_then(|taken| body.skip(&trailer.as_bytes()[taken..], false));
        assert_eq!(second, Err(HttpError::Trailer), "split at {split}");
    }
}

/// The head is parsed when it begins and when it ends, and a few times in between, however it arrives.
#[test]
fn a_slow_head_is_not_parsed_with_each_byte() {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(90));
    let mut decoder = HeadDecoder::new(MAX_HEAD_BYTES);
    let mut parsed = std::collections::BTreeSet::new();
    for end in 1..head.len() {
        assert!(decoder.request(&head.as_bytes()[..end]).is_ok_and(|head| head.is_none()));
        parsed.insert(decoder.parsed_bytes());
    }
    assert!((8..=11).contains(&parsed.len()), "{parsed:?}");
    assert!(decoder.request(head.as_bytes()).is_ok_and(|head| head.is_some()));
}

#[test]
fn a_slow_head_is_refused_before_its_end() {
    let mut decoder = HeadDecoder::new(MAX_HEAD_BYTES);
    assert!(decoder.request(b"GET /").is_ok_and(|head| head.is_none()));
    assert_eq!(decoder.request(b"GET / HTTP/2.0\r\n").err(), Some(HttpError::Version));
    let head = format!("GET /{}", "x".repeat(MAX_HEAD_BYTES));
    let mut decoder = HeadDecoder::new(MAX_HEAD_BYTES);
    for end in 0..MAX_HEAD_BYTES {
        assert!(decoder.request(&head.as_bytes()[..end]).is_ok_and(|head| head.is_none()));
    }
    let error = decoder.request(&head.as_bytes()[..MAX_HEAD_BYTES]).err();
    assert_eq!(error, Some(HttpError::HeadTooLarge { max_bytes: 1024 }));
}

#[test]
fn fields_and_paths_are_read() {
    let bytes =
        b"\r\nGET http://a:80/page?b=/c HTTP/1.1\r\nHost: a\r\nAccept: x\r\naccept:y \r\nExpect: 100-Continue\r\n\r\n";
    let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes).expect("valid").expect("whole");
    assert_eq!(head.field("ACCEPT").collect::<Vec<_>>(), [&b"x"[..], b"y"]);
    assert_eq!((head.field("get http").count(), head.path(), head.expects_continue), (0, "/page", true));
    for (target, path) in [("/a", "/a"), ("*", "*"), ("http://a", "/"), ("HTTP://a/b", "/b"), ("/a?b?c", "/a")] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes.as_bytes()).expect("valid").expect("whole");
        assert_eq!(head.path(), path);
    }
    let response = b"HTTP/1.1 301 Moved\r\nLocation: /b\r\n\r\n";
    let head = HeadDecoder::new(MAX_HEAD_BYTES).response(response, false).expect("valid").expect("whole");
    assert_eq!((head.field("location").next(), head.body.is_until_close()), (Some(&b"/b"[..]), true));
}

#[test]
fn fields_with_names_of_the_same_length_do_not_change_the_framing() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nDate: b\r\nAccept: 100-continue\r\nUser-Agent: close\r\n\
        Accept-Charset: 5\r\nIf-Modified-Since: chunked\r\n\r\n";
    let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes).expect("valid").expect("whole");
    assert_eq!((head.expects_continue, head.is_persistent, head.body.remaining()), (false, true, Some(0)));
}

#[test]
fn only_clients_of_http_1_1_wait_for_the_interim_response() {
    for (version, expects_continue) in [("1.1", true), ("1.0", false)] {
        let bytes = format!("POST / HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\n\r\n");
        let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes.as_bytes()).expect("valid").expect("whole");
        assert_eq!(head.expects_continue, expects_continue, "{version}");
    }
}

/// Of several codings the last one delimits a response.
#[test]
fn the_last_coding_delimits_a_response() {
    let body = |codings: &str| {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\n\r\n");
        let head = HeadDecoder::new(MAX_HEAD_BYTES).response(bytes.as_bytes(), false)?;
        Ok(head.expect("whole").body)
    };
    assert_eq!(body("gzip, chunked"), Ok(BodyDecoder::chunked()));
    assert_eq!(body("gzip, deflate"), Ok(BodyDecoder::until_close()));
    assert_eq!(body("chunked, chunked"), Err(HttpError::TransferCoding));
    assert_eq!(body("gzip, chunked, chunked"), Err(HttpError::TransferCoding));
}

#[test]
fn each_error_has_a_status() {
    for (error, status) in [
        (HttpError::HeadTooLarge { max_bytes: 1 }, 431),
        (HttpError::TooManyFields, 431),
        (HttpError::TransferCoding, 501),
        (HttpError::Version, 505),
        (HttpError::Host, 400),
        (HttpError::Truncated, 400),
    ] {
        assert_eq!(error.status(), status, "{error}");
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, fields, is_persistent) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Upgrade\r\nConnection: a , Close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let bytes = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let head = HeadDecoder::new(MAX_HEAD_BYTES).request(bytes.as_bytes()).expect("valid").expect("whole");
        assert_eq!(head.is_persistent, is_persistent, "{bytes:?}");
        let bytes = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n{fields}\r\n");
        assert_eq!(responses(bytes.as_bytes(), &[999], &[]), Ok(vec![(200, is_persistent)]), "{bytes:?}");
    }
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
    assert_eq!(responses(switched, &[999], &[]), Ok(vec![(101, false)]));
    let old_chunks = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(responses(old_chunks, &[999], &[]), Ok(vec![(200, false)]));
    let unknown = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\nany number";
    assert_eq!(responses(unknown, &[999], &[]), Ok(vec![(200, false)]));
}

#[test]
fn a_response_is_begun_until_its_end_has_arrived() {
    let (mut decoder, bytes) =
        (ResponseDecoder::new(MAX_HEAD_BYTES), b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    assert!(!decoder.is_within());
    let (head, body) = bytes.split_at(bytes.len() - 2);
    assert_eq!(decoder.decode(head, false, false).map(|part| part.size), Ok(head.len()));
    assert!(decoder.is_within());
    assert!(decoder.decode(body, false, false).is_ok_and(|part| part.response.is_some()));
    assert!(!decoder.is_within());
}

#[test]
fn what_is_no_response_is_refused() {
    for bytes in [
        &b"hello"[..],
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/2 200\r\n",
    ] {
        assert!(responses(bytes, &[99], &[]).is_err(), "{}", bytes.escape_ascii());
    }
}

/// Bytes of which streams that almost are messages are made.
fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let tokens = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\nHost: a\r\n"[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 No\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"\n",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"abc",
        b"a: b\r\n",
        b"\r",
        b"1;x\r\n",
    ]);
    prop::collection::vec(tokens, 0..14).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn arbitrary_streams_decode_independently_of_splits(
        stream in tokens(),
        sizes in prop::collection::vec(1_usize..40, 1..9),
        is_head in prop::collection::vec(any::<bool>(), 0..4),
    ) {
        // An unfinished message would be left over.
        let stream = [&stream[..], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"].concat();
        let whole = responses(&stream, &[stream.len()], &is_head).ok();
        prop_assert_eq!(responses(&stream, &sizes, &is_head).ok(), whole);
    }

    #[test]
    fn arbitrary_bodies_come_back_from_chunks(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        sizes in prop::collection::vec(1_usize..40, 1..9),
    ) {
        let mut stream = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            stream.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            stream.extend_from_slice(chunk);
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(b"0\r\n\r\n");
        let expected = vec![("POST".to_owned(), "/x".to_owned(), chunks.concat())];
        prop_assert_eq!(requests(&stream, &sizes), Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = HeadDecoder::new(100).request(&bytes);
        let _ = ResponseDecoder::new(100).decode(&bytes, true, false);
        let mut body = BodyDecoder::chunked();
        prop_assert!(body.skip(&bytes, false).unwrap_or(0) <= bytes.len());
    }
}
