//! The targets without coverage: replays a corpus, and mutates it. Equal seeds give equal inputs.
//!
//! `cargo test` mutates for a short time; the variables of the environment below are for `scripts/fuzz`.

use super::{Current, MAX_INPUT_BYTES, Target};
use crate::random::random;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The seed of a run that is repeated.
const SEED_VARIABLE: &str = "FUZZ_SEED";

/// How many mutated inputs a target tries, if its time suffices.
const INPUTS_VARIABLE: &str = "FUZZ_INPUTS";

/// Time of a target in seconds, besides its corpus.
const SECONDS_VARIABLE: &str = "FUZZ_SECONDS";

/// A directory with more inputs for each target, as `corpus`.
const FOUND_VARIABLE: &str = "FUZZ_FOUND";

/// Without a variable. All targets together take about 10 s.
const TIME: Duration = Duration::from_millis(400);

/// Bytes at the limits of integers and of character classes.
const EDGE_BYTES: [u8; 16] =
    [0, 1, 0x7f, 0x80, 0xff, 0xfe, b'0', b'9', b' ', b'\n', b'\r', b'\t', b'"', b'<', b'-', b'.'];

/// Runs `target` on its corpus and on mutations of it.
pub(super) fn run(target: Target, current: &Current) {
    let seed = variable(SEED_VARIABLE)
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos().into());
    let run = |origin: &dyn Fn() -> String, input: &[u8]| {
        current.set(|| format!("{}, {SEED_VARIABLE}={seed}", origin()), input);
        target.run(input);
    };
    let mut corpus = files(&directory("corpus").join(target.name));
    assert!(!corpus.is_empty(), "{} has no corpus", target.name);
    if let Some(found) = std::env::var_os(FOUND_VARIABLE) {
        corpus.extend(files(&Path::new(&found).join(target.name)));
    }
    for (path, input) in &corpus {
        run(&|| path.display().to_string(), input);
    }
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| &input[..]).collect();
    let tokens = tokens(target.name);
    let end = Instant::now() + variable(SECONDS_VARIABLE).map_or(TIME, Duration::from_secs);
    let wanted = variable(INPUTS_VARIABLE).unwrap_or(u64::MAX);
    let mut count = 0;
    while count < wanted && Instant::now() < end {
        let input = Mutator { seed: random(seed, count), used: 0, tokens: &tokens, inputs: &inputs }.input();
        run(&|| format!("input {count}"), &input);
        count += 1;
    }
    println!("fuzz {}: {count} mutated inputs, {SEED_VARIABLE}={seed}", target.name);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

/// The files of a directory with their content, by name.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(&path).map(|bytes| (path, bytes)).expect("it is readable")).collect()
}

/// The tokens of a dictionary: one per line, in quotes. It may be missing.
fn tokens(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(directory("dictionaries").join(name)).unwrap_or_default();
    let quoted = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let quoted = quoted.map(|line| line.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')));
    quoted.map(|token| crate::escape::unescape(token.expect("a token in quotes")).expect("its escapes")).collect()
}

/// Makes one input.
struct Mutator<'a> {
    seed: u64,
    /// How many numbers were drawn.
    used: u64,
    tokens: &'a [Vec<u8>],
    inputs: &'a [&'a [u8]],
}

impl Mutator<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.used += 1;
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(random(self.seed, self.used) % bound).unwrap_or(0)
    }

    fn input(mut self) -> Vec<u8> {
        // The shorter of two: libFuzzer finds many long inputs, which are slow.
        let indexes: [usize; 2] = std::array::from_fn(|_| self.below(self.inputs.len()));
        let candidates = indexes.map(|index| self.inputs[index]);
        let mut bytes = candidates.into_iter().min_by_key(|input| input.len()).unwrap_or_default().to_vec();
        // Mostly few changes: each one may make the rest unreachable.
        for _ in 0..=self.below(8).min(self.below(8)) {
            self.mutate(&mut bytes);
        }
        bytes.truncate(MAX_INPUT_BYTES);
        bytes
    }

    #[allow(clippy::cast_possible_truncation, reason = "a random byte")]
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let exponent = self.below(7);
        let length = self.below(1 << exponent);
        let to = (at + length).min(bytes.len());
        let (kind, edge) = (self.below(10), EDGE_BYTES[self.below(EDGE_BYTES.len())]);
        match kind {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            2 if at < bytes.len() => bytes[at] = edge,
            3 => bytes.insert(at, edge),
            4 => drop(bytes.drain(at..to)),
            5 => {
                let part = bytes[at..to].to_vec();
                let target = self.below(bytes.len() + 1);
                bytes.splice(target..target, part);
            }
            6 => bytes.truncate(at),
            7 | 8 if !self.tokens.is_empty() => {
                let (index, inserts) = (self.below(self.tokens.len()), self.below(2) == 0);
                let token = &self.tokens[index];
                let to = if inserts { at } else { (at + token.len()).min(bytes.len()) };
                bytes.splice(at..to, token.iter().copied());
            }
            _ => {
                let index = self.below(self.inputs.len());
                let other = self.inputs[index];
                let from = self.below(other.len() + 1);
                let part = &other[from..(from + length.max(1)).min(other.len())];
                bytes.splice(at..to, part.iter().copied());
            }
        }
    }
}
