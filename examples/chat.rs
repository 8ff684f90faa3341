//! Chat server with rooms and nicknames, in which a slow reader delays no other member.
//!
//! Run it with `cargo run --example chat`, then `nc 127.0.0.1 65436` in several terminals. An argument sets another
//! port: `chat 0` takes a free one. `/nick NAME`, `/join ROOM`, `/who` and `/quit` are commands; every other line goes
//! to all other members of the room.
//!
//! Members are served by different workers, so the shared state is behind a mutex, which is locked once per call. Lines
//! are sent through the handles of the connections. When too many wait for a slow reader, further lines are dropped, and
//! the member is told their number. The sender never waits. The write timeout of the connection closes a member that
//! reads nothing for a minute.
//!
//! A member that shuts down its sending half leaves the chat, and still gets the lines sent before. A last line without
//! a line end is ignored.

#![allow(clippy::print_stdout)]

use multiconn::codec::{Decoder, FrameError, Framing};
use multiconn::service::Handle;
use multiconn::{CloseReason, Context, Endpoint, Error, Input, Output, Server, ServerConfig, Service, Wait, is_unsafe};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum length of a line in bytes, including its end: half a page. A longer line closes the connection.
const MAX_LINE_BYTES: usize = 2048;

/// Maximum length of a nickname or room name in bytes. The nickname precedes many lines.
const MAX_NAME_BYTES: usize = 20;
const NAME_RULE: &str = "1 to 20 letters of ASCII, digits, hyphens and underscores";

/// Size of the buffers of a connection, and of the lines that wait for it, in bytes: several screens. With the buffers of
/// the kernel, a member that never reads costs about 250 KiB.
const BUFFER_BYTES: usize = 64 * 1024;

/// Size of the kernel's send buffer in bytes. By default it grows to megabytes for a slow reader, which would then read
/// outdated lines.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Number of lines from a member before a pause. 5,000 lines per second are more than anybody reads, and each is sent to
/// all members of the room. What one member may say at once fits the queue of another.
const LINES_PER_PAUSE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(4);

/// No idle timeout, because people may be silent for hours. TCP keep-alive detects vanished hosts.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Maximum number of names that `/who` lists: the line has to fit a buffer.
const MAX_LISTED_NAMES: usize = 100;

const FIRST_ROOM: &str = "lobby";
const GUEST: &str = "guest";
const HELP: &str = "/nick NAME, /join ROOM, /who and /quit are commands; everything else is said in the room";

/// State of the chat: the members, by the numbers of their connections.
#[derive(Default)]
struct Chat {
    members: BTreeMap<u64, Member>,
}

struct Member {
    nick: String,
    room: String,
    handle: Handle,
    /// Number of lines dropped since the queue was full. No line is sent until the member was told, so the notice
    /// appears where the lines are missing.
    dropped: u64,
}

impl Member {
    fn send(&mut self, line: &Arc<[u8]>) {
        self.dropped += u64::from(self.dropped > 0 || self.handle.send(Arc::clone(line)).is_err());
    }

    fn tell_dropped(&mut self) {
        let were = if self.dropped == 1 { "message was" } else { "messages were" };
        let notice = format!("* {} {were} dropped: you read too slowly\n", self.dropped);
        if self.dropped > 0 && self.handle.send(notice.into_bytes()).is_ok() {
            self.dropped = 0;
        }
    }
}

impl Chat {
    fn enter(&mut self, handle: Handle) {
        let (id, nick) = (handle.id(), format!("{GUEST}{}", handle.id()));
        self.members.insert(id, Member { nick, room: String::new(), handle, dropped: 0 });
        self.tell(id, HELP);
        self.join(id, FIRST_ROOM);
    }

    /// Removes a member, if it was not removed before.
    fn leave(&mut self, id: u64) {
        if let Some(Member { nick, room, .. }) = self.members.remove(&id) {
            self.tell_others(id, &room, &format!("* {nick} has left"));
        }
    }

