//! Text that each reply must contain, or regular expression that it must match.
//!
//! Both become a deterministic automaton. Its state is one number, so the search in a reply goes on from one read to the
//! next and keeps none of its bytes, whatever the size of the reply.

use crate::error::Error;
use crate::escape::unescape;
use crate::python_repr::BytesRepr;
use memchr::{memchr, memchr2, memchr3};
use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum size of each form of the automaton, in bytes. Each byte of a text takes 4 bytes, rounded up to a power of two,
/// for each distinct byte: 128 bytes for English text, 1 KiB at most.
const MAX_AUTOMATON_BYTES: usize = 1 << 20;

/// Maximum memory to build the automaton, in bytes. A text of equal bytes takes about half the square of its length.
const MAX_BUILD_BYTES: usize = 2 << 20;

/// Maximum number of expected bytes in an error text.
const SHOWN_BYTES: usize = 64;

/// What every reply must contain: a text, or a match of a regular expression.
///
/// Written as on the command line: `TEXT` with the escapes of `--message`, or `/REGEX/`. A text that begins and ends with
/// a slash is written with an escape, as in `\x2fhealth/`.
///
/// Regular expressions have the syntax of the crate [`regex`](https://docs.rs/regex/1/regex/#syntax) and match bytes:
/// `\w`, `\d`, `\b` and `(?i)` are ASCII only, and `.` is any byte except `\n`. Outside of classes, other characters are
/// their UTF-8 bytes. `^` and `$` are the beginning and the end of the reply.
///
/// ```
/// use multiconn::client::ExpectedText;
///
/// assert!("ready".parse::<ExpectedText>().is_ok());
/// assert!(r"/^\d+ (ok|done)$/".parse::<ExpectedText>().is_ok());
/// let error = "/a(b/".parse::<ExpectedText>().expect_err("a group without an end").to_string();
/// assert!(error.contains("character 2: unclosed group"), "{error}");
/// ```
#[derive(Clone)]
pub struct ExpectedText {
    automaton: Arc<dense::DFA<Vec<u32>>>,
    begin: StateID,
    /// The requirement in an error text: `contain b'ready'`.
    requirement: Arc<str>,
}

/// Search in one reply, as far as it has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct TextSearch {
    state: StateID,
    is_found: bool,
}

impl ExpectedText {
    /// Every reply contains `text`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an empty text, and for one of more than about 1,000 bytes.
    pub fn containing(text: &[u8]) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(config_error("an empty text is in every reply; give one such as ready"));
        }
        let shown = BytesRepr::abbreviated(text, SHOWN_BYTES);
        Self::new(&Hir::literal(text), format!("contain {shown}"))
    }

    /// Every reply has a match of `regex`, anywhere unless `regex` is anchored.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the position of the mistake for an invalid expression, and for an empty or too large one.
    pub fn matching(regex: &str) -> Result<Self, Error> {
        if regex.is_empty() {
            return Err(config_error("an empty regex matches every reply; give one such as /^(ok|ready)/"));
        }
        let parsed = ParserBuilder::new().unicode(false).utf8(false).build().parse(regex);
        let parsed = parsed.map_err(|error| {
            let (what, offset) = match &error {
                regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
                regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
                _ => (error.to_string(), 0),
            };
            let character = regex[..offset].chars().count() + 1;
            config_error(&format!(
                "the regex {regex:?} is wrong at character {character}: {what}; give one such as /^(ok|ready)/"
            ))
        })?;
        let shown: String = regex.chars().take(SHOWN_BYTES).collect();
        let more = if shown.len() < regex.len() { "…" } else { "" };
        Self::new(&parsed, format!("match /{}{more}/", shown.escape_debug()))
    }

    fn new(expression: &Hir, requirement: String) -> Result<Self, Error> {
        let unusable = |error: &dyn fmt::Display| {
            config_error(&format!(
                "replies cannot be searched for what has to {requirement}: {error}; give a shorter text, or a regex with \
                 smaller repetitions such as /a{{1,20}}/"
            ))
        };
        let compiler = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_AUTOMATON_BYTES));
        let nfa = thompson::Compiler::new().configure(compiler).build_from_hir(expression);
        let nfa = nfa.map_err(|error| unusable(&error))?;
        let config = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
            .determinize_size_limit(Some(MAX_BUILD_BYTES));
        let automaton = dense::Builder::new().configure(config).build_from_nfa(&nfa);
        let automaton = automaton.map_err(|error| unusable(&error))?;
        let begin = automaton.start_state(&start::Config::new().anchored(Anchored::No));
        let begin = begin.map_err(|error| unusable(&error))?;
        Ok(Self { automaton: Arc::new(automaton), begin, requirement: requirement.into() })
    }

    /// Search that begins with a reply.
    pub(in crate::client) fn search(&self) -> TextSearch {
        TextSearch { state: self.begin, is_found: false }
    }

    /// Searches the next bytes of the reply.
    pub(in crate::client) fn search_bytes(&self, search: &mut TextSearch, bytes: &[u8]) {
        let automaton = &*self.automaton;
        let (mut state, mut index) = (search.state, 0);
        while index < bytes.len() && !search.is_found {
            state = automaton.next_state(state, bytes[index]);
            index += 1;
            if automaton.is_special_state(state) {
                search.is_found = automaton.is_match_state(state);
                if automaton.is_dead_state(state) {
                    break;
                }
                if automaton.is_accel_state(state) {
                    index += unchanged(automaton.accelerator(state), &bytes[index..]);
                }
            }
        }
        search.state = state;
    }

    /// Whether the reply contains the text, after its last byte.
    pub(in crate::client) fn is_found(&self, search: TextSearch) -> bool {
        search.is_found || self.automaton.is_match_state(self.automaton.next_eoi_state(search.state))
    }

    /// The requirement as an infinitive, such as `contain b'ready'`.
    pub(in crate::client) fn requirement(&self) -> &str {
        &self.requirement
    }
}

