//! Output of `-h`, `--help` and `--version` of all programs.

use super::support::{Exit, Program};
use std::process::Command;

const PROGRAMS: [fn() -> Command; 3] = [Program::server_command, Program::client_command, Program::report_command];

/// Output of a program at the usual width.
#[track_caller]
fn printed(program: fn() -> Command, arguments: &[&str]) -> Vec<String> {
    let exit: Exit = Program::spawn(program().args(arguments).env_remove("COLUMNS")).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout.last().is_some_and(|line| !line.is_empty()), "{exit:#?}");
    exit.stdout
}

fn options(lines: &[String]) -> Vec<&str> {
    let words = lines.iter().filter(|line| line.starts_with("  ")).flat_map(|line| line.split_whitespace().take(2));
    words.map(|word| word.trim_end_matches("...")).filter(|word| word.starts_with("--")).collect()
}

#[test]
fn short_help_has_one_line_for_each_common_option() {
    for program in PROGRAMS {
        let (short, long) = (printed(program, &["-h"]), printed(program, &["--help"]));
        // Continuation lines are indented further than any option.
        assert!(short.iter().all(|line| !line.starts_with("         ")), "{short:#?}");
        assert!(short.len() <= 70 && short.len() < long.len(), "{} lines of {}", short.len(), long.len());
        let all = options(&long);
        assert!(options(&short).iter().all(|option| all.contains(option)), "{short:#?}");
    }
    let short = printed(Program::client_command, &["-h"]);
    for common in ["--rate", "--duration", "--connections", "--json", "--verbose"] {
        assert!(options(&short).contains(&common), "{common}: {short:#?}");
    }
    assert!(!options(&short).contains(&"--retry-delay"), "{short:#?}");
    let compare = printed(Program::report_command, &["compare", "-h"]);
    assert!(compare.iter().all(|line| !line.starts_with("         ")), "{compare:#?}");
}

#[test]
fn long_help_has_every_option_and_exit_status() {
    for (program, statuses) in PROGRAMS.into_iter().zip([&[0, 1, 2, 130][..], &[0, 1, 2, 3, 130], &[0, 1, 2, 3]]) {
        let long = printed(program, &["--help"]);
        let start = long.iter().position(|line| line == "Exit status:").expect("a list of exit statuses");
        let rows = long[start + 1..].iter().map_while(|line| line.split_whitespace().next()?.parse::<u8>().ok());
        assert_eq!(rows.collect::<Vec<_>>(), statuses);
    }
    let long = printed(Program::client_command, &["--help"]);
    assert!(["--retry-delay", "--rate"].iter().all(|option| options(&long).contains(option)), "{long:#?}");
    // Each service is explained.
    let long = printed(Program::server_command, &["--help"]);
    assert!(long.iter().any(|line| line.trim_start().starts_with("discard ")), "{long:#?}");
}

#[test]
fn the_version_is_one_line() {
    for (program, name) in PROGRAMS.into_iter().zip(["multiconn-server", "multiconn-client", "multiconn-report"]) {
        let short = format!("{name} {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(printed(program, &["-V"]), [short.as_str()]);
        let long = printed(program, &["--version"]);
        let details = long[0].strip_prefix(&format!("{short} (commit ")).unwrap_or_else(|| panic!("{long:#?}"));
        assert!(details.contains(std::env::consts::ARCH) && details.contains("features"), "{long:#?}");
        assert_eq!(long.len(), 1, "{long:#?}");
    }
}