    /// Handles a line from a member; returns whether the member stays.
    fn handle_line(&mut self, id: u64, line: &str) -> bool {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "/nick" => self.rename(id, rest.trim()),
            "/join" => self.join(id, rest.trim()),
            "/who" => self.list(id),
            "/quit" => return false,
            _ if word.starts_with('/') => self.tell(id, HELP),
            _ if line.is_empty() => {}
            _ => {
                let (nick, room) = self.name_of(id);
                self.tell_others(id, &room, &format!("<{nick}> {line}"));
            }
        }
        true
    }

    fn rename(&mut self, id: u64, name: &str) {
        let mut others = self.members.iter().filter(|(other, _)| **other != id);
        if !is_name(name) {
            self.tell(id, &format!("a name is {NAME_RULE}"));
        } else if name.to_ascii_lowercase().starts_with(GUEST)
            || others.any(|(_, member)| member.nick.eq_ignore_ascii_case(name))
        {
            self.tell(id, &format!("the name {name} is taken"));
        } else {
            let (before, room) = self.name_of(id);
            name.clone_into(&mut self.member(id).nick);
            self.tell(id, &format!("you are {name}"));
            self.tell_others(id, &room, &format!("* {before} is now {name}"));
        }
    }

    fn join(&mut self, id: u64, room: &str) {
        if !is_name(room) {
            return self.tell(id, &format!("a room is {NAME_RULE}"));
        }
        let (nick, before) = self.name_of(id);
        self.tell_others(id, &before, &format!("* {nick} has left"));
        room.clone_into(&mut self.member(id).room);
        self.tell(id, &format!("you are {nick}, in {room}"));
        self.tell_others(id, room, &format!("* {nick} has come"));
    }

    fn list(&mut self, id: u64) {
        let (_, room) = self.name_of(id);
        let mut nicks = self.members.values().filter(|member| member.room == room).map(|member| member.nick.as_str());
        let listed = nicks.by_ref().take(MAX_LISTED_NAMES).collect::<Vec<_>>().join(", ");
        let more = match nicks.count() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        self.tell(id, &format!("in {room}: {listed}{more}"));
    }

    /// Sends a message of the server to one member.
    fn tell(&mut self, id: u64, text: &str) {
        self.member(id).send(&format!("* {text}\n").into_bytes().into());
    }

    /// Sends a line to all members of a room except one. They share one buffer.
    fn tell_others(&mut self, except: u64, room: &str, line: &str) {
        let line = format!("{line}\n").into_bytes().into();
        let others = self.members.iter_mut().filter(|(id, member)| **id != except && member.room == room);
        others.for_each(|(_, member)| member.send(&line));
    }

    fn member(&mut self, id: u64) -> &mut Member {
        self.members.get_mut(&id).expect("a connection is served until it leaves")
    }

    fn name_of(&mut self, id: u64) -> (String, String) {
        let member = self.member(id);
        (member.nick.clone(), member.room.clone())
    }
}

/// Service of one connection.
struct MemberService {
    chat: Arc<Mutex<Chat>>,
    id: u64,
    decoder: Decoder,
    /// End of the pause; no line is handled before it.
    resume_at: Instant,
    error_detail: Option<FrameError>,
}

impl Service for MemberService {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let mut chat = lock(&self.chat);
        chat.member(self.id).tell_dropped();
        if context.now() < self.resume_at {
            return Wait::Deadline(self.resume_at);
        }
        for _ in 0..LINES_PER_PAUSE {
            let wait = match self.decoder.decode(input.bytes(), input.has_ended()) {
                Ok(Some(line)) => {
                    let text = printable(&input.bytes()[line.payload]);
                    input.consume(line.size);
                    if chat.handle_line(self.id, &text) {
                        continue;
                    }
                    Wait::Close
                }
                // Keeps the connection open, and calls this again when there is room for a notice.
                Ok(None) if !input.has_ended() => return Wait::Wake,
                Ok(None) | Err(FrameError::Truncated { .. }) => Wait::Input,
                Err(error) => {
                    chat.tell(self.id, &format!("goodbye: a line has {MAX_LINE_BYTES} bytes at most"));
                    self.error_detail = Some(error);
                    Wait::Abort
                }
            };
            // The connection may stay open until the peer has read everything, but the member has left.
            chat.leave(self.id);
            return wait;
        }
        self.resume_at = context.now() + PAUSE;
        Wait::Deadline(self.resume_at)
    }

    fn closed(&mut self, _reason: CloseReason) {
        lock(&self.chat).leave(self.id);
    }

    fn error_detail(&self) -> Option<String> {
        self.error_detail.as_ref().map(ToString::to_string)
    }
}

/// Replaces characters that a terminal would interpret by spaces.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_letter)
}

/// The chat survives a panic of a member.
fn lock(chat: &Mutex<Chat>) -> MutexGuard<'_, Chat> {
    chat.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(65436), |text| text.parse());
    let port = port.map_err(|_| Error::Usage("a port is a number from 0 to 65535".to_owned()))?;
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    config.limits.buffer_bytes = BUFFER_BYTES;
    config.limits.idle = None;
    config.socket.keepalive = Some(KEEPALIVE);
    config.socket.send_buffer = Some(SEND_BUFFER_BYTES);
    let chat = Arc::<Mutex<Chat>>::default();
    let server = Server::bind(config, |context| {
        lock(&chat).enter(context.handle());
        let decoder = Decoder::new(Framing::LINES, MAX_LINE_BYTES);
        MemberService {
            chat: Arc::clone(&chat),
            id: context.id(),
            decoder,
            resume_at: context.now(),
            error_detail: None,
        }
    })?;
    println!("Listening on {}", server.addresses()[0]);
    println!("{}", server.run()?);
    Ok(())
}
