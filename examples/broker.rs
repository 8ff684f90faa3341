//! Publish/subscribe broker on lines: a client that sent `SUB news` receives `news text` for each `PUB news text`.
//!
//! Run `cargo run --example broker`, then `nc 127.0.0.1 65438` in several terminals. `SUB` is answered with `OK`, `PUB`
//! with `OK` and the number of subscribers that get the text. They share one buffer per text. One worker serves all
//! clients, so they share the topics without a lock. A slow subscriber delays no other: above `QUEUE_BYTES` it misses
//! texts, and `LOST number` precedes the next text that it gets.

#![allow(clippy::print_stdout)]
use multiconn::codec::Framing;
use multiconn::service::{Framed, Handle, Replies, Respond};
use multiconn::{CloseReason, Context, Endpoint, Error, Server, ServerConfig};
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};
use std::{cell::RefCell, rc::Rc, sync::Arc};

const MAX_LINE_BYTES: usize = 1024;
/// Maximum size of what waits for one subscriber, in bytes: more than a publisher sends before the others have a turn.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of topics of one client. A topic without subscribers is not kept.
const MAX_TOPICS: usize = 100;

/// The subscribers of each topic, by the numbers of their connections.
type Topics = Rc<RefCell<HashMap<String, BTreeMap<u64, Subscriber>>>>;

struct Subscriber {
    handle: Handle,
    lost: u64,
}

impl Subscriber {
    /// Sends `text`, or counts it as lost; returns whether it was sent.
    fn send(&mut self, text: &Arc<[u8]>) -> bool {
        let sent = match self.lost {
            0 => self.handle.send(Arc::clone(text)),
            lost => self.handle.send([format!("LOST {lost}\n").as_bytes(), text].concat()),
        };
        self.lost = if sent.is_ok() { 0 } else { self.lost + 1 };
        sent.is_ok()
    }
}

/// State of one connection.
struct Client {
    topics: Topics,
    handle: Handle,
    subscribed: BTreeSet<String>,
}

impl Respond for Client {
    fn respond(&mut self, line: &[u8], replies: &mut Replies<'_>) {
        let (line, mut topics) = (String::from_utf8_lossy(line), self.topics.borrow_mut());
        match line.trim_end().splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["SUB", topic] if self.subscribed.len() < MAX_TOPICS => {
                self.subscribed.insert(topic.to_owned());
                let subscriber = Subscriber { handle: self.handle.clone(), lost: 0 };
                topics.entry(topic.to_owned()).or_default().entry(self.handle.id()).or_insert(subscriber);
                replies.send(b"OK");
            }
            ["PUB", topic, text] => {
                let text = format!("{topic} {text}\n").into_bytes().into();
                let subscribers = topics.get_mut(topic).into_iter().flat_map(BTreeMap::values_mut);
                let sent: u64 = subscribers.map(|subscriber| u64::from(subscriber.send(&text))).sum();
                replies.send(format!("OK {sent}").as_bytes());
            }
            _ => replies.send(b"ERROR give PUB topic text, or SUB topic (up to 100)"),
        }
    }

    fn closed(&mut self, _reason: CloseReason) {
        for topic in std::mem::take(&mut self.subscribed) {
            if let Entry::Occupied(mut subscribers) = self.topics.borrow_mut().entry(topic) {
                subscribers.get_mut().remove(&self.handle.id());
                if subscribers.get().is_empty() {
                    subscribers.remove();
                }
            }
        }
    }

    fn held_bytes(&self) -> usize {
        2 * MAX_LINE_BYTES * self.subscribed.len()
    }
}

fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(65438, |text| text.parse().expect("a port number"));
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.workers = 1;
    config.handle_signals = true;
    config.limits.buffer_bytes = QUEUE_BYTES;
    config.limits.idle = None; // A subscriber may be silent for hours.
    let server = Server::bind_per_worker(config, |_| {
        let topics = Topics::default();
        move |context: &mut Context<'_>| {
            let client = Client { topics: Rc::clone(&topics), handle: context.handle(), subscribed: BTreeSet::new() };
            Framed::new(Framing::LINES, MAX_LINE_BYTES, client)
        }
    })?;
    println!("Listening on {}", server.addresses()[0]);
    server.run().map(drop)
}
