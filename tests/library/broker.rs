//! Example `broker`, run as a program: topics, slow subscribers and their end.

use super::example::{address_of, example};
use super::support::{Program, connect, connect_narrow};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

struct Client(BufReader<TcpStream>);

impl Client {
    fn new(server: &Program) -> Self {
        Self::on(connect(address_of(server)))
    }

    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).unwrap();
    }

    #[track_caller]
    fn receive(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line.pop(), Some('\n'), "the broker closed the connection");
        line
    }

    /// Sends a command and expects this answer.
    #[track_caller]
    fn command(&mut self, command: &str, answer: &str) {
        self.send(&format!("{command}\n"));
        assert_eq!(self.receive(), answer, "{command}");
    }
}

fn start() -> Option<Program> {
    Some(Program::spawn(example("broker")?.arg("0")))
}

#[test]
fn subscribers_get_the_texts_of_their_topics() {
    let Some(mut server) = start() else { return };
    let [mut ann, mut bob, mut publisher] = [(); 3].map(|()| Client::new(&server));
    ann.command("SUB news", "OK");
    bob.command("SUB news\r", "OK");
    bob.command("SUB weather", "OK");
    bob.command("SUB weather", "OK");
    publisher.command("PUB news one", "OK 2");
    publisher.command("PUB weather it  rains ", "OK 1");
    publisher.command("PUB sports none", "OK 0");
    for command in ["", "SUB", "PUB news", "SUB a b", "sub news"] {
        publisher.command(command, "ERROR give PUB topic text, or SUB topic (up to 100)");
    }
    assert_eq!(ann.receive(), "news one");
    assert_eq!([bob.receive(), bob.receive()], ["news one", "weather it  rains"]);
    // Nothing of a subscriber remains after its end.
    bob.0.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(bob.0.read_line(&mut String::new()).unwrap(), 0);
    publisher.command("PUB weather gone", "OK 0");
    publisher.command("PUB news two", "OK 1");
    assert_eq!(ann.receive(), "news two");
    for number in 1..100 {
        ann.command(&format!("SUB {number}"), "OK");
    }
    ann.command("SUB 100", "ERROR give PUB topic text, or SUB topic (up to 100)");
    drop((ann, bob, publisher));
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn a_slow_subscriber_is_told_what_it_lost_and_delays_no_other() {
    let Some(server) = start() else { return };
    let [mut fast, mut publisher] = [(); 2].map(|()| Client::new(&server));
    let mut slow = Client::on(connect_narrow(address_of(&server)));
    fast.command("SUB news", "OK");
    slow.command("SUB news", "OK");
    let text = |number: usize| format!("news {number} {}", "x".repeat(900));
    let mut count = 0;
    // The kernel's buffers grow, so the end is that of the broker's queue.
    loop {
        publisher.send(&format!("PUB {}\n", text(count)));
        let answer = publisher.receive();
        assert_eq!(fast.receive(), text(count));
        count += 1;
        if answer == "OK 1" {
            break;
        }
        assert_eq!(answer, "OK 2");
    }
    let mut is_lost = vec![false; count];
    is_lost[count - 1] = true;
    for _ in 0..9 {
        publisher.send(&format!("PUB {}\n", text(count)));
        let answer = publisher.receive();
        // The kernel may take a few bytes later.
        assert!(["OK 1", "OK 2"].contains(&answer.as_str()), "{answer}");
        is_lost.push(answer == "OK 1");
        assert_eq!(fast.receive(), text(count));
        count += 1;
    }
    let mut lost = 0;
    for (number, is_lost) in is_lost.into_iter().enumerate() {
        if is_lost {
            lost += 1;
            continue;
        }
        if lost > 0 {
            assert_eq!(slow.receive(), format!("LOST {lost}"));
            lost = 0;
        }
        assert_eq!(slow.receive(), text(number));
    }
    publisher.command("PUB news last", "OK 2");
    if lost > 0 {
        assert_eq!(slow.receive(), format!("LOST {lost}"));
    }
    assert_eq!(slow.receive(), "news last");
}
