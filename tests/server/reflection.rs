//! Datagrams with a forged source: no endless reply loops, no amplification, and no more replies per source than the
//! rate limit.

use super::metrics::page;
use super::process_chain::{ProcessChain, install};
use super::support::{Exit, Program, await_until, expect_refusal, forge, has_python, listening_address, skipped};
use super::udp::{address, ask, expect_silence, peer, receive, server};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How many forged datagrams start a loop.
const FORGED: u16 = 20;

/// How long a loop may run. A server that answers itself sends tens of thousands of replies in this time.
const LOOPING: Duration = Duration::from_millis(500);

const WOULD_LOOP: &str = "dropped: the reply could start a loop";
const RATE_LIMITED: &str = "dropped: the source is over the rate limit";
const TOO_LONG: &str = "dropped: the reply would be longer than the request";

/// A socket with the same port as `server`, on another address of this host.
fn namesake(server: SocketAddr, ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, server.port())).unwrap();
    socket.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    socket
}

/// Terminates `server` after a loop could have run for a while.
fn end_after_a_while(server: &mut Program) -> Exit {
    // The sleep is the observed interval.
    std::thread::sleep(LOOPING);
    server.terminate()
}

#[test]
fn its_own_port_is_not_answered() {
    for arguments in [&["--workers", "1"][..], &["--workers", "2"], &["--udp-rate-limit", "off"]] {
        let mut server = server("127.0.0.1", arguments);
        let address = address(&server);
        let namesake = namesake(address, "127.0.0.2");
        namesake.send_to(b"echo this to your port", address).unwrap();
        assert_eq!(ask(&peer("127.0.0.2"), address, b"another port"), b"another port");
        expect_silence(&namesake);
        server.terminate().expect_counts(&[("answered", 1), (WOULD_LOOP, 1)]);
    }
}

/// Inherited sockets have several ports, each of which counts as the server's own.
#[test]
#[cfg(target_os = "linux")]
fn none_of_several_own_ports_is_answered() {
    if !has_python("several inherited ports") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("server");
    install(&program);
    let mut command = super::systemd::activated("[udp(), udp()]");
    command.arg(&program).args(["--udp", "127.0.0.1", "1", "--workers", "2"]);
    let process_chain = ProcessChain::of(folder, &mut command);
    let listening = || -> Vec<SocketAddr> {
        let lines = process_chain.first.stdout();
        lines.iter().filter(|line| line.starts_with("Listening on ")).map(|line| listening_address(line)).collect()
    };
    await_until("both addresses", || listening().len() == 2);
    let addresses = listening();
    for port in &addresses {
        let namesake = namesake(*port, "127.0.0.2");
        for address in &addresses {
            namesake.send_to(b"echo this to one of your ports", address).unwrap();
            assert_eq!(ask(&peer("127.0.0.2"), *address, b"another port"), b"another port");
        }
        expect_silence(&namesake);
    }
}

/// A reply to the port of a service that answers any datagram would start an endless exchange.
#[test]
fn service_ports_are_not_answered() {
    let mut server = server("127.0.0.1", &[]);
    let address = address(&server);
    let (mut asked, mut missing) = (0, Vec::new());
    for port in [7, 11, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389, 500, 1023, 1900, 3702, 5353, 11_211] {
        match UdpSocket::bind(("127.0.0.9", port)) {
            Ok(socket) => {
                socket.send_to(b"echo", address).unwrap();
                asked += 1;
            }
            Err(_) => missing.push(port),
        }
    }
    if !missing.is_empty() {
        skipped(&format!("datagrams from {missing:?}"), "it takes the right to bind these ports");
    }
    assert_eq!(ask(&peer("127.0.0.9"), address, b"a client"), b"a client");
    server.terminate().expect_counts(&[("answered", 1), (WOULD_LOOP, asked)]);
}

#[test]
fn a_server_on_every_address_does_not_answer_itself() {
    for workers in ["1", "2"] {
        let mut server = server("", &["--workers", workers]);
        let port = address(&server).port();
        let place = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
        if !forge("a server that answers itself", place("127.0.0.2"), place("127.0.0.1"), FORGED) {
            return;
        }
        end_after_a_while(&mut server).expect_counts(&[(WOULD_LOOP, FORGED.into())]);
    }
}

