//! Framed messages: each is answered once and in order, for any splitting and any speed of the peer.

use super::harness::Harness;
use super::schedules::{Schedule, noise, output_event, play, split};
use super::services::pattern;
use crate::codec::Framing;
use crate::connection::{CloseReason, Limits};
use crate::service::{Framed, Replies, Respond, Service, Unframed, reverse, upper};
use crate::testing::{ScriptedSocket, SocketInput, SocketOutput};
use proptest::collection::vec;
use proptest::prelude::*;

const FRAMINGS: [&str; 11] =
    ["lines", "crlf", "delimiter:::", "fixed:40", "digits:3", "u8", "u16be", "u16le", "u32be", "type+u64le", "type+u8"];

fn framing(name: &str) -> Framing {
    name.parse().expect("a valid framing")
}

/// Encodes the messages as consecutive frames.
fn stream(framing: Framing, messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = |message: &Vec<u8>| {
        let envelope = framing.envelope(message, b'k').expect("the messages fit");
        [envelope.before(), message, envelope.after()].concat()
    };
    messages.iter().flat_map(framed).collect()
}

/// Numbers its answers, so that a repeated or missing answer is detected.
fn numbered() -> impl Respond {
    let mut count = 0;
    move |message: &[u8], replies: &mut Replies<'_>| {
        count += 1;
        replies.send_with(|reply| {
            reply.extend_from_slice(message);
            reply[0] = b'0' + count % 10;
        });
    }
}

/// Answers each message with one that `append` makes of it.
fn one(mut append: impl FnMut(&[u8], &mut Vec<u8>)) -> impl Respond {
    move |message: &[u8], replies: &mut Replies<'_>| replies.send_with(|reply| append(message, reply))
}

/// Answers each message with up to three, the first of which counts the messages. Together they may be larger than the
/// output.
struct Several(u8);

impl Several {
    /// The replies to message number `number`.
    fn replies(number: u8, message: &[u8]) -> impl Iterator<Item = Vec<u8>> {
        let sizes = [message.len(), 1, 2 * message.len()];
        sizes.into_iter().take(usize::from(number % 4)).map(move |size| vec![b'a' + number % 26; size])
    }
}

impl Respond for Several {
    fn respond(&mut self, message: &[u8], replies: &mut Replies<'_>) {
        self.0 += 1;
        Self::replies(self.0, message).for_each(|reply| replies.send(&reply));
    }

    fn max_reply_bytes(&self, output_bytes: usize) -> usize {
        4 * output_bytes
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_message_is_answered_once(
        kind in prop::sample::select(&FRAMINGS[..]), sizes in vec(1usize..120, 0..30),
        parts in vec((1usize..200, noise()), 1..20), ends_with_data in any::<bool>(),
        outputs in vec(output_event(), 0..60), buffer_bytes in 130usize..400, turn_bytes in 1usize..500,
    ) {
        let framing = framing(kind);
        let size = |size| if let Framing::Fixed(size) = framing { size } else { size };
        let messages: Vec<_> = sizes.into_iter().map(|count| vec![b'm'; size(count)]).collect();
        let mut answers = messages.clone();
        for (number, answer) in (1..).zip(&mut answers) {
            answer[0] = b'0' + number % 10;
        }
        let stream_in = stream(framing, &messages);
        let inputs = split(&stream_in, &parts, ends_with_data);
        let limits = Limits { buffer_bytes, turn_bytes, ..Limits::default() };
        let schedule = Schedule { stream: stream_in, inputs, outputs, limits };
        let written = play(Framed::new(framing, buffer_bytes, numbered()), schedule);
        prop_assert_eq!(written, stream(framing, &answers));
    }

    /// None, one or several replies per message, also such that one message has more replies than the output holds.
    #[test]
    fn every_message_is_given_to_the_service_once(
        kind in prop::sample::select(&["lines", "u8", "type+u32be"][..]), sizes in vec(1usize..80, 0..30),
        parts in vec((1usize..200, noise()), 1..20), ends_with_data in any::<bool>(),
        outputs in vec(output_event(), 0..60), buffer_bytes in 90usize..300, turn_bytes in 1usize..500,
    ) {
        let framing = framing(kind);
        let messages: Vec<_> = sizes.into_iter().map(|count| vec![b'm'; count]).collect();
        let answers: Vec<_> =
            (1..).zip(&messages).flat_map(|(number, message)| Several::replies(number, message)).collect();
        let stream_in = stream(framing, &messages);
        let inputs = split(&stream_in, &parts, ends_with_data);
        let limits = Limits { buffer_bytes, turn_bytes, ..Limits::default() };
        let schedule = Schedule { stream: stream_in, inputs, outputs, limits };
        prop_assert_eq!(play(Framed::new(framing, buffer_bytes, Several(0)), schedule), stream(framing, &answers));
    }

    /// Each part of the text is counted once, however little room there is.
    #[test]
    fn every_part_of_unframed_text_is_given_to_the_service_once(
        lines in vec("[a-z]{0,9}\n", 0..60), outputs in vec(output_event(), 0..60), buffer_bytes in 20usize..60,
    ) {
        let stream = lines.concat().into_bytes();
        let inputs = lines.iter().map(|line| SocketInput::Bytes(line.clone().into_bytes()));
        let inputs = inputs.chain([SocketInput::End]).collect();
        let limits = Limits { buffer_bytes, ..Limits::default() };
        let mut count = 0;
        let number = move |_: &[u8], replies: &mut Replies<'_>| {
            count += 1;
            replies.send(format!("{count}").as_bytes());
        };
        let answers = (1..=lines.len()).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
        let written = play(Unframed::new(number), Schedule { stream, inputs, outputs, limits });
        prop_assert_eq!(String::from_utf8_lossy(&written), answers);
    }

