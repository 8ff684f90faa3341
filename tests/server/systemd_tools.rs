//! systemd's own tools, where installed: they pass sockets and check unit files as systemd itself does.

use super::support::{Program, connect, connect_unix, echo, skipped, works};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn has(tool: &str) -> bool {
    let found = works(Command::new(tool).arg("--version"));
    if !found {
        skipped(tool, "it is not installed here");
    }
    found
}

/// A unique address: the tool does not accept port 0. The loopback network has an address for each process, and the
/// system does not assign ports above 61,000 (ip(7), `ip_local_port_range`).
fn own_address() -> SocketAddr {
    (Ipv4Addr::from_bits(0x7f40_0000 | std::process::id() & 0x003f_ffff), 65432).into()
}

/// The tool waits for the first connection, which is served as well.
#[test]
fn sockets_of_systemd_socket_activate_are_used() {
    if !has("systemd-socket-activate") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let address = own_address();
    let mut command = Program::clean(Command::new("systemd-socket-activate"));
    command.args(["-l", &address.to_string(), "-l"]).arg(&path).arg(Program::server_path());
    let mut server = Program::spawn(command.args(["127.0.0.2", "1", "--workers", "2"]));
    server.await_stderr("m.sock");
    for _ in 0..5 {
        echo(&mut connect(address), b"over TCP");
        echo(&mut connect_unix(&path), b"over a Unix socket");
    }
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let expected =
        [format!("Listening on {address} (tcp, echo)"), format!("Listening on {} (unix, echo)", path.display())];
    assert_eq!(exit.stdout[..2], expected, "neither more nor others");
    assert!(exit.stdout[2].starts_with("Served 10 connections "), "{exit:#?}");
    assert!(path.exists(), "the path is the manager's");
}

/// Installs the units and our program at the path they expect.
fn install_units(folder: &Path) -> Vec<PathBuf> {
    let install = |kind: &str| {
        let name = format!("multiconn-server.{kind}");
        let unit =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/systemd").join(&name)).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, unit.replace("/usr/bin/multiconn-server", Program::server_path())).unwrap();
        path
    };
    ["service", "socket"].map(install).to_vec()
}

/// systemd only warns of unknown directives and ignores them: a misspelled hardening would have no effect.
#[test]
fn systemd_finds_no_fault_with_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let units = install_units(folder.path());
    let verify = |units: &[PathBuf]| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(["verify", "--man=no"]).args(units).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // Ignore messages about other units of the machine.
        text.lines().filter(|line| line.contains("multiconn")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(verify(&units), [""; 0]);
    let unit = std::fs::read_to_string(&units[0]).unwrap();
    std::fs::write(&units[0], unit.replace("NoNewPrivileges=", "NoNewPrivilege=")).unwrap();
    assert_eq!(verify(&units).len(), 1, "a fault would have been found");
}
