//! Chat example: message delivery, and the cost of misbehaving members.

use super::example::{address_of, example};
use super::support::{Program, connect, connect_narrow, expect_end};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};

/// Lines sent while one member does not read, and lines per batch: fewer than fill the queue of a member that reads.
const LINES: usize = 10_000;
const LINES_AT_A_TIME: usize = 50;

/// Pads the lines so that all of them exceed the kernel's buffers.
const PADDING: usize = 300;

/// Maximum memory growth of the server for a member that reads nothing, in bytes: about 200 KiB, and what the allocator
/// leaves unused.
const MAX_GROWTH: u64 = 4 << 20;

struct Member {
    stream: BufReader<TcpStream>,
    nick: &'static str,
}

impl Member {
    /// Joins with a name.
    #[track_caller]
    fn enter(server: &Program, nick: &'static str) -> Self {
        Self::enter_by(connect(address_of(server)), nick)
    }

    #[track_caller]
    fn enter_by(stream: TcpStream, nick: &'static str) -> Self {
        stream.set_nodelay(true).unwrap();
        let mut member = Self { stream: BufReader::new(stream), nick };
        assert!(member.hear().starts_with("* /nick NAME"), "commands are told first");
        assert!(member.hear().ends_with(", in lobby"));
        member.say(&format!("/nick {nick}"));
        member.expect(&format!("* you are {nick}"));
        member
    }

    fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap_or_else(|error| panic!("{} hears nothing: {error}", self.nick));
        assert_eq!(line.pop(), Some('\n'), "{} heard the end", self.nick);
        line
    }

    /// Expects this line next.
    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line, "heard by {}", self.nick);
    }

    /// Expects this line next, except for lines about members who join, leave or take a name.
    #[track_caller]
    fn expect_said(&mut self, line: &str) {
        loop {
            let heard = self.hear();
            if !heard.starts_with("* ") {
                return assert_eq!(heard, line, "heard by {}", self.nick);
            }
        }
    }

    /// Expects no message before the list of members, and checks that list.
    #[track_caller]
    fn expect_here(&mut self, names: &str) {
        self.say("/who");
        loop {
            let heard = self.hear();
            assert!(heard.starts_with("* "), "{} heard {heard:?}", self.nick);
            if let Some(list) = heard.strip_prefix("* in ") {
                return assert_eq!(list, names);
            }
        }
    }
}

fn start() -> Option<Program> {
    Some(Program::spawn(example("chat")?.arg("0")))
}

#[test]
fn a_line_is_delivered_to_all_others_in_the_room() {
    let Some(mut server) = start() else { return };
    let [mut ann, mut bob, mut cid] = ["ann", "bob", "cid"].map(|nick| Member::enter(&server, nick));
    let [mut dan, mut eve] = ["dan", "eve"].map(|nick| Member::enter(&server, nick));
    dan.say("/join kitchen");
    dan.expect_here("kitchen: dan");
    eve.say("/join kitchen");
    eve.expect_here("kitchen: dan, eve");
    ann.say("good morning");
    dan.say("the soup is ready\r");
    bob.expect_said("<ann> good morning");
    cid.expect_said("<ann> good morning");
    eve.expect_said("<dan> the soup is ready");
    ann.expect_here("lobby: ann, bob, cid");
    dan.expect_here("kitchen: dan, eve");
    // A leaving member is announced, and its name is free again.
    bob.say("/quit");
    expect_end(&mut bob.stream);
    ann.expect("* bob has left");
    ann.say("/nick bob");
    ann.expect("* you are bob");
    // Control characters are escaped for the terminal, however a line was sent.
    for piece in ["\x1b[2J so", "met", "hing\u{7}new \n"] {
        cid.stream.get_mut().write_all(piece.as_bytes()).unwrap();
    }
    ann.expect_said("<cid>  [2J something new");
    drop((ann, bob, cid, dan, eve));
    let exit = server.terminate();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
}

