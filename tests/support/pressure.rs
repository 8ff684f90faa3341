//! Peers that send more than they read, without threads: they send until all buffers are full.

use super::PATIENCE;
use super::idle::is_peer_idle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// All buffers are full when no socket has taken a byte for this long, and the server sleeps.
const STILL: Duration = Duration::from_millis(300);

/// How long a server that does not sleep is waited for. One that is busy with other peers never sleeps for long.
const AWAKE: Duration = Duration::from_secs(5);

/// The socket buffers of a narrow peer, in bytes. Otherwise the kernel grows them to many megabytes, which a hundred
/// blocked connections would take from the whole machine. Much smaller buffers wait for delayed acknowledgements.
const NARROW_BYTES: usize = 128 * 1024;

/// Server options for small socket buffers. Those of a hundred blocked connections otherwise exceed the kernel's limit
/// for all sockets (tcp(7), `tcp_mem`): it then drops input, and every test waits for its timers.
pub(crate) const NARROW: [&str; 4] = ["--send-buffer", "128KiB", "--recv-buffer", "128KiB"];

/// Connects a peer with small socket buffers.
pub(crate) fn connect_narrow(address: SocketAddr) -> TcpStream {
    connect_with_buffers(address, NARROW_BYTES)
}

/// Connects a peer with socket buffers of `bytes` each. The smaller they are, the more often a slow reader
/// acknowledges.
pub(crate) fn connect_with_buffers(address: SocketAddr, bytes: usize) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a descriptor is free");
    // Before connecting, which fixes the window scale (tcp(7)).
    socket.set_recv_buffer_size(bytes).expect("the option exists");
    socket.set_send_buffer_size(bytes).expect("the option exists");
    socket.connect_timeout(&SockAddr::from(address), PATIENCE).expect("the server listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("the time is not zero");
    socket.set_write_timeout(Some(PATIENCE)).expect("the time is not zero");
    socket.into()
}

/// More bytes than a narrow peer's connection takes while the peer does not read. The server's own socket buffers may
/// grow to the system's limits (tcp(7), `tcp_rmem` and `tcp_wmem`), about 40 MB.
pub(crate) fn more_than_fits() -> Vec<u8> {
    vec![0; 64 << 20]
}

/// Sends `data` on every stream without reading, and returns how much each took before all were blocked.
pub(crate) fn push_until_blocked(streams: &[TcpStream], data: &[u8]) -> Vec<usize> {
    let pushed = push_until_blocked_or_cut(streams, data).into_iter();
    pushed.map(|sent| sent.expect("the server gave up a peer that does not read")).collect()
}

/// The same, where the server may close connections meanwhile; none for those.
pub(crate) fn push_until_blocked_or_cut(streams: &[TcpStream], data: &[u8]) -> Vec<Option<usize>> {
    let mut sent = vec![Some(0); streams.len()];
    for stream in streams {
        stream.set_nonblocking(true).expect("the stream is open");
    }
    let deadline = Instant::now() + 3 * PATIENCE;
    let mut still_since = None;
    loop {
        let is_pushing = |index: &usize| sent[*index].is_some_and(|sent| sent < data.len());
        let pushing: Vec<usize> = (0..streams.len()).filter(is_pushing).collect();
        let mut descriptors: Vec<_> =
            pushing.iter().map(|&index| PollFd::new(&streams[index], PollFlags::OUT)).collect();
        if pushing.is_empty() {
            break;
        }
        if poll_within(&mut descriptors, if still_since.is_none() { STILL } else { Duration::ZERO }) == 0 {
            let since = *still_since.get_or_insert_with(Instant::now);
            // A server that is ready to run, or awaits a CPU, may still take bytes. Afterwards the sockets are looked at
            // once more.
            let is_over = since.elapsed() > AWAKE || is_peer_idle(pushing.iter().map(|&index| &streams[index]));
            if is_over && poll_within(&mut descriptors, Duration::ZERO) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        still_since = None;
        assert!(Instant::now() < deadline, "the server still takes bytes after {:?}", 3 * PATIENCE);
        let writable: Vec<bool> = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty()).collect();
        for (index, _) in pushing.into_iter().zip(writable).filter(|(_, writable)| *writable) {
            let before = sent[index].unwrap_or_default();
            match (&streams[index]).write(&data[before..]) {
                Ok(count) => sent[index] = Some(before + count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => sent[index] = None,
            }
        }
    }
    for stream in streams {
        stream.set_nonblocking(false).expect("the stream is open");
    }
    sent
}

/// Sends `data` without reading until the connection is blocked, continues while reading, shuts down the sending half,
/// and reads to the end. Returns how much was sent before the first read, and all received bytes.
pub(crate) fn push_all_and_read_back(mut stream: TcpStream, data: &[u8]) -> (usize, Vec<u8>) {
    let before_reading = push_until_blocked(std::slice::from_ref(&stream), data)[0];
    stream.set_nonblocking(true).expect("the stream is open");
    let (mut sent, mut back) = (before_reading, Vec::with_capacity(data.len()));
    while sent < data.len() {
        let mut descriptors = [PollFd::new(&stream, PollFlags::IN | PollFlags::OUT)];
        assert!(poll_within(&mut descriptors, PATIENCE) > 0, "nothing moved after {sent} bytes were sent");
        match stream.write(&data[sent..]) {
            Ok(count) => sent += count,
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock, "after {sent} bytes: {error}"),
        }
        match (&stream).take(1 << 20).read_to_end(&mut back) {
            Ok(_) => {}
            Err(error) => assert!(error.kind() == ErrorKind::WouldBlock, "after {} bytes: {error}", back.len()),
        }
    }
    stream.set_nonblocking(false).expect("the stream is open");
    stream.shutdown(std::net::Shutdown::Write).expect("the connection is up");
    stream.read_to_end(&mut back).expect("the server answers and closes");
    (before_reading, back)
}

/// Reads up to a normal end of input.
#[track_caller]
pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server ends in order");
    bytes
}

/// How many peers of `server` have sent bytes that have not arrived yet; none on a system without procfs. The bytes of
/// all others are in the server's sockets or in its listen queues.
pub(crate) fn still_sending(server: SocketAddr) -> Option<usize> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let port = format!(":{:04X}", server.port());
    // sl, local address, remote address, state, tx_queue:rx_queue (proc_net_tcp(5)).
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_sending = |row: &Vec<&str>| row.len() > 4 && row[2].ends_with(&port) && !row[4].starts_with("00000000:");
    Some(rows.filter(is_sending).count())
}

fn poll_within(descriptors: &mut [PollFd<'_>], within: Duration) -> usize {
    let timeout = Timespec::try_from(within).expect("a time in range");
    loop {
        match poll(descriptors, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.expect("poll takes these descriptors"),
        }
    }
}
