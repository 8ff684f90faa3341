//! Invalid command lines: one sentence that names the input, the correct exit status, and no other output.

use super::outcome;
use super::support::{Program, expect_refusal, has_ipv6};

#[track_caller]
fn wrong(arguments: &[&str], parts: &[&str]) {
    expect_refusal(Program::client(arguments), 2, parts);
}

#[test]
fn invalid_ports() {
    for port in ["70000", "-1", "http", "65536", "", "1.5", "0"] {
        wrong(&["127.0.0.1", port], &[&format!("{port:?}"), "not a port", "65432"]);
    }
}

#[test]
fn zero_and_other_invalid_counts() {
    for value in ["0", "-5", "many", "1.5", "99999999999999999999999"] {
        wrong(&["127.0.0.1", "65432", value], &[&format!("{value:?}"), "NUM_CONNECTIONS", "1000"]);
        // Without messages, connections only read.
        let has_messages = |option: &&str| value != "0" || *option != "--messages";
        for option in
            ["-c", "--messages", "--pipeline", "--workers", "--max-connecting"].into_iter().filter(has_messages)
        {
            let name = if option == "-c" { "--connections" } else { option };
            let reason = if value.len() > 20 { "is too large" } else { "is not a" };
            wrong(&["127.0.0.1", "65432", option, value], &[name, &format!("{value:?} {reason}"), "like 1000"]);
        }
    }
}

#[test]
fn invalid_sizes_and_durations() {
    for value in ["64 parsecs", "-1", "", "KiB", "1.5", "99999999999T"] {
        wrong(&["127.0.0.1", "65432", &format!("--size={value}")], &["--size", &format!("{value:?}"), "64KiB"]);
    }
    wrong(&["127.0.0.1", "65432", "--size", "5GiB"], &["--size", "\"5GiB\"", "1 GiB", "--messages"]);
    for option in ["--spin", "--hold", "--connect-timeout", "--reply-timeout"] {
        for value in ["5", "5 parsecs", "-1s", "1s1s", "9999999999h", ""] {
            let given = format!("{option}={value}");
            wrong(&["127.0.0.1", "65432", &given], &[option, &format!("{value:?}"), "1m30s"]);
        }
    }
}

#[test]
fn empty_messages() {
    for empty in [&["--message", ""][..], &["--message", "a", "--message", ""], &["--size", "0"]] {
        wrong(&[&["127.0.0.1", "65432"], empty].concat(), &["empty message", "1 byte"]);
        wrong(&[&["--embedded"], empty].concat(), &["empty message", "1 byte"]);
    }
}

/// A timeout of 0 would fail every connection.
#[test]
fn zero_timeouts() {
    for option in ["--connect-timeout", "--reply-timeout"] {
        wrong(&["127.0.0.1", "65432", option, "0"], &[option, "10s"]);
    }
}

#[test]
fn invalid_targets_and_retries() {
    for value in ["", "65432", "localhost", "127.0.0.1:", "127.0.0.1:http", "::1:65432", ":65432", "127.0.0.1:0"] {
        let given = format!("--target={value}");
        wrong(&[&given], &["--target", &format!("{value:?}"), "127.0.0.1:65432"]);
    }
    for value in ["", "0", "-5", "fast"] {
        let given = format!("--connect-rate={value}");
        wrong(&["127.0.0.1", "65432", &given], &["--connect-rate", &format!("{value:?}"), "5k"]);
    }
    for value in ["-1", "many", "1.5", ""] {
        let given = format!("--retries={value}");
        wrong(&["127.0.0.1", "65432", &given], &["--retries", &format!("{value:?}"), "like 1000"]);
    }
    wrong(&["127.0.0.1", "65432", "--retry-delay", "5"], &["--retry-delay", "\"5\"", "1m30s"]);
    wrong(&["--target", "127.0.0.1:65432", "--unix", "m.sock"], &["--target", "--unix"]);
    wrong(&["--target", "127.0.0.1:65432", "--embedded"], &["--target", "--embedded"]);
    // The user may have meant a hundred connections.
    wrong(&["--target", "127.0.0.1:65432", "100"], &["HOST", "\"100\"", "PORT", "-c 10"]);
}

