//! Messages in frames: however they are split, however slowly the peer reads, each is answered once, in order.

use super::scene::{Scene, pattern};
use super::schedules::{Schedule, departure, noise, play, split};
use super::script::{Script, SocketInput, SocketOutput};
use crate::codec::Framing;
use crate::connection::{CloseReason, Limits};
use crate::service::{Framed, Respond, Service, Unframed, reverse, upper};
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [&str; 11] =
    ["lines", "crlf", "delimiter:::", "fixed:40", "digits:3", "u8", "u16be", "u16le", "u32be", "type+u64le", "type+u8"];

fn framing(name: &str) -> Framing {
    name.parse().expect("a framing")
}

/// The messages as frames, one behind the other.
fn stream(framing: Framing, messages: &[Vec<u8>]) -> Vec<u8> {
    let framed = |message: &Vec<u8>| {
        let envelope = framing.envelope(message, b'k').expect("messages that fit");
        [envelope.before(), message, envelope.after()].concat()
    };
    messages.iter().flat_map(framed).collect()
}

/// Numbers its answers, so that a message that is answered twice or not at all shows.
fn numbered() -> impl Respond {
    let mut count = 0;
    move |request: &[u8], reply: &mut Vec<u8>| {
        count += 1;
        reply.extend_from_slice(request);
        reply[0] = b'0' + count % 10;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_message_is_answered_once(
        kind in prop::sample::select(&KINDS[..]), sizes in vec(1usize..120, 0..30),
        parts in vec((1usize..200, noise()), 1..20), ends_with_data in any::<bool>(),
        departures in vec(departure(), 0..60), buffer_bytes in 130usize..400, turn_bytes in 1usize..500,
    ) {
        let framing = framing(kind);
        let size = |size| if let Framing::Fixed(size) = framing { size } else { size };
        let messages: Vec<_> = sizes.into_iter().map(|count| vec![b'm'; size(count)]).collect();
        let mut answers = messages.clone();
        for (number, answer) in (1..).zip(&mut answers) {
            answer[0] = b'0' + number % 10;
        }
        let stream_in = stream(framing, &messages);
        let arrivals = split(&stream_in, &parts, ends_with_data);
        let limits = Limits { buffer_bytes, turn_bytes, ..Limits::default() };
        let schedule = Schedule { stream: stream_in, arrivals, departures, limits };
        let written = play(Framed::new(framing, buffer_bytes, numbered()), schedule);
        prop_assert_eq!(written, stream(framing, &answers));
    }

    #[test]
    fn text_without_frames_stays_whole_characters(
        text in "[a-zäß€🐰\r\n]{0,80}", parts in vec((1usize..9, noise()), 1..20), departures in vec(departure(), 0..60),
    ) {
        let limits = Limits { buffer_bytes: 1000, ..Limits::default() };
        let arrivals = split(text.as_bytes(), &parts, false);
        let schedule = Schedule { stream: text.clone().into_bytes(), arrivals, departures, limits };
        prop_assert_eq!(play(Unframed::new(upper), schedule), text.to_uppercase().into_bytes());
    }
}

/// What one peer that sends `stream` and shuts its half gets, and how that ends.
fn converse<S: Service>(service: S, stream: &[u8], limits: Limits) -> (Vec<u8>, CloseReason, Option<String>) {
    let mut scene = Scene::new(service, Script::new([SocketInput::Bytes(stream.to_vec()), SocketInput::End]), limits);
    let reason = scene.run().expect("it ends");
    (scene.socket.written, reason, scene.connection.service().error_detail())
}

#[test]
fn what_is_no_frame_is_refused_with_a_word_why() {
    for (kind, stream, answered, error_detail) in [
        ("lines", "one\ntwo", "eno\n", "the input ended 1 byte short of a whole frame"),
        ("fixed:4", "abcdefg", "dcba", "the input ended 1 byte short of a whole frame"),
        ("digits:5", "00003abc0000", "00003cba", "the input ended 1 byte short of a whole frame"),
        ("digits:5", "00003abc000x1", "00003cba", "the length \"000x1\" is not written in ASCII digits, as 00042 is"),
        ("u16be", "\0\x09abc", "", "the input ended 6 bytes short of a whole frame"),
        ("u16be", "\x01\0", "", "a frame of 258 bytes is larger than the 100 bytes allowed"),
        (
            "delimiter:ab",
            "ba.ab",
            "",
            "no frame for the reply: the message and the delimiter after it hold an earlier ab",
        ),
    ] {
        let limits = Limits { buffer_bytes: 100, ..Limits::default() };
        let (written, reason, told) = converse(Framed::new(framing(kind), 100, reverse), stream.as_bytes(), limits);
        assert_eq!((written.as_slice(), reason), (answered.as_bytes(), CloseReason::ProtocolError), "{kind}");
        assert_eq!(told.as_deref(), Some(error_detail), "{kind}");
    }
}

#[test]
fn a_reply_that_no_frame_can_carry_is_refused() {
    let limits = Limits::default();
    let longer = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.repeat(100));
    for (kind, stream) in [("fixed:3", &b"abc"[..]), ("u8", b"\x03abc"), ("lines", b"a\nb\n")] {
        let broken = |request: &[u8], reply: &mut Vec<u8>| {
            longer(request, reply);
            reply.push(b'\n');
        };
        let (written, reason, told) = converse(Framed::new(framing(kind), 1000, broken), stream, limits.clone());
        assert_eq!((written.as_slice(), reason), (&b""[..], CloseReason::ProtocolError), "{kind}");
        assert!(told.is_some_and(|told| told.starts_with("no frame for the reply: ")), "{kind}");
    }
}

