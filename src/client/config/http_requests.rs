//! HTTP requests as messages: divided, checked, and with the line ends of the protocol.

use crate::codec::http::{HeadDecoder, HttpError};

/// A valid request, for the end of an error message.
const EXAMPLE: &str = r#"give a request such as "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n""#;

/// Divides `messages` into requests. Empty lines between requests are left out. Line ends of heads become `\r\n`, since
/// editors write `\n`; bodies stay as they are.
///
/// # Errors
///
/// A description of the first request that is malformed, incomplete or without Host, with an example.
pub(super) fn divide(messages: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    let mut requests = Vec::new();
    for message in messages {
        let mut rest = without_empty_lines(message);
        while !rest.is_empty() {
            let (request, size) =
                first_request(rest).map_err(|why| format!("request {}: {why}; {EXAMPLE}", requests.len() + 1))?;
            requests.push(request);
            rest = without_empty_lines(&rest[size..]);
        }
    }
    if requests.is_empty() { Err(format!("there is no HTTP request to send; {EXAMPLE}")) } else { Ok(requests) }
}

/// The first request of `bytes`, and its size there.
fn first_request(bytes: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let head = HeadDecoder::new(usize::MAX).request(bytes).map_err(|error| error.to_string())?;
    let head = head.ok_or("an empty line must follow its header fields")?;
    if head.method == "CONNECT" {
        return Err("CONNECT opens a tunnel, which is not measured".to_owned());
    }
    let (size, mut body) = (head.size, head.body);
    let length = body.skip(&bytes[size..], true).map_err(|error| match error {
        HttpError::Truncated => "its body is shorter than its header fields say".to_owned(),
        other => other.to_string(),
    })?;
    let (head, body) = bytes[..size + length].split_at(size);
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.flat_map(|line| [line.strip_suffix(b"\n").unwrap_or(line).trim_ascii_end(), b"\r\n"]);
    Ok(([&lines.collect::<Vec<_>>().concat(), body].concat(), size + length))
}

fn without_empty_lines(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    start.map_or(&[], |start| &bytes[start..])
}

#[cfg(test)]
mod tests {
    use super::divide;

    fn divided(text: &str) -> Result<Vec<String>, String> {
        let requests = divide(&[text.as_bytes().to_vec()])?;
        Ok(requests.into_iter().map(|request| String::from_utf8(request).expect("text")).collect())
    }

    #[test]
    fn a_file_may_hold_several_requests_with_any_line_ends() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na\nb\n";
        let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        let all = [get, post, chunked, get].concat();
        let expected = Ok([get, post, chunked, get].map(str::to_owned).to_vec());
        assert_eq!(divided(&all), expected);
        // As an editor writes them, with empty lines in between.
        let typed = "\nGET / HTTP/1.1\nHost: a \n\n\nPOST /b HTTP/1.1\nHost: a\nContent-Length: 4\n\na\nb\n\n";
        assert_eq!(divided(typed), Ok([get, post].map(str::to_owned).to_vec()));
        let two = divide(&[get.into(), post.into()]).expect("two requests");
        assert_eq!(two, [get.as_bytes(), post.as_bytes()]);
    }

    #[test]
    fn errors_name_the_request_and_show_one() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (text, why) in [
            ("", "there is no HTTP request to send"),
            ("hello\n\n", "request 1: the head is malformed"),
            ("GET / HTTP/1.1\n\n", "request 1: a request needs exactly one Host field"),
            ("GET / HTTP/1.1\nHost: a\n", "request 1: an empty line must follow its header fields"),
            ("GET / HTTP/2\nHost: a\n\n", "request 1: the version is neither"),
            ("CONNECT a:1 HTTP/1.1\nHost: a\n\n", "request 1: CONNECT opens a tunnel"),
            (&format!("{get}POST / HTTP/1.1\nHost: a\nContent-Length: 9\n\nshort"), "request 2: its body is shorter"),
            (&format!("{get}{get}rest"), "request 3: an empty line must follow"),
        ] {
            let error = divided(text).expect_err(text);
            assert!(error.starts_with(why) && error.ends_with("Host: localhost\\r\\n\\r\\n\""), "{text:?}: {error}");
        }
    }
}
