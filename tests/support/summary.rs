//! The summary that a server prints when it ends, read back.

use super::Exit;

impl Exit {
    /// How many the summary counts under `words`, such as "idle timeout"; 0 when it has no such line.
    pub(crate) fn counted(&self, words: &str) -> u64 {
        // A total can be followed by its parts in parentheses.
        let total = |line: &String| line.split(" (").next().unwrap_or_default().trim_start().to_owned();
        let number = |line: &String| total(line).strip_suffix(words)?.trim_end().replace(',', "").parse().ok();
        self.stdout.iter().find_map(number).unwrap_or(0)
    }

    /// Expects an end in order, and these counts and no others in the summary.
    #[track_caller]
    pub(crate) fn expect_counts(&self, counts: &[(&str, u64)]) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        for (words, count) in counts {
            assert_eq!(self.counted(words), *count, "{words}: {self:#?}");
        }
        let lines = self.stdout.iter().filter(|line| line.starts_with(' ')).count();
        assert_eq!(lines, counts.iter().filter(|(_, count)| *count > 0).count(), "{self:#?}");
    }

    /// How many times a line of the log contains all of `parts`.
    pub(crate) fn told(&self, parts: &[&str]) -> usize {
        self.stderr.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}
