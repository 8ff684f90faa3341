//! File transfer example: files arrive unchanged, and interrupted transfers resume.

use super::example::{address_of, example};
use super::support::{Exit, PATIENCE, Program, await_until, bytes, connect, expect_end, read_to_end};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Many times the size of all buffers on the path.
const LARGE: usize = 20 << 20;

/// Maximum memory that a transfer of any size takes besides the program itself, in bytes.
const MAX_GROWTH: u64 = 6 << 20;

/// A server with a folder of its own, and a folder for its clients.
struct Shelf {
    theirs: TempDir,
    ours: TempDir,
    server: Program,
    address: SocketAddr,
}

impl Shelf {
    fn start() -> Option<Self> {
        let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let server = serve(theirs.path())?;
        let address = address_of(&server);
        Some(Self { theirs, ours, server, address })
    }

    fn put(&self, name: &str) -> Program {
        Program::spawn(tool().args(["put", &self.address.to_string()]).arg(self.ours.path().join(name)))
    }

    fn get_from(&self, address: SocketAddr, name: &str) -> Program {
        Program::spawn(tool().args(["get", &address.to_string(), name]).arg(self.ours.path()))
    }

    fn get(&self, name: &str) -> Exit {
        self.get_from(self.address, name).await_exit()
    }

    /// A peer that speaks the protocol by hand.
    fn visitor(&self) -> Visitor {
        Visitor(BufReader::new(connect(self.address)))
    }
}

fn tool() -> Command {
    example("file_transfer").expect("it was there a moment ago")
}

fn serve(folder: &Path) -> Option<Program> {
    Some(Program::spawn(example("file_transfer")?.arg("serve").arg(folder).arg("0")))
}

struct Visitor(BufReader<TcpStream>);

impl Visitor {
    fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn expect_refused(mut self, why: &str) {
        let line = self.hear();
        assert!(line.starts_with("ERROR ") && line.contains(why), "{line:?} is not about {why:?}");
        expect_end(&mut self.0);
    }
}

