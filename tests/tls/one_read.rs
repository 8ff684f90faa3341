//! Combinations that a single read can return: end of the handshake, data, close_notify, and then end of input, a reset
//! or damage. The program under test is stopped while its peer sends, so that one read does return all of it.

use super::support::{CLOSE_WAIT, Program, await_until, closing, connect, reset, socket_state, uninterrupted};
use super::{Authority, address, logging_server, server};
use rustls::{ClientConnection, Connection, ServerConnection, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// An unencrypted record.
const DAMAGE: &[u8] = &[23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// What follows the last TLS bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    End,
    Reset,
    Damage,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    /// Whether the same read also completes the handshake.
    completes_handshake: bool,
    has_data: bool,
    has_close_notify: bool,
    then: Then,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let case = |bits: usize| Self {
            completes_handshake: bits & 1 != 0,
            has_data: bits & 2 != 0,
            has_close_notify: bits & 4 != 0,
            then: [Then::Nothing, Then::End, Then::Reset, Then::Damage][bits >> 3],
        };
        (0..32).map(case)
    }

    /// What `session` sends in this case, in one piece after its pending output.
    fn flight(self, session: &mut Connection, data: &[u8]) -> Vec<u8> {
        if self.has_data {
            session.writer().write_all(data).unwrap();
        }
        if self.has_close_notify {
            session.send_close_notify();
        }
        let mut flight = unsent(session);
        if self.then == Then::Damage {
            flight.extend_from_slice(DAMAGE);
        }
        flight
    }

    /// Sends `flight` and what follows it while `program` is stopped, and waits until its kernel has all of it.
    fn send(self, program: &Program, stream: TcpStream, flight: &[u8]) -> Option<TcpStream> {
        let (local, remote) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
        let theirs = || socket_state(local, remote);
        stream.set_nodelay(true).unwrap();
        program.pause();
        (&stream).write_all(flight).unwrap();
        await_until("the flight to arrive", || theirs().is_none_or(|theirs| theirs.unread >= flight.len()));
        let left = match self.then {
            Then::Reset => {
                reset(stream);
                await_until("the reset to arrive", || theirs().is_none());
                None
            }
            Then::End => {
                stream.shutdown(Shutdown::Write).unwrap();
                await_until("the end to arrive", || theirs().is_none_or(|theirs| theirs.state == CLOSE_WAIT));
                Some(stream)
            }
            Then::Nothing | Then::Damage => Some(stream),
        };
        program.resume();
        left
    }
}

