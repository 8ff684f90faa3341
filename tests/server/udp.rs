//! UDP: every datagram is answered whole to its sender, and one peer's fault affects no other.

use super::process_chain::{ProcessChain, install};
use super::support::{
    PATIENCE, Program, await_until, bytes, connect_unix, echo, expect_refusal, has_ipv6, has_python, skipped,
    uninterrupted, works,
};
use rustix::process::Signal;
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

/// How long to wait where no datagram is expected.
const SILENCE: Duration = Duration::from_millis(300);

/// A UDP server on a free port, with further arguments.
pub(super) fn server(host: &str, arguments: &[&str]) -> Program {
    Program::server(&[&["--udp", host, "0"], arguments].concat())
}

/// The address in the line that contains ` (udp, …)` and `part`.
#[track_caller]
pub(super) fn address_of(server: &Program, part: &str) -> SocketAddr {
    server.await_stdout(" (udp, ");
    server.address_of(part)
}

pub(super) fn address(server: &Program) -> SocketAddr {
    address_of(server, " (udp, ")
}

/// A peer on `ip` with a receive timeout.
pub(super) fn peer(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The next datagram and its sender.
#[track_caller]
pub(super) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = vec![0; 1 << 16];
    let (count, from) =
        uninterrupted(|| socket.recv_from(&mut room)).unwrap_or_else(|error| panic!("no reply: {error}"));
    room.truncate(count);
    (room, from)
}

#[track_caller]
pub(super) fn ask(socket: &UdpSocket, server: SocketAddr, request: &[u8]) -> Vec<u8> {
    socket.send_to(request, server).unwrap();
    let (reply, from) = receive(socket);
    assert_eq!(from, server, "the reply comes from where the request went");
    reply
}