fn sum_of(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

#[track_caller]
fn expect_done(exit: &Exit, line: &str) {
    assert_eq!((exit.code, exit.stdout.join("\n").as_str()), (Some(0), line), "{exit:#?}");
}

#[track_caller]
fn expect_failed(exit: &Exit, why: &str) {
    let error = exit.stderr.join("\n");
    assert!(exit.code == Some(1) && error.starts_with("error: ") && error.contains(why), "{exit:#?}");
}

/// The names of all files, including hidden ones.
fn names_in(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn write(folder: &TempDir, name: &str, content: &[u8]) {
    fs::write(folder.path().join(name), content).unwrap();
}

fn read(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap()
}

fn size_of(folder: &TempDir, name: &str) -> u64 {
    fs::metadata(folder.path().join(name)).map_or(0, |metadata| metadata.len())
}

/// Peak memory of a program (VmHWM), in bytes; `None` on a system without procfs.
fn peak_bytes(program: &Program) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid().as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[test]
fn a_file_arrives_as_it_was_sent() {
    let Some(mut shelf) = Shelf::start() else { return };
    for (name, size) in [("empty", 0), ("one", 1), ("a name with blanks, ü", 100_000)] {
        let content = bytes(1, size);
        write(&shelf.ours, name, &content);
        expect_done(&shelf.put(name).await_exit(), &format!("{name}: {size} bytes sent, 0 of them before"));
        assert!(read(&shelf.theirs, name) == content);
        fs::remove_file(shelf.ours.path().join(name)).unwrap();
        expect_done(&shelf.get(name), &format!("{name}: {size} bytes received, 0 of them before"));
        assert!(read(&shelf.ours, name) == content);
    }
    // A new file replaces it.
    write(&shelf.ours, "one", b"new");
    expect_done(&shelf.put("one").await_exit(), "one: 3 bytes sent, 0 of them before");
    assert_eq!(read(&shelf.theirs, "one"), b"new");
    assert_eq!(names_in(&shelf.theirs), names_in(&shelf.ours));
    assert_eq!(names_in(&shelf.theirs).len(), 3);
    let exit = shelf.server.terminate();
    assert!(exit.code == Some(0) && exit.stdout[1].starts_with("Served 7 connections"), "{exit:#?}");
}

#[test]
fn large_files_stream_through_little_memory_two_at_a_time() {
    let Some(shelf) = Shelf::start() else { return };
    let contents = [("a", bytes(1, LARGE)), ("b", bytes(2, LARGE))];
    for (name, content) in &contents {
        write(&shelf.ours, name, content);
    }
    let before = peak_bytes(&shelf.server);
    let putting = contents.each_ref().map(|(name, _)| shelf.put(name));
    for ((name, content), mut putting) in contents.iter().zip(putting) {
        expect_done(&putting.await_exit_within(6 * PATIENCE), &format!("{name}: {LARGE} bytes sent, 0 of them before"));
        assert!(read(&shelf.theirs, name) == *content);
        fs::remove_file(shelf.ours.path().join(name)).unwrap();
    }
    let getting = contents.each_ref().map(|(name, _)| shelf.get_from(shelf.address, name));
    for ((name, content), mut getting) in contents.iter().zip(getting) {
        expect_done(
            &getting.await_exit_within(6 * PATIENCE),
            &format!("{name}: {LARGE} bytes received, 0 of them before"),
        );
        assert!(read(&shelf.ours, name) == *content);
    }
    if let (Some(before), Some(after)) = (before, peak_bytes(&shelf.server)) {
        assert!(after - before < MAX_GROWTH, "{before} bytes grew to {after}");
    }
}

#[test]
fn an_upload_resumes_after_the_server_was_killed() {
    let Some(mut shelf) = Shelf::start() else { return };
    let (size, half) = (1_000_000, 600_000);
    let content = bytes(3, size);
    write(&shelf.ours, "file", &content);
    let mut visitor = shelf.visitor();
    visitor.say("PUT file");
    assert_eq!(visitor.hear(), format!("HAVE 0 {}", sum_of(b"")));
    visitor.say(&format!("FROM 0 {size}"));
    visitor.0.get_mut().write_all(&content[..half]).unwrap();
    await_until("the first half", || size_of(&shelf.theirs, ".file.part") == half as u64);
    shelf.server.signal(Signal::KILL);
    shelf.server.await_exit();
    assert_eq!(names_in(&shelf.theirs), [".file.part"], "half a file is not seen under its name");
    shelf.server = serve(shelf.theirs.path()).unwrap();
    shelf.address = address_of(&shelf.server);
    expect_done(&shelf.put("file").await_exit(), &format!("file: {size} bytes sent, {half} of them before"));
    assert!(read(&shelf.theirs, "file") == content);
    assert_eq!(names_in(&shelf.theirs), ["file"]);
}

/// Serves one `GET` by hand: announces `size` bytes, sends `content`, then the checksum `sum`.
fn serve_by_hand(listener: &TcpListener, size: usize, content: &[u8], sum: &str) -> TcpStream {
    let mut visitor = Visitor(BufReader::new(listener.accept().unwrap().0));
    assert!(visitor.hear().starts_with("GET ") && visitor.hear().starts_with("HAVE 0 "));
    visitor.say(&format!("FROM 0 {size}"));
    visitor.0.get_mut().write_all(content).unwrap();
    if !sum.is_empty() {
        visitor.say(&format!("SUM {sum}"));
    }
    visitor.0.into_inner()
}

#[test]
fn a_download_resumes_after_the_client_was_killed() {
    let Some(shelf) = Shelf::start() else { return };
    let (size, half) = (1_000_000, 600_000);
    let content = bytes(4, size);
    write(&shelf.theirs, "file", &content);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = shelf.get_from(listener.local_addr().unwrap(), "file");
    let _held = serve_by_hand(&listener, size, &content[..half], "");
    await_until("the first half", || size_of(&shelf.ours, ".file.part") == half as u64);
    client.signal(Signal::KILL);
    client.await_exit();
    expect_done(&shelf.get("file"), &format!("file: {size} bytes received, {half} of them before"));
    assert!(read(&shelf.ours, "file") == content);
    assert_eq!(names_in(&shelf.ours), ["file"]);
}

#[test]
fn a_corrupt_partial_file_is_not_resumed() {
    let Some(shelf) = Shelf::start() else { return };
    let content = bytes(5, 400_000);
    let mut spoilt = content[..300_000].to_vec();
    spoilt[299_999] ^= 1;
    let too_long = bytes(5, 400_001);
    for begun in [&spoilt, &too_long] {
        for (from, to) in [(&shelf.theirs, &shelf.ours), (&shelf.ours, &shelf.theirs)] {
            write(from, "file", &content);
            write(to, ".file.part", begun);
            let is_download = std::ptr::eq(from, &raw const shelf.theirs);
            let exit = if is_download { shelf.get("file") } else { shelf.put("file").await_exit() };
            let how = if is_download { "received" } else { "sent" };
            expect_done(&exit, &format!("file: 400000 bytes {how}, 0 of them before"));
            assert!(read(to, "file") == content);
            assert_eq!(names_in(to), ["file"]);
            fs::remove_file(to.path().join("file")).unwrap();
        }
    }
}

#[test]
fn truncated_and_altered_transfers_are_detected() {
    let Some(shelf) = Shelf::start() else { return };
    let content = bytes(6, 1000);
    let mut altered = content.clone();
    altered[500] ^= 1;
    // A server that closes early: the received bytes are kept.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = shelf.get_from(listener.local_addr().unwrap(), "file");
    drop(serve_by_hand(&listener, 1000, &content[..999], ""));
    expect_failed(&client.await_exit(), "ended 1 bytes early");
    assert_eq!(names_in(&shelf.ours), [".file.part"]);
    fs::remove_file(shelf.ours.path().join(".file.part")).unwrap();
    // A server whose bytes do not match the checksum.
    let mut client = shelf.get_from(listener.local_addr().unwrap(), "file");
    drop(serve_by_hand(&listener, 1000, &altered, &sum_of(&content)));
    expect_failed(&client.await_exit(), "checksum mismatch");
    assert!(names_in(&shelf.ours).is_empty());
    // The same for uploads.
    let mut visitor = shelf.visitor();
    visitor.say("PUT file");
    visitor.hear();
    visitor.say("FROM 0 1000");
    visitor.0.get_mut().write_all(&altered).unwrap();
    visitor.say(&format!("SUM {}", sum_of(&content)));
    visitor.expect_refused("checksum mismatch");
    assert!(names_in(&shelf.theirs).is_empty());
}

#[test]
fn concurrent_uploads_of_one_file_do_not_corrupt_it() {
    let Some(shelf) = Shelf::start() else { return };
    write(&shelf.ours, "file", b"one and the same");
    let mut first = shelf.visitor();
    first.say("PUT file");
    first.hear();
    expect_failed(&shelf.put("file").await_exit(), "another client is sending this file");
    first.say("FROM 0 3");
    first.say(&format!("oneSUM {}", sum_of(b"one")));
    assert_eq!(first.hear(), "DONE");
    expect_done(&shelf.put("file").await_exit(), "file: 16 bytes sent, 0 of them before");
    assert_eq!(read(&shelf.theirs, "file"), b"one and the same");
}

#[test]
fn paths_cannot_leave_the_folder() {
    let Some(shelf) = Shelf::start() else { return };
    write(&shelf.ours, "secret", b"not served");
    write(&shelf.theirs, ".hidden", b"not served either");
    fs::create_dir(shelf.theirs.path().join("folder")).unwrap();
    std::os::unix::fs::symlink(shelf.ours.path().join("secret"), shelf.theirs.path().join("link")).unwrap();
    let outside = shelf.ours.path().join("secret").display().to_string();
    let long = "x".repeat(201);
    for name in ["../secret", "..", ".", "", ".hidden", "folder/x", "a\\b", "a\0b", &outside, &long] {
        for word in ["GET", "PUT"] {
            let mut visitor = shelf.visitor();
            visitor.say(&format!("{word} {name}"));
            visitor.expect_refused("not the name of a file here");
        }
    }
    for name in ["folder", "link"] {
        expect_failed(&shelf.get(name), "not a regular file");
    }
    expect_failed(&shelf.get("absent"), "No such file");
    expect_failed(&shelf.get("../secret"), "not the name of a file here");
    assert_eq!(names_in(&shelf.theirs), [".hidden", "folder", "link"]);
}

#[test]
fn protocol_violations_are_rejected() {
    let Some(shelf) = Shelf::start() else { return };
    write(&shelf.theirs, "file", b"content");
    for (lines, why) in [
        (&["HELLO"][..], "unexpected message: HELLO"),
        (&["HAVE 0 x"], "unexpected message: HAVE 0 x"),
        (&["GET file", "HAVE -1 x"], "unexpected message: HAVE -1 x"),
        (&["GET file", "GET file"], "unexpected message: GET file"),
        (&["PUT new", "FROM 5 10"], "a gap"),
        (&["PUT new", "FROM 0 99999999999999"], "bytes at most"),
        (&[&"x".repeat(600)], "larger than the 512 bytes allowed"),
    ] {
        let mut visitor = shelf.visitor();
        for line in lines {
            visitor.say(line);
        }
        if lines[0] == "PUT new" {
            visitor.hear();
        }
        visitor.expect_refused(why);
    }
    // Asked for an offset beyond the end, the server starts at 0; bytes after the request are ignored.
    let mut visitor = shelf.visitor();
    visitor.say(&format!("GET file\nHAVE 99 {}\nand more", sum_of(b"content")));
    let reply = String::from_utf8(read_to_end(&mut visitor.0.by_ref())).unwrap();
    assert_eq!(reply, format!("FROM 0 7\ncontentSUM {}\n", sum_of(b"content")));
}
