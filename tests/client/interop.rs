//! Interoperability with the tutorial's server.

use super::outcome;
use super::support::{Program, await_until, has_python};

#[test]
fn a_tutorial_server() {
    if !has_python("a tutorial server") {
        return;
    }
    let server = Program::python("multiconn_server.py", &["127.0.0.1", "0"]);
    let address = server.python_address();
    outcome(address, &["20"]).expect_tutorial(20);
    outcome(address, &["20", "--workers", "2", "--pipeline", "1"]).expect_tutorial(20);
    let told = |start: &str| server.stdout().iter().filter(|line| line.starts_with(start)).count();
    let accepted = "Accepted connection from ('127.0.0.1', ";
    await_until("a line for each connection", || told(accepted) >= 40);
    assert_eq!(told(accepted), 40);
}

/// It reads 1,024 bytes at a time and buffers what it cannot send.
#[test]
fn a_tutorial_server_and_larger_messages() {
    if !has_python("a tutorial server and larger messages") {
        return;
    }
    let server = Program::python("multiconn_server.py", &["127.0.0.1", "0"]);
    let arguments = ["10", "--size", "20KiB", "--messages", "3"];
    outcome(server.python_address(), &arguments).expect_success(10, 30, (30 * 20) << 10);
}