/// Number of bytes at the start of `bytes` that do not leave a state which only `needles` leave.
fn unchanged(needles: &[u8], bytes: &[u8]) -> usize {
    let position = match *needles {
        [one] => memchr(one, bytes),
        [one, two] => memchr2(one, two, bytes),
        [one, two, three] => memchr3(one, two, three, bytes),
        _ => Some(0),
    };
    position.unwrap_or(bytes.len())
}

fn config_error(problem: &str) -> Error {
    Error::config(&["expected_text"], problem)
}

impl FromStr for ExpectedText {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(regex) => Self::matching(regex),
            None => Self::containing(&unescape(text).map_err(|error| config_error(&error.to_string()))?),
        }
    }
}

impl fmt::Debug for ExpectedText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("ExpectedText").field(&self.requirement).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::ExpectedText;
    use proptest::prelude::*;

    /// Whether `reply`, which arrives in two parts, contains `text`.
    fn is_in(text: &ExpectedText, reply: &[u8], split: usize) -> bool {
        let (mut search, (first, second)) = (text.search(), reply.split_at(split));
        text.search_bytes(&mut search, first);
        text.search_bytes(&mut search, second);
        text.is_found(search)
    }

    #[track_caller]
    fn check(text: &str, reply: &[u8], expected: bool) {
        let text: ExpectedText = text.parse().expect("valid");
        for split in 0..=reply.len() {
            assert_eq!(is_in(&text, reply, split), expected, "{text:?} in {} split at {split}", reply.escape_ascii());
        }
    }

    #[test]
    fn texts_are_found_across_reads() {
        check("ready", b"we are ready.", true);
        check("ready", b"rea dy", false);
        check("ready", b"", false);
        check(r"a\r\n\x00", b"\0a\r\n\0", true);
        check("é", "café".as_bytes(), true);
        // A slash at one end only, and escaped ones.
        check("/a", b"x/a", true);
        check(r"\x2fa/", b"x/a/", true);
        check(r"\x2fa/", b"a", false);
    }

    #[test]
    fn regexes_match_bytes() {
        check(r"/^\d+ (ok|done)$/", b"200 ok", true);
        check(r"/^\d+ (ok|done)$/", b"200 ok\n", false);
        check(r"/^\d+ (ok|done)$/", b"x200 ok", false);
        check("/^$/", b"", true);
        check("/^$/", b"x", false);
        check("/(?i)OK/", b"x ok", true);
        check(r"/a.c/", b"a\xffc", true);
        check(r"/a.c/", b"a\nc", false);
        check(r"/\xff+\x00/", b"\xff\xff\0", true);
        check(r"/\bok\b/", b"not ok", true);
        check(r"/\bok\b/", b"token", false);
        check("/fé+$/", "café".as_bytes(), true);
        check("/(?m)^b$/", b"a\nb\nc", true);
        check("/a|$/", b"x", true);
    }

    #[test]
    fn errors_name_the_position() {
        for (text, parts) in [
            ("/a(b/", ["\"a(b\" is wrong at character 2", "unclosed group"]),
            ("/é[z-a]/", ["at character 3", "invalid character class range"]),
            (r"/\p{Greek}/", ["at character 1", "Unicode not allowed here"]),
            ("/a**{/", ["at character 4", "repetition"]),
            ("//", ["empty regex", "/^(ok|ready)/"]),
            ("", ["empty text", "such as ready"]),
            (r"\q", [r"\q is no escape", "GET"]),
            ("/[ab]*a[ab]{30}/", ["exceeded", "smaller repetitions"]),
            (r"/(?u)\bok/", ["Unicode", "such as"]),
        ] {
            let error = text.parse::<ExpectedText>().expect_err(text).to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        assert!(ExpectedText::containing(&[b'x'; 1000]).is_ok());
        assert!(ExpectedText::containing("x".repeat(2 << 20).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn it_finds_what_a_plain_search_finds(
            text in prop::collection::vec(0_u8..3, 1..5), reply in prop::collection::vec(0_u8..3, 0..40), split in 0_usize..40,
        ) {
            let expected = reply.windows(text.len()).any(|part| part == text);
            let found = is_in(&ExpectedText::containing(&text).expect("valid"), &reply, split.min(reply.len()));
            prop_assert_eq!(found, expected);
        }
    }
}