/// Over IPv6 the attack works from another host: nothing filters a source address that belongs to the attacked host.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(multiconn_fallbacks, ignore = "the test shares the port with the server (SO_REUSEPORT)")]
fn a_server_on_every_ipv6_address_does_not_answer_itself() {
    let script = "ip link set lo up && ip addr add fd00::1/128 dev lo && ip addr add fd00::2/128 dev lo";
    super::support::in_own_network("a server that answers itself over IPv6", script, || {
        // Two workers share the port, so that the test can also send from it.
        let mut server = server("", &["--workers", "2"]);
        let port = address(&server).port();
        let place = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
        server.pause();
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&place("fd00::2").into()).unwrap();
        for number in 0..FORGED {
            socket.send_to(&number.to_be_bytes(), &place("fd00::1").into()).unwrap();
        }
        drop(socket);
        server.resume();
        end_after_a_while(&mut server).expect_counts(&[(WOULD_LOOP, FORGED.into())]);
    });
}

/// No port shows that the peer is a server as well; the loop ends when the hop limit is used up.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the hop limits of datagrams")]
fn two_servers_answer_each_other_only_a_few_times() {
    let mut servers = [(); 2].map(|()| server("127.0.0.1", &["--metrics", "127.0.0.1:0"]));
    let addresses = servers.each_ref().map(address);
    if !forge("two servers that answer each other", addresses[1], addresses[0], FORGED) {
        return;
    }
    let ended = |server: &Program| page(server).sum("multiconn_datagrams_dropped_total", &["reason=\"would_loop\""]);
    await_until("the end of each loop", || servers.iter().map(ended).sum::<f64>() >= f64::from(FORGED));
    let exits = servers.each_mut().map(end_after_a_while);
    let answered: u64 = exits.iter().map(|exit| exit.counted("answered")).sum();
    assert!((1..=4 * u64::from(FORGED)).contains(&answered), "{answered} replies: {exits:#?}");
    let ended: u64 = exits.iter().map(|exit| exit.counted(WOULD_LOOP)).sum();
    assert_eq!(ended, u64::from(FORGED), "{exits:#?}");
}

/// A reply has a lower hop limit than its request, whatever the addresses.
#[test]
#[cfg_attr(multiconn_fallbacks, ignore = "needs the hop limits of datagrams")]
fn a_datagram_with_few_hops_left_is_not_answered() {
    for (host, ip) in [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("::1", "::1"), ("", "::1")] {
        if ip == "::1" && !super::support::has_ipv6("hop limits of IPv6") {
            return;
        }
        let mut server = server(host, &["--workers", "1"]);
        let (to, ip): (_, IpAddr) = (address(&server), ip.parse().unwrap());
        let (to, socket) = (SocketAddr::new(ip, to.port()), peer(&ip.to_string()));
        let limit = |hops: u32| {
            let socket = socket2::SockRef::from(&socket);
            if ip.is_ipv4() { socket.set_ttl_v4(hops) } else { socket.set_unicast_hops_v6(hops) }.unwrap();
        };
        for hops in [17, 33, 49, 64, 128, 255] {
            limit(hops);
            assert_eq!(ask(&socket, to, b"from a client"), b"from a client", "{hops} hops");
        }
        limit(16);
        socket.send_to(b"a reply of a reply", to).unwrap();
        expect_silence(&socket);
        server.terminate().expect_counts(&[("answered", 6), (WOULD_LOOP, 1)]);
    }
}

