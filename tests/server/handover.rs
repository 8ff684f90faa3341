//! Handover: no client notices it, and a new process that fails changes nothing.

use super::process_chain::{ProcessChain, children, install, is_running};
use super::support::{
    PATIENCE, Program, await_some, await_until, bytes, connect, connect_unix, echo, echo_all, expect_end, read_to_end,
};
use rustix::process::{Pid, Signal};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connections per second in total, and the number of threads that make them.
const RATE: u32 = 2000;
const THREADS: u32 = 4;

/// How long a peer pauses after connecting: a fraction of the interval of its thread.
const PAUSE: Duration = Duration::from_micros(500);

/// How many connections are made between two handovers.
const CONNECTIONS_BETWEEN: u64 = 400;

/// Connects without pause while the server is replaced `count` times. Each connection must be served completely.
/// Returns their number.
pub(super) fn under_load<S: Read + Write>(
    connect: impl Fn() -> std::io::Result<S> + Sync,
    process_chain: &mut ProcessChain,
    count: u64,
) -> u64 {
    let (over, total, start) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    let one = |seed: u64| -> std::io::Result<()> {
        let (mut peer, message, mut reply) = (connect()?, bytes(seed, 64), [0; 64]);
        // So some connections are always accepted but not served yet.
        std::thread::sleep(PAUSE);
        peer.write_all(&message)?;
        peer.read_exact(&mut reply)?;
        assert!(reply == message[..], "the reply differs from the message");
        Ok(())
    };
    let work = |thread: u32| {
        let mut made: u32 = 0;
        while !over.load(Ordering::Relaxed) {
            let due = start + Duration::from_secs(1) * (made * THREADS + thread) / RATE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let seed = u64::from(made * THREADS + thread);
            one(seed).unwrap_or_else(|error| panic!("connection {made} of thread {thread}: {error}"));
            made += 1;
            total.fetch_add(1, Ordering::Relaxed);
        }
    };
    let work = &work;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || work(thread));
        }
        // Also stops the threads on a panic, or they would run for ever.
        let result = catch_unwind(AssertUnwindSafe(|| {
            for number in 1..=count {
                await_until("connections", || total.load(Ordering::Relaxed) >= number * CONNECTIONS_BETWEEN);
                process_chain.handover();
            }
            await_until("connections", || total.load(Ordering::Relaxed) >= (count + 1) * CONNECTIONS_BETWEEN);
        }));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| resume_unwind(panic));
    });
    total.into_inner()
}

pub(super) fn connect_tcp(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ten_handovers(workers: &str) {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--workers", workers]);
    let address = process_chain.first.address();
    let since = Instant::now();
    let made = under_load(|| connect_tcp(address), &mut process_chain, 10);
    let took = since.elapsed();
    assert_eq!(process_chain.end(), made, "each was served by one of the eleven");
    let text = format!("{made} connections through 10 handovers in {took:.1?}, {workers} worker(s): all served whole");
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[test]
fn ten_handovers_of_one_worker_lose_no_connection() {
    ten_handovers("1");
}

#[test]
fn ten_handovers_of_two_workers_lose_no_connection() {
    ten_handovers("2");
}

#[test]
fn handovers_of_a_unix_socket_lose_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let mut process_chain = ProcessChain::new(&["--unix", path.to_str().unwrap(), "--workers", "2"]);
    let made = under_load(|| UnixStream::connect(&path), &mut process_chain, 3);
    await_until("the end of the first", || process_chain.first.status().is_some());
    assert!(path.exists(), "the path belongs to the last of them");
    echo(&mut connect_unix(&path), b"after");
    assert_eq!(process_chain.end(), made + 1);
    assert!(!path.exists(), "the name is removed at the end");
}

#[test]
fn existing_connections_are_still_served() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--workers", "2"]);
    let address = process_chain.first.address();
    let mut old = connect(address);
    echo(&mut old, b"before");
    process_chain.handover();
    for round in 0..20 {
        echo(&mut old, &bytes(round, 1000));
        echo(&mut connect(address), b"to the successor");
    }
    assert!(process_chain.first.status().is_none(), "the old process serves who is there");
    echo_all(&mut old, b"the last");
    drop(old);
    let status = await_some("the old process's end", || process_chain.first.status());
    assert_eq!(status.code(), Some(0));
    assert_eq!(process_chain.end(), 21);
}

#[test]
fn existing_connections_are_drained_after_the_timeout() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--drain-timeout", "300ms"]);
    let mut old = connect(process_chain.first.address());
    echo(&mut old, b"before");
    let since = Instant::now();
    process_chain.handover();
    expect_end(&mut old);
    assert!(since.elapsed() >= Duration::from_millis(300), "it took only {:?}", since.elapsed());
    let status = await_some("the old process's end", || process_chain.first.status());
    assert_eq!(status.code(), Some(0));
    process_chain.first.await_stdout("1 drained");
}