    #[test]
    fn unframed_text_is_split_between_characters(
        text in "[a-zäß€🐰\r\n]{0,80}", parts in vec((1usize..9, noise()), 1..20), outputs in vec(output_event(), 0..60),
    ) {
        let limits = Limits { buffer_bytes: 1000, ..Limits::default() };
        let inputs = split(text.as_bytes(), &parts, false);
        let schedule = Schedule { stream: text.clone().into_bytes(), inputs, outputs, limits };
        prop_assert_eq!(play(Unframed::new(one(upper)), schedule), text.to_uppercase().into_bytes());
    }
}

/// Output, close reason and error detail for a peer that sends `stream` and shuts down its sending half.
fn answer_to<S: Service>(service: S, stream: &[u8], limits: Limits) -> (Vec<u8>, CloseReason, Option<String>) {
    let mut sim =
        Harness::new(service, ScriptedSocket::new([SocketInput::Bytes(stream.to_vec()), SocketInput::End]), limits);
    let reason = sim.run().expect("the connection closes");
    (sim.socket.written.clone(), reason, sim.error_detail.clone())
}

#[test]
fn invalid_frames_close_with_an_error_detail() {
    for (kind, stream, answered, error_detail) in [
        ("lines", "one\ntwo", "eno\n", "the input ended 1 byte short of a whole frame"),
        ("fixed:4", "abcdefg", "dcba", "the input ended 1 byte short of a whole frame"),
        ("digits:5", "00003abc0000", "00003cba", "the input ended 1 byte short of a whole frame"),
        (
            "digits:5",
            "00003abc000x1",
            "00003cba",
            "the length \"000x1\" is not written in ASCII digits; example: 00042",
        ),
        ("u16be", "\0\x09abc", "", "the input ended 6 bytes short of a whole frame"),
        ("u16be", "\x01\0", "", "a frame of 258 bytes is larger than the 100 bytes allowed"),
        (
            "delimiter:ab",
            "ba.ab",
            "",
            "cannot frame the reply: the message and the delimiter after it hold an earlier ab",
        ),
    ] {
        let limits = Limits { buffer_bytes: 100, ..Limits::default() };
        let (written, reason, detail) =
            answer_to(Framed::new(framing(kind), 100, one(reverse)), stream.as_bytes(), limits);
        assert_eq!((written.as_slice(), reason), (answered.as_bytes(), CloseReason::ProtocolError), "{kind}");
        assert_eq!(detail.as_deref(), Some(error_detail), "{kind}");
    }
}

#[test]
fn an_unframeable_reply_is_a_protocol_error() {
    let limits = Limits::default();
    let longer = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.repeat(100));
    for (kind, stream) in [("fixed:3", &b"abc"[..]), ("u8", b"\x03abc"), ("lines", b"a\nb\n")] {
        let broken = |request: &[u8], reply: &mut Vec<u8>| {
            longer(request, reply);
            reply.push(b'\n');
        };
        let (written, reason, detail) =
            answer_to(Framed::new(framing(kind), 1000, one(broken)), stream, limits.clone());
        assert_eq!((written.as_slice(), reason), (&b""[..], CloseReason::ProtocolError), "{kind}");
        assert!(detail.is_some_and(|detail| detail.starts_with("cannot frame the reply: ")), "{kind}");
    }
}

#[test]
fn a_reply_larger_than_the_buffer_closes() {
    let longer = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.repeat(100));
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let (written, reason, _) = answer_to(Framed::new(Framing::LINES, 100, one(longer)), b"abc\n", limits);
    assert_eq!((written.as_slice(), reason), (&b""[..], CloseReason::ReplyTooLarge));
}