/// All pending output of `session`.
fn unsent(session: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Receives once; false at the end of input.
fn receive(session: &mut Connection, stream: &mut TcpStream) -> bool {
    let count = uninterrupted(|| session.read_tls(stream)).expect("the program under test goes on");
    let _ = session.process_new_packets();
    count > 0
}

/// Continues the handshake until the next output of `session` completes it on the other side.
fn advance_handshake(session: &mut Connection, stream: &mut TcpStream) {
    while session.is_handshaking() {
        stream.write_all(&unsent(session)).unwrap();
        assert!(receive(session, stream), "the program under test ended in the handshake");
    }
}

/// Reads up to end of input, and returns the plaintext and how TLS ended.
fn read_left(session: &mut Connection, stream: &mut TcpStream) -> (Vec<u8>, Result<(), String>) {
    let mut plain = Vec::new();
    loop {
        let at_end = uninterrupted(|| session.read_tls(stream)).expect("an end in order") == 0;
        let processed = session.process_new_packets();
        // Plaintext before a fault counts.
        let read = session.reader().read_to_end(&mut plain);
        if let Err(error) = processed {
            return (plain, Err(error.to_string()));
        }
        match read {
            Ok(_) => return (plain, Ok(())),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !at_end => {}
            Err(error) => return (plain, Err(error.to_string())),
        }
    }
}

/// The first word of the message in each log line of our server about the peer `name`.
fn logged(server: &Program, name: &str) -> Vec<String> {
    let lines = server.stderr();
    let of_peer = lines.iter().filter(|line| line.contains(name));
    of_peer.map(|line| line.split(' ').nth(2).unwrap_or_default().to_owned()).collect()
}

#[test]
fn at_the_server() {
    for version in VERSIONS {
        let authority = Authority::new();
        let server = server(&authority, &["-vv"]);
        let config = authority.client_config_for(&[version]);
        // With a resumed session a TLS 1.2 client can send data right after the end of the handshake.
        let to = address(&server);
        let new_session =
            || Connection::from(ClientConnection::new(Arc::clone(&config), "localhost".try_into().unwrap()).unwrap());
        let (mut session, mut stream) = (new_session(), connect(to));
        advance_handshake(&mut session, &mut stream);
        stream.write_all(&unsent(&mut session)).unwrap();
        for case in Case::all() {
            let data = b"right behind the handshake";
            let (mut session, mut stream) = (new_session(), connect(to));
            let name = stream.local_addr().unwrap().to_string();
            advance_handshake(&mut session, &mut stream);
            if !case.completes_handshake {
                stream.write_all(&unsent(&mut session)).unwrap();
                server.await_stderr(&format!("peer={name} tls="));
                // Nothing is in transit to the peer when it resets the connection: the TLS 1.3 tickets have arrived.
                assert!(*version == rustls::version::TLS12 || receive(&mut session, &mut stream));
            }
            let flight = case.flight(&mut session, data);
            let stream = case.send(&server, stream, &flight);
            at_the_server_after(case, &server, &name, session, stream, data);
        }
    }
}

/// The result of `case` at the server.
fn at_the_server_after(
    case: Case,
    server: &Program,
    name: &str,
    mut session: Connection,
    stream: Option<TcpStream>,
    data: &[u8],
) {
    // Nothing can follow the alert that answers damage.
    let is_echoed = case.has_data && (case.then != Then::Damage || case.has_close_notify) && case.then != Then::Reset;
    let reason = match case.then {
        Then::Reset if case.has_data || !case.has_close_notify => "reset by peer",
        _ if case.has_close_notify => "closed by peer",
        Then::End => "truncated by peer",
        Then::Damage => "damaged input",
        Then::Nothing | Then::Reset => "closed by peer",
    };
    if let Some(mut stream) = stream {
        if case.then == Then::Nothing && !case.has_close_notify {
            session.send_close_notify();
            stream.write_all(&unsent(&mut session)).unwrap();
        }
        let (echoed, end) = read_left(&mut session, &mut stream);
        assert!(echoed == if is_echoed { data } else { &[] }, "{case:?}: {} bytes came back", echoed.len());
        match reason {
            "closed by peer" => assert_eq!(end, Ok(()), "{case:?}: close_notify is answered"),
            "damaged input" => assert!(end.as_ref().is_err_and(|error| error.contains("alert")), "{case:?}: {end:?}"),
            _ => assert!(end.is_err(), "{case:?}: nothing is said of an end that was cut"),
        }
    }
    server.await_stderr(&closing(name, reason));
    let mut expected = vec!["Accepted", "TLS"];
    if case.has_data {
        expected.push("Received");
    }
    if is_echoed {
        expected.push("Echoing");
    }
    expected.push("Closing");
    assert_eq!(logged(server, name), expected, "{case:?}");
}

/// The client completes a full TLS 1.2 handshake, and can send close_notify along with it.
#[test]
fn close_notify_behind_a_full_handshake() {
    let authority = Authority::new();
    let mut server = logging_server(&authority, &[]);
    for version in VERSIONS {
        let config = authority.client_config_for(&[version]);
        let mut session = Connection::from(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap());
        let mut stream = connect(address(&server));
        let hello = unsent(&mut session);
        stream.write_all(&hello).unwrap();
        while !session.wants_write() {
            assert!(receive(&mut session, &mut stream));
        }
        session.send_close_notify();
        let flight = unsent(&mut session);
        server.pause();
        stream.write_all(&flight).unwrap();
        server.resume();
        assert_eq!(read_left(&mut session, &mut stream), (Vec::new(), Ok(())));
    }
    server.await_closed(2);
    server.terminate().expect_counts(&[("closed by peer", 2)]);
}

#[test]
fn at_the_client() {
    let authority = Authority::new();
    let ca = authority.path("ca.pem");
    for version in VERSIONS {
        let config = authority.server_config_for(&[version]);
        for case in Case::all() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let mut command = Program::client_command();
            // The client prints what it reads, and ends when the server does.
            command.args(["127.0.0.1", &port, "--tls", "--tls-ca", &ca, "--stdin", "-vv"]);
            let (mut client, stdin) = Program::spawn_reading(&mut command, Stdio::piped());
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
            let mut session = Connection::from(ServerConnection::new(Arc::clone(&config)).unwrap());
            let flight = at_the_client_before(case, &client, &mut session, &mut stream);
            let stream = case.send(&client, stream, &flight);
            if case.then == Then::Nothing && !case.has_close_notify {
                // The client ends with its input, because it has nothing more to send.
                drop(stdin);
                let mut stream = stream.unwrap();
                let (said, end) = read_left(&mut session, &mut stream);
                assert_eq!((said, end), (Vec::new(), Ok(())), "{case:?}");
                session.send_close_notify();
                stream.write_all(&unsent(&mut session)).unwrap();
                at_the_client_after(case, &mut client);
            } else {
                at_the_client_after(case, &mut client);
            }
        }
    }
}

