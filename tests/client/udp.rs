//! UDP client: the fate of each message is counted, whatever the network and the server do.

use super::support::{Exit, PATIENCE, Program, expect_refusal, has_python};
use multiconn::results::RunResults;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server that sends the datagrams `answer` returns for a request's number and bytes; it runs until it is dropped.
pub(crate) struct CorruptServer {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl CorruptServer {
    pub(crate) fn new(answer: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    fn at(address: SocketAddr, mut answer: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (address, is_over) = (socket.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let over = Arc::clone(&is_over);
        let work = move || {
            let (mut room, mut number) = (vec![0; 1 << 16], 0);
            while !over.load(Ordering::Relaxed) {
                if let Ok((count, peer)) = socket.recv_from(&mut room) {
                    for reply in answer(number, &room[..count]) {
                        socket.send_to(&reply, peer).unwrap();
                    }
                    number += 1;
                }
            }
        };
        Self { address, is_over, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for CorruptServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a client that waits longer for replies than the default second, unless `arguments` contain a reply timeout.
fn start(address: SocketAddr, arguments: &[&str]) -> Program {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let patient: &[&str] = if arguments.contains(&"--reply-timeout") { &[] } else { &["--reply-timeout", "10s"] };
    Program::client(&[&["--udp", &host, &port], patient, arguments].concat())
}

/// A socket on a port where datagrams from others are refused: it only receives its own. The port stays reserved.
fn refusing() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    (socket, address)
}

/// Runs against `address` with further arguments.
fn run(address: SocketAddr, arguments: &[&str]) -> Exit {
    start(address, arguments).await_exit()
}

/// First number of the report's line with this label; 0 without such a line.
fn number(exit: &Exit, label: &str) -> u64 {
    let line = exit.stdout.iter().find_map(|line| line.strip_prefix("  ")?.strip_prefix(label)?.strip_prefix(' '));
    let word = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    word.trim_end_matches([',', ':']).replace(',', "").parse().unwrap()
}

/// Expects this exit status, these numbers in the report, and 0 for all others.
#[track_caller]
pub(crate) fn expect(exit: &Exit, code: i32, sent: u64, verified: u64, fates: &[(&str, u64)]) {
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    let verdict = if code == 0 { "every datagram" } else { ": failed" };
    assert!(exit.stdout[0].contains(verdict), "{exit:#?}");
    let line = exit.stdout.iter().find_map(|line| line.strip_prefix("  datagrams    ")).unwrap();
    let numbers: Vec<u64> =
        line.split(", ").filter_map(|part| part.split(' ').next()?.replace(',', "").parse().ok()).collect();
    assert_eq!(numbers[..2], [sent, verified], "{exit:#?}");
    for label in ["timed out", "late", "refused", "duplicated", "reordered", "corrupt"] {
        let expected = fates.iter().find(|(fate, _)| *fate == label).map_or(0, |(_, count)| *count);
        assert_eq!(number(exit, label), expected, "{label}: {exit:#?}");
    }
}

/// `multiconn-server` with UDP, and its address.
pub(crate) fn own_server(arguments: &[&str]) -> (Program, SocketAddr) {
    let server = Program::server(&[&["--udp", "127.0.0.1", "0"], arguments].concat());
    let line = server.await_stdout(" (udp, ");
    let address = line.split(' ').nth(2).unwrap().parse().unwrap();
    (server, address)
}

/// A socket keeps receiving for a tenth of a second after its last reply. A run in which this test sends later says nothing.
#[test]
fn duplicates_after_the_last_reply_are_counted() {
    let exit = (0..20).find_map(|_| run_with_late_datagrams()).expect("in one of twenty runs they are sent in time");
    assert_eq!((exit.code, number(&exit, "duplicated"), number(&exit, "corrupt")), (Some(1), 1, 1), "{exit:#?}");
    assert!(exit.stdout.contains(&"    socket 1: received b'extra' (5 bytes)".to_owned()), "{exit:#?}");
}

/// Answers the only message, and sends two datagrams more. None if that took too long.
fn run_with_late_datagrams() -> Option<Exit> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let program = start(socket.local_addr().unwrap(), &["--message", "hello", "--reply-timeout", "20s"]);
    let mut room = [0; 64];
    let (count, peer) = socket.recv_from(&mut room).unwrap();
    let since = Instant::now();
    socket.send_to(&room[..count], peer).unwrap();
    for late in [&b"hello"[..], b"extra"] {
        socket.send_to(late, peer).unwrap();
    }
    let took = since.elapsed();
    let exit = { program }.await_exit();
    (took < Duration::from_millis(80)).then_some(exit)
}

#[test]
fn ten_thousand_datagrams_come_back() {
    let (mut server, address) = own_server(&[]);
    let patient = ["--reply-timeout", "10s"];
    let one = [&["-c", "10", "--messages", "1000", "--size", "100"], &patient[..]].concat();
    expect(&run(address, &one), 0, 10_000, 10_000, &[]);
    let two = [&["-c", "10", "--messages", "1000", "--size", "16", "--pipeline", "4", "--workers", "2"], &patient[..]];
    expect(&run(address, &two.concat()), 0, 10_000, 10_000, &[]);
    assert_eq!(server.terminate().counted("answered"), 20_000);
}

#[test]
fn texts_and_sizes_of_every_kind() {
    let (_server, address) = own_server(&[]);
    expect(&run(address, &[]), 0, 2, 2, &[]);
    expect(&run(address, &["7", "--messages", "5", "--pipeline", "5"]), 0, 35, 35, &[]);
    expect(&run(address, &["--message", "", "--message", "é"]), 0, 2, 2, &[]);
    for size in ["1", "15", "16", "17", "1472", "65507"] {
        expect(&run(address, &["--size", size, "--messages", "3"]), 0, 3, 3, &[]);
    }
}

#[test]
fn timed_out_datagrams_are_counted_and_free_the_pipeline() {
    let lose = |kind: &[&str], pipeline: &str| {
        let server = CorruptServer::new(|number, bytes| if number % 5 == 2 { vec![] } else { vec![bytes.to_vec()] });
        // Replies of a busy machine after that time are late, too.
        let more = ["--messages", "10", "--pipeline", pipeline, "--reply-timeout", "4s"];
        let exit = run(server.address, &[kind, &more].concat());
        let timed_out = number(&exit, "timed out");
        assert_eq!(timed_out, 2, "{exit:#?}");
        if kind[0] == "--size" {
            expect(&exit, 1, 10, 8, &[("timed out", 2)]);
        }
    };
    // In parallel: each of them waits for its reply timeout.
    std::thread::scope(|scope| {
        for kind in [&["--size", "50"][..], &["--message", "a", "--message", "b"]] {
            for pipeline in ["1", "4"] {
                scope.spawn(move || lose(kind, pipeline));
            }
        }
    });
}

#[test]
fn duplicated_datagrams_are_counted() {
    let server = CorruptServer::new(|_, bytes| vec![bytes.to_vec(); 2]);
    // The last duplicate may come late on a busy machine.
    let hold = ["--hold", "4s"];
    // In parallel: each of them lasts as long as the hold.
    let [mut numbered, mut texts] = [&["--size", "50", "--messages", "10"][..], &["--messages", "2"]]
        .map(|work| start(server.address, &[work, &hold].concat()));
    expect(&numbered.await_exit(), 0, 10, 10, &[("duplicated", 10)]);
    expect(&texts.await_exit(), 0, 2, 2, &[("duplicated", 2)]);
}

#[test]
fn reordered_datagrams_are_counted() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let server = CorruptServer::new(move |_, bytes| {
        held.push(bytes.to_vec());
        if held.len() == 2 { held.drain(..).rev().collect() } else { vec![] }
    });
    let pairs = ["--messages", "10", "--pipeline", "2", "--reply-timeout", "10s"];
    expect(&run(server.address, &[&pairs[..], &["--size", "50"]].concat()), 0, 10, 10, &[("reordered", 5)]);
    expect(&run(server.address, &pairs), 0, 10, 10, &[("reordered", 5)]);
}

#[test]
fn corrupt_datagrams_are_counted_and_shown() {
    let damage = |number: usize, bytes: &[u8]| {
        let mut reply = bytes.to_vec();
        match number % 3 {
            0 => reply[20] ^= 1,
            1 => reply.truncate(17),
            _ => {}
        }
        vec![reply]
    };
    let server = CorruptServer::new(damage);
    let exit = run(server.address, &["--size", "50", "--messages", "9"]);
    expect(&exit, 1, 9, 3, &[("corrupt", 6)]);
    assert!(exit.stdout.iter().any(|line| line.starts_with("    socket 1: received b'\\x00")), "{exit:#?}");
    // A damaged text does not tell which message it was: that one waits until it times out.
    let server = CorruptServer::new(|_, bytes| vec![bytes.to_ascii_uppercase()]);
    let exit = run(server.address, &["--message", "abc", "--reply-timeout", "4s"]);
    expect(&exit, 1, 1, 0, &[("corrupt", 1), ("timed out", 1)]);
}

#[test]
fn late_datagrams_are_timed_out_and_counted() {
    let mut late: Option<Vec<u8>> = None;
    let server = CorruptServer::new(move |number, bytes| {
        if number == 0 {
            late = Some(bytes.to_vec());
            return vec![];
        }
        late.take().into_iter().chain([bytes.to_vec()]).collect()
    });
    let exit = run(server.address, &["--size", "20", "--messages", "3", "--reply-timeout", "4s"]);
    expect(&exit, 1, 3, 2, &[("timed out", 1), ("late", 1)]);
}

#[test]
fn refused_datagrams_are_reported() {
    let (_socket, address) = refusing();
    let exit = run(address, &["5"]);
    expect(&exit, 1, 10, 0, &[("refused", 10)]);
    assert!(exit.stdout.iter().any(|line| line.ends_with("refused      10: nothing listens there")), "{exit:#?}");
}

/// A receive call or the next send call reports that a port is closed. Both count the same cause.
#[test]
fn datagrams_refused_under_load_have_one_cause() {
    let (_socket, address) = refusing();
    // As many as one turn sends: a late client sends them all.
    let exit = run(address, &["--rate", "5k", "--duration", "50ms", "--json", "-"]);
    let results = RunResults::from_json(&exit.stdout.join("\n")).unwrap();
    assert_eq!(results.errors.keys().collect::<Vec<_>>(), ["refused"], "{exit:#?}");
    assert_eq!((results.messages.due, results.errors.get("refused").copied()), (Some(250), results.messages.due));
}

/// Sockets are opened, held and counted by the same rules as connections.
#[test]
#[cfg(target_os = "linux")]
fn source_addresses_are_used_in_turn() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let program = start(server.local_addr().unwrap(), &["6", "--message", "a", "--source", "127.0.0.8/30"]);
    let mut sources: Vec<_> = (0..6)
        .map(|_| {
            let (count, peer) = server.recv_from(&mut [0; 8]).unwrap();
            server.send_to(&b"a"[..count], peer).unwrap();
            peer.ip().to_string()
        })
        .collect();
    sources.sort();
    assert_eq!(sources, ["127.0.0.10", "127.0.0.10", "127.0.0.10", "127.0.0.9", "127.0.0.9", "127.0.0.9"]);
    expect(&{ program }.await_exit(), 0, 6, 6, &[]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_broadcast_has_a_source_address_too() {
    let server = UdpSocket::bind("127.255.255.255:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let arguments = ["--message", "a", "--broadcast", "--source", "127.0.0.9", "--expect", "none"];
    let exit = run(server.local_addr().unwrap(), &arguments);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert_eq!(server.recv_from(&mut [0; 8]).unwrap().1.ip(), Ipv4Addr::new(127, 0, 0, 9));
}

/// Without the hold, the socket would be closed before the second reply.
#[test]
fn a_held_socket_receives_until_the_hold_ends() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let begin = Instant::now();
    let more = ["--message", "a", "--hold", "6s", "--reply-timeout", "20s"];
    let program = start(server.local_addr().unwrap(), &more);
    let (_, peer) = server.recv_from(&mut [0; 8]).unwrap();
    server.send_to(b"a", peer).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    server.send_to(b"a", peer).unwrap();
    expect(&{ program }.await_exit(), 0, 1, 1, &[("duplicated", 1)]);
    assert!(begin.elapsed() >= Duration::from_secs(6));
}

#[test]
fn a_load_is_followed_by_the_hold() {
    let (_server, address) = own_server(&[]);
    let begin = Instant::now();
    let exit = run(address, &["3", "--duration", "200ms", "--hold", "1s", "--reply-timeout", "20s"]);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(begin.elapsed() >= Duration::from_millis(1200));
}

#[test]
fn sockets_are_opened_at_the_connect_rate() {
    let (_server, address) = own_server(&[]);
    let begin = Instant::now();
    let work =
        ["21", "--connect-rate", "20", "--workers", "2", "--messages", "1", "--reply-timeout", "20s", "--json", "-"];
    let exit = run(address, &work);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let results: serde_json::Value = serde_json::from_str(&exit.stdout.concat()).unwrap();
    assert_eq!(results["connections"]["completed"], 21, "{exit:#?}");
    let opening = results["connections"]["opening_s"].as_f64().unwrap();
    assert!((1.0..=begin.elapsed().as_secs_f64()).contains(&opening), "{exit:#?}");
}

/// Sockets with a timed-out, corrupt or unanswered message are neither complete nor failed.
#[test]
fn sockets_are_complete_when_every_message_was_answered() {
    let server = CorruptServer::new(|_, bytes| match bytes[7] {
        1 => vec![],
        2 => vec![bytes[..20].to_vec()],
        _ => vec![bytes.to_vec()],
    });
    let exit = run(server.address, &["5", "--size", "50", "--messages", "2", "--reply-timeout", "4s", "--json", "-"]);
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let results: serde_json::Value = serde_json::from_str(&exit.stdout.concat()).unwrap();
    let connections = &results["connections"];
    assert_eq!((&connections["completed"], &connections["failed"]), (&3.into(), &0.into()), "{exit:#?}");
    assert!(results["duration_s"].as_f64() > Some(8.0), "the run lasts until the last socket is closed: {exit:#?}");
}

#[test]
fn sockets_that_failed_are_counted_by_target() {
    let (_server, address) = own_server(&[]);
    let targets = ["--target", &address.to_string(), "--target", "127.255.255.255:9"];
    let exit = Program::client(&[&["--udp", "-c", "5", "--json", "-"], &targets[..]].concat()).await_exit();
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let results: serde_json::Value = serde_json::from_str(&exit.stdout.concat()).unwrap();
    assert_eq!(results["failed_by_target"]["127.255.255.255:9"], 2, "{exit:#?}");
    assert_eq!(results["failed_by_target"][&address.to_string()], 0, "{exit:#?}");
    assert_eq!(results["connections"]["opened"], 3, "{exit:#?}");
    assert!(exit.stderr.iter().any(|line| line.trim() == "target       127.255.255.255:9: 2 failed"), "{exit:#?}");
}

/// While the port range is used up, another attempt follows.
#[test]
#[cfg(target_os = "linux")]
fn a_socket_without_a_free_port_is_retried() {
    let script = "ip link set lo up && echo 40000 40000 >/proc/sys/net/ipv4/ip_local_port_range";
    super::support::in_own_network("a network with one port for clients", script, || {
        let taken = UdpSocket::bind("127.0.0.1:40000").unwrap();
        let server = CorruptServer::at("127.0.0.1:9".parse().unwrap(), |_, bytes| vec![bytes.to_vec()]);
        let program =
            start(server.address, &["--retries", "100", "--retry-delay", "10ms", "--reply-timeout", "20s", "-vv"]);
        program.await_stderr("trying again");
        drop(taken);
        expect(&{ program }.await_exit(), 0, 2, 2, &[]);
        let _taken = UdpSocket::bind("127.0.0.1:40000").unwrap();
        let exit = run(server.address, &[]);
        assert!(exit.stdout.iter().any(|line| line.contains("no local port is free")), "{exit:#?}");
    });
}

#[test]
fn a_python_server_answers() {
    if has_python("a UDP server in Python") {
        let server = Program::python("udp_server.py", &[]);
        expect(&run(server.python_address(), &["5", "--messages", "20"]), 0, 100, 100, &[]);
        let server = Program::python("udp_server.py", &["Message received"]);
        let exit = run(server.python_address(), &["--expect", "any", "--size", "100", "--messages", "3"]);
        expect(&exit, 0, 3, 3, &[]);
        assert!(exit.stdout[0].ends_with(": every datagram was answered"), "{exit:#?}");
    }
}

#[test]
fn no_reply_is_awaited_where_none_is_expected() {
    let (_server, address) = own_server(&["--service", "discard"]);
    let exit = run(address, &["--expect", "none", "--size", "100", "--messages", "5000", "-c", "2"]);
    expect(&exit, 0, 10_000, 0, &[]);
}

#[test]
fn broadcast_and_multicast() {
    let server = Program::server(&["--udp", "", "0", "--multicast", "239.65.43.3", "--multicast-interface", "lo"]);
    let port = server.await_stdout("239.65.43.3:").split([':', ' ']).nth(3).unwrap().to_owned();
    let port = port.parse().unwrap();
    let run = |ip: &str, arguments: &[&str]| run(SocketAddr::new(ip.parse().unwrap(), port), arguments);
    let exit = run("127.255.255.255", &["--broadcast", "--messages", "10"]);
    expect(&exit, 0, 10, 10, &[]);
    assert!(exit.stdout.iter().any(|line| line.starts_with("  answered by  1 peer: ")), "{exit:#?}");
    let exit = run("127.255.255.255", &[]);
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.stdout.iter().any(|line| line.contains("options      --broadcast allows broadcast")), "{exit:#?}");
    let lo = ["--multicast-interface", "lo", "--messages", "10", "--size", "40", "--multicast-ttl", "0"];
    expect(&run("239.65.43.3", &lo), 0, 10, 10, &[]);
}

/// Both fail with EACCES, and only one of them has a remedy.
#[test]
fn a_prohibited_route_is_not_a_broadcast_address() {
    let script = "ip link set lo up && ip route add prohibit 10.8.0.0/24";
    super::support::in_own_network("a route that prohibits", script, || {
        for (target, cause) in [
            ("10.8.0.1:9", "1 permission denied"),
            ("127.255.255.255:9", "1 permission denied (sending to a broadcast address is not enabled)"),
        ] {
            let exit = Program::client(&["--udp", target]).await_exit();
            assert_eq!(exit.code, Some(1), "{exit:#?}");
            assert!(exit.stdout.iter().any(|line| line.trim() == cause), "{exit:#?}");
        }
        let exit = Program::client(&["--udp", "239.1.2.3:9"]).await_exit();
        let hint = "not sent     2: the network cannot be reached: name the interface of the group, such as eth0";
        assert!(exit.stdout.iter().any(|line| line.trim().starts_with(hint)), "{exit:#?}");
    });
}

#[test]
fn an_interrupted_run_is_reported() {
    let server = CorruptServer::new(|number, bytes| if number < 3 { vec![bytes.to_vec()] } else { vec![] });
    let mut client = start(server.address, &["--size", "50", "--messages", "10", "--reply-timeout", "1m", "-v"]);
    for _ in 0..2 {
        client.await_stderr("Received ");
    }
    client.signal(Signal::INT);
    let exit = client.await_exit();
    assert_eq!(exit.code, Some(130), "{exit:#?}");
    assert!(exit.stdout[0].ends_with(": interrupted"), "{exit:#?}");
}

#[test]
fn datagrams_that_cannot_be_sent_are_rejected() {
    let wrong = |arguments: &[&str], parts: &[&str]| {
        expect_refusal(Program::client(&[&["--udp", "127.0.0.1", "9"], arguments].concat()), 2, parts);
    };
    wrong(&["--size", "65508"], &["65,508 bytes", "65,507", "such as 1KiB", "--size"]);
    wrong(&["--message", &"x".repeat(65_508)], &["65,508 bytes"]);
    wrong(&["--reply-timeout", "0"], &["such as 10s (--reply-timeout)"]);
    wrong(&["--multicast-ttl", "256"], &["\"256\"", "0 to 255"]);
    assert!(PATIENCE > Duration::from_secs(1));
}

/// A server does not reply to datagrams from its own port. Where the system has two client ports, and a server
/// elsewhere uses one of them, the client takes the other one.
#[test]
#[cfg(target_os = "linux")]
fn a_client_never_gets_the_port_of_its_server() {
    use multiconn::socket::{Multicast, Peer, SocketOptions, open_towards};
    let script = "ip link set lo up && echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range";
    super::support::in_own_network("a network with two ports for clients", script, || {
        let server = "127.0.0.2:40001".parse().unwrap();
        // By chance all of them would get the other port once in a million runs.
        for peer in [Peer::One(server), Peer::Many(server)].repeat(10) {
            let socket = open_towards(peer, None, &Multicast::default(), &SocketOptions::default()).unwrap();
            assert_eq!(socket.local_address().unwrap().port(), 40_000, "{peer:?}");
        }
    });
}

/// The datagrams that answer a message, by its number and bytes.
type Answer = fn(u64, &[u8]) -> Vec<Vec<u8>>;

/// A member of a multicast group on the loopback interface. It answers from an address of its own.
struct GroupMember {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl GroupMember {
    /// Joins `group` at `port`, or at a free port if that is 0.
    fn join(group: Ipv4Addr, port: u16, answer: Answer) -> (Self, u16) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).unwrap();
        socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (receiving, sending) = (UdpSocket::from(socket), UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let (port, address) = (receiving.local_addr().unwrap().port(), sending.local_addr().unwrap());
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let work = move || {
            let mut room = [0; 2048];
            for number in 0.. {
                let (count, peer) = loop {
                    match receiving.recv_from(&mut room) {
                        Ok(received) => break received,
                        Err(_) if over.load(Ordering::Relaxed) => return,
                        Err(_) => {}
                    }
                };
                for reply in answer(number, &room[..count]) {
                    sending.send_to(&reply, peer).unwrap();
                }
            }
        };
        (Self { address, is_over, thread: Some(std::thread::spawn(work)) }, port)
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends multicasts to three members, and returns the results and, for each member, replies and missing replies.
fn multicast(answers: [Answer; 3], arguments: &[&str]) -> (RunResults, Vec<(u64, u64)>) {
    let group = Ipv4Addr::new(239, 65, 43, 4);
    let (first, port) = GroupMember::join(group, 0, answers[0]);
    let others = answers[1..].iter().map(|answer| GroupMember::join(group, port, *answer).0);
    let members: Vec<_> = std::iter::once(first).chain(others).collect();
    let lo =
        ["--multicast-interface", "lo", "--multicast-ttl", "0", "--reply-timeout", "6s", "--hold", "4s", "--json", "-"];
    let exit = run((group, port).into(), &[&lo[..], arguments].concat());
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let results = RunResults::from_json(&exit.stdout.concat()).unwrap();
    let peers = &results.datagrams.as_ref().unwrap().peers;
    assert_eq!(peers.len(), 3, "{exit:#?}");
    let counts = members.iter().map(|member| peers[&member.address.to_string()]);
    let counts = counts.inspect(|counts| assert!(counts.min_ns <= counts.mean_ns && counts.mean_ns <= counts.max_ns));
    let counts = counts.map(|counts| (counts.replies, counts.missing)).collect();
    (results, counts)
}

#[test]
fn replies_to_a_multicast_are_counted_per_receiver() {
    let same = |_: u64, bytes: &[u8]| vec![bytes.to_vec()];
    let lossy = |number: u64, bytes: &[u8]| if number % 10 == 9 { vec![] } else { vec![bytes.to_vec()] };
    let (results, counts) = multicast([same, same, lossy], &["--messages", "100", "--size", "40"]);
    assert_eq!((counts, results.messages.answered), (vec![(100, 0), (100, 0), (90, 10)], 100), "{results:?}");
    let datagrams = results.datagrams.as_ref().unwrap();
    let receivers = datagrams.receivers.unwrap();
    assert_eq!((receivers.min, receivers.max, receivers.incomplete), (2, 3, 10), "{results:?}");
    assert_eq!((datagrams.duplicated, datagrams.late), (0, 0), "{results:?}");
}

/// A second reply of the same receiver is a duplicate, also where messages have no number.
#[test]
fn duplicates_of_a_receiver_are_no_replies_of_another_one() {
    let same = |_: u64, bytes: &[u8]| vec![bytes.to_vec()];
    let twice = |number: u64, bytes: &[u8]| vec![bytes.to_vec(); if number % 10 == 9 { 2 } else { 1 }];
    for messages in [&["--size", "40"][..], &["--message", "a", "--message", "b"]] {
        let work = [&["2", "--messages", "20", "--pipeline", "1"], messages].concat();
        let (results, counts) = multicast([same, twice, same], &work);
        assert_eq!((counts, results.messages.answered), (vec![(40, 0); 3], 40), "{results:?}");
        let datagrams = results.datagrams.as_ref().unwrap();
        let receivers = datagrams.receivers.unwrap();
        assert_eq!((datagrams.duplicated, receivers.min, receivers.incomplete), (4, 3, 0), "{results:?}");
    }
}
