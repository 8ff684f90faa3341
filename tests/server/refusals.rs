//! Invalid command lines: one sentence that names the input, exit status 2, and nothing else.

use super::support::{Program, expect_refusal};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[track_caller]
fn wrong(arguments: &[&str], parts: &[&str]) {
    expect_refusal(Program::server(arguments), 2, parts);
}

#[test]
fn an_invalid_port_is_refused() {
    for port in ["70000", "-1", "http", "65536", "", "1.5"] {
        wrong(&["127.0.0.1", port], &[&format!("{port:?}"), "not a port", "65432"]);
    }
}

#[test]
fn invalid_counts_are_refused() {
    for option in ["--max-connections", "--workers", "--backlog"] {
        for value in ["0", "-5", "many", "1.5", "99999999999999999999999"] {
            wrong(&["127.0.0.1", "0", option, value], &[option, &format!("{value:?}"), "like 1000"]);
        }
    }
}

#[test]
fn invalid_sizes_and_durations_are_refused() {
    for value in ["64 parsecs", "-1", "", "KiB", "1.5", "99999999999T"] {
        wrong(&["127.0.0.1", "0", &format!("--buffer-limit={value}")], &["--buffer-limit", "64KiB"]);
    }
    for value in ["0", "5GiB"] {
        wrong(&["127.0.0.1", "0", "--buffer-limit", value], &["--buffer-limit", "buffer holds 1 byte to 4 GiB"]);
    }
    for option in ["--spin", "--idle-timeout", "--drain-timeout", "--hand-over-timeout"] {
        for value in ["5", "5 parsecs", "-1s", "1s1s", "9999999999h", ""] {
            wrong(&["127.0.0.1", "0", &format!("{option}={value}")], &[option, &format!("{value:?}"), "1m30s"]);
        }
    }
    wrong(&["127.0.0.1", "0", "--hand-over-timeout", "0"], &["--hand-over-timeout", "more than 0"]);
}

#[test]
fn invalid_addresses_are_refused() {
    for words in [&["65432"][..], &["65432", "127.0.0.1"]] {
        wrong(words, &["HOST", "\"65432\"", "127.0.0.1 65432"]);
    }
    for word in ["127.0.0.1:65536", "::1:65432", "127.0.0.1:http", "ftp://127.0.0.1:1"] {
        wrong(&[word], &[&format!("{word:?}"), "127.0.0.1:65432", "unix:"]);
        wrong(&["127.0.0.1", "0", "--metrics", word], &["--metrics", &format!("{word:?}"), "127.0.0.1:65432", "unix:"]);
    }
    wrong(&["127.0.0.1:65432", "65432"], &["\"127.0.0.1:65432\"", "port twice"]);
    wrong(&["127.0.0.1:0", "surplus"], &["'surplus'"]);
    wrong(
        &["http://127.0.0.1:8080/path"],
        &["\"http://127.0.0.1:8080/path\"", "URL", "give the address 127.0.0.1:8080"],
    );
}

/// An option without effect is refused rather than ignored.
#[test]
fn connection_options_without_connections_are_refused() {
    let cases = [
        ["--max-connections", "5"],
        ["--max-per-address", "5"],
        ["--at-limit", "refuse"],
        ["--backlog", "5"],
        ["--buffer-limit", "5k"],
        ["--memory-limit", "5M"],
        ["--idle-timeout", "5s"],
        ["--first-byte-timeout", "5s"],
        ["--write-timeout", "5s"],
        ["--lifetime", "5s"],
        ["--no-delay", "off"],
        ["--keepalive", "5s"],
    ];
    for [option, value] in cases {
        wrong(&["--udp", "127.0.0.1", "0", option, value], &[option, "for connections", "--udp"]);
    }
}

