//! Commands and links of README.md and docs/: every command of a `console` block works, every relative link names a file.
//!
//! In a `console` block a line after `$ ` is a command, and other lines are output, which is not compared. The commands
//! of a document run in order, by sh(1), in a directory of their own, and must exit with 0. After `; echo $?` the last
//! line of the output must be the documented status. If the first line of a client's report is documented, its verdict
//! must be the documented one.
//!
//! - `multiconn-server` runs in the background, until the next one or the end of the document. Then SIGTERM must end it
//!   with status 0.
//! - Another server, whose command ends with ` &`, runs until the end of its section. Without it the section is skipped.
//! - A block with a file name after its language is written to that file.
//! - The ports 65432 and 9464, and those of other servers, stand for free ports, and the word `PID` for the server's
//!   process.
//! - Runs are shorter than documented, and limits of latencies longer.
//! - A command is skipped, visibly, if a program that it needs is not installed.

#![allow(clippy::unwrap_used)]

mod document;
mod runner;
mod services;
#[path = "../support/mod.rs"]
mod support;

use document::{Part, parts};
use runner::run_all;
use std::fs;
use std::path::Path;
use support::skipped;

/// The maximum length of README.md, in lines.
const README_LINES: usize = 150;

#[test]
fn every_command_works() {
    let documents = documents();
    assert!(documents.iter().flat_map(|(path, text)| parts(path, text)).any(|part| matches!(part, Part::Command(_))));
    std::thread::scope(|scope| {
        for (path, text) in &documents {
            scope.spawn(move || {
                let (missing, sections) = run_all(path, text);
                if !missing.is_empty() {
                    let what = format!("{path}: {} of {sections} sections with another server", missing.len());
                    skipped(&what, &format!("not installed: {}", missing.join(", ")));
                }
            });
        }
    });
}

#[test]
#[should_panic(expected = "a.md:2: `exit 3` ended with Some(3)")]
fn a_failing_command_is_reported() {
    run_all("a.md", "```console\n$ exit 3\n```\n");
}

#[test]
#[should_panic(expected = "another exit status")]
fn a_wrong_status_is_reported() {
    run_all("a.md", "```console\n$ false; echo $?\n0\n```\n");
}

#[test]
#[should_panic(expected = "another verdict")]
fn a_wrong_verdict_is_reported() {
    run_all(
        "a.md",
        "```console\n$ echo 1 connection to x:1: failed\n1 connection to x:1: every reply was correct\n```\n",
    );
}

#[test]
fn a_section_without_its_server_is_skipped() {
    let text = "## A\n```console\n$ no-such-server --port 6379 &\n$ false\n```\n## B\n```console\n$ true\n```\n";
    assert_eq!(run_all("a.md", text), (vec!["no-such-server".to_owned()], 1));
}

#[test]
#[should_panic(expected = "a.md:8: `grep -q 637[9] a.conf` ended with Some(1)")]
fn a_file_has_the_free_port() {
    run_all(
        "a.md",
        "```text a.conf\nport 6379\n```\n```console\n$ grep -q port a.conf\n```\n```console\n$ grep -q 637[9] a.conf\n```\n",
    );
}

#[test]
fn every_recipe_names_its_server_and_shows_a_success() {
    let text = fs::read_to_string(root().join("docs/recipes.md")).unwrap();
    let parts = parts("docs/recipes.md", &text);
    let sections = parts.split(|part| matches!(part, Part::Section)).filter(|section| !section.is_empty());
    let recipes: Vec<_> = sections.collect();
    assert_eq!(recipes.len(), 6, "{recipes:#?}");
    for recipe in recipes {
        let examples =
            || recipe.iter().filter_map(|part| if let Part::Command(example) = part { Some(example) } else { None });
        assert!(examples().any(|example| example.background().is_some()), "no server: {recipe:#?}");
        let mut loads = examples().filter(|example| example.command.starts_with("multiconn-client "));
        assert!(loads.clone().count() > 0, "no load: {recipe:#?}");
        assert!(loads.all(|load| load.verdict().is_some_and(|verdict| verdict.starts_with("every "))), "{recipe:#?}");
    }
}

#[test]
fn every_relative_link_names_a_file() {
    let documents = documents();
    let broken: Vec<String> = documents.iter().flat_map(|(path, text)| broken_links(path, text)).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let text = "[a](README.md#x) [b](https://example.org) [c](#here)\n[d](no.md)\n[e]: docs/none.md\n";
    assert_eq!(broken_links("README.md", text), ["README.md: no.md", "README.md: docs/none.md"]);
}

#[test]
fn the_readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines, {README_LINES} at most");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path and text of README.md and of each file in docs/.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        paths.push(format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    assert!(paths.len() > 1, "docs/ is empty");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

/// Relative links that lead to no file.
fn broken_links(path: &str, text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let defined = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| Some(line.split_once("]: ")?.1));
    let is_relative = |link: &&str| !link.contains("://") && !link.starts_with('#');
    let folder = root().join(path).parent().unwrap().to_owned();
    let exists = |link: &str| folder.join(link.split('#').next().unwrap()).exists();
    inline
        .chain(defined)
        .filter(is_relative)
        .filter(|link| !exists(link))
        .map(|link| format!("{path}: {link}"))
        .collect()
}
