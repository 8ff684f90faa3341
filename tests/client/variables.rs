//! Client options from environment variables.

use super::support::{Exit, Program, expect_refusal};
use super::{Outcome, server};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The client with these variables and arguments.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Program {
    Program::spawn(Program::client_command().args(arguments).envs(variables.iter().copied()))
}

#[track_caller]
fn outcome(variables: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    Outcome::of(with(variables, arguments))
}

#[track_caller]
fn exit(variables: &[(&str, &str)], arguments: &[&str]) -> Exit {
    with(variables, arguments).await_exit()
}

/// `HOST PORT` conflicts with --embedded, so a variable that counted as given would be rejected.
#[test]
fn a_false_switch_is_absent() {
    let server = server();
    let port = server.address().port().to_string();
    for value in ["false", "0", "no", "OFF", ""] {
        outcome(&[("MULTICONN_CLIENT_EMBEDDED", value)], &["127.0.0.1", &port]).expect_tutorial(1);
        outcome(&[("MULTICONN_EMBEDDED", value)], &["127.0.0.1", &port]).expect_tutorial(1);
    }
    for (name, value) in [("MULTICONN_QUIET", ""), ("MULTICONN_VERBOSE", "0"), ("MULTICONN_RATE", "")] {
        outcome(&[(name, value)], &["--embedded"]).expect_tutorial(1);
    }
}

#[test]
fn the_command_line_overrides_variables() {
    let server = server();
    let port = server.address().port().to_string();
    outcome(&[("MULTICONN_CONNECTIONS", "3")], &["127.0.0.1", &port, "5"]).expect_tutorial(5);
    outcome(&[("MULTICONN_CLIENT_CONNECTIONS", "3")], &["127.0.0.1", &port, "-c", "5"]).expect_tutorial(5);
    // Also for conflicts with an option, or combinations that would be a mistake.
    for (name, value) in
        [("MULTICONN_UNIX", "no.sock"), ("MULTICONN_EMBEDDED", "1"), ("MULTICONN_TARGET", "127.0.0.1:1")]
    {
        outcome(&[(name, value)], &["127.0.0.1", &port]).expect_tutorial(1);
    }
    let elsewhere = [("MULTICONN_HOST", "127.0.0.1"), ("MULTICONN_PORT", "1")];
    outcome(&elsewhere, &["--target", &format!("127.0.0.1:{port}")]).expect_tutorial(1);
    outcome(&elsewhere, &["--embedded"]).expect_tutorial(1);
    outcome(&[("MULTICONN_MESSAGE", "x")], &["--embedded", "--size", "5"]).expect_success(1, 1, 5);
    assert!(!exit(&[("MULTICONN_QUIET", "1")], &["--embedded", "-v"]).stdout.is_empty());
}

#[test]
fn a_program_specific_variable_overrides_the_common_one() {
    let both = [("MULTICONN_CLIENT_CONNECTIONS", "2"), ("MULTICONN_CONNECTIONS", "3")];
    outcome(&both, &["--embedded"]).expect_tutorial(2);
    outcome(&[("MULTICONN_CLIENT_QUIET", "0"), ("MULTICONN_QUIET", "1")], &["--embedded"]).expect_tutorial(1);
    assert!(!exit(&[("MULTICONN_CLIENT_VERBOSE", "1"), ("MULTICONN_QUIET", "1")], &["--embedded"]).stderr.is_empty());
    // An empty one leaves the common one in force.
    outcome(&[("MULTICONN_CLIENT_CONNECTIONS", ""), ("MULTICONN_CONNECTIONS", "3")], &["--embedded"])
        .expect_tutorial(3);
    outcome(&[("MULTICONN_SERVER_CONNECTIONS", "3"), ("MULTICONN_WORDS", "3")], &["--embedded"]).expect_tutorial(1);
}

#[test]
fn host_and_port_have_variables() {
    let server = server();
    let port = server.address().port().to_string();
    outcome(&[("MULTICONN_CLIENT_HOST", "127.0.0.1"), ("MULTICONN_PORT", &port)], &["-c", "2"]).expect_tutorial(2);
    outcome(&[("MULTICONN_CLIENT_PORT", &port)], &["127.0.0.1"]).expect_tutorial(1);
    // An address in one word has a port.
    let address = format!("127.0.0.1:{port}");
    outcome(&[("MULTICONN_CLIENT_PORT", "1")], &[&address, "3"]).expect_tutorial(3);
    let both = [("MULTICONN_CLIENT_HOST", &*address), ("MULTICONN_CLIENT_PORT", "2")];
    let parts = ["MULTICONN_CLIENT_HOST and MULTICONN_CLIENT_PORT", &format!("{address:?}"), "\"2\""];
    expect_refusal(with(&both, &[]), 2, &parts);
    // A count in place of an address is the fault of no variable.
    let line = expect_refusal(with(&both, &["5"]), 2, &["\"5\"", "-c 5"]);
    assert!(!line.contains("MULTICONN"), "{line}");
    for words in [&[&*address, "3"][..], &["127.0.0.1", &port, "3"]] {
        outcome(&[("MULTICONN_CLIENT_CONNECTIONS", "bad")], words).expect_tutorial(3);
    }
    let bad = with(&[("MULTICONN_CLIENT_CONNECTIONS", "bad")], &[&address, "search", "ring"]);
    expect_refusal(bad, 2, &["MULTICONN_CLIENT_CONNECTIONS", "\"bad\""]);
    outcome(&[("MULTICONN_CONNECTIONS", "2")], &[&address, "3"]).expect_tutorial(3);
    expect_refusal(with(&[("MULTICONN_HOST", "127.0.0.1:x")], &[]), 2, &["MULTICONN_HOST", "\"127.0.0.1:x\""]);
    let targets = format!("127.0.0.1:{port},127.0.0.1:{port}");
    outcome(&[("MULTICONN_CLIENT_TARGET", &targets)], &["-c", "4"]).expect_tutorial(4);
    expect_refusal(
        with(&[("MULTICONN_CLIENT_PORT", "0")], &["127.0.0.1"]),
        2,
        &["MULTICONN_CLIENT_PORT", "\"0\"", "65432"],
    );
    expect_refusal(with(&[("MULTICONN_CLIENT_HOST", "::1")], &[]), 2, &["<PORT>"]);
}