#[test]
fn the_old_process_can_be_terminated() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--drain-timeout", "1m"]);
    let mut old = connect(process_chain.first.address());
    echo(&mut old, b"before");
    process_chain.handover();
    process_chain.first.signal(Signal::USR2);
    process_chain.first.await_stderr("not handing over");
    process_chain.first.signal(Signal::TERM);
    expect_end(&mut old);
    drop(old);
    await_some("the old process's end", || process_chain.first.status());
    echo(&mut connect(process_chain.first.address()), b"after");
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--workers", "2"]);
    let (address, path) = (process_chain.first.address(), process_chain.path());
    let mut old = connect(address);
    let mut serves = |process_chain: &ProcessChain, reason: &str| {
        process_chain.first.await_stderr(reason);
        echo(&mut old, b"the same as before");
        echo(&mut connect(address), b"anybody new");
    };
    process_chain.replace_by_script(&path, "exit 1");
    process_chain.signal(Signal::USR2);
    serves(&process_chain, "did not take over (exit status: 1)");
    process_chain.replace_by_script(&path, "exec <&-; exec sleep 60");
    process_chain.signal(Signal::USR2);
    serves(&process_chain, "did not take over (it had to be killed)");
    fs::remove_file(&path).unwrap();
    process_chain.signal(Signal::USR2);
    serves(&process_chain, "cannot start");
    assert_eq!(process_chain.first.stderr().iter().filter(|line| line.contains("handover failed")).count(), 3);
    assert!(children(process_chain.first.pid()).is_empty(), "no child is left, dead or alive");
    process_chain.replace_by_copy(&path);
    process_chain.handover();
    serves(&process_chain, "handover complete");
}

#[test]
fn an_address_that_the_new_process_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("arguments.conf");
    let (address, metrics) = ("127.0.0.1\n0\n", "--metrics=localhost:0\n");
    fs::write(&path, format!("{address}{metrics}")).unwrap();
    let process_chain = ProcessChain::new(&["--config", path.to_str().unwrap()]);
    let other = format!("--unix={}\n{metrics}", folder.path().join("m.sock").display());
    let failed = || process_chain.first.stderr().iter().filter(|line| line.contains("handover failed")).count();
    for (arguments, dropped) in [(address, "localhost:0"), (&other, "127.0.0.1:0")] {
        fs::write(&path, arguments).unwrap();
        let before = failed();
        process_chain.signal(Signal::USR2);
        process_chain.first.await_stderr(&format!("cannot listen on {dropped}: the old process listens there"));
        await_until("the failure", || failed() > before);
        echo(&mut connect(process_chain.first.address()), b"the same as before");
    }
}

/// A new process that has the sockets and neither accepts nor exits is killed; meanwhile the old process serves new
/// connections.
#[test]
fn a_new_process_that_never_accepts_changes_nothing() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--workers", "2", "--hand-over-timeout", "5s"]);
    let (address, path) = (process_chain.first.address(), process_chain.path());
    let mut old = connect(address);
    echo(&mut old, b"before");
    process_chain.replace_by_script(&path, "echo started >&2; exec sleep 60");
    let since = Instant::now();
    process_chain.signal(Signal::USR2);
    process_chain.first.await_stderr("started");
    let slow = children(process_chain.first.pid());
    assert_eq!(slow.len(), 1);
    let failed =
        |process_chain: &ProcessChain| process_chain.first.stderr().iter().any(|line| line.contains("handover failed"));
    let mut count = 0;
    await_until("the failure", || {
        echo(&mut connect(address), b"meanwhile");
        echo(&mut old, b"the same as before");
        count += 1;
        failed(&process_chain)
    });
    assert!(since.elapsed() >= Duration::from_secs(5), "{count} in {:?}", since.elapsed());
    process_chain.first.await_stderr(&format!("{} did not accept within 5.00 s; still serving", path.display()));
    assert!(!is_running(slow[0]) && children(process_chain.first.pid()).is_empty(), "no child is left, dead or alive");
    process_chain.replace_by_copy(&path);
    process_chain.handover();
    echo(&mut connect(address), b"after");
    drop(old);
    assert_eq!(process_chain.end(), count + 2);
}

#[test]
fn sigterm_aborts_a_handover() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0"]);
    let mut old = connect(process_chain.first.address());
    echo(&mut old, b"before");
    process_chain.replace_by_script(&process_chain.path(), "echo started >&2; exec sleep 60");
    process_chain.signal(Signal::USR2);
    process_chain.first.await_stderr("started");
    let slow = children(process_chain.first.pid());
    assert_eq!(slow.len(), 1);
    process_chain.signal(Signal::USR2);
    process_chain.first.await_stderr("a handover is already in progress");
    process_chain.signal(Signal::TERM);
    expect_end(&mut old);
    drop(old);
    let exit = process_chain.first.await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(!is_running(slow[0]), "the successor ended before");
}

