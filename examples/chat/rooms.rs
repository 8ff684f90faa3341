//! Rooms, members and their queues of lines. It knows no connections.

use multiconn::service::Handle;
use multiconn::service::Output;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Maximum length of a nickname or room name in bytes. The nickname precedes many lines.
const MAX_NAME_BYTES: usize = 20;

/// Maximum number of rooms, so that their names cannot fill the memory.
const MAX_ROOMS: usize = 10_000;

/// Maximum size of a member's queue in bytes: several screens. With the buffers of the connection and of the kernel, a
/// member that never reads costs about 200 KiB.
pub(crate) const QUEUE_BYTES: usize = 64 * 1024;

/// Overhead of a queued line in bytes, so that short lines do not evade the limit.
const ENTRY_BYTES: usize = 32;

/// Maximum number of names that `/who` lists: the line has to fit a buffer.
const MAX_LISTED_NAMES: usize = 100;

const FIRST_ROOM: &str = "lobby";
const GUEST: &str = "guest";
const HELP: &str = "/nick NAME, /join ROOM, /who and /quit are commands; everything else is said in the room";

/// State of the chat. Members are identified by the numbers of their connections.
#[derive(Default)]
pub(crate) struct Chat {
    members: HashMap<u64, MemberState>,
    /// Keyed by lower-case names, so that similar names cannot be confused.
    nicks: HashMap<String, u64>,
    /// Contains no empty rooms.
    rooms: HashMap<String, BTreeSet<u64>>,
}

/// State of one member.
struct MemberState {
    nick: String,
    room: String,
    waker: Handle,
    /// Lines that are not written yet. While it is not empty, a call of the member is pending: it was woken, or it
    /// waits for room.
    queue: VecDeque<Arc<str>>,
    queued_bytes: usize,
    /// Number of lines dropped since the queue was full. No line is added until the queue is empty, so the notice
    /// appears where the lines are missing.
    dropped: u64,
}

impl MemberState {
    /// Queues a line for a member whose call is pending.
    fn enqueue(&mut self, line: &Arc<str>) {
        if self.dropped > 0 || self.queued_bytes + queue_bytes_of(line) > QUEUE_BYTES {
            self.dropped += 1;
        } else {
            self.queued_bytes += queue_bytes_of(line);
            self.queue.push_back(Arc::clone(line));
        }
    }

    /// Queues a line for any member, and wakes it if needed.
    fn enqueue_and_wake(&mut self, line: &Arc<str>) {
        if self.queue.is_empty() {
            self.waker.wake();
        }
        self.enqueue(line);
    }

    /// Writes as much as there is room for; returns whether that was all.
    fn write(&mut self, output: &mut Output<'_>) -> bool {
        while let Some(line) = self.queue.front() {
            if !output.write_whole(line.as_bytes()) {
                return false;
            }
            self.queued_bytes -= queue_bytes_of(line);
            self.queue.pop_front();
        }
        // A member without queued lines owns no heap.
        self.queue = VecDeque::new();
        let (count, were) = (self.dropped, if self.dropped == 1 { "message was" } else { "messages were" });
        let was_written =
            count == 0 || output.write_whole(format!("* {count} {were} dropped: you read too slowly\n").as_bytes());
        if was_written {
            self.dropped = 0;
        }
        was_written
    }
}

impl Chat {
    /// Adds a member with an initial nickname.
    pub(crate) fn enter(&mut self, number: u64, waker: Handle) {
        let nick = format!("{GUEST}{number}");
        self.nicks.insert(nick.clone(), number);
        let (room, queue) = (String::new(), VecDeque::new());
        self.members.insert(number, MemberState { nick, room, waker, queue, queued_bytes: 0, dropped: 0 });
        self.tell(number, HELP);
        self.join(number, FIRST_ROOM);
    }

    /// Removes a member, if it was not removed before.
    pub(crate) fn leave(&mut self, number: u64) {
        if self.members.contains_key(&number) {
            self.leave_room(number);
            let nick = self.member_state(number).nick.to_ascii_lowercase();
            self.nicks.remove(&nick);
            self.members.remove(&number);
        }
    }

    /// Handles a line from a member; returns whether the member stays.
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
                let line = format!("<{}> {line}\n", self.member_state(number).nick);
                self.tell_others(number, line);
            }
        }
        true
    }

    /// Writes queued lines of the member being served, as far as there is room; returns whether that was all.
    pub(crate) fn write(&mut self, number: u64, output: &mut Output<'_>) -> bool {
        self.member_state(number).write(output)
    }

    fn rename(&mut self, number: u64, name: &str) {
        let folded = name.to_ascii_lowercase();
        let holder = self.nicks.get(&folded).copied();
        if !is_name(name) {
            self.tell(
                number,
                &format!("a name is 1 to {MAX_NAME_BYTES} letters of ASCII, digits, hyphens and underscores"),
            );
        } else if folded.starts_with(GUEST) || holder.is_some_and(|holder| holder != number) {
            self.tell(number, &format!("the name {name} is taken"));
        } else {
            let before = std::mem::replace(&mut self.member_state(number).nick, name.to_owned());
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
                &format!("a room is 1 to {MAX_NAME_BYTES} letters of ASCII, digits, hyphens and underscores"),
            );
        }
        if self.rooms.len() >= MAX_ROOMS && !self.rooms.contains_key(room) {
            return self.tell(number, "there are too many rooms; join one that is there");
        }
        self.leave_room(number);
        self.rooms.entry(room.to_owned()).or_default().insert(number);
        let member_state = self.member_state(number);
        room.clone_into(&mut member_state.room);
        let nick = member_state.nick.clone();
        self.tell(number, &format!("you are {nick}, in {room}"));
        self.tell_others(number, format!("* {nick} has come\n"));
    }

    fn leave_room(&mut self, number: u64) {
        let member_state = self.member_state(number);
        let (room, line) = (std::mem::take(&mut member_state.room), format!("* {} has left\n", member_state.nick));
        let Some(members) = self.rooms.get_mut(&room) else { return };
        members.remove(&number);
        if members.is_empty() {
            self.rooms.remove(&room);
        }
        self.tell_room(&room, number, line);
    }

    fn list(&mut self, number: u64) {
        let room = self.member_state(number).room.clone();
        let Some(members) = self.rooms.get(&room) else { return };
        let nicks = members.iter().take(MAX_LISTED_NAMES).filter_map(|member| self.members.get(member));
        let nicks: Vec<&str> = nicks.map(|member_state| member_state.nick.as_str()).collect();
        let more = members.len() - nicks.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let line = format!("in {room}: {}{more}", nicks.join(", "));
        self.tell(number, &line);
    }

    /// Sends a server message to the member being served.
    pub(crate) fn tell(&mut self, number: u64, text: &str) {
        self.member_state(number).enqueue(&format!("* {text}\n").into());
    }

    fn tell_others(&mut self, number: u64, line: String) {
        let room = self.member_state(number).room.clone();
        self.tell_room(&room, number, line);
    }

    fn tell_room(&mut self, room: &str, except: u64, line: String) {
        let line = line.into();
        for member in self.rooms.get(room).into_iter().flatten().filter(|member| **member != except) {
            if let Some(member_state) = self.members.get_mut(member) {
                member_state.enqueue_and_wake(&line);
            }
        }
    }

    fn member_state(&mut self, number: u64) -> &mut MemberState {
        self.members.get_mut(&number).expect("a member has a state until it leaves")
    }
}

fn queue_bytes_of(line: &str) -> usize {
    line.len() + ENTRY_BYTES
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter)
}
