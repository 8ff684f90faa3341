//! Examples `calculator`, `reverse` and `proxy`, run as programs.

use super::support::{Program, bytes, connect, expect_reset_of_new, read_to_end, skipped};
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::process::Command;

/// Path of an example as built by cargo: beside the folder of the test programs. `cargo test` builds the examples
/// unless it is told to build less.
///
/// If an example was not built, logs that the test is skipped.
pub(super) fn example(name: &str) -> Option<Command> {
    let this = std::env::current_exe().ok()?;
    let path = this.parent()?.parent()?.join("examples").join(name);
    if !path.exists() {
        skipped(&format!("the example {name}"), "it was not built; `cargo test` without --test builds it");
        return None;
    }
    Some(Program::clean(Command::new(path)))
}

/// Address on which an example server says it listens.
#[track_caller]
pub(super) fn address_of(server: &Program) -> SocketAddr {
    let line = server.await_stdout("Listening on ");
    line.trim_start_matches("Listening on ").parse().expect("an address")
}

#[test]
fn reverse_answers_messages_backwards_and_counts_them() {
    for (kind, request, reply) in [
        ("lines", &b"one\ntwo\n"[..], &b"1: eno\n2: owt\n"[..]),
        ("u32be", b"\0\0\0\x03one\0\0\0\0", b"\0\0\0\x061: eno\0\0\0\x032: "),
    ] {
        let Some(mut reverse) = example("reverse") else { return };
        let mut server = Program::spawn(reverse.args(["0", kind]));
        // Each connection has its own count.
        for size in [request.len(), 1] {
            let mut peer = connect(address_of(&server));
            peer.set_nodelay(true).unwrap();
            request.chunks(size).for_each(|part| peer.write_all(part).unwrap());
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut peer), reply);
        }
        assert_eq!(server.terminate().code, Some(0));
    }
}

#[test]
fn calculator_answers_calculations_and_errors() {
    let Some(mut calculator) = example("calculator") else { return };
    let server = Program::spawn(calculator.arg("0"));
    let error = "error: give a calculation such as 2 + 3";
    let lines = [
        ("2 + 3", "5"),
        ("7 / 2\r", "3.5"),
        ("-4 * 0.5", "-2"),
        ("1e3 - 1", "999"),
        ("1 / 0", error),
        ("2 ^ 3", error),
        ("two + 3", error),
        ("2+3", error),
        ("", error),
    ];
    let [request, reply] = [0, 1].map(|side| {
        let line = |(calculation, result): &(&str, &str)| format!("{}\n", if side == 0 { calculation } else { result });
        lines.iter().map(line).collect::<String>()
    });
    for size in [request.len(), 1] {
        let mut peer = connect(address_of(&server));
        peer.set_nodelay(true).unwrap();
        request.as_bytes().chunks(size).for_each(|part| peer.write_all(part).unwrap());
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(String::from_utf8(read_to_end(&mut peer)).unwrap(), reply);
    }
}

#[test]
fn proxy_forwards_bytes_and_counts_them() {
    let Some(mut proxy) = example("proxy") else { return };
    let upstream = Program::server(&["127.0.0.1", "0"]);
    let mut proxy = Program::spawn(proxy.args([&upstream.address().to_string(), "127.0.0.1:0"]));
    let sent = bytes(1, 1_000_000);
    let mut peer = connect(address_of(&proxy));
    let received = std::thread::scope(|scope| {
        let mut reader = peer.try_clone().unwrap();
        let reader = scope.spawn(move || read_to_end(&mut reader));
        peer.write_all(&sent).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        reader.join().unwrap()
    });
    assert!(received == sent);
    proxy.await_stdout(" sent 1000000 bytes: closed by peer");
    drop(upstream);
    expect_reset_of_new(address_of(&proxy));
    proxy.await_stdout(" sent 0 bytes: connect refused");
    assert!(proxy.status().is_none());
}
