//! Interactive mode (`--stdin`): the input is sent, and received bytes are printed.

use super::fake_server::{Fake, answer, answer_and_end, deaf, take};
use super::server;
use super::support::{Exit, Program, await_until, bytes, expect_refusal};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn command(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Program::client_command();
    command.args([&address.ip().to_string(), &address.port().to_string(), "--stdin"]).args(arguments);
    command
}

/// A client connected to `address`, and its standard input.
fn interactive(address: SocketAddr, arguments: &[&str]) -> (Program, ChildStdin) {
    let (program, input) = Program::spawn_reading(&mut command(address, arguments), Stdio::piped());
    (program, input.unwrap())
}

/// Writes `text` to the input, and closes it.
#[track_caller]
fn send_all(address: SocketAddr, arguments: &[&str], text: &[u8]) -> Exit {
    let (mut program, mut input) = interactive(address, arguments);
    // A client may be right not to read to the end.
    let _ = input.write_all(text);
    drop(input);
    program.await_exit()
}

#[track_caller]
fn expect_said(exit: &Exit, lines: &[&str]) {
    assert_eq!((exit.code, exit.stderr.len()), (Some(0), 0), "{exit:#?}");
    assert_eq!(exit.stdout, lines, "{exit:#?}");
}

#[test]
fn each_line_is_answered_as_it_is_typed() {
    let server = server();
    let (mut program, mut input) = interactive(server.address(), &[]);
    for line in ["hello", "what time is it?", "é"] {
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
        program.await_stdout(line);
    }
    input.write_all(b"no end of the line").unwrap();
    drop(input);
    expect_said(&program.await_exit(), &["hello", "what time is it?", "é", "no end of the line"]);
    expect_said(&send_all(server.address(), &[], b""), &[]);
}

/// The server replies only after it has read the end.
#[test]
fn the_end_of_the_input_shuts_the_sending_half() {
    let fake = Fake::new(|_, mut stream| {
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(said.to_uppercase().as_bytes()).unwrap();
        None
    });
    expect_said(&send_all(fake.address(), &[], b"one\ntwo\n"), &["ONE", "TWO"]);
    expect_said(&send_all(fake.address(), &["--frame", "end"], b"one\ntwo\n"), &["ONE", "TWO"]);
}

/// Without any input: the program does not wait for it.
#[test]
fn a_server_that_closes_ends_the_program() {
    let fake = Fake::new(|_, stream| {
        answer_and_end(stream, b"12:34:56");
        None
    });
    let (mut program, _input) = interactive(fake.address(), &[]);
    let exit = program.await_exit();
    assert_eq!((exit.code, &exit.stdout), (Some(0), &vec!["12:34:56".to_owned()]), "{exit:#?}");
    assert_eq!(exit.told(&[" info: the server has closed the connection"]), exit.stderr.len(), "{exit:#?}");
    assert_eq!(exit.stderr.len(), 1, "{exit:#?}");
}

#[test]
fn over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock").to_str().unwrap().to_owned();
    let _server = Program::server(&["--unix", &path]);
    let mut command = Program::client_command();
    command.args(["--unix", &path, "--stdin", "--retries", "50", "--retry-delay", "20ms"]);
    let (mut program, input) = Program::spawn_reading(&mut command, Stdio::piped());
    input.unwrap().write_all(b"hello\n").unwrap();
    expect_said(&program.await_exit(), &["hello"]);
}

#[test]
fn lines_in_frames() {
    let server = server();
    for kind in ["lines", "crlf", "digits:5", "u16le", "type+u32be"] {
        expect_said(&send_all(server.address(), &["--frame", kind], b"one\n\nthree"), &["one", "", "three"]);
    }
    expect_said(&send_all(server.address(), &["--frame", "fixed:3"], b"one\ntwo\n"), &["one", "two"]);
    let fake = Fake::new(|_, mut stream| {
        assert_eq!(take(&mut stream, 8), b"00003abc");
        answer(stream, b"00005HELLO");
        None
    });
    let (program, mut input) = interactive(fake.address(), &["--frame", "digits:5"]);
    input.write_all(b"abc\n").unwrap();
    program.await_stdout("HELLO");
}

#[test]
fn a_line_that_fits_no_frame_is_skipped() {
    let server = server();
    let exit = send_all(server.address(), &["--frame", "fixed:3"], b"one\nthree\ntwo\n");
    assert_eq!((exit.code, &*exit.stdout), (Some(1), &["one".to_owned(), "two".to_owned()][..]), "{exit:#?}");
    assert_eq!(exit.told(&["a line was not sent", "5 bytes", "3 bytes"]), 1, "{exit:#?}");
}

