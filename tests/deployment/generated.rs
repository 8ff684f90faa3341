//! `--generate`: what the formatter of manual pages and the shells make of its output.

use super::support::{Program, expect_refusal, skipped, works};
use super::{PROGRAMS, expect_success, has};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The long options in a help text.
fn options(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.trim_start().starts_with('-'));
    let words = lines.flat_map(|line| line.split_whitespace().take(2));
    words.map(|word| word.trim_end_matches("...")).filter(|word| word.starts_with("--")).collect()
}

#[test]
fn manual_pages_have_every_option() {
    for (name, command) in PROGRAMS {
        let page = expect_success(command().args(["--generate", "man"]));
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        for heading in ["NAME", "SYNOPSIS", "OPTIONS", "\"EXIT STATUS\""] {
            assert!(page.contains(&format!("\n.SH {heading}\n")), "{heading} of {name}");
        }
        let (plain, help) = (page.replace('\\', ""), expect_success(command().arg("--help")));
        for option in options(&help) {
            assert!(plain.contains(option), "{option} of {name}");
        }
    }
    let page = expect_success(Program::report_command().args(["--generate", "man"]));
    assert!(page.contains("\\fBmulticonn\\-report compare\\fR [OPTIONS] <BEFORE> <AFTER>"), "{page}");
    assert!(page.contains("\n\\fB\\-\\-fail\\-if\\-worse\\fR\n"), "{page}");
}

#[test]
fn manual_pages_have_no_errors() {
    if !works(Command::new("sh").args(["-c", "command -v mandoc"])) {
        skipped("the format of manual pages", "there is no mandoc here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, command) in PROGRAMS {
        let path = folder.path().join(name).with_extension("1");
        fs::write(&path, expect_success(command().args(["--generate", "man"]))).unwrap();
        expect_success(Command::new("mandoc").args(["-T", "lint", "-W", "error"]).arg(&path));
    }
}

/// Calls the completion function as bash does when the last of the words is to be completed.
const BASH: &str = "
name=$1; . $2; shift 2
COMP_WORDS=($name $*); COMP_CWORD=$#
set -- $(complete -p $name)
while [ $1 != -F ]; do shift; done
$2 $name \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"
echo \"${COMPREPLY[@]}\"
";

/// What a shell offers after a command line.
fn completed(shell: &str, name: &str, script: &Path, words: &str) -> String {
    let mut command = Command::new(shell);
    match shell {
        "bash" => command.args(["-c", BASH, "bash", name]).arg(script).args(words.split(' ')),
        _ => command.args(["-c", "source $argv[2]; complete -C \"$argv[1] $argv[3]\"", name]).arg(script).arg(words),
    };
    expect_success(&mut command)
}

#[test]
fn shells_complete_options_and_values() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "fish"].into_iter().filter(|shell| has(shell, "completions")) {
        for (name, command) in PROGRAMS {
            let path = folder.path().join(format!("{name}.{shell}"));
            fs::write(&path, expect_success(command().args(["--generate", &format!("completions-{shell}")]))).unwrap();
            let expected = match name {
                "multiconn-server" => [("--max-con", "--max-connections"), ("--service disc", "discard")],
                "multiconn-client" => [("--reply-t", "--reply-timeout"), ("--arrivals poi", "poisson")],
                _ => [("comp", "compare"), ("compare --fail", "--fail-if-worse")],
            };
            for (words, expected) in expected {
                let offered = completed(shell, name, &path, words);
                assert!(offered.split_whitespace().any(|word| word == expected), "{shell}, {name} {words}: {offered}");
            }
        }
    }
}

/// The completion system of zsh needs a terminal: only the syntax and the registration are checked.
#[test]
fn zsh_accepts_its_completions() {
    if !has("zsh", "completions") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, command) in PROGRAMS {
        let script = expect_success(command().args(["--generate", "completions-zsh"]));
        assert!(script.starts_with(&format!("#compdef {name}\n")), "{script}");
        fs::write(folder.path().join(format!("_{name}")), script).unwrap();
        let code = format!(
            "fpath=($1 $fpath); autoload -U compinit; compinit -u -D; autoload +X _{name}; echo $_comps[{name}]"
        );
        let found = expect_success(Command::new("zsh").args(["-f", "-c", &code, "zsh"]).arg(folder.path()));
        assert_eq!(found.trim(), format!("_{name}"));
    }
}

#[test]
fn it_takes_no_other_words_and_no_variable() {
    for (_, command) in PROGRAMS {
        let refused = |words: &[&str]| Program::spawn(command().args(words));
        expect_refusal(refused(&["--generate", "info"]), 2, &["--generate", "man", "completions-bash"]);
        expect_refusal(refused(&["--generate"]), 2, &["--generate"]);
        let variable = Program::spawn(command().arg("--version").env("MULTICONN_GENERATE", "man")).await_exit();
        assert!(variable.stdout[0].starts_with("multiconn-"), "{variable:#?}");
    }
}