/// Advances the handshake as far as `case` needs, and returns what to send in one piece.
fn at_the_client_before(case: Case, client: &Program, session: &mut Connection, stream: &mut TcpStream) -> Vec<u8> {
    let data = b"told\n";
    let version = loop {
        assert!(receive(session, stream), "the client ended in the handshake");
        if !session.is_handshaking() || session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
            break session.protocol_version();
        }
        stream.write_all(&unsent(session)).unwrap();
    };
    assert!(version.is_some());
    if !case.completes_handshake {
        stream.write_all(&unsent(session)).unwrap();
        client.await_stderr("TLS handshake complete connection=1");
        while session.is_handshaking() {
            assert!(receive(session, stream), "the client ended in the handshake");
        }
    }
    case.flight(session, data)
}

/// The result of `case` at the client.
fn at_the_client_after(case: Case, client: &mut Program) {
    let exit = client.await_exit();
    let failure = match case.then {
        // After close_notify a reset is ignored, unless output was pending.
        Then::Reset if case.has_close_notify && exit.code == Some(1) => Some("reset by peer"),
        _ if case.has_close_notify => None,
        Then::Nothing => None,
        Then::End => Some("truncated by peer"),
        Then::Reset => Some("reset by peer"),
        Then::Damage => Some("damaged in transit"),
    };
    assert_eq!(exit.code, Some(i32::from(failure.is_some())), "{case:?}: {exit:#?}");
    assert!(failure.is_none_or(|words| exit.told(&[words]) > 0), "{case:?}: {exit:#?}");
    assert_eq!(exit.stdout.iter().filter(|line| *line == "told").count(), usize::from(case.has_data), "{exit:#?}");
    let secured: Vec<_> =
        exit.stderr.iter().enumerate().filter(|(_, line)| line.contains("TLS handshake complete")).collect();
    let first_bytes = exit.stderr.iter().position(|line| line.contains("Received"));
    assert_eq!(secured.len(), 1, "{case:?}: {exit:#?}");
    assert_eq!(first_bytes.is_some(), case.has_data, "{case:?}: {exit:#?}");
    assert!(first_bytes.is_none_or(|at| secured[0].0 < at), "{case:?}: {exit:#?}");
}
