//! One case of the table, and messages encoded as by the tutorial's Python, without the codec under test.

/// The byte order of this machine.
pub(super) const ORDER: &str = if cfg!(target_endian = "big") { "big" } else { "little" };

/// The bytes sent on a connection, and the expected result.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    /// The segments, sent in order.
    pub(super) segments: Vec<Vec<u8>>,
    /// Whether the peer half-closes after them even if it expects a refusal.
    pub(super) ends: bool,
    pub(super) expected: Expected,
    /// Whether the tutorial's server gives the same answer.
    pub(super) is_common: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Expected {
    /// These bytes, then a normal end of input.
    Answers(Vec<u8>),
    /// These bytes, then end of input, and these words in the log.
    Refusal { answers: Vec<u8>, words: String },
}

impl Case {
    fn new(name: &str, sent: Vec<u8>, expected: Expected) -> Self {
        Self { name: name.to_owned(), segments: vec![sent], ends: false, expected, is_common: false }
    }

    pub(super) fn answers(name: &str, sent: Vec<u8>, answers: Vec<u8>) -> Self {
        Self::new(name, sent, Expected::Answers(answers))
    }

    /// A case that the tutorial's server answers in the same way.
    pub(super) fn common(name: &str, sent: Vec<u8>, answers: Vec<u8>) -> Self {
        Self { is_common: true, ..Self::answers(name, sent, answers) }
    }

    pub(super) fn refused(name: &str, sent: Vec<u8>, words: &str) -> Self {
        Self::refused_after(name, sent, Vec::new(), words)
    }

    pub(super) fn refused_after(name: &str, sent: Vec<u8>, answers: Vec<u8>, words: &str) -> Self {
        Self::new(name, sent, Expected::Refusal { answers, words: words.to_owned() })
    }

    /// The same case split into these segments.
    pub(super) fn in_segments(self, segments: Vec<Vec<u8>>) -> Self {
        assert_eq!(segments.concat(), self.segments.concat());
        Self { segments, is_common: false, ..self }
    }

    /// The same case, one byte at a time.
    pub(super) fn byte_by_byte(self) -> Self {
        let bytes = self.segments.concat().into_iter().map(|byte| vec![byte]).collect();
        self.in_segments(bytes)
    }

    /// The same case with a half-close.
    pub(super) fn with_end(self) -> Self {
        Self { ends: true, ..self }
    }
}

/// The start of a text, for a case name.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(30).collect()
}

/// A message with this header and content, valid or not.
pub(super) fn message(header: &str, content: &[u8]) -> Vec<u8> {
    raw_message(header.as_bytes(), content)
}

pub(super) fn raw_message(header: &[u8], content: &[u8]) -> Vec<u8> {
    [&u16::try_from(header.len()).unwrap().to_be_bytes(), header, content].concat()
}

/// The header of JSON in `encoding`.
pub(super) fn header(order: &str, encoding: &str, length: usize) -> String {
    let rest = format!(r#""content-type": "text/json", "content-encoding": "{encoding}", "content-length": {length}"#);
    format!(r#"{{"byteorder": "{order}", {rest}}}"#)
}

/// The header of JSON in UTF-8, with further fields.
pub(super) fn header_with(more: &str, length: usize) -> String {
    header(ORDER, "utf-8", length).replace('}', &format!(", {more}}}"))
}

pub(super) fn binary_header(length: usize) -> String {
    typed_header("binary/custom-client-binary-type", "binary", length)
}

pub(super) fn typed_header(content_type: &str, encoding: &str, length: usize) -> String {
    header(ORDER, encoding, length).replace("text/json", content_type)
}

/// JSON in UTF-8.
pub(super) fn json(content: &str) -> Vec<u8> {
    message(&header(ORDER, "utf-8", content.len()), content.as_bytes())
}

/// The content of a request for `value`, which must not need escapes.
pub(super) fn content(value: &str) -> Vec<u8> {
    format!(r#"{{"action": "search", "value": "{value}"}}"#).into_bytes()
}

/// The search request for `value`.
pub(super) fn search(value: &str) -> Vec<u8> {
    json(str::from_utf8(&content(value)).unwrap())
}

/// The answer with this result, which is already escaped.
pub(super) fn answer(result: &str) -> Vec<u8> {
    json(&format!(r#"{{"result": "{result}"}}"#))
}

pub(super) fn binary(content: &[u8]) -> Vec<u8> {
    message(&binary_header(content.len()), content)
}

/// The answer to a binary request that starts with `first`.
pub(super) fn binary_answer(first: &[u8]) -> Vec<u8> {
    let content = [b"First 10 bytes of request: ", first].concat();
    message(&typed_header("binary/custom-server-binary-type", "binary", content.len()), &content)
}