/// A service can allow more than the output holds; that is counted, and kept until the peer reads.
#[test]
fn replies_larger_than_the_output_are_sent_in_parts() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let socket =
        ScriptedSocket::new([SocketInput::Bytes([&[b'm'; 90][..], b"\n"].concat().repeat(3)), SocketInput::End]);
    let mut sim = Harness::new(Framed::new(Framing::LINES, 100, Several(1)), socket.stalled(), limits);
    assert_eq!(sim.run(), None);
    assert!(sim.observer.received.len() <= 200, "{} bytes were read", sim.observer.received.len());
    let held = sim.connection.service().expect("the service exists").held_bytes();
    assert!((274..450).contains(&held), "{held} bytes are held for replies of 274");
    // What another connection sends through a handle comes between two replies.
    assert_eq!(sim.connection.buffered_bytes()[1], 93, "the replies in the output are whole");
    sim.socket.resume();
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    let answers: Vec<_> = (2..5).flat_map(|number| Several::replies(number, &[b'm'; 90])).collect();
    assert_eq!(sim.socket.written, stream(Framing::LINES, &answers));
}

/// Whole replies within the bound are sent, and the first above it closes.
#[test]
fn too_many_replies_close() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let endless = |message: &[u8], replies: &mut Replies<'_>| (0..1000).for_each(|_| replies.send(message));
    for framed in [true, false] {
        let service: Box<dyn Service> =
            if framed { Box::new(Framed::new(Framing::LINES, 100, endless)) } else { Box::new(Unframed::new(endless)) };
        let socket = ScriptedSocket::new([SocketInput::Bytes(b"12345678\n12\n".to_vec()), SocketInput::End]).stalled();
        let mut sim = Harness::new(service, socket, limits.clone());
        assert_eq!(sim.run(), None);
        let held = sim.connection.service().expect("the service exists").held_bytes();
        assert!(held < 100, "{held} bytes are held");
        sim.socket.resume();
        assert_eq!(sim.run(), Some(CloseReason::ReplyTooLarge));
        assert_eq!(sim.socket.written, b"12345678\n".repeat(11));
    }
}

/// The end comes after the replies, wherever they are, and nothing after it.
#[test]
fn a_reply_can_close_or_fail() {
    let ending = |message: &[u8], replies: &mut Replies<'_>| {
        replies.send(message);
        match message {
            b"close" => replies.close(),
            b"fail" => replies.fail("no such word"),
            _ => return,
        }
        replies.send(b"not sent");
        replies.fail("not this");
    };
    for (word, expected, error_detail) in
        [("close", CloseReason::Completed, None), ("fail", CloseReason::ProtocolError, Some("no such word"))]
    {
        let stream = format!("one\n{word}\ntwo\n");
        for (outputs, buffer_bytes) in [(vec![], 100), (vec![SocketOutput::Full, SocketOutput::Takes(2)], 6)] {
            let limits = Limits { buffer_bytes, ..Limits::default() };
            let inputs = stream.bytes().map(|byte| SocketInput::Bytes(vec![byte])).chain([SocketInput::End]);
            let socket = ScriptedSocket::new(inputs).with_outputs(outputs);
            let mut sim = Harness::new(Framed::new(Framing::LINES, 6, ending), socket, limits);
            assert_eq!(sim.run(), Some(expected), "{word}");
            assert_eq!(String::from_utf8_lossy(&sim.socket.written), format!("one\n{word}\n"));
            assert_eq!(sim.error_detail.as_deref(), error_detail);
        }
    }
}

#[test]
fn a_reply_can_have_another_type_byte() {
    let kinds = |message: &[u8], replies: &mut Replies<'_>| {
        let kind = replies.kind();
        replies.send(message);
        replies.set_kind(b'E');
        replies.send(message);
        assert_eq!((kind, replies.kind()), if kind.is_some() { (Some(b'k'), Some(b'E')) } else { (None, None) });
    };
    for (kind, request, reply) in
        [("type+u8", &b"k\x01ak\x01b"[..], &b"k\x01aE\x01ak\x01bE\x01b"[..]), ("u8", b"\x01a", b"\x01a\x01a")]
    {
        let (written, reason, _) = answer_to(Framed::new(framing(kind), 100, kinds), request, Limits::default());
        assert_eq!((written.as_slice(), reason), (reply, CloseReason::PeerClosed), "{kind}");
    }
}

#[test]
fn until_end_is_one_message() {
    let text = "bytes 🐰".as_bytes();
    let served = |stream| answer_to(Framed::new(Framing::UntilEnd, 100, one(reverse)), stream, Limits::default());
    assert_eq!(served(text), ("🐰 setyb".as_bytes().to_vec(), CloseReason::PeerClosed, None));
    assert_eq!(served(b""), (Vec::new(), CloseReason::PeerClosed, None));
}