#[track_caller]
pub(super) fn expect_silence(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let error = uninterrupted(|| socket.recv_from(&mut [0; 100])).expect_err("nothing should come");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// The kernel has only a number for it, another one for each kind of group.
#[test]
fn a_group_without_an_interface() {
    super::support::in_own_network("groups without a route", "ip link set lo up", || {
        for group in ["239.1.2.3", "ff02::1234", "ff05::1234"] {
            let server = Program::server(&["--udp", "127.0.0.1:0", "--multicast", group]);
            expect_refusal(server, 1, &[group, "no route leads to the group", "such as lo"]);
            let server = ["--udp", "127.0.0.1:0", "--multicast", group, "--multicast-interface", "lo"];
            Program::server(&server).await_stdout(group);
        }
    });
}

#[test]
fn datagrams_of_every_size_are_echoed() {
    for workers in ["1", "2"] {
        let mut server = server("127.0.0.1", &["--workers", workers]);
        let (address, peer) = (address(&server), peer("127.0.0.1"));
        let sizes = [0, 1, 22, 1472, 1473, 9000, 65_506, 65_507];
        for size in sizes {
            let message = bytes(size, usize::try_from(size).unwrap());
            assert!(ask(&peer, address, &message) == message, "{size} bytes");
        }
        let exit = server.terminate();
        assert!(exit.stdout[1].starts_with("Served 8 datagrams in "), "{exit:#?}");
        exit.expect_counts(&[("answered", 8)]);
    }
}

#[test]
fn replies_come_from_the_destination_address() {
    let mut server = server("", &["--workers", "2"]);
    let port = address(&server).port();
    for ip in ["127.0.0.1", "127.0.0.2", "127.8.9.10"] {
        let to = SocketAddr::new(ip.parse().unwrap(), port);
        assert_eq!(ask(&peer("0.0.0.0"), to, ip.as_bytes()), ip.as_bytes());
    }
    if has_ipv6("datagrams over IPv6") {
        assert_eq!(ask(&peer("::1"), SocketAddr::new("::1".parse().unwrap(), port), b"six"), b"six");
    }
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn discard_and_a_fixed_answer() {
    let discard = server("127.0.0.1", &["--service", "discard"]);
    let socket = peer("127.0.0.1");
    socket.send_to(b"to nobody", address(&discard)).unwrap();
    expect_silence(&socket);
    for arguments in
        [&["--service", "answer", "--answer", "Message received"][..], &["--udp-answer", "Message received"]]
    {
        let fixed = server("127.0.0.1", arguments);
        assert!(fixed.await_stdout(" (udp, ").ends_with(" (udp, answer)"));
        assert_eq!(ask(&socket, address(&fixed), b"?"), b"Message received");
        assert_eq!(ask(&socket, address(&fixed), b""), b"Message received");
    }
    // Only --answer decodes escapes.
    let fixed = server("127.0.0.1", &["--service", "answer", "--answer", r"a\r\n"]);
    assert_eq!(ask(&socket, address(&fixed), b"?"), b"a\r\n");
    let fixed = server("127.0.0.1", &["--udp-answer", r"a\r\n"]);
    assert_eq!(ask(&socket, address(&fixed), b"?"), br"a\r\n");
}

#[test]
fn a_fixed_answer_is_checked_at_the_start() {
    let long = "x".repeat(65_508);
    for option in [&["--service", "answer", "--answer", &long][..], &["--udp-answer", &long]] {
        let parts = [option[option.len() - 2], "65,508 bytes", "65,507"];
        expect_refusal(server("127.0.0.1", option), 2, &parts);
    }
    expect_refusal(server("127.0.0.1", &["--service", "answer"]), 2, &["--service answer", "--answer"]);
    expect_refusal(server("127.0.0.1", &["--service", "greet", "--answer", "a"]), 2, &["greet", "reverse or answer"]);
    let both = ["--service", "answer", "--answer", "a", "--udp-answer", "b"];
    expect_refusal(server("127.0.0.1", &both), 2, &["--udp-answer"]);
}

/// One text for both transports; connections keep the line end.
#[test]
fn connections_and_datagrams_get_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let server =
        server("127.0.0.1", &["--unix", path.to_str().unwrap(), "--service", "answer", "--answer", "Message received"]);
    assert_eq!(ask(&peer("127.0.0.1"), address(&server), b"?\n"), b"Message received");
    let mut stream = connect_unix(&path);
    stream.write_all(b"?\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "Message received\n");
}

#[test]
fn the_small_services_answer_datagrams() {
    let ask = |service: &str, request: &str| {
        let server = server("127.0.0.1", &["--service", service]);
        assert!(server.await_stdout(" (udp, ").ends_with(&format!(" (udp, {service})")));
        ask(&peer("127.0.0.1"), address(&server), request.as_bytes())
    };
    assert_eq!(ask("upper", "grüße"), "GRÜSSE".as_bytes());
    assert_eq!(ask("reverse", "aé🐰"), "🐰éa".as_bytes());
    assert_eq!(ask("chargen", "12345"), b" !\"#$");
    let daytime = String::from_utf8(ask("daytime", "")).unwrap();
    assert!(daytime.len() == 26 && daytime.ends_with("\r\n") && daytime.contains(" 20"), "{daytime:?}");
    let seconds = u32::from_be_bytes(ask("time", "").try_into().unwrap());
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 2_208_988_800;
    assert!(now - u64::from(seconds) < 60, "{seconds} is not {now}");
}

#[test]
fn a_python_client_is_answered() {
    if has_python("a UDP client in Python") {
        let server = server("127.0.0.1", &[]);
        let port = address(&server).port().to_string();
        let exit = Program::python("udp_client.py", &["127.0.0.1", &port, "Hello, world", "again"]).await_exit();
        let expected = ["Hello, world", "again"].map(|text| format!("Received b'{text}' from ('127.0.0.1', {port})"));
        assert_eq!(exit.stdout, expected);
    }
}

#[test]
fn only_allowed_addresses_are_answered() {
    let mut server = server("127.0.0.1", &["--allow", "127.0.0.2"]);
    let (address, stranger) = (address(&server), peer("127.0.0.1"));
    stranger.send_to(b"let me in", address).unwrap();
    assert_eq!(ask(&peer("127.0.0.2"), address, b"hello"), b"hello");
    expect_silence(&stranger);
    let exit = server.terminate();
    exit.expect_counts(&[("answered", 1), ("dropped: the address is not allowed", 1)]);
}

/// ICMP errors from closed peers must neither end nor delay the server.
#[test]
fn closed_peers_do_not_affect_others() {
    let mut server = server("127.0.0.1", &["--workers", "1"]);
    let (address, socket) = (address(&server), peer("127.0.0.1"));
    for number in 0..50u8 {
        peer("127.0.0.1").send_to(b"gone", address).unwrap();
        assert_eq!(ask(&socket, address, &[number]), [number]);
    }
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_broadcast_is_answered_once() {
    for workers in ["1", "3"] {
        for host in ["", "0.0.0.0", "127.255.255.255"] {
            let server = server(host, &["--workers", workers]);
            let (port, socket) = (address(&server).port(), peer("127.0.0.1"));
            socket.set_broadcast(true).unwrap();
            socket.send_to(b"all", (Ipv4Addr::new(127, 255, 255, 255), port)).unwrap();
            let (reply, from) = receive(&socket);
            assert_eq!((reply.as_slice(), from.port()), (&b"all"[..], port), "{host:?}, {workers} workers");
            expect_silence(&socket);
        }
    }
}

#[test]
fn a_group_is_answered_once() {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 65, 43, 2);
    for interface in ["lo", "127.0.0.1"] {
        for host in ["", "127.0.0.1"] {
            let joined = ["--workers", "2", "--multicast", "239.65.43.2", "--multicast-interface", interface];
            let server = server(host, &joined);
            let (group, socket) = (address_of(&server, "239.65.43.2:"), peer("127.0.0.1"));
            SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
            socket.send_to(b"members", (GROUP, group.port())).unwrap();
            let (reply, from) = receive(&socket);
            assert_eq!((reply.as_slice(), from.port()), (&b"members"[..], group.port()));
            assert!(!from.ip().is_multicast(), "{from}");
            expect_silence(&socket);
            let unicast = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), group.port());
            assert_eq!(ask(&socket, unicast, b"one"), b"one");
        }
    }
}