#[test]
fn udp_and_tls_options_without_them_are_refused() {
    for option in [["--multicast", "239.1.2.3"], ["--udp-answer", "a"], ["--multicast-interface", "lo"]] {
        wrong(&[&["127.0.0.1", "0"], &option[..]].concat(), &["--udp"]);
        wrong(&[&["127.0.0.1", "0", "--tls-self-signed"], &option[..]].concat(), &[option[0], "--udp"]);
    }
    wrong(&["127.0.0.1", "0", "--handshake-timeout", "5s"], &["--handshake-timeout", "--tls-self-signed"]);
}

#[test]
fn link_local_addresses_without_an_interface() {
    for words in [&["fe80::1", "0"][..], &["--udp", "[fe80::1]:0"], &["fe80::1%none", "0"]] {
        wrong(words, &["\"fe80::1", "give fe80::1%"]);
    }
}

#[test]
fn unknown_names_are_refused() {
    wrong(&["127.0.0.1", "0", "--service", "ecko"], &["'ecko'", "--service", "echo"]);
    wrong(&["127.0.0.1", "0", "--service", "none"], &["'none'", "--service", "give echo, discard, ", " or search"]);
    wrong(&["127.0.0.1", "0", "--no-delay", "maybe"], &["'maybe'", "--no-delay", "give on or off"]);
    wrong(&["127.0.0.1", "0", "--at-limit", "maybe"], &["'maybe'", "--at-limit", "give wait or refuse"]);
    wrong(&["127.0.0.1", "0", "--max-connection", "5"], &["'--max-connection'", "--max-connections"]);
    wrong(&["127.0.0.1", "0", "--frobnicate"], &["'--frobnicate'"]);
    wrong(&["127.0.0.1", "0", "surplus"], &["'surplus'"]);
    wrong(&["127.0.0.1:0", "unix:m.sock"], &["'unix:m.sock'"]);
    wrong(&["127.0.0.1", "0", "--workers"], &["--workers"]);
    wrong(&["127.0.0.1", "0", "-q", "-v"], &["--quiet", "--verbose"]);
}

#[test]
fn a_wrong_value_from_the_environment_is_refused_by_name() {
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0"]).env("MULTICONN_MAX_CONNECTIONS", "0");
    expect_refusal(Program::spawn(&mut command), 2, &["MULTICONN_MAX_CONNECTIONS", "\"0\""]);
    // The command line takes precedence, and its value is then reported.
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0", "--workers", "none"]).env("MULTICONN_WORKERS", "2");
    let line = expect_refusal(Program::spawn(&mut command), 2, &["--workers", "\"none\""]);
    assert!(!line.contains("MULTICONN_WORKERS"), "{line}");
}

#[test]
fn environment_variables_work_like_options() {
    let mut command = Program::server_command();
    command.args(["127.0.0.1", "0"]).env("MULTICONN_SERVICE", "discard").env("MULTICONN_WORKERS", "1");
    let server = Program::spawn(&mut command);
    assert!(server.await_stdout("Listening").ends_with("(tcp, discard)"));
}

#[test]
fn help_and_version_go_to_stdout() {
    let exit = Program::server(&["--help"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("--max-connections")), "{exit:#?}");
    let exit = Program::server(&["--version"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert!(exit.stdout[0].starts_with("multiconn-server "), "{exit:#?}");
}

/// A Unix path that can never be bound is a usage error on every machine.
#[test]
fn a_too_long_unix_path_is_refused() {
    let path = format!("/tmp/{}.sock", "m".repeat(120));
    wrong(&["--unix", &path], &[&path, "130 bytes long", "107"]);
    wrong(&["--unix", ""], &["--unix"]);
}

#[test]
fn an_argument_that_is_not_utf8_is_named() {
    for (argument, shown) in
        [(&b"--workers=\xff"[..], r"--workers=\xff"), (b"--answer=a\xffb", r"--answer=a\xffb"), (b"\xff", r"\xff")]
    {
        let mut command = Program::server_command();
        command.arg(OsStr::from_bytes(argument));
        expect_refusal(Program::spawn(&mut command), 2, &[shown, "UTF-8", "; give"]);
    }
}
