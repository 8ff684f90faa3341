//! Errors of this machine: one sentence that names the input and the way out, exit status 1.

use super::injected_errno::{can_inject, strace};
use super::server;
use super::support::{Program, connect, connect_unix, echo, expect_refusal, skipped, works};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    expect_refusal(Program::server(arguments), 1, parts);
}

#[test]
fn a_host_that_does_not_resolve() {
    // The name is reserved never to exist (RFC 6761, section 6.4).
    refused(&["nobody.invalid", "0"], &["\"nobody.invalid\"", "cannot find the host", "127.0.0.1"]);
    refused(&["no such host", "0"], &["\"no such host\"", "cannot find the host"]);
}

#[test]
fn an_address_of_another_machine() {
    // Reserved for documentation (RFC 5737), so no host has it.
    refused(&["192.0.2.1", "0"], &["192.0.2.1:0", "not available", "\"\" for every interface"]);
}

/// Before Linux 6.9 an epoll descriptor knows no ioctl(2).
#[test]
fn busy_polling_without_support_by_the_kernel() {
    if !can_inject() {
        return skipped("a kernel without busy polling of epoll", "faults cannot be injected with strace");
    }
    for (error, part) in [("ENOTTY", "Linux"), ("EOPNOTSUPP", "CONFIG_NET_RX_BUSY_POLL")] {
        let inject = format!("inject=ioctl:error={error}");
        let wrapper = strace(&["-o", "/dev/null", "-e", "trace=ioctl", "-e", &inject]);
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let parts = ["cannot busy-poll network cards", part, error, "spin"];
        let parts = if cfg!(multiconn_fallbacks) { &["only Linux"][..] } else { &parts };
        for mut command in [Program::server_under(&wrapper), Program::client_under(&wrapper)] {
            expect_refusal(Program::spawn(command.args(["127.0.0.1", "65432", "--busy-poll", "50us"])), 1, parts);
        }
    }
}

/// Two programs that both set `SO_REUSEPORT` would silently share the port. Ours must not.
#[test]
fn a_port_in_use_by_another_server() {
    for theirs in ["1", "2"] {
        let other = server(&["--workers", theirs]);
        let port = other.address().port().to_string();
        for ours in ["1", "2"] {
            let parts = [format!("127.0.0.1:{port}"), "already in use".to_owned(), "another port".to_owned()];
            let parts = parts.each_ref().map(String::as_str);
            refused(&["127.0.0.1", &port, "--workers", ours], &parts);
        }
        for _ in 0..10 {
            echo(&mut connect(other.address()), b"The other one is undisturbed.");
        }
    }
}

#[test]
fn a_port_in_use_by_another_program() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    for workers in ["1", "2"] {
        refused(&["127.0.0.1", &port, "--workers", workers], &[&port, "already in use"]);
        refused(&["", &port, "--workers", workers], &[&port, "already in use"]);
    }
}

/// A wrapper that runs the server without privileges where port 80 needs one; or why that is not possible here.
fn without_rights() -> Result<Vec<&'static str>, &'static str> {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let anybody_may = setting.trim().parse().is_ok_and(|first: u32| first <= 80);
    let unprivileged = !rustix::process::geteuid().is_root();
    let drop_rights = ["setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all"];
    let wrapper = match (unprivileged, anybody_may) {
        (true, false) => return Ok(vec!["env"]),
        (true, true) => return Err("anybody may bind port 80 here"),
        (false, false) => drop_rights.to_vec(),
        // A network namespace of its own has the default setting.
        (false, true) => [&["unshare", "--net"][..], &drop_rights].concat(),
    };
    if works(Command::new(wrapper[0]).args(&wrapper[1..]).args(["test", "-x", Program::server_path()])) {
        Ok(wrapper)
    } else {
        Err("the rights cannot be dropped, or the program cannot be reached without them")
    }
}

#[test]
fn port_80_without_the_privilege() {
    let wrapper = match without_rights() {
        Ok(wrapper) => wrapper,
        Err(why) => return skipped("port 80 without the right", why),
    };
    for workers in ["1", "2"] {
        let mut command = Program::server_under(&wrapper);
        command.args(["0.0.0.0", "80", "--workers", workers]);
        expect_refusal(Program::spawn(&mut command), 1, &["0.0.0.0:80", "permission denied", "below 1024"]);
    }
}

#[test]
fn a_unix_path_that_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    std::fs::write(&path, "keep me").unwrap();
    refused(&["--unix", path.to_str().unwrap()], &["precious", "not a socket", "another path"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "keep me");
    refused(&["--unix", folder.path().to_str().unwrap()], &["not a socket"]);
}

#[test]
fn a_unix_path_in_a_folder_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("m.sock");
    refused(&["--unix", path.to_str().unwrap()], &["missing/m.sock", "no such file or folder", "must exist"]);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&["--unix", file.join("m.sock").to_str().unwrap()], &["file/m.sock", "not a folder"]);
}

#[test]
fn a_stale_unix_socket_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the name outlives its listener");
    let mut server = Program::server(&["--unix", path.to_str().unwrap()]);
    server.await_stdout("Listening");
    echo(&mut connect_unix(&path), b"taken over");
    assert_eq!(server.terminate().code, Some(0));
    // The same for the socket of our own server that was killed.
    let killed = Program::server(&["--unix", path.to_str().unwrap()]);
    killed.await_stdout("Listening");
    drop(killed);
    assert!(path.exists());
    let server = Program::server(&["--unix", path.to_str().unwrap()]);
    server.await_stdout("Listening");
    echo(&mut connect_unix(&path), b"taken over again");
}

#[test]
fn a_unix_socket_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let first = Program::server(&["--unix", path.to_str().unwrap()]);
    first.await_stdout("Listening");
    let mut peer = connect_unix(&path);
    echo(&mut peer, b"before");
    for _ in 0..3 {
        refused(&["--unix", path.to_str().unwrap()], &["m.sock", "another program listens there", "another path"]);
    }
    echo(&mut peer, b"after");
    echo(&mut connect_unix(&path), b"The first server is undisturbed.");
    let other = folder.path().join("datagrams.sock");
    let _datagrams = UnixDatagram::bind(&other).unwrap();
    refused(&["--unix", other.to_str().unwrap()], &["datagrams.sock", "another program"]);
}

/// Sockets bound before the refusal are released.
#[test]
fn a_refusal_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    refused(&["nobody.invalid", "0", "--unix", path.to_str().unwrap()], &["nobody.invalid"]);
    assert!(!path.exists());
}

#[test]
fn more_connections_than_descriptors() {
    let mut command = Program::server_with_descriptors(1000);
    command.args(["127.0.0.1", "0", "--workers", "2", "--max-connections", "1000000"]);
    let parts = ["1,000,000 connections", "1,000,0", "may open 1,000", "ulimit -Hn"];
    let line = expect_refusal(Program::spawn(&mut command), 1, &parts);
    let needed = line.split("need ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(needed.replace(',', "").parse::<u64>().unwrap() > 1_000_000, "{line}");
    // Too few descriptors even to start.
    let mut command = Program::server_with_descriptors(20);
    command.args(["127.0.0.1", "0", "--workers", "4"]);
    expect_refusal(Program::spawn(&mut command), 1, &["4 workers", "may open 20"]);
}