#[test]
fn queued_datagrams_are_answered_before_the_end() {
    let mut server = server("127.0.0.1", &["--workers", "2"]);
    let address = address(&server);
    let peers: Vec<_> = (0..50).map(|_| peer("127.0.0.1")).collect();
    server.pause();
    for (number, peer) in (0u8..).zip(&peers) {
        peer.send_to(&[number], address).unwrap();
    }
    server.signal(Signal::TERM);
    server.resume();
    for (number, peer) in (0u8..).zip(&peers) {
        assert_eq!(receive(peer).0, [number]);
    }
    server.await_exit().expect_counts(&[("answered", 50)]);
}

/// Datagrams that exceed the kernel's queue are lost, and counted.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the count of dropped datagrams (SO_RXQ_OVFL)")]
fn an_overrun_is_counted() {
    let mut server = server("127.0.0.1", &["--workers", "1", "--recv-buffer", "4KiB"]);
    let (address, socket) = (address(&server), peer("127.0.0.1"));
    server.pause();
    for _ in 0..200 {
        socket.send_to(&[0; 1000], address).unwrap();
    }
    server.resume();
    receive(&socket);
    // The kernel reports the loss with a later datagram.
    ask(&socket, address, b"still there");
    let exit = server.terminate();
    let (lost, answered) = (exit.counted("dropped: receive queue full"), exit.counted("answered"));
    assert!(lost > 100 && lost + answered == 201, "{exit:#?}");
}

#[test]
fn the_metrics_page_counts_datagrams() {
    let server = server("127.0.0.1", &["--workers", "1", "--metrics", "127.0.0.1:0", "--allow", "127.0.0.1"]);
    let (address, socket) = (address(&server), peer("127.0.0.1"));
    peer("127.0.0.3").send_to(b"stranger", address).unwrap();
    for _ in 0..5 {
        ask(&socket, address, b"hello");
    }
    let mut page = String::new();
    await_until("the counts", || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").unwrap();
        page.clear();
        stream.read_to_string(&mut page).unwrap();
        page.contains("multiconn_datagrams_received_total{worker=\"0\"} 6")
    });
    assert!(page.contains("multiconn_datagrams_sent_total{worker=\"0\"} 5"), "{page}");
    let dropped = "multiconn_datagrams_dropped_total{worker=\"0\",reason=\"not_allowed\"} 1";
    assert!(page.contains(dropped) && page.contains("multiconn_received_bytes_total{worker=\"0\"} 33"), "{page}");
}

