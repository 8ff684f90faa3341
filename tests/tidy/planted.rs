//! Patch check: each planted bug of `tests/planted` still applies to the tree.

use std::fs;
use std::path::Path;

/// The file of a patch, and the old lines of each of its hunks.
fn old_texts(patch: &str) -> (String, Vec<String>) {
    let file = patch.lines().find_map(|line| line.strip_prefix("--- a/")).unwrap_or_default();
    let mut hunks: Vec<String> = Vec::new();
    for line in patch.lines() {
        if line.starts_with("@@ ") {
            hunks.push(String::new());
        } else if let (Some(hunk), Some(old)) = (hunks.last_mut(), line.strip_prefix([' ', '-'])) {
            hunk.push_str(old);
            hunk.push('\n');
        }
    }
    (file.to_owned(), hunks)
}

#[test]
fn planted_bugs_apply() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let patches: Vec<_> =
        fs::read_dir(root.join("tests/planted")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(patches.len() >= 20, "{} planted bugs", patches.len());
    for path in patches {
        let (file, hunks) = old_texts(&fs::read_to_string(&path).unwrap());
        let text = fs::read_to_string(root.join(&file)).unwrap();
        assert!(!hunks.is_empty(), "{} changes nothing", path.display());
        for hunk in hunks {
            assert_eq!(text.matches(&hunk).count(), 1, "{} does not apply to {file}:\n{hunk}", path.display());
        }
    }
}

#[test]
fn the_old_lines_of_a_patch_are_its_context() {
    let patch = "--- a/x.rs\n+++ b/x.rs\n@@ -1,3 +1,3 @@ fn f\n one\n-two\n+2\n three\n@@ -9 +9 @@\n-nine\n";
    assert_eq!(old_texts(patch), ("x.rs".to_owned(), vec!["one\ntwo\nthree\n".to_owned(), "nine\n".to_owned()]));
}
