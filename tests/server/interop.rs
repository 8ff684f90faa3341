//! Interoperation with the tutorial: our server and its client, and its server as our client's tests use it.

use super::support::{Program, connect, echo, expect_end, has_python};
use super::{server, still_serves};
use std::collections::BTreeMap;
use std::net::Shutdown;

#[test]
fn a_tutorial_client_with_twenty_connections() {
    if !has_python("a tutorial client") {
        return;
    }
    let mut server = server(&["-v"]);
    let port = server.address().port().to_string();
    let exit = Program::python("multiconn_client.py", &["127.0.0.1", &port, "20"]).await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    let mut received = BTreeMap::<String, String>::new();
    for line in &exit.stdout {
        // Received b'...' from connection N
        let told = line.strip_prefix("Received b'").and_then(|rest| rest.split_once("' from connection "));
        if let Some((bytes, number)) = told {
            received.entry(number.to_owned()).or_default().push_str(bytes);
        }
    }
    let expected = "Message 1 from client.Message 2 from client.";
    assert_eq!(received.len(), 20, "{exit:#?}");
    assert!(received.values().all(|bytes| bytes == expected), "{received:#?}");
    for number in 1..=20 {
        for story in [format!("Starting connection {number} to"), format!("Closing connection {number}")] {
            assert!(exit.stdout.iter().any(|line| line.starts_with(&story)), "no {story:?} in {exit:#?}");
        }
    }
    still_serves(&mut server);
}

#[test]
fn a_tutorial_client_without_arguments() {
    for script in ["multiconn_client.py", "multiconn_server.py"] {
        if has_python("a tutorial peer's usage") {
            let exit = Program::python(script, &[]).await_exit();
            assert_eq!(exit.code, Some(1));
            assert!(exit.stdout[0].starts_with("Usage: "), "{exit:#?}");
        }
    }
}

#[test]
fn the_tutorial_server_behaves_as_our_client_expects() {
    if !has_python("a tutorial server") {
        return;
    }
    let server = Program::python("multiconn_server.py", &["127.0.0.1", "0"]);
    let mut peer = connect(server.python_address());
    let port = peer.local_addr().unwrap().port();
    server.await_stdout(&format!("Accepted connection from ('127.0.0.1', {port})"));
    echo(&mut peer, b"Message 1 from client.");
    echo(&mut peer, b"Message 2 from client.");
    server.await_stdout(&format!("Echoing b'Message 2 from client.' to ('127.0.0.1', {port})"));
    peer.shutdown(Shutdown::Write).unwrap();
    expect_end(&mut peer);
    server.await_stdout(&format!("Closing connection to ('127.0.0.1', {port})"));
}

/// The tutorial's application client, which closes after its answer.
#[test]
fn an_application_client() {
    if !has_python("an application client") {
        return;
    }
    let mut server = server(&["--service", "search"]);
    let port = server.address().port().to_string();
    for (action, value, told) in [
        ("search", "morpheus", "Got result: Follow the white rabbit. 🐰"),
        ("search", "ring", "Got result: In the caves beneath the Misty Mountains. 💍"),
        ("search", "🐶", "Got result: 🐾 Playing ball! 🏐"),
        ("search", "nope", "Got result: No match for 'nope'."),
        ("xyz", "ring", "Got result: Error: invalid action 'xyz'."),
        ("binary", "😃", r"Got response: b'First 10 bytes of request: binary\xf0\x9f\x98\x83'"),
    ] {
        let mut arguments = vec!["127.0.0.1", &port, action, value];
        if value == "ring" {
            // This client does not close before the server does.
            arguments.push("--until-end");
        }
        let exit = Program::python("app_client.py", &arguments).await_exit();
        assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
        assert!(exit.stdout.iter().any(|line| line == told), "no {told:?} in {exit:#?}");
    }
    server.await_closed(6);
    server.terminate().expect_counts(&[("closed by peer", 4), ("completed", 2)]);
}
