//! Options of the server from environment variables.

use super::support::{Program, expect_refusal};

/// Starts the server with these variables and arguments.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Program {
    Program::spawn(Program::server_command().args(arguments).envs(variables.iter().copied()))
}

/// Starts the server and returns its first line: address, transport and service.
#[track_caller]
fn listening(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    with(variables, arguments).await_stdout("Listening on ")
}

#[test]
fn host_and_port_have_variables() {
    let [host, port] = [("MULTICONN_SERVER_HOST", "::1"), ("MULTICONN_PORT", "0")];
    assert!(listening(&[host, port], &[]).starts_with("Listening on [::1]:"));
    assert!(listening(&[host, port], &["127.0.0.1"]).starts_with("Listening on 127.0.0.1:"));
    assert!(listening(&[("MULTICONN_PORT", "1")], &["127.0.0.1:0"]).starts_with("Listening on 127.0.0.1:"));
    assert!(listening(&[("MULTICONN_HOST", "[::1]:0")], &[]).starts_with("Listening on [::1]:"));
    // Without a host, the default applies.
    assert!(listening(&[port], &[]).starts_with("Listening on 127.0.0.1:"));
    // Kubernetes sets these variables in containers when a service is named multiconn-server.
    let links =
        [port, ("MULTICONN_SERVER_PORT", "tcp://10.0.0.1:65432"), ("MULTICONN_SERVER_SERVICE_HOST", "10.0.0.1")];
    let mut server = with(&links, &[]);
    server.await_stdout("Listening on 127.0.0.1:");
    assert!(server.terminate().stderr.iter().all(|line| line.contains(" info: shutting down")));
}

#[test]
fn each_program_has_its_own_variables() {
    let variables =
        [("MULTICONN_SERVER_SERVICE", "upper"), ("MULTICONN_SERVICE", "discard"), ("MULTICONN_CLIENT_UDP", "1")];
    assert!(listening(&variables, &["127.0.0.1", "0"]).ends_with("(tcp, upper)"));
    assert!(listening(&variables, &["127.0.0.1", "0", "--service", "greet"]).ends_with("(tcp, greet)"));
}

#[test]
fn the_command_line_overrides_variables() {
    let tls = [("MULTICONN_TLS_CERT", "no.pem"), ("MULTICONN_TLS_KEY", "no.pem"), ("MULTICONN_SERVER_TLS_ALPN", "h2")];
    assert!(listening(&tls, &["127.0.0.1", "0", "--udp"]).ends_with("(udp, echo)"));
    assert!(listening(&tls, &["127.0.0.1", "0", "--tls-self-signed"]).ends_with("(tls, echo)"));
    // Variables without effect on datagrams are ignored.
    let connections = [("MULTICONN_SERVER_MAX_CONNECTIONS", "10"), ("MULTICONN_SERVER_IDLE_TIMEOUT", "1s")];
    assert!(listening(&connections, &["127.0.0.1", "0", "--udp"]).ends_with("(udp, echo)"));
    assert!(listening(&[("MULTICONN_MULTICAST", "239.1.2.3")], &["127.0.0.1", "0"]).ends_with("(tcp, echo)"));
}

#[test]
fn errors_name_conflicting_variables() {
    let arguments = ["127.0.0.1", "0"];
    let both = [("MULTICONN_SERVER_UDP", "1"), ("MULTICONN_SERVER_TLS_SELF_SIGNED", "1")];
    expect_refusal(with(&both, &arguments), 2, &["MULTICONN_SERVER_UDP", "MULTICONN_SERVER_TLS_SELF_SIGNED"]);
    let unframed = [("MULTICONN_SERVER_SERVICE", "discard")];
    let parts = ["MULTICONN_SERVER_SERVICE", "--frame lines"];
    expect_refusal(with(&unframed, &["127.0.0.1", "0", "--frame", "lines"]), 2, &parts);
    expect_refusal(with(&[("MULTICONN_TLS_CERT", "no.pem")], &arguments), 2, &["MULTICONN_TLS_CERT", "--tls-key"]);
    // Without TLS, the server could not check client certificates and would serve every client.
    expect_refusal(with(&[("MULTICONN_TLS_CLIENT_CA", "no.pem")], &arguments), 2, &["MULTICONN_TLS_CLIENT_CA"]);
}

#[test]
fn a_variable_can_hold_several_ranges() {
    let two = [("MULTICONN_ALLOW", "127.0.0.0/8,::1")];
    assert!(listening(&two, &["127.0.0.1", "0"]).ends_with("(tcp, echo)"));
    let parts = ["MULTICONN_ALLOW", "\"nowhere\"", "10.0.0.0/8"];
    expect_refusal(with(&[("MULTICONN_ALLOW", "127.0.0.0/8,nowhere")], &["127.0.0.1", "0"]), 2, &parts);
}
