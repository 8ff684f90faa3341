//! A chat server: rooms, nicknames, and a slow reader who holds up nobody.
//!
//! Run it with `cargo run --example chat`, then `nc 127.0.0.1 65434` in several terminals. Another port may be given:
//! `chat 0` takes a free one. `/nick NAME`, `/join ROOM`, `/who` and `/quit` are commands; everything else is heard by all
//! others in the room.
//!
//! Members are served by different workers, so what they share stands behind a mutex, locked once for each call. Every
//! member has a queue of what was said, and is woken when something comes into an empty one. The queue of a slow reader
//! fills up: what is said then is lost to this member, who is told how many lines that were. The speaker never waits.
//! Who reads nothing at all for a minute is cut by the write timeout of the connection.
//!
//! A member who shuts the sending half leaves, and is still sent what was said before. A last line without an end is not
//! said.

#![allow(clippy::print_stdout)]

mod rooms;

use multiconn::codec::{Decoder, FrameError, Framing};
use multiconn::error::Error;
use multiconn::escape::is_unsafe;
use multiconn::server::{ConnectionInfo, Server, ServerConfig};
use multiconn::service::{Input, Output, Service, Wait};
use multiconn::socket::Endpoint;
use rooms::{Chat, QUEUE_BYTES};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest line that is taken, in bytes, its end included: half a page. Whoever sends a longer one is closed.
const LINE_BYTES: usize = 2048;

/// The buffers of a connection, in bytes. Any line fits: in what is said, a byte becomes three at most.
const BUFFER_BYTES: usize = 16 * 1024;

/// The kernel's buffer, in bytes. Left to itself it grows to megabytes for a slow reader, who would then read what was said
/// long ago.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// How many lines a member may say before a pause of this length, counted from the first of them. 5,000 lines a second are
/// more than anybody reads, and each of them has to be given to everybody in the room.
const LINES_AT_ONCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// People may be silent for hours. Whether their machines are still there is for the kernel to find out.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One connection.
struct Member {
    chat: Arc<Mutex<Chat>>,
    number: u64,
    decoder: Decoder,
    /// When the first of the last few lines was said, and how many they are.
    said: (Instant, u32),
    error_detail: Option<FrameError>,
    /// Something waits in the queue.
    has_queue: bool,
}

impl Member {
    fn enter(chat: &Arc<Mutex<Chat>>, opened: &ConnectionInfo<'_>) -> Self {
        lock(chat).enter(opened.number, opened.waker());
        let decoder = Decoder::new(Framing::LINES, LINE_BYTES);
        let said = (Instant::now(), 0);
        Self { chat: Arc::clone(chat), number: opened.number, decoder, said, error_detail: None, has_queue: false }
    }

    /// Says what came in, and then what there is to wait for.
    fn say(&mut self, chat: &mut Chat, input: &mut Input<'_>, now: Instant) -> Wait {
        if now >= self.said.0 + PAUSE {
            self.said = (now, 0);
        }
        loop {
            if self.said.1 == LINES_AT_ONCE {
                return Wait::Deadline(self.said.0 + PAUSE);
            }
            match self.decoder.decode(input.bytes(), input.has_ended()) {
                Ok(Some(line)) => {
                    let text = shown(&input.bytes()[line.payload]);
                    input.consume(line.size);
                    self.said.1 += 1;
                    if !chat.handle(self.number, &text) {
                        return Wait::Close;
                    }
                }
                Ok(None) | Err(FrameError::Truncated { .. }) => return Wait::Input,
                Err(error) => {
                    chat.tell(self.number, &format!("goodbye: a line has {LINE_BYTES} bytes at most"));
                    self.error_detail = Some(error);
                    return Wait::Abort;
                }
            }
        }
    }
}

impl Service for Member {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, now: Instant) -> Wait {
        let chat = Arc::clone(&self.chat);
        let mut chat = lock(&chat);
        let wait = self.say(&mut chat, input, now);
        let is_all = chat.write(self.number, output);
        self.has_queue = !is_all;
        match wait {
            // While the queue waits for room, there is still something to say.
            Wait::Input if !is_all => return Wait::Either,
            // The connection may live on for a while, for the peer to take what was sent; the member has gone.
            Wait::Input if input.has_ended() => chat.leave(self.number),
            Wait::Close | Wait::Abort => chat.leave(self.number),
            _ => {}
        }
        wait
    }

    fn error_detail(&self) -> Option<String> {
        self.error_detail.as_ref().map(ToString::to_string)
    }

    /// A queue that waits may be filled by others before the next call.
    fn held_bytes(&self) -> usize {
        if self.has_queue { QUEUE_BYTES } else { 0 }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        lock(&self.chat).leave(self.number);
    }
}

/// What a terminal may show: a control character could make it do anything.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end().chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// Who is here outlives a member who panics.
fn lock(chat: &Mutex<Chat>) -> MutexGuard<'_, Chat> {
    chat.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(65434), |text| text.parse());
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