/// Another kind of server answers every datagram. The replies it gets in a loop are bounded, and other sources are
/// unaffected.
#[test]
fn a_source_gets_no_more_replies_than_its_rate() {
    const RATE: u64 = 20;
    let options = ["--workers", "1", "--udp-rate-limit", "20/s", "--metrics", "127.0.0.1:0"];
    let mut server = server("127.0.0.1", &options);
    let (address, other) = (address(&server), peer("127.0.0.1"));
    let reflector = peer("127.0.0.1");
    let since = Instant::now();
    for number in 0..10u8 {
        reflector.send_to(&[number], address).unwrap();
    }
    let mut replies = 0;
    // Reflects every datagram until none arrives, because each datagram of the loop was dropped.
    reflector.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut room = [0; 10];
    await_until("the drop of each datagram", || {
        while let Ok((count, from)) = reflector.recv_from(&mut room) {
            replies += 1;
            reflector.send_to(&room[..count], from).unwrap();
            let most = RATE + RATE * since.elapsed().as_secs() + RATE;
            assert!(replies <= most, "{replies} replies in {:?}", since.elapsed());
        }
        page(&server).sum("multiconn_datagrams_dropped_total", &["reason=\"rate_limited\""]) >= 10.0
    });
    assert!(replies >= RATE, "{replies} replies, although {RATE} at once are allowed");
    assert_eq!(ask(&other, address, b"undisturbed"), b"undisturbed");
    let exit = server.terminate();
    exit.expect_counts(&[("answered", replies + 1), (RATE_LIMITED, 10)]);
    let source = reflector.local_addr().unwrap().to_string();
    assert!(exit.told(&["warning: ", &source, "rate limit of 20"]) > 0, "{exit:#?}");
}

#[test]
fn the_rate_limit_can_be_disabled() {
    let flood = |arguments: &[&str]| {
        let mut server = server("127.0.0.1", arguments);
        let (address, socket) = (address(&server), peer("127.0.0.1"));
        for number in 0..50u8 {
            socket.send_to(&[number], address).unwrap();
        }
        server.terminate()
    };
    flood(&["--udp-rate-limit", "off"]).expect_counts(&[("answered", 50)]);
    flood(&[]).expect_counts(&[("answered", 50)]);
    let since = Instant::now();
    let exit = flood(&["--udp-rate-limit", "1"]);
    let (answered, limited) = (exit.counted("answered"), exit.counted(RATE_LIMITED));
    assert!(answered <= 2 + since.elapsed().as_secs() && answered + limited == 50, "{exit:#?}");
    assert!(exit.told(&["rate limit of"]) >= 1, "{exit:#?}");
}

#[test]
fn a_fixed_answer_amplifies_only_when_allowed() {
    let answer = "x".repeat(500);
    let mut strict = server("127.0.0.1", &["--service", "answer", "--answer", &answer, "-vv"]);
    let (to, socket) = (address(&strict), peer("127.0.0.1"));
    assert_eq!(ask(&socket, to, &[b'?'; 500]), answer.as_bytes());
    for request in [0, 27, 499] {
        socket.send_to(&vec![b'?'; request], to).unwrap();
    }
    expect_silence(&socket);
    let exit = strict.terminate();
    exit.expect_counts(&[("answered", 1), (TOO_LONG, 3)]);
    assert!(exit.told(&["warning: ", &socket.local_addr().unwrap().to_string(), "amplification is not allowed"]) >= 1);
    assert!(exit.told(&["Sending b'xxx"]) == 1 && exit.told(&["Echoing"]) == 0, "{exit:#?}");
    let mut lenient = server("127.0.0.1", &["--service", "answer", "--answer", &answer, "--udp-allow-amplification"]);
    assert_eq!(ask(&socket, address(&lenient), b""), answer.as_bytes());
    lenient.terminate().expect_counts(&[("answered", 1)]);
    // A fixed answer as long as that of daytime, whatever the request.
    let short = server("127.0.0.1", &["--udp-answer", &"x".repeat(26)]);
    socket.send_to(b"", address(&short)).unwrap();
    assert_eq!(receive(&socket).0.len(), 26);
}

#[test]
fn invalid_limits_are_refused() {
    let wrong = |arguments: &[&str], parts: &[&str]| expect_refusal(Program::server(arguments), 2, parts);
    wrong(&["--udp", "--udp-rate-limit", "0"], &["--udp-rate-limit", "5k/s", "off"]);
    wrong(&["--udp", "--udp-rate-limit", "many"], &["\"many\"", "5k/s", "off"]);
    wrong(&["--udp-rate-limit", "5k"], &["--udp"]);
    wrong(&["--udp-allow-amplification"], &["--udp"]);
}
