//! Receive timestamps: of the kernel, which the delays of the client do not affect, and of the client's own clock.

use super::client;
use super::load::Run;
use super::support::{PATIENCE, await_some};
use multiconn::results::{RunResults, TimestampSource};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

/// How long the client is stopped after its reply has arrived.
const STOPPED: Duration = Duration::from_millis(600);

/// A time that contains the stop is longer than this.
const HALF: Duration = Duration::from_millis(300);

/// Stops a client, then answers its only message, and continues the client later. Returns also how long after the start of
/// the client it was answered.
fn run_with_a_stopped_client(over_udp: bool, timestamps: &str) -> (RunResults, Duration) {
    let begin = Instant::now();
    let options = ["--message", "hello", "--reply-timeout", "10s", "--timestamps", timestamps, "--json", "-"];
    if over_udp {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = client(socket.local_addr().unwrap(), &[&options[..], &["--udp"]].concat());
        let mut message = [0; 64];
        let (count, peer) = socket.recv_from(&mut message).unwrap();
        client.pause();
        socket.send_to(&message[..count], peer).unwrap();
        let answered = begin.elapsed();
        return (resume_later(client), answered);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let client = client(address, &options);
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = await_some("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut message = [0; 5];
    stream.read_exact(&mut message).unwrap();
    client.pause();
    stream.write_all(&message).unwrap();
    let answered = begin.elapsed();
    (resume_later(client), answered)
}

/// The stop itself is what is measured.
fn resume_later(client: super::support::Program) -> RunResults {
    std::thread::sleep(STOPPED);
    client.resume();
    let run = Run::of(client);
    assert_eq!(run.code, Some(0), "{run:?}");
    run.results
}

#[test]
#[cfg(all(target_os = "linux", not(multiconn_fallbacks)))]
fn the_kernel_takes_the_arrival_time_while_the_client_is_stopped() {
    for over_udp in [false, true] {
        let (results, answered) = run_with_a_stopped_client(over_udp, "kernel");
        let source = results.receive_timestamps.map(|timestamps| (timestamps.source, timestamps.missing));
        assert_eq!(source, Some((TimestampSource::Kernel, 0)));
        let times = &results.histograms;
        // The precision of a histogram is three digits.
        let longest = answered.mul_f64(1.01);
        assert!(times.service_time.max().is_some_and(|time| time < longest), "over UDP {over_udp}: {times:?}");
        assert!(times.receive_delay.max().is_some_and(|delay| delay >= HALF), "{times:?}");
        assert_eq!(times.client_delay, times.receive_delay, "a closed loop has no send delay");
    }
}

#[test]
fn the_clock_of_the_client_counts_its_own_delays() {
    for over_udp in [false, true] {
        let (results, _) = run_with_a_stopped_client(over_udp, "user");
        assert_eq!(results.receive_timestamps.map(|timestamps| timestamps.source), Some(TimestampSource::User));
        let times = &results.histograms;
        assert!(times.service_time.max().is_some_and(|time| time >= HALF), "over UDP {over_udp}: {times:?}");
        assert!(times.receive_delay.is_empty() && times.client_delay.is_empty(), "{times:?}");
    }
}
