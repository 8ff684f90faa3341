//! A strict parser of OpenMetrics pages (OpenMetrics 1.0.0, "Text Format").

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a page, keyed by the text before the value.
#[derive(Debug)]
pub(crate) struct Page(BTreeMap<String, f64>);

impl Page {
    /// Parses `text`, and panics on any violation of the format.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end in {text}"));
        assert!(!lines.contains("# EOF") && !lines.contains('\r'), "{lines}");
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let (mut name, mut kind) = (String::new(), String::new());
        for line in lines.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<_> = comment.splitn(3, ' ').collect();
                match words[0] {
                    // A family is contiguous, and starts with this line in our pages.
                    "HELP" => {
                        assert!(families.insert(words[1].to_owned()), "{} comes twice", words[1]);
                        (name, kind) = (words[1].to_owned(), String::new());
                    }
                    "TYPE" => words[2].clone_into(&mut kind),
                    "UNIT" => assert!(name.ends_with(&format!("_{}", words[2])), "{line}"),
                    _ => panic!("not a comment of the format: {line}"),
                }
                assert_eq!(words[1], name, "{line}");
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line:?}"));
            expect_member(sample, &name, &kind);
            let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{sample} comes twice");
        }
        Self(samples)
    }

    /// The number of samples.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sum over all samples named `name` that have all of `labels`, such as `reason="drained"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_meant = |sample: &str| {
            let (own_name, own_labels) = sample.split_once('{').unwrap_or((sample, ""));
            own_name == name && labels.iter().all(|label| own_labels.contains(label))
        };
        self.0.iter().filter(|(sample, _)| is_meant(sample)).map(|(_, value)| value).sum()
    }

    /// The value of the sample written exactly like this.
    pub(crate) fn get(&self, sample: &str) -> Option<f64> {
        self.0.get(sample).copied()
    }

    /// Expects that the bucket counts of the histogram with this label, such as `worker="0"`, or without any, never
    /// decrease and end with the total.
    #[track_caller]
    pub(crate) fn expect_histogram(&self, name: &str, label: &str) {
        let comma = if label.is_empty() { "" } else { "," };
        let (start, end) = (format!("{name}_bucket{{le=\""), format!("\"{comma}{label}}}"));
        let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let bound = |sample: &str| sample.strip_prefix(&start)?.strip_suffix(&end)?.parse::<f64>().ok();
        let mut buckets: Vec<_> = self.0.iter().filter_map(|(sample, count)| Some((bound(sample)?, *count))).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.len() > 10, "{buckets:?}");
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
        let all = buckets.last().unwrap();
        assert!(all.0.is_infinite(), "{buckets:?}");
        assert_eq!(self.get(&format!("{name}_count{labels}")), Some(all.1));
        let sum = self.get(&format!("{name}_sum{labels}")).unwrap();
        assert!(sum > 0.0 || all.1 == 0.0, "{all:?} {sum}");
    }
}

/// Expects that a sample has its family's name, its type's suffix, and well-formed labels.
#[track_caller]
fn expect_member(sample: &str, family: &str, kind: &str) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => panic!("{sample} has the type {kind:?}"),
    };
    let ending = name.strip_prefix(family).unwrap_or_else(|| panic!("{sample} is not of {family}"));
    assert!(endings.contains(&ending), "{sample} is not a {kind}");
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no end: {sample}"));
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{label:?} in {sample}"));
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()), "{sample}");
        // Short words, not sentences.
        assert!(!value.trim_end_matches('"').contains(['"', '\n', '\\', ' ']), "{sample}");
    }
}