#[test]
fn names_are_unique() {
    let Some(server) = start() else { return };
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| Member::enter(&server, nick));
    for name in ["ann", "ANN", "guest1", "Guest99"] {
        bob.say(&format!("/nick {name}"));
        bob.expect(&format!("* the name {name} is taken"));
    }
    for name in ["", "a b", "../ann", "<ann>", "ånn", "a-name-of-21-letters-"] {
        bob.say(&format!("/nick {name}"));
        assert!(bob.hear().starts_with("* a name is 1 to 20 letters"), "{name:?}");
        bob.say(&format!("/join {name}"));
        assert!(bob.hear().starts_with("* a room is 1 to 20 letters"), "{name:?}");
    }
    ann.say("/nick Ann");
    bob.expect("* ann is now Ann");
    ann.say("/nick anna");
    bob.expect("* Ann is now anna");
    bob.say("/nick ann");
    bob.expect("* you are ann");
    bob.say("/dance");
    assert!(bob.hear().starts_with("* /nick NAME"), "what is no command is not said");
    bob.expect_here("lobby: anna, ann");
}

#[test]
fn a_slow_reader_delays_no_other_and_learns_what_was_lost() {
    let Some(server) = start() else { return };
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| Member::enter(&server, nick));
    let mut slow = Member::enter_by(connect_narrow(address_of(&server)), "slow");
    bob.expect_here("lobby: ann, bob, slow");
    let before = server.resident_bytes();
    let line = |number: usize| format!("line {number:05} {}", "x".repeat(PADDING));
    for first in (0..LINES).step_by(LINES_AT_A_TIME) {
        let numbers = first..first + LINES_AT_A_TIME;
        ann.say(&numbers.clone().map(line).collect::<Vec<_>>().join("\n"));
        numbers.for_each(|number| bob.expect_said(&format!("<ann> {}", line(number))));
    }
    if let (Some(before), Some(after)) = (before, server.resident_bytes()) {
        assert!(after.saturating_sub(before) < MAX_GROWTH, "{before} bytes grew to {after}");
    }
    // The kept lines arrive in order. A notice tells the number of lost ones where they are missing. The kernel may take
    // lines later, so there can be more than one.
    let (mut kept, mut lost) = (0, 0);
    while kept + lost < LINES {
        let heard = slow.hear();
        if let Some(notice) = heard.strip_prefix("* ") {
            let (count, rest) = notice.split_once(' ').unwrap();
            assert!(rest.ends_with(" dropped: you read too slowly"), "{notice}");
            lost += count.parse::<usize>().unwrap();
        } else {
            assert_eq!(heard, format!("<ann> {}", line(kept + lost)));
            kept += 1;
        }
    }
    assert!(kept > 100 && kept < LINES / 2, "{kept} lines were kept");
    ann.say("are you there?");
    slow.expect("<ann> are you there?");
    slow.say("yes");
    bob.expect_said("<ann> are you there?");
    bob.expect("<slow> yes");
}

#[test]
fn a_fast_sender_is_read_at_the_pace_of_the_room() {
    let Some(server) = start() else { return };
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| Member::enter(&server, nick));
    ann.say(&(0..1000).map(|number| number.to_string()).collect::<Vec<_>>().join("\n"));
    for number in 0..1000 {
        bob.expect_said(&format!("<ann> {number}"));
    }
}

#[test]
fn a_half_closed_member_sent_everything_and_receives_everything() {
    let Some(server) = start() else { return };
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| Member::enter(&server, nick));
    bob.say("before");
    ann.expect_said("<bob> before");
    ann.say("one");
    ann.stream.get_mut().write_all(b"two\nhalf a li").unwrap();
    ann.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    bob.expect("<ann> one");
    bob.expect("<ann> two");
    bob.expect("* ann has left");
    expect_end(&mut ann.stream);
    bob.expect_here("lobby: bob");
}

#[test]
fn an_unterminated_line_is_terminated() {
    let Some(server) = start() else { return };
    let [mut ann, mut bob] = ["ann", "bob"].map(|nick| Member::enter(&server, nick));
    bob.say(&"x".repeat(2047));
    ann.expect_said(&format!("<bob> {}", "x".repeat(2047)));
    bob.stream.get_mut().write_all(&[b'x'; 5000]).unwrap();
    bob.expect("* goodbye: a line has 2048 bytes at most");
    expect_end(&mut bob.stream);
    ann.expect("* bob has left");
}