#[test]
fn a_reply_that_never_fits_ends_the_conversation() {
    let longer = |request: &[u8], reply: &mut Vec<u8>| reply.extend(request.repeat(100));
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let (written, reason, _) = converse(Framed::new(Framing::LINES, 100, longer), b"abc\n", limits);
    assert_eq!((written.as_slice(), reason), (&b""[..], CloseReason::ReplyTooLarge));
}

#[test]
fn one_message_that_ends_with_the_stream() {
    let text = "bytes 🐰".as_bytes();
    let served = |stream| converse(Framed::new(Framing::UntilEnd, 100, reverse), stream, Limits::default());
    assert_eq!(served(text), ("🐰 setyb".as_bytes().to_vec(), CloseReason::PeerClosed, None));
    assert_eq!(served(b""), (Vec::new(), CloseReason::PeerClosed, None));
}

/// 15,000 connections wait for their next message, and another 10,000 for the rest of one.
#[test]
fn an_idle_connection_owns_no_heap() {
    assert!(size_of::<Framed<fn(&[u8], &mut Vec<u8>)>>() <= 56);
    assert!(size_of_val(&Framed::new(Framing::LINES, 100, reverse)) <= 48);
    let service = Framed::new(Framing::LINES, 1000, reverse);
    let mut scene = Scene::new(service, Script::default(), Limits::default());
    scene.socket.arrive_bytes(b"one\ntwo\n");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, b"eno\nowt\n");
    scene.assert_owns_no_heap();
    scene.socket.arrive_bytes(b"thr");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.connection.storage_bytes_of_each(), [3, 0], "what has come of a message, and no more");
}

#[test]
fn a_peer_that_reads_nothing_fills_one_buffer_and_one_reply() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let socket = Script::new(pattern(5000).chunks(50).map(|part| SocketInput::Bytes(part.to_vec()))).stalled();
    let mut scene = Scene::new(Framed::new(framing("fixed:30"), 100, reverse), socket, limits);
    assert_eq!(scene.run(), None);
    assert!(scene.witness.received.len() <= 200, "{} bytes were read", scene.witness.received.len());
    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written.len(), 5000 / 30 * 30);
}

/// What a stuck reply takes is told, so that it can be counted.
#[test]
fn a_reply_that_finds_no_room_is_held() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let socket = Script::new([SocketInput::Bytes([b"a".repeat(59), b"\n".to_vec()].concat().repeat(2))]).stalled();
    let mut scene = Scene::new(Framed::new(Framing::LINES, 100, reverse), socket, limits);
    assert_eq!(scene.run(), None);
    let [input, output] = scene.connection.storage_bytes_of_each();
    let reply = scene.connection.service().held_bytes();
    assert!((60..100).contains(&reply), "{reply} bytes for a reply of 60");
    assert_eq!(scene.connection.held_bytes(), input + output + reply);
    scene.socket.stalled = false;
    assert_eq!(scene.run(), None);
    assert_eq!((scene.socket.written.len(), scene.connection.held_bytes()), (120, 0));
}

/// What was answered before is sent first.
#[test]
fn a_reply_that_never_fits_is_not_held() {
    let limits = Limits { buffer_bytes: 100, ..Limits::default() };
    let longer = |request: &[u8], reply: &mut Vec<u8>| {
        reply.extend(request.repeat(if request == b"abc" { 1000 } else { 1 }));
    };
    let socket = Script::new([SocketInput::Bytes(b"one\nabc\ntwo\n".to_vec())]).stalled();
    let mut scene = Scene::new(Framed::new(Framing::LINES, 100, longer), socket, limits);
    assert_eq!(scene.run(), None);
    assert!(scene.connection.held_bytes() < 100, "{} bytes are held", scene.connection.held_bytes());
    scene.socket.stalled = false;
    scene.socket.arrive(SocketInput::End);
    assert_eq!(scene.run(), Some(CloseReason::ReplyTooLarge));
    assert_eq!(scene.socket.written, b"one\n");
}

#[test]
fn lines_keep_their_ends_where_there_are_no_frames() {
    for (text, answer) in [
        ("Hello, world", "dlrow ,olleH"),
        ("Hello, world\n", "dlrow ,olleH\n"),
        ("one\r\ntwo\nthree", "eno\r\nowt\neerht"),
        ("\n\r\n", "\n\r\n"),
        ("", ""),
    ] {
        let (written, reason, _) = converse(Unframed::new(reverse), text.as_bytes(), Limits::default());
        assert_eq!((String::from_utf8_lossy(&written).as_ref(), reason), (answer, CloseReason::PeerClosed));
    }
    // A character whose rest never comes is answered at the end, as it is.
    let (written, ..) = converse(Unframed::new(reverse), b"a\xe2\x82", Limits::default());
    assert_eq!(written, b"a\xe2\x82");
    let socket = Script::new([SocketInput::Bytes(b"a\xe2".to_vec())]).taking([SocketOutput::Takes(1)]);
    let mut scene = Scene::new(Unframed::new(reverse), socket, Limits::default());
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, b"a");
    scene.socket.arrive_bytes(b"\x82\xacb");
    assert_eq!(scene.run(), None);
    assert_eq!(scene.socket.written, "ab€".as_bytes());
}