/// One call receives or sends many datagrams when many are queued.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "without recvmmsg(2) and sendmmsg(2) each datagram is a call")]
fn datagrams_are_batched() {
    const TRACER: [&str; 5] = ["strace", "-D", "-f", "-e", "trace=recvmmsg,sendmmsg"];
    if !works(Command::new(TRACER[0]).args(&TRACER[1..]).arg("true")) {
        return skipped("system calls per datagram", "strace is not here, or may not trace");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls").display().to_string();
    let wrapper = [&TRACER[..], &["-o", &file]].concat();
    let mut server =
        Program::spawn(Program::server_under(&wrapper).args(["--udp", "127.0.0.1", "0", "--workers", "1"]));
    let port = address(&server).port().to_string();
    let load = ["--udp", "127.0.0.1", &port, "-c", "4", "--size", "64", "--messages", "500", "--pipeline", "32"];
    let exit = Program::client(&[&load[..], &["--reply-timeout", "10s"]].concat()).await_exit();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert_eq!(server.terminate().counted("answered"), 2000);
    let calls = std::fs::read_to_string(&file).unwrap();
    let made = |name: &str| calls.lines().filter(|line| line.contains(name) && !line.contains("EAGAIN")).count();
    let (received, sent) = (made("recvmmsg("), made("sendmmsg("));
    assert!(received > 0 && received < 1000 && sent < 1000, "{received} calls took and {sent} sent 2000 datagrams");
}

/// Sends datagrams of `segment` bytes, and a shorter one, as one message (udp(7), `UDP_SEGMENT`). Loopback passes it on whole.
#[cfg(target_os = "linux")]
fn send_merged(socket: &UdpSocket, to: SocketAddr, bytes: &[u8], segment: u16) {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;
    let (slices, to) = ([IoSlice::new(bytes)], SockaddrStorage::from(to));
    let controls = [ControlMessage::UdpGsoSegments(&segment)];
    let sent = sendmsg(socket.as_raw_fd(), &slices, &controls, MsgFlags::empty(), Some(&to)).unwrap();
    assert_eq!(sent, bytes.len());
}

/// Replies, limits and counts are of datagrams, however many of them the kernel passes as one message.
#[cfg(target_os = "linux")]
#[test]
fn merged_datagrams_are_answered_and_limited_one_by_one() {
    let bytes: Vec<u8> = (0..30).flat_map(|number| [number; 10]).chain([99]).collect();
    let mut limited = server("127.0.0.1", &["--workers", "1", "--udp-rate-limit", "20"]);
    let socket = peer("127.0.0.1");
    send_merged(&socket, address(&limited), &bytes, 10);
    for number in 0..20 {
        assert_eq!(receive(&socket).0, [number; 10]);
    }
    let exit = limited.terminate();
    let (answered, dropped) = (exit.counted("answered"), exit.counted("dropped: the source is over the rate limit"));
    assert!(answered + dropped == 31 && (20..25).contains(&answered), "{exit:#?}");

    let mut echo = server("127.0.0.1", &["--workers", "1"]);
    send_merged(&socket, address(&echo), &bytes, 10);
    // Of a slow machine, a further reply of the limited server.
    let replies = std::iter::repeat_with(|| receive(&socket)).filter(|(_, from)| *from == address(&echo));
    let replies: Vec<_> = replies.take(31).flat_map(|(reply, _)| reply).collect();
    assert_eq!(replies, bytes);
    assert_eq!(echo.terminate().counted("answered"), 31);

    // A reply that is too long for its request is dropped for each of them; others have another length.
    let mut fixed = server("127.0.0.1", &["--workers", "1", "--service", "answer", "--answer", &"n".repeat(27)]);
    let fixed_address = address(&fixed);
    let requests: Vec<u8> = [&[0; 27][..]; 5].concat();
    send_merged(&socket, fixed_address, &requests, 27);
    send_merged(&socket, fixed_address, &requests, 9);
    for _ in 0..5 {
        assert_eq!(receive(&socket), (b"n".repeat(27), fixed_address));
    }
    let exit = fixed.terminate();
    let too_long = "dropped: the reply would be longer than the request";
    assert_eq!((exit.counted("answered"), exit.counted(too_long)), (5, 15), "{exit:#?}");
}

/// Datagrams that have to be fragmented cannot be merged, and are sent one by one. So is one to another peer before them.
#[cfg(target_os = "linux")]
#[test]
fn replies_that_need_fragments_are_sent() {
    super::support::in_own_network("a loopback with a small MTU", "ip link set lo up mtu 1500", || {
        let mut server = server("127.0.0.1", &["--workers", "1"]);
        let (address, socket, other) = (address(&server), peer("127.0.0.1"), peer("127.0.0.1"));
        server.pause();
        other.send_to(b"small", address).unwrap();
        for number in 0..4 {
            socket.send_to(&[number; 2000], address).unwrap();
        }
        server.resume();
        for number in 0..4 {
            assert_eq!(receive(&socket), (vec![number; 2000], address));
        }
        assert_eq!(receive(&other), (b"small".to_vec(), address));
        assert_eq!(server.terminate().counted("answered"), 5);
    });
}

#[test]
fn a_handover_passes_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    install(&program);
    let mut command = Program::clean(Command::new(&program));
    let mut process_chain = ProcessChain::of(folder, command.args(["--udp", "127.0.0.1", "0", "--workers", "2"]));
    let (address, socket) = (address(&process_chain.first), peer("127.0.0.1"));
    for _ in 0..2 {
        assert_eq!(ask(&socket, address, b"before"), b"before");
        process_chain.handover();
        for _ in 0..20 {
            assert_eq!(ask(&peer("127.0.0.1"), address, b"after"), b"after");
        }
    }
}