#[test]
fn a_truncated_reply_is_reported() {
    let fake = Fake::new(|_, stream| {
        answer_and_end(stream, b"\x00\x05HEL");
        None
    });
    let (mut program, _input) = interactive(fake.address(), &["--frame", "u16be"]);
    let exit = program.await_exit();
    assert_eq!((exit.code, exit.told(&["2 bytes short of a whole frame"])), (Some(1), 1), "{exit:#?}");
    assert_eq!(exit.told(&["closed by peer in the middle of a reply"]), 1, "{exit:#?}");
}

/// A file, which epoll does not support, to a pipe that is not read at first: byte for byte, in both directions.
#[test]
fn a_large_file_comes_back_whole() {
    let server = server();
    let sent = bytes(7, 20 << 20);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&sent).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut child = command(server.address(), &[]).stdin(file).stdout(Stdio::piped()).spawn().unwrap();
    let mut came = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut came).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(came == sent, "{} bytes were sent, {} came back", sent.len(), came.len());
}

/// Much input for a server that does not read, or unread output: memory use stays bounded.
#[test]
#[cfg(target_os = "linux")]
fn queued_bytes_are_bounded() {
    const MAX_BYTES: u64 = 64 << 20;
    let deaf = Fake::new(|_, stream| Some(stream));
    let zeros = File::open("/dev/zero").unwrap();
    let (mut busy, _) = Program::spawn_reading(&mut command(deaf.address(), &["-v", "--reply-timeout", "1m"]), zeros);
    busy.await_stderr("Sending ");
    let mut told = 0;
    await_until("a full connection", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut told, busy.stderr().len()) == busy.stderr().len()
    });
    assert!(busy.resident_bytes().is_some_and(|bytes| bytes < MAX_BYTES), "{:?}", busy.resident_bytes());
    busy.signal(Signal::INT);
    assert_eq!(busy.await_exit().code, Some(130));

    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    let talkative = Fake::new(move |_, mut stream| {
        while stream.write_all(&[b'z'; 4096]).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    let (stdout, unread) = rustix::pipe::pipe().map(|(read, write)| (write, read)).unwrap();
    let mut stuck = command(talkative.address(), &[]).stdin(Stdio::piped()).stdout(stdout).spawn().unwrap();
    let mut before = 0;
    await_until("a client that takes no more", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = taken.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", stuck.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes * 1024 < MAX_BYTES, "{kibibytes} KiB");
    // It still handles the signal.
    rustix::process::kill_process(rustix::process::Pid::from_child(&stuck), Signal::INT).unwrap();
    assert_eq!(stuck.wait().unwrap().code(), Some(130));
    drop(unread);
}

/// As `head` does: no error, and no waiting for a server that continues to send.
#[test]
fn a_closed_output_ends_the_program() {
    let talkative = Fake::new(|_, mut stream| {
        while stream.write_all(b"and another thing\n").is_ok() {}
        None
    });
    let ends_soon = |_| {
        let since = Instant::now();
        let mut command = command(talkative.address(), &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 18];
        child.stdout.take().unwrap().read_exact(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:#?}");
        since.elapsed() < Duration::from_secs(4)
    };
    assert!((0..5).any(ends_soon), "each of five runs waited for the server");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure() {
    let server = server();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child =
        command(server.address(), &[]).stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("cannot write the output") && !told.contains("os error"), "{told}");
}

#[test]
fn failures_in_words() {
    let (_socket, address) = deaf(Ipv4Addr::LOCALHOST);
    let refused = send_all(address, &[], b"hello\n");
    assert_eq!((refused.code, refused.stdout.len()), (Some(1), 0), "{refused:#?}");
    assert_eq!(refused.stderr, [format!("error: {address}: connection refused: nothing listens there")]);
    let silent = Fake::new(|_, stream| Some(stream));
    let silent = send_all(silent.address(), &["--reply-timeout", "300ms"], b"hello\n");
    assert_eq!((silent.code, silent.told(&["timed out waiting for a reply"])), (Some(1), 1), "{silent:#?}");
    let rude = Fake::new(|_, stream| {
        super::support::reset(stream);
        None
    });
    let (mut program, _input) = interactive(rude.address(), &[]);
    let exit = program.await_exit();
    assert_eq!((exit.code, exit.told(&["reset by peer"])), (Some(1), 1), "{exit:#?}");
}

/// Input waits for a server that reads; a server may wait for input as long as it takes.
#[test]
#[cfg(target_os = "linux")]
fn a_server_that_never_reads_times_out_and_missing_input_does_not() {
    const TIMEOUT: &str = "300ms";
    let deaf = Fake::new(|_, stream| Some(stream));
    let zeros = File::open("/dev/zero").unwrap();
    let (mut busy, _) = Program::spawn_reading(&mut command(deaf.address(), &["--reply-timeout", TIMEOUT]), zeros);
    let exit = busy.await_exit();
    let address = deaf.address();
    assert_eq!(exit.stderr, [format!("error: {address}: timed out sending: the server accepts no bytes")], "{exit:#?}");
    assert_eq!(exit.code, Some(1), "{exit:#?}");

    let server = server();
    let (mut program, mut input) = interactive(server.address(), &["--reply-timeout", TIMEOUT]);
    for line in ["hello", "still here"] {
        std::thread::sleep(Duration::from_secs(1));
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
        program.await_stdout(line);
    }
    // After the end of the input the server would have to close within the timeout.
    program.signal(Signal::INT);
    let exit = program.await_exit();
    assert_eq!((exit.code, exit.stderr.len()), (Some(130), 0), "{exit:#?}");
    assert_eq!(exit.stdout, ["hello", "still here"], "{exit:#?}");
    // Nor does a server time out that has read the input and does not reply.
    let silent = Fake::new(|_, mut stream| {
        take(&mut stream, 6);
        std::thread::sleep(Duration::from_secs(1));
        answer(stream, b"well\n");
        None
    });
    let (program, mut input) = interactive(silent.address(), &["--reply-timeout", TIMEOUT]);
    input.write_all(b"hello\n").unwrap();
    program.await_stdout("well");
}

#[test]
fn an_interrupt_ends_the_session() {
    let server = server();
    for signal in [Signal::INT, Signal::TERM] {
        let (mut program, mut input) = interactive(server.address(), &[]);
        input.write_all(b"hello\n").unwrap();
        program.await_stdout("hello");
        program.signal(signal);
        let exit = program.await_exit();
        assert_eq!((exit.code, exit.stderr.len()), (Some(130), 0), "{exit:#?}");
    }
}

#[test]
fn options_that_conflict_with_stdin() {
    for (option, value) in [
        ("--message", "hello"),
        ("--size", "5"),
        ("--message-file", "request.txt"),
        ("--messages", "5"),
        ("--pipeline", "5"),
        ("--hold", "5s"),
        ("-c", "5"),
        ("--workers", "2"),
        ("--expect", "any"),
        ("--search", "morpheus"),
        ("--binary", "hello"),
        ("--rate", "5"),
        ("--duration", "5s"),
        ("--warm-up", "5s"),
        ("--arrivals", "poisson"),
        ("--seed", "5"),
        ("--reconnect-every", "5"),
        ("--connect-rate", "5"),
        ("--max-connecting", "5"),
        ("--json", "run.json"),
        ("--hgrm", "run.hgrm"),
        ("--hdr-log", "run.log"),
        ("--html", "run.html"),
        ("--fail-if", "errors>0"),
    ] {
        let name = if option == "-c" { "--connections" } else { option };
        let parts = ["--stdin", name, "multiconn-client 127.0.0.1 65432 --stdin"];
        expect_refusal(Program::client(&["127.0.0.1", "65432", "--stdin", option, value]), 2, &parts);
    }
    let two = ["--target", "127.0.0.1:1", "--target", "127.0.0.1:2", "--stdin"];
    expect_refusal(Program::client(&two), 2, &["--stdin", "one --target"]);
    expect_refusal(Program::client(&["127.0.0.1", "65432", "5", "--stdin"]), 2, &["--stdin", "NUM_CONNECTIONS"]);
}

/// Bytes that the next test's server sends: CR LF and tabs are harmless, the rest is not. The last character is
/// incomplete.
const HOSTILE: &[u8] =
    b"200 OK\r\nname\tvalue\n\x1b[2J\x07over\rwritten \xc2\x9b31m\xe2\x80\xae\xff\n\xf0\x9f\x90\xb0 \xf0\x9f";

#[test]
fn a_terminal_gets_escaped_text_and_a_pipe_every_byte() {
    let fake = Fake::new(|_, stream| {
        answer_and_end(stream, HOSTILE);
        None
    });
    let output = command(fake.address(), &[]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), HOSTILE));
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap();
    let ours = OpenOptions::new().read(true).write(true).open(path.to_str().unwrap()).unwrap();
    let mut child = command(fake.address(), &[]).stdin(Stdio::null()).stdout(ours).spawn().unwrap();
    let mut shown = Vec::new();
    // When the other end is closed, reading from a terminal fails (EIO) or ends.
    let _ = File::from(terminal).read_to_end(&mut shown);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // A terminal inserts CR before each line feed (termios(3), ONLCR) and shows tabs unchanged.
    let shown = String::from_utf8(shown).unwrap().replace('\r', "");
    let expected = "200 OK\nname\tvalue\n\\x1b[2J\\x07over\\rwritten \\u{9b}31m\\u{202e}\\xff\n🐰 \\xf0\\x9f";
    assert_eq!(shown, expected);
}
