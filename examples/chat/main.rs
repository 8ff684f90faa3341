//! Chat server with rooms and nicknames, in which a slow reader delays no other member.
//!
//! Run it with `cargo run --example chat`, then `nc 127.0.0.1 65436` in several terminals. An argument sets another
//! port: `chat 0` takes a free one. `/nick NAME`, `/join ROOM`, `/who` and `/quit` are commands; every other line goes
//! to all other members of the room.
//!
//! Members are served by different workers, so the shared state is behind a mutex, which is locked once per call. Each
//! member has a queue of lines and is woken when a line enters an empty queue. When the queue of a slow reader is full,
//! further lines are dropped, and the member is told their number. The sender never waits. The write timeout of the
//! connection closes a member that reads nothing for a minute.
//!
//! A member that shuts down its sending half leaves the chat, and still gets the lines queued before. A last line
//! without a line end is ignored.

#![allow(clippy::print_stdout)]

mod rooms;

use multiconn::codec::{Decoder, FrameError, Framing};
use multiconn::error::Error;
use multiconn::is_unsafe;
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use rooms::{Chat, QUEUE_BYTES};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum length of a line in bytes, including its end: half a page. A longer line closes the connection.
const MAX_LINE_BYTES: usize = 2048;

/// Buffer size of a connection in bytes. Any line fits: replacing invalid UTF-8 at most triples its length.
const BUFFER_BYTES: usize = 16 * 1024;

/// Size of the kernel's send buffer in bytes. By default it grows to megabytes for a slow reader, which would then read
/// outdated lines.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Maximum number of lines from a member per pause, counted from the first of them. 5,000 lines per second are more
/// than anybody reads, and each is copied to all members of the room.
const MAX_LINES_PER_PAUSE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// No idle timeout, because people may be silent for hours. TCP keep-alive detects vanished hosts.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Service of one connection.
struct Member {
    chat: Arc<Mutex<Chat>>,
    number: u64,
    decoder: Decoder,
    /// Time of the first of the recent lines, and their number.
    recent_lines: (Instant, u32),
    error_detail: Option<FrameError>,
    /// Whether lines wait in the queue.
    has_queue: bool,
}

impl Member {
    fn enter(chat: &Arc<Mutex<Chat>>, opened: &mut Context<'_>) -> Self {
        lock(chat).enter(opened.id(), opened.handle());
        let decoder = Decoder::new(Framing::LINES, MAX_LINE_BYTES);
        let recent_lines = (Instant::now(), 0);
        Self {
            chat: Arc::clone(chat),
            number: opened.id(),
            decoder,
            recent_lines,
            error_detail: None,
            has_queue: false,
        }
    }

    /// Handles received lines; returns what to wait for.
    fn handle_lines(&mut self, chat: &mut Chat, input: &mut Input<'_>, now: Instant) -> Wait {
        if now >= self.recent_lines.0 + PAUSE {
            self.recent_lines = (now, 0);
        }
        loop {
            if self.recent_lines.1 == MAX_LINES_PER_PAUSE {
                return Wait::Deadline(self.recent_lines.0 + PAUSE);
            }
            match self.decoder.decode(input.bytes(), input.has_ended()) {
                Ok(Some(line)) => {
                    let text = printable(&input.bytes()[line.payload]);
                    input.consume(line.size);
                    self.recent_lines.1 += 1;
                    if !chat.handle(self.number, &text) {
                        return Wait::Close;
                    }
                }
                Ok(None) | Err(FrameError::Truncated { .. }) => return Wait::Input,
                Err(error) => {
                    chat.tell(self.number, &format!("goodbye: a line has {MAX_LINE_BYTES} bytes at most"));
                    self.error_detail = Some(error);
                    return Wait::Abort;
                }
            }
        }
    }
}

impl Service for Member {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let now = context.now();
        let chat = Arc::clone(&self.chat);
        let mut chat = lock(&chat);
        let wait = self.handle_lines(&mut chat, input, now);
        let wrote_all = chat.write(self.number, output);
        self.has_queue = !wrote_all;
        match wait {
            // While the queue waits for room, there is more to write.
            Wait::Input if !wrote_all => return Wait::Either,
            // The connection may stay open until the peer has read the output, but the member has left.
            Wait::Input if input.has_ended() => chat.leave(self.number),
            Wait::Close | Wait::Abort => chat.leave(self.number),
            _ => {}
        }
        wait
    }

    fn error_detail(&self) -> Option<String> {
        self.error_detail.as_ref().map(ToString::to_string)
    }

    /// While lines wait, other members may fill the queue before the next call.
    fn held_bytes(&self) -> usize {
        if self.has_queue { QUEUE_BYTES } else { 0 }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        lock(&self.chat).leave(self.number);
    }
}

/// Replaces characters that a terminal would interpret by spaces.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
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
    let chat = Arc::default();
    let server = Server::bind(config, |opened| Member::enter(&chat, opened))?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    println!("{}", server.run()?);
    Ok(())
}