/// A service manager passes a UDP socket (systemd.socket(5), `ListenDatagram=`), which all workers use.
#[test]
#[cfg(target_os = "linux")]
fn sockets_of_the_service_manager_are_answered() {
    if !has_python("socket activation") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    install(&program);
    let mut command = super::systemd::activated("[udp(), tcp()]");
    command.arg(&program).args(["--udp", "127.0.0.1", "1", "--workers", "2"]);
    let mut process_chain = ProcessChain::of(folder, &mut command);
    let (address, socket) = (address(&process_chain.first), peer("127.0.0.1"));
    echo(&mut super::connect(process_chain.first.address()), b"beside connections");
    for _ in 0..2 {
        for number in 0..20 {
            assert_eq!(ask(&socket, address, &[number]), [number]);
        }
        process_chain.handover();
    }
    assert_eq!(ask(&socket, address, b"the last"), b"the last");
}

#[test]
fn impossible_options_are_refused() {
    let wrong = |arguments: &[&str], parts: &[&str]| {
        expect_refusal(Program::server(arguments), 2, parts);
    };
    wrong(&["--udp", "--multicast", "10.0.0.1"], &["10.0.0.1", "239.1.2.3"]);
    wrong(&["--udp", "--multicast", "239.1.2.3", "--multicast-interface", "nothere0"], &["\"nothere0\"", "eth0"]);
    wrong(&["--udp", "--service", "greet"], &["\"greet\"", "echo", "daytime"]);
    wrong(&["--udp", "--reply-delay", "1s"], &["--udp", "--reply-delay"]);
    wrong(&["--multicast", "239.1.2.3"], &["--udp"]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for workers in ["1", "2"] {
        let server = Program::server(&["--udp", "127.0.0.1", &port, "--workers", workers]);
        expect_refusal(server, 1, &["already in use", &port]);
    }
}
