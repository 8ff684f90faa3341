//! Parses the summary that a server prints at its end.

use super::Exit;

impl Exit {
    /// The count of the summary line `words`, such as "idle timeout"; 0 without such a line.
    pub(crate) fn counted(&self, words: &str) -> u64 {
        // A breakdown in parentheses may follow a total.
        let total = |line: &String| line.split(" (").next().unwrap_or_default().trim_start().to_owned();
        let number = |line: &String| total(line).strip_suffix(words)?.trim_end().replace(',', "").parse().ok();
        self.stdout.iter().find_map(number).unwrap_or(0)
    }

    /// Expects a normal exit, and exactly these counts in the summary.
    #[track_caller]
    pub(crate) fn expect_counts(&self, counts: &[(&str, u64)]) {
        assert_eq!(self.code, Some(0), "{self:#?}");
        for (words, count) in counts {
            assert_eq!(self.counted(words), *count, "{words}: {self:#?}");
        }
        let lines = self.stdout.iter().filter(|line| line.starts_with(' ')).count();
        assert_eq!(lines, counts.iter().filter(|(_, count)| *count > 0).count(), "{self:#?}");
    }

    /// How many log lines contain all of `parts`.
    pub(crate) fn told(&self, parts: &[&str]) -> usize {
        self.stderr.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}
