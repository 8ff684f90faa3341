//! Who is in which room, and what is to be heard there. It knows members and lines of text, but no connection.

use multiconn::server::ConnectionWaker;
use multiconn::service::Output;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The longest nickname or name of a room, in bytes. It stands in front of many lines.
const NAME_BYTES: usize = 20;

/// The most rooms, so that nobody fills the memory with their names.
const ROOMS: usize = 10_000;

/// The most bytes that wait for one member: several screens full. With the buffers of the connection and of the kernel, a
/// member who never reads costs some 200 KiB.
pub(crate) const QUEUE_BYTES: usize = 64 * 1024;

/// What a line in a queue takes besides its text, in bytes, so that short ones are no way around the limit.
const PLACE_BYTES: usize = 32;

/// The most names that `/who` lists: the line has to fit a buffer.
const LISTED_NAMES: usize = 100;

const FIRST_ROOM: &str = "lobby";
const GUEST: &str = "guest";
const HELP: &str = "/nick NAME, /join ROOM, /who and /quit are commands; everything else is said in the room";

/// Who is here, and in which room. Members go by the numbers of their connections.
#[derive(Default)]
pub(crate) struct Chat {
    seats: HashMap<u64, Seat>,
    /// By names in lower case, so that nobody is mistaken for somebody else.
    nicks: HashMap<String, u64>,
    /// None is empty.
    rooms: HashMap<String, BTreeSet<u64>>,
}

/// What the others know of a member.
struct Seat {
    nick: String,
    room: String,
    waker: ConnectionWaker,
    /// What was said and is not written yet. Whenever it is not empty, a call of its member is on its way: for having been
    /// woken, or because the member waits for room.
    queue: VecDeque<Arc<str>>,
    queued_bytes: usize,
    /// How many lines were lost since the queue was full. It must be empty before it takes another one: so the notice
    /// stands where the lines are missing.
    dropped: u64,
}

impl Seat {
    /// Puts a line into the queue of a member who is being called, or will be.
    fn put(&mut self, line: &Arc<str>) {
        if self.dropped > 0 || self.queued_bytes + taken_bytes(line) > QUEUE_BYTES {
            self.dropped += 1;
        } else {
            self.queued_bytes += taken_bytes(line);
            self.queue.push_back(Arc::clone(line));
        }
    }

    /// Puts a line into the queue of a member who knows nothing of it.
    fn put_and_wake(&mut self, line: &Arc<str>) {
        if self.queue.is_empty() {
            self.waker.wake();
        }
        self.put(line);
    }

    /// Writes what there is room for, and says whether that was all.
    fn write(&mut self, output: &mut Output<'_>) -> bool {
        while let Some(line) = self.queue.front() {
            if !output.write_whole(line.as_bytes()) {
                return false;
            }
            self.queued_bytes -= taken_bytes(line);
            self.queue.pop_front();
        }
        // A member to whom nothing is said owns no heap.
        self.queue = VecDeque::new();
        let (count, were) = (self.dropped, if self.dropped == 1 { "message was" } else { "messages were" });
        let is_told =
            count == 0 || output.write_whole(format!("* {count} {were} dropped: you read too slowly\n").as_bytes());
        if is_told {
            self.dropped = 0;
        }
        is_told
    }
}

impl Chat {
    /// A member comes in, under a name to begin with.
    pub(crate) fn enter(&mut self, number: u64, waker: ConnectionWaker) {
        let nick = format!("{GUEST}{number}");
        self.nicks.insert(nick.clone(), number);
        let (room, queue) = (String::new(), VecDeque::new());
        self.seats.insert(number, Seat { nick, room, waker, queue, queued_bytes: 0, dropped: 0 });
        self.tell(number, HELP);
        self.join(number, FIRST_ROOM);
    }

    /// A member has gone, if that is not known yet.
    pub(crate) fn leave(&mut self, number: u64) {
        if self.seats.contains_key(&number) {
            self.leave_room(number);
            let nick = self.seat(number).nick.to_ascii_lowercase();
            self.nicks.remove(&nick);
            self.seats.remove(&number);
        }
    }