/// One per line: text may contain commas.
#[test]
fn a_variable_holds_several_messages() {
    outcome(&[("MULTICONN_MESSAGE", "Hello, world\nabc")], &["--embedded"]).expect_success(1, 2, 15);
}

/// They may be set in a profile, for the runs to which they apply.
#[test]
fn variables_of_other_transports_do_nothing() {
    for (name, value) in [
        ("MULTICONN_CLIENT_TLS_CA", "no.pem"),
        ("MULTICONN_CLIENT_TLS_CERT", "no.pem"),
        ("MULTICONN_CLIENT_SERVER_NAME", "example.org"),
        ("MULTICONN_CLIENT_MULTICAST_TTL", "3"),
        // The server's.
        ("MULTICONN_TLS_CERT", "no.pem"),
        ("MULTICONN_SERVER_TLS_CERT", "no.pem"),
        ("MULTICONN_SERVICE", "discard"),
    ] {
        let outcome = outcome(&[(name, value)], &["--embedded"]);
        outcome.expect_tutorial(1);
        assert!(outcome.stderr.is_empty(), "{name}: {outcome:#?}");
    }
    outcome(&[("MULTICONN_TLS_CERT", "no.pem"), ("MULTICONN_TLS_KEY", "no.pem")], &["--embedded", "--tls"])
        .expect_tutorial(1);
    let parts = ["MULTICONN_CLIENT_TLS_CERT", "--tls-key"];
    expect_refusal(with(&[("MULTICONN_CLIENT_TLS_CERT", "no.pem")], &["--embedded", "--tls"]), 2, &parts);
}

#[test]
fn conflicts_and_bad_values_name_their_variables() {
    let both = [("MULTICONN_QUIET", "1"), ("MULTICONN_VERBOSE", "2")];
    expect_refusal(with(&both, &["--embedded"]), 2, &["MULTICONN_QUIET", "MULTICONN_VERBOSE", "--quiet", "--verbose"]);
    for (variable, value, good) in [
        ("MULTICONN_CONNECTIONS", "none", "1000"),
        ("MULTICONN_CLIENT_STDIN", "maybe", "give 1 or 0"),
        ("MULTICONN_QUIET", "maybe", "give 1 or 0"),
        ("MULTICONN_CLIENT_VERBOSE", "very", "give 0, 1"),
        ("MULTICONN_RATE", "fast", "5k"),
    ] {
        expect_refusal(with(&[(variable, value)], &["--embedded"]), 2, &[variable, &format!("{value:?}"), good]);
    }
    let parts = ["MULTICONN_CLIENT_JSON", "cannot write /nowhere/run.json"];
    expect_refusal(with(&[("MULTICONN_CLIENT_JSON", "/nowhere/run.json")], &["--embedded"]), 2, &parts);
    let mut command = Program::client_command();
    command.arg("--embedded").env("MULTICONN_MESSAGE", OsStr::from_bytes(b"\xff"));
    expect_refusal(Program::spawn(&mut command), 2, &["MULTICONN_MESSAGE", "UTF-8"]);
    // A value on the command line is named as itself.
    let line =
        expect_refusal(with(&[("MULTICONN_RETRIES", "2")], &["--embedded", "--retries", "x"]), 2, &["--retries"]);
    assert!(!line.contains("MULTICONN"), "{line}");
}

/// A switch set by a variable has the same effects as the option: the reply timeout of UDP is shorter.
#[test]
fn a_switch_has_the_effects_of_the_option() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let text = exit(&[("MULTICONN_UDP", "yes")], &["127.0.0.1", &port, "--json", "-"]).stdout.concat();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let configuration = &results["configuration"];
    assert_eq!((&configuration["udp"], &configuration["reply-timeout"]), (&true.into(), &"1s".into()));
}

#[test]
fn a_variable_without_an_option_is_warned_of() {
    let variables = [("MULTICONN_CLIENT_CONECTIONS", "3"), ("MULTICONN_CLIENT_SERVICE_HOST", "10.0.0.1")];
    let outcome = outcome(&variables, &["--embedded"]);
    outcome.expect_tutorial(1);
    assert_eq!(outcome.stderr.len(), 1, "{outcome:#?}");
    assert!(outcome.stderr[0].contains(" warning: environment variable MULTICONN_CLIENT_CONECTIONS is not used"));
}

#[test]
fn help_names_variables_in_one_sentence() {
    let exit = exit(&[("MULTICONN_QUIET", "maybe")], &["--help"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let lines: Vec<&String> = exit.stdout.iter().filter(|line| line.contains("MULTICONN_")).collect();
    assert!((1..=2).contains(&lines.len()) && lines[0].contains("MULTICONN_CLIENT_"), "{lines:#?}");
    assert!(!exit.stdout.iter().any(|line| line.contains("[env:")), "{exit:#?}");
}
