//! Framed services that know their connection: the context in a reply, handles, and the close reason.

use super::Running;
use super::support::{connect, read_to_end};
use multiconn::codec::Framing;
use multiconn::connection::CloseReason;
use multiconn::service::{Framed, Handle, Replies, Respond};
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, mpsc};

/// Answers `join` with the address of the peer, and anything else with as many lines as it has bytes. In between it sends
/// lines to all members.
struct Member {
    members: Arc<Mutex<Vec<Handle>>>,
    ends: Sender<CloseReason>,
}

impl Respond for Member {
    fn respond(&mut self, message: &[u8], replies: &mut Replies<'_>) {
        match message {
            b"join" => {
                let handle = replies.context().handle();
                self.members.lock().unwrap().push(handle);
                let peer = replies.context().peer().to_string();
                replies.send(peer.as_bytes());
            }
            _ => {
                for number in 0..message.len() {
                    for member in self.members.lock().unwrap().iter() {
                        let _ = member.send(format!("sent {number}\n").into_bytes());
                    }
                    replies.send(&[b"reply ", message].concat());
                }
            }
        }
    }

    fn max_reply_bytes(&self, output_bytes: usize) -> usize {
        1000 * output_bytes
    }

    fn closed(&mut self, reason: CloseReason) {
        self.ends.send(reason).unwrap();
    }
}

#[test]
fn handles_send_between_replies() {
    let members = Arc::<Mutex<Vec<Handle>>>::default();
    let (ends, ended) = mpsc::channel();
    let server = Running::start_with(
        |config| {
            config.workers = 1;
            config.limits.buffer_bytes = 1000;
        },
        move |_| Framed::new(Framing::LINES, 1000, Member { members: Arc::clone(&members), ends: ends.clone() }),
    );
    let mut peer = connect(server.address);
    peer.write_all(b"join\n").unwrap();
    let mut reader = BufReader::new(peer.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), peer.local_addr().unwrap().to_string());
    let message = "x".repeat(300);
    let mut sender = peer.try_clone().unwrap();
    let messages = 20;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sender.write_all(format!("{message}\n").repeat(messages).as_bytes()).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let (mut replies, mut sent) = (0, 0);
        for line in reader.lines().map(Result::unwrap) {
            match line.strip_prefix("reply ") {
                Some(reply) if reply == message => replies += 1,
                _ if line.starts_with("sent ") => sent += 1,
                _ => panic!("a broken line: {line:?}"),
            }
        }
        assert_eq!(replies, messages * message.len());
        assert!(sent > 0, "nothing came through the handle");
    });
    assert_eq!(ended.recv().unwrap(), CloseReason::PeerClosed);
    let mut peer = connect(server.address);
    peer.write_all(&[b'x'; 2000]).unwrap();
    read_to_end(&mut peer);
    drop(peer);
    assert_eq!(ended.recv().unwrap(), CloseReason::ProtocolError);
    drop(server);
    assert!(ended.recv().is_err(), "each connection ends once");
}