    /// Does what a line asks for, and says whether the member stays.
    pub(crate) fn handle(&mut self, number: u64, line: &str) -> bool {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/nick" => self.rename(number, rest.trim()),
            "/join" => self.join(number, rest.trim()),
            "/who" => self.list(number),
            "/quit" => return false,
            _ if word.starts_with('/') => self.tell(number, HELP),
            _ if line.is_empty() => {}
            _ => {
                let line = format!("<{}> {line}\n", self.seat(number).nick);
                self.tell_others(number, line);
            }
        }
        true
    }

    /// Writes what is to be heard by the member who is being served, as far as there is room, and says whether that was all.
    pub(crate) fn write(&mut self, number: u64, output: &mut Output<'_>) -> bool {
        self.seat(number).write(output)
    }

    fn rename(&mut self, number: u64, name: &str) {
        let folded = name.to_ascii_lowercase();
        let holder = self.nicks.get(&folded).copied();
        if !is_name(name) {
            self.tell(
                number,
                &format!("a name is 1 to {NAME_BYTES} letters of ASCII, digits, hyphens and underscores"),
            );
        } else if folded.starts_with(GUEST) || holder.is_some_and(|holder| holder != number) {
            self.tell(number, &format!("the name {name} is taken"));
        } else {
            let before = std::mem::replace(&mut self.seat(number).nick, name.to_owned());
            self.nicks.remove(&before.to_ascii_lowercase());
            self.nicks.insert(folded, number);
            self.tell(number, &format!("you are {name}"));
            self.tell_others(number, format!("* {before} is now {name}\n"));
        }
    }

    fn join(&mut self, number: u64, room: &str) {
        if !is_name(room) {
            return self.tell(
                number,
                &format!("a room is 1 to {NAME_BYTES} letters of ASCII, digits, hyphens and underscores"),
            );
        }
        if self.rooms.len() >= ROOMS && !self.rooms.contains_key(room) {
            return self.tell(number, "there are too many rooms; join one that is there");
        }
        self.leave_room(number);
        self.rooms.entry(room.to_owned()).or_default().insert(number);
        let seat = self.seat(number);
        room.clone_into(&mut seat.room);
        let nick = seat.nick.clone();
        self.tell(number, &format!("you are {nick}, in {room}"));
        self.tell_others(number, format!("* {nick} has come\n"));
    }

    fn leave_room(&mut self, number: u64) {
        let seat = self.seat(number);
        let (room, line) = (std::mem::take(&mut seat.room), format!("* {} has left\n", seat.nick));
        let Some(members) = self.rooms.get_mut(&room) else { return };
        members.remove(&number);
        if members.is_empty() {
            self.rooms.remove(&room);
        }
        self.tell_room(&room, number, line);
    }

    fn list(&mut self, number: u64) {
        let room = self.seat(number).room.clone();
        let Some(members) = self.rooms.get(&room) else { return };
        let nicks = members.iter().take(LISTED_NAMES).filter_map(|member| self.seats.get(member));
        let nicks: Vec<&str> = nicks.map(|seat| seat.nick.as_str()).collect();
        let more = members.len() - nicks.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let line = format!("in {room}: {}{more}", nicks.join(", "));
        self.tell(number, &line);
    }

    /// A word from the server to the member who is being served.
    pub(crate) fn tell(&mut self, number: u64, text: &str) {
        self.seat(number).put(&format!("* {text}\n").into());
    }

    fn tell_others(&mut self, number: u64, line: String) {
        let room = self.seat(number).room.clone();
        self.tell_room(&room, number, line);
    }

    fn tell_room(&mut self, room: &str, except: u64, line: String) {
        let line = line.into();
        for member in self.rooms.get(room).into_iter().flatten().filter(|member| **member != except) {
            if let Some(seat) = self.seats.get_mut(member) {
                seat.put_and_wake(&line);
            }
        }
    }

    fn seat(&mut self, number: u64) -> &mut Seat {
        self.seats.get_mut(&number).expect("a member has a seat until it leaves")
    }
}

fn taken_bytes(line: &str) -> usize {
    line.len() + PLACE_BYTES
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter)
}