#[test]
fn invalid_source_addresses() {
    for value in ["", "localhost", "127.0.0.1:0", "10.0.0.0/33"] {
        wrong(
            &["127.0.0.1", "65432", &format!("--source={value}")],
            &["--source", &format!("{value:?}"), "10.0.0.0/8"],
        );
    }
    if has_ipv6("a source of IPv6") {
        wrong(&["127.0.0.1", "65432", "--source", "::1"], &["127.0.0.1:65432", "--source", "IPv4", "IPv6"]);
        wrong(&["--embedded", "--source", "::1"], &["127.0.0.1", "--source", "IPv4", "IPv6"]);
    }
    wrong(&["::1", "65432", "--source", "127.0.0.1"], &["[::1]:65432", "--source", "IPv4", "IPv6"]);
    wrong(&["--unix", "m.sock", "--source", "127.0.0.1"], &["--unix", "--source"]);
    let parts = ["192.0.2.0/24", "192.0.2.1", "not available here", "127.0.0.1"];
    expect_refusal(Program::client(&["127.0.0.1", "65432", "--source", "192.0.2.0/24"]), 1, &parts);
}

#[test]
fn socket_options_that_the_kernel_does_not_grant() {
    let refused = |arguments: &[&str], parts: &[&str]| expect_refusal(Program::client(arguments), 1, parts);
    refused(&["127.0.0.1", "65432", "--recv-buffer", "1GiB"], &["receive buffer", "1 GiB", "rmem_max"]);
    refused(&["127.0.0.1", "65432", "--send-buffer", "1GiB"], &["send buffer", "1 GiB", "wmem_max"]);
    refused(&["--udp", "127.0.0.1", "65432", "--recv-buffer", "1GiB"], &["receive buffer", "1 GiB", "rmem_max"]);
    wrong(&["127.0.0.1", "65432", "--keepalive", "10ms"], &["keep-alive", "10.0 ms", "1m"]);
}

#[test]
fn errors_name_what_to_give() {
    let line = expect_refusal(Program::client(&["127.0.0.1", "99999"]), 2, &["\"99999\"", "from 1 to 65535"]);
    assert!(!line.contains("free"), "{line}");
    wrong(&["127.0.0.1:99999"], &["port 99999", "65535"]);
    wrong(&["--unix", "m.sock", "3"], &["--unix", "-c 3"]);
    wrong(&["--embedded", "3"], &["--embedded", "-c 3"]);
    wrong(&["https://example.org"], &["example.org:443", "--tls"]);
    for request in [&["--search", "x"][..], &["--binary", "x"], &["search", "x"]] {
        wrong(&[&["127.0.0.1", "1", "--messages", "0"], request].concat(), &["--messages 0", "--search", "--binary"]);
    }
    wrong(
        &["127.0.0.1", "1", "--frame", "end", "-d", "1s"],
        &["framing end", "--frame", "--messages", "--reconnect-every"],
    );
    wrong(&["127.0.0.1", "1", "--frame", "lines", "--reply-size", "22"], &["--frame", "--reply-size"]);
    let folder = tempfile::tempdir().unwrap();
    let path = format!("UNIX:{}", folder.path().join("none.sock").display());
    let exit = Program::client(&[&path]).await_exit();
    assert!(exit.code == Some(1) && exit.stdout[0].contains("none.sock"), "{exit:#?}");
}

#[test]
fn missing_arguments() {
    wrong(&[], &["<HOST>"]);
    wrong(&["127.0.0.1"], &["<PORT>"]);
    wrong(&["127.0.0.1", "65432", "--size"], &["--size"]);
    wrong(&["--unix"], &["--unix"]);
}

