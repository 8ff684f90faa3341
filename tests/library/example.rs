//! The example, run for real.

use super::support::{Program, connect, read_to_end, skipped};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts the examples: beside the folder of the test programs. `cargo test` builds them, unless it is told to
/// build less.
fn example(name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let path = this.parent()?.parent()?.join("examples").join(name);
    path.exists().then_some(path)
}

#[test]
fn shout_answers_lines_in_upper_case() {
    let Some(path) = example("shout") else {
        return skipped("the example", "it was not built; `cargo test` without --test builds it");
    };
    let mut server = Program::spawn(Command::new(path).arg("0"));
    let line = server.await_stdout("Listening on ");
    let address: SocketAddr = line.trim_start_matches("Listening on ").parse().unwrap();
    let mut peer = connect(address);
    peer.set_nodelay(true).unwrap();
    for piece in ["Hel", "lo, wor", "ld\nand\n", "again\n", "never ended"] {
        peer.write_all(piece.as_bytes()).unwrap();
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut peer), b"HELLO, WORLD\nAND\nAGAIN\n");
    drop(peer);
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(exit.stdout[1].starts_with("Served 1 connection"), "{exit:#?}");
}