/// A server may hold 15,000 connections that wait for a message and 10,000 that wait for the rest of one.
#[test]
fn an_idle_connection_owns_no_heap() {
    assert!(size_of::<Framed<fn(&[u8], &mut Replies<'_>)>>() <= 56);
    assert!(size_of_val(&Framed::new(Framing::LINES, 100, one(reverse))) <= 48);
    let service = Framed::new(Framing::LINES, 1000, one(reverse));
    let mut sim = Harness::new(service, ScriptedSocket::default(), Limits::default());
    sim.socket.push_bytes(b"one\ntwo\n");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, b"eno\nowt\n");
    sim.assert_owns_no_heap();
    sim.socket.push_bytes(b"thr");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.connection.storage_bytes_of_each(), [3, 0], "only the partial message is kept");
}

#[test]
fn a_peer_that_reads_nothing_fills_one_buffer_and_one_reply() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let socket = ScriptedSocket::new(pattern(5000).chunks(50).map(|part| SocketInput::Bytes(part.to_vec()))).stalled();
    let mut sim = Harness::new(Framed::new(framing("fixed:30"), 100, one(reverse)), socket, limits);
    assert_eq!(sim.run(), None);
    assert!(sim.observer.received.len() <= 200, "{} bytes were read", sim.observer.received.len());
    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written.len(), 5000 / 30 * 30);
}

/// The memory of a blocked reply is reported, so that it can be counted.
#[test]
fn a_reply_without_room_counts_as_held_memory() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let socket =
        ScriptedSocket::new([SocketInput::Bytes([b"a".repeat(59), b"\n".to_vec()].concat().repeat(2))]).stalled();
    let mut sim = Harness::new(Framed::new(Framing::LINES, 100, one(reverse)), socket, limits);
    assert_eq!(sim.run(), None);
    let [input, output] = sim.connection.storage_bytes_of_each();
    let reply = sim.connection.service().expect("the service exists").held_bytes();
    assert!((60..200).contains(&reply), "{reply} bytes for a reply of 60");
    assert_eq!(sim.connection.buffered_bytes()[1], 60, "the reply in the output is whole");
    assert_eq!(sim.connection.held_bytes(), input + output + reply);
    sim.socket.resume();
    assert_eq!(sim.run(), None);
    assert_eq!((sim.socket.written.len(), sim.connection.held_bytes()), (120, 0));
}

/// Earlier answers are sent first.
#[test]
fn a_reply_larger_than_the_buffer_is_not_held() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let longer = |request: &[u8], reply: &mut Vec<u8>| {
        reply.extend(request.repeat(if request == b"abc" { 1000 } else { 1 }));
    };
    let socket = ScriptedSocket::new([SocketInput::Bytes(b"one\nabc\ntwo\n".to_vec())]).stalled();
    let mut sim = Harness::new(Framed::new(Framing::LINES, 100, one(longer)), socket, limits);
    assert_eq!(sim.run(), None);
    assert!(sim.connection.held_bytes() < 100, "{} bytes are held", sim.connection.held_bytes());
    sim.socket.resume();
    sim.socket.push(SocketInput::End);
    assert_eq!(sim.run(), Some(CloseReason::ReplyTooLarge));
    assert_eq!(sim.socket.written, b"one\n");
}

#[test]
fn unframed_lines_keep_their_line_ends() {
    for (text, answer) in [
        ("Hello, world", "dlrow ,olleH"),
        ("Hello, world\n", "dlrow ,olleH\n"),
        ("one\r\ntwo\nthree", "eno\r\nowt\neerht"),
        ("\n\r\n", "\n\r\n"),
        ("", ""),
    ] {
        let (written, reason, _) = answer_to(Unframed::new(one(reverse)), text.as_bytes(), Limits::default());
        assert_eq!((String::from_utf8_lossy(&written).as_ref(), reason), (answer, CloseReason::PeerClosed));
    }
    // An incomplete character at the end of input is answered as it is.
    let (written, ..) = answer_to(Unframed::new(one(reverse)), b"a\xe2\x82", Limits::default());
    assert_eq!(written, b"a\xe2\x82");
    let socket = ScriptedSocket::new([SocketInput::Bytes(b"a\xe2".to_vec())]).with_outputs([SocketOutput::Takes(1)]);
    let mut sim = Harness::new(Unframed::new(one(reverse)), socket, Limits::default());
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, b"a");
    sim.socket.push_bytes(b"\x82\xacb");
    assert_eq!(sim.run(), None);
    assert_eq!(sim.socket.written, "ab€".as_bytes());
}