#[test]
fn the_file_at_the_path_is_started() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0"]);
    let path = process_chain.path();
    for _ in 0..2 {
        let before = fs::metadata(&path).unwrap().ino();
        process_chain.replace_by_copy(&path);
        let new = fs::metadata(&path).unwrap().ino();
        assert_ne!(new, before);
        let child_program = process_chain.handover();
        let running = fs::metadata(format!("/proc/{child_program}/exe")).unwrap();
        assert_eq!(running.ino(), new);
        assert_eq!(fs::read_link(format!("/proc/{child_program}/exe")).unwrap(), path.canonicalize().unwrap());
    }
}

/// Both are written the same, yet each keeps its own socket.
#[test]
fn two_endpoints_with_port_0_are_not_confused() {
    let mut process_chain = ProcessChain::new(&["127.0.0.1", "0", "--metrics", "127.0.0.1:0", "--workers", "2"]);
    process_chain.first.await_stdout("metrics");
    let listening = |process_chain: &ProcessChain, from: usize| -> Vec<String> {
        let lines = process_chain.first.stdout();
        lines.into_iter().filter(|line| line.starts_with("Listening on ")).skip(from).collect()
    };
    let first = listening(&process_chain, 0);
    assert_eq!(first.len(), 2);
    for count in [2, 4] {
        process_chain.handover();
        await_until("the successor's lines", || listening(&process_chain, count).len() == 2);
        assert_eq!(listening(&process_chain, count), first);
        echo(&mut connect(process_chain.first.address()), b"the same as ever");
        let metrics = first[1].split(' ').nth(2).unwrap();
        let mut reader = connect(metrics.parse().unwrap());
        reader.write_all(b"GET /readyz HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").unwrap();
        let answer = String::from_utf8(read_to_end(&mut reader)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// A symbolic link to another version is followed, and a bare name is found in the same directory again.
#[test]
fn the_path_is_the_one_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1", "2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
        install(&folder.path().join(version).join("multiconn-server"));
    }
    std::os::unix::fs::symlink("1", folder.path().join("current")).unwrap();
    let search = std::env::join_paths([folder.path().join("current"), "/bin".into(), "/usr/bin".into()]).unwrap();
    let mut command = Program::clean(std::process::Command::new("sh"));
    command.args(["-c", "exec multiconn-server 127.0.0.1 0"]).env("PATH", search);
    let current = folder.path().join("current");
    let mut process_chain = ProcessChain::of(folder, &mut command);
    fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink("2", &current).unwrap();
    let child_program = process_chain.handover();
    let running = fs::read_link(format!("/proc/{child_program}/exe")).unwrap();
    assert_eq!(running.parent().unwrap().file_name().unwrap(), "2");
    echo(&mut connect(process_chain.first.address()), b"after");
}

/// Every socket is served: connections are spread over all sockets, whichever worker has them.
#[test]
fn the_number_of_workers_may_change() {
    let mut process_chain =
        ProcessChain::with(|command| command.args(["127.0.0.1", "0"]).env("MULTICONN_WORKERS", "2"));
    let address = process_chain.first.address();
    let mut path = process_chain.path();
    for workers in ["3", "1", "4"] {
        // The script executes the program under its own name, and the next process is started from there.
        let next = process_chain.folder.path().join(format!("server-{workers}"));
        process_chain.replace_by_copy(&next);
        let script = format!("MULTICONN_WORKERS={workers} exec {} \"$@\"", next.display());
        process_chain.replace_by_script(&path, &script);
        let child_program = process_chain.handover();
        await_until("all workers", || worker_threads(child_program) == workers.parse::<usize>().unwrap());
        // Without SO_REUSEPORT the workers share one.
        let sockets = if cfg!(multiconn_fallbacks) { 1 } else { 2 };
        // The table may show a row twice, or not at all, while it changes.
        await_until("as many sockets as at first", || listening_sockets(child_program, address) == Some(sockets));
        for seed in 0..40 {
            echo(&mut connect(address), &bytes(seed, 64));
        }
        path = next;
    }
    process_chain.end();
}

/// The number of threads of the process, without its log writer.
fn worker_threads(process: Pid) -> usize {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() != "log").count()
}

/// The number of listening sockets of the process at `address`, without duplicates.
fn listening_sockets(process: Pid, address: SocketAddr) -> Option<usize> {
    let port = format!(":{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The local address, the state (0A listens), the inode (proc_net_tcp(5)).
    let inodes =
        rows.filter(|row| row.len() > 9 && row[1].ends_with(&port) && row[3] == "0A").map(|row| row[9].to_owned());
    let entries = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
    let links: Vec<_> = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
    Some(inodes.filter(|inode| links.iter().any(|link| link == Path::new(&format!("socket:[{inode}]")))).count())
}