#[test]
fn conflicting_arguments() {
    wrong(&["127.0.0.1", "65432", "5", "-c", "5"], &["NUM_CONNECTIONS", "--connections"]);
    wrong(&["127.0.0.1", "65432", "--unix", "m.sock"], &["HOST", "--unix"]);
    wrong(&["127.0.0.1", "65432", "--embedded"], &["HOST", "--embedded"]);
    wrong(&["--unix", "m.sock", "--embedded"], &["--unix", "--embedded"]);
    wrong(&["127.0.0.1", "65432", "--size", "5", "--message", "a"], &["--size", "--message"]);
    wrong(&["127.0.0.1", "65432", "-q", "-v"], &["--quiet", "--verbose"]);
}

/// An option without effect is rejected, not ignored.
#[test]
fn options_of_the_other_transport() {
    for option in [&["--broadcast"][..], &["--multicast-ttl", "4"], &["--multicast-loop", "off"]] {
        wrong(&[&["127.0.0.1", "65432"], option].concat(), &["--udp"]);
        wrong(&[&["--embedded"], option].concat(), &[option[0], "--udp"]);
        wrong(&[&["127.0.0.1", "65432", "--hold", "1s"], option].concat(), &[option[0], "--udp"]);
    }
    let cases = [
        ["--connect-timeout", "5s"],
        ["--max-connecting", "5"],
        ["--no-delay", "off"],
        ["--keepalive", "5s"],
        ["--buffer-limit", "5k"],
        ["--reconnect-every", "5"],
        ["--frame", "lines"],
        ["--proxy-protocol", "v1"],
        ["--search", "ring"],
        ["--binary", "hello"],
        ["--tls-ca", "ca.pem"],
        ["--server-name", "example.org"],
        ["--tls-alpn", "h2"],
    ];
    let example = "multiconn-client --udp 127.0.0.1 65432 10 --rate 1k --duration 10s";
    for [option, value] in cases {
        wrong(&["--udp", "127.0.0.1", "65432", option, value], &[option, "--udp", example]);
    }
    for option in ["--tls", "--tls-insecure", "--stdin"] {
        wrong(&["--udp", "127.0.0.1", "65432", option], &[option, "--udp", example]);
    }
    for place in [&["--unix", "m.sock"][..], &["--embedded"]] {
        wrong(&[&["--udp"], place].concat(), &[place[0], "--udp", example]);
    }
}

#[test]
fn invalid_addresses() {
    for word in ["127.0.0.1:65536", "::1:65432", "127.0.0.1:http", "ftp://127.0.0.1:1", "127.0.0.1:"] {
        wrong(&[word, "5"], &[&format!("{word:?}"), "127.0.0.1:65432", "unix:"]);
    }
    wrong(&["127.0.0.1:65432", "65432"], &["\"127.0.0.1:65432\"", "port twice"]);
    wrong(&["127.0.0.1:65432", "5", "5"], &["'5'"]);
    wrong(&["127.0.0.1:65432", "none"], &["NUM_CONNECTIONS", "\"none\""]);
    for address in ["127.0.0.1:0", "tcp://127.0.0.1:0"] {
        wrong(&[address], &["not a port", "65432"]);
    }
    wrong(&[":65432"], &["\"\"", "127.0.0.1"]);
    wrong(&["127.0.0.1:65432", "--unix", "m.sock"], &["HOST", "--unix"]);
    wrong(&["127.0.0.1:65432", "5", "--stdin"], &["NUM_CONNECTIONS", "--stdin"]);
    wrong(&["127.0.0.1:65432", "5", "-c", "5"], &["NUM_CONNECTIONS", "--connections"]);
    wrong(&["--udp", "unix:m.sock"], &["host and a port"]);
}

/// The error for a URL contains its address.
#[test]
fn urls_that_are_not_addresses() {
    for (url, address) in [
        ("http://127.0.0.1:8080/path", "give the address 127.0.0.1:8080"),
        ("https://example.org", "give the address example.org:443 and use TLS (the options for TLS"),
        ("ws://example.org/chat", "give the address example.org:80"),
        ("udp://127.0.0.1:9", "give 127.0.0.1:9 and use UDP (--udp)"),
    ] {
        for arguments in [&[url][..], &[url, "5"], &["--target", url]] {
            wrong(arguments, &[&format!("{url:?}"), address]);
        }
    }
}

#[test]
fn link_local_addresses_without_an_interface() {
    for words in
        [&["fe80::1", "65432"][..], &["[fe80::1]:65432"], &["--udp", "fe80::1", "65432"], &["fe80::1%none", "1"]]
    {
        wrong(words, &["\"fe80::1", "give fe80::1%"]);
    }
}

#[test]
fn multicast_and_broadcast_addresses_over_tcp() {
    for host in ["239.1.2.3", "ff02::1", "<broadcast>", "255.255.255.255"] {
        wrong(&[host, "65432"], &[host, "TCP", "--udp"]);
    }
}

#[test]
fn unknown_options_and_values() {
    wrong(&["127.0.0.1", "65432", "--frobnicate"], &["'--frobnicate'"]);
    wrong(&["127.0.0.1", "65432", "--conections", "5"], &["'--conections'", "--connections"]);
    wrong(&["127.0.0.1", "65432", "1", "surplus"], &["'surplus'"]);
    for (option, alternatives) in [
        ("--no-delay", "give on or off"),
        ("--multicast-loop", "give on or off"),
        ("--arrivals", "give uniform or poisson"),
        ("--expect", "give echo, any or none"),
    ] {
        wrong(&["127.0.0.1", "65432", "--udp", option, "maybe"], &["'maybe'", option, alternatives]);
    }
}

#[test]
fn a_host_that_does_not_resolve() {
    // The name is reserved never to exist (RFC 6761, section 6.4).
    for host in ["nobody.invalid", "no such host", "256.256.256.256", "two\nlines"] {
        let parts = [&format!("{host:?}"), "cannot find the host", "127.0.0.1"];
        expect_refusal(Program::client(&[host, "65432"]), 1, &parts);
    }
}

#[test]
fn a_unix_path_that_is_too_long() {
    let path = format!("/tmp/{}.sock", "m".repeat(120));
    wrong(&["--unix", &path], &[&path, "130 bytes long", "107"]);
    wrong(&["--unix", ""], &["--unix"]);
    wrong(&["", "65432"], &["\"\"", "127.0.0.1"]);
}

#[test]
fn more_connections_than_descriptors() {
    let under_limit = |arguments: &[&str]| {
        let mut command = Program::client_with_descriptors(1000);
        command.args(arguments);
        Program::spawn(&mut command)
    };
    let parts = ["may open 1,000", "ulimit -Hn"];
    for (arguments, connections, fewest) in [
        (&["127.0.0.1", "65432", "11000"][..], "11,000 connections", 11_000),
        (&["127.0.0.1", "65432", "-c", "1000"], "1,000 connections", 1001),
        (&["--embedded", "-c", "600"], "600 connections", 1200),
        (&["127.0.0.1", "65432", "18446744073709551615"], "18,446,744,073,709,551,615 connections", 20_000),
        (&["--embedded", "-c", "9223372036854775807"], "9,223,372,036,854,775,807 connections", 20_000),
    ] {
        let line = expect_refusal(under_limit(arguments), 1, &[&[connections], &parts[..]].concat());
        let needed = line.split("need ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(needed.replace(',', "").parse::<u64>().unwrap() >= fewest, "{line}");
    }
    // As many as there are descriptors: not rejected here, but the connects are refused.
    let (_socket, address) = super::fake_server::deaf(std::net::Ipv4Addr::LOCALHOST);
    let fitting = under_limit(&["127.0.0.1", &address.port().to_string(), "900"]);
    super::Outcome::of(fitting).expect_failures(&[("connection refused: nothing listens there", 900)]);
}

/// A message may look like an option.
#[test]
fn a_message_is_not_an_option() {
    let server = super::server();
    outcome(server.address(), &["--message=--help"]).expect_success(1, 1, 6);
}
