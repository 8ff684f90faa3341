//! Every schedule gives the same conversation: however reads are split, writes cut short and calls interrupted, all
//! bytes come out, in order, exactly once.

use super::scene::{Frames, Scene, pattern};
use super::script::{Script, SocketInput, SocketOutput};
use crate::connection::{CloseReason, Limits};
use crate::service::{Echo, Service};
use proptest::collection::vec;
use proptest::prelude::*;

/// The longest stream, in bytes; several times the largest buffer below.
const STREAM_BYTES: usize = 3000;

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) stream: Vec<u8>,
    pub(super) arrivals: Vec<SocketInput>,
    pub(super) departures: Vec<SocketOutput>,
    pub(super) limits: Limits,
}

/// What may come before a part of the stream: nothing, an event for nothing, a signal.
pub(super) fn noise() -> impl Strategy<Value = Option<SocketInput>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(SocketInput::Nothing)), 1 => Just(Some(SocketInput::Signal))]
}

pub(super) fn departure() -> impl Strategy<Value = SocketOutput> {
    prop_oneof![4 => (1usize..400).prop_map(SocketOutput::Takes), 2 => Just(SocketOutput::Full), 1 => Just(SocketOutput::Signal)]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let parts = vec((1usize..700, noise()), 1..30);
    (0..STREAM_BYTES, parts, any::<bool>(), vec(departure(), 0..60), 1usize..600, 1usize..900).prop_map(
        |(count, parts, ends_with_data, departures, buffer_bytes, turn_bytes)| {
            let stream = pattern(count);
            let arrivals = split(&stream, &parts, ends_with_data);
            Schedule { stream, arrivals, departures, limits: Limits { buffer_bytes, turn_bytes, ..Limits::default() } }
        },
    )
}

/// The stream in `parts`, over and over, until it ends.
pub(super) fn split(stream: &[u8], parts: &[(usize, Option<SocketInput>)], ends_with_data: bool) -> Vec<SocketInput> {
    let mut arrivals = Vec::new();
    let mut rest = stream;
    for (size, noise) in parts.iter().cycle() {
        arrivals.extend(noise.clone());
        let (part, behind) = rest.split_at(rest.len().min(*size));
        if behind.is_empty() && ends_with_data && !part.is_empty() {
            arrivals.push(SocketInput::Last(part.to_vec()));
            return arrivals;
        }
        if part.is_empty() {
            break;
        }
        arrivals.push(SocketInput::Bytes(part.to_vec()));
        rest = behind;
    }
    arrivals.push(SocketInput::End);
    arrivals
}

/// Plays the schedule to its end and returns what came out.
pub(super) fn play<S: Service>(service: S, schedule: Schedule) -> Vec<u8> {
    let socket = Script::new(schedule.arrivals).taking(schedule.departures);
    let mut scene = Scene::new(service, socket, schedule.limits);
    assert_eq!(scene.run(), Some(CloseReason::PeerClosed));
    assert_eq!(scene.witness.received, schedule.stream);
    assert_eq!(scene.socket.shuts, 0, "closing the socket sends our end");
    scene.assert_owns_no_heap();
    scene.socket.written
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn echo_sends_everything_back(schedule in schedule()) {
        let stream = schedule.stream.clone();
        prop_assert_eq!(play(Echo, schedule), stream);
    }

    /// A service that copies, leaves parts of frames in its input, and waits for room.
    #[test]
    fn every_whole_frame_is_answered(schedule in schedule(), size in 1usize..300) {
        let size = size.min(schedule.limits.buffer_bytes);
        let answers: Vec<u8> = schedule.stream.chunks_exact(size).flat_map(|frame| frame.iter().rev().copied()).collect();
        prop_assert_eq!(play(Frames(size), schedule), answers);
    }
}

const SMALL: &[u8] = b"abcdefgh";

fn in_parts(stream: &[u8], size: usize) -> Vec<SocketInput> {
    stream.chunks(size).map(|part| SocketInput::Bytes(part.to_vec())).collect()
}

/// Small enough that one turn does not see the whole stream.
fn tight() -> Limits {
    Limits { buffer_bytes: 3, turn_bytes: 4, ..Limits::default() }
}

#[test]
fn blocked_and_interrupted_at_every_step() {
    for (limit, size, room) in offsets_and_sizes().filter(|&(limit, ..)| limit > 0) {
        let hindered = |arrival| [SocketInput::Signal, SocketInput::Nothing, SocketInput::Signal, arrival];
        let mut arrivals: Vec<SocketInput> = in_parts(SMALL, size).into_iter().flat_map(hindered).collect();
        arrivals.extend(hindered(SocketInput::End));
        let step = [SocketOutput::Signal, SocketOutput::Full, SocketOutput::Signal, SocketOutput::Takes(room)];
        let departures = step.into_iter().cycle().take(8 * SMALL.len()).collect();
        let limits = Limits { buffer_bytes: limit, ..tight() };
        let written = play(Echo, Schedule { stream: SMALL.to_vec(), arrivals, departures, limits });
        assert_eq!(written, SMALL, "buffers of {limit}, reads of {size}, writes of {room}");
    }
}

#[test]
fn an_end_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let stream = &SMALL[..offset];
        let mut alone = in_parts(stream, size);
        let mut behind_data = alone.clone();
        alone.push(SocketInput::End);
        if let Some(SocketInput::Bytes(last)) = behind_data.pop() {
            behind_data.push(SocketInput::Last(last));
        } else {
            behind_data.push(SocketInput::End);
        }
        for arrivals in [alone, behind_data] {
            let departures = vec![SocketOutput::Takes(room); SMALL.len()];
            let written = play(Echo, Schedule { stream: stream.to_vec(), arrivals, departures, limits: tight() });
            assert_eq!(written, stream, "an end at {offset}, reads of {size}, writes of {room}");
        }
    }
}

#[test]
fn a_reset_of_a_read_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let mut arrivals = in_parts(&SMALL[..offset], size);
        arrivals.push(SocketInput::Reset);
        let socket = Script::new(arrivals).taking(vec![SocketOutput::Takes(room); SMALL.len()]);
        let mut scene = Scene::new(Echo, socket, tight());
        assert_eq!(scene.run(), Some(CloseReason::Reset), "a reset at {offset}, reads of {size}, writes of {room}");
        assert!(SMALL[..offset].starts_with(&scene.socket.written));
        scene.assert_owns_no_heap();
    }
}

#[test]
fn a_broken_write_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let mut departures = vec![SocketOutput::Takes(1); offset];
        departures.push(SocketOutput::Broken);
        let mut arrivals = in_parts(SMALL, size);
        arrivals.push(SocketInput::End);
        let limits = Limits { buffer_bytes: room, ..tight() };
        let mut scene = Scene::new(Echo, Script::new(arrivals).taking(departures), limits);
        // Once everything was written, nothing is left that could fail.
        let expected = if offset < SMALL.len() { CloseReason::Reset } else { CloseReason::PeerClosed };
        assert_eq!(scene.run(), Some(expected), "broken at {offset}, reads of {size}, buffers of {room}");
        assert_eq!(scene.socket.written, &SMALL[..offset]);
        scene.assert_owns_no_heap();
    }
}

fn offsets_and_sizes() -> impl Iterator<Item = (usize, usize, usize)> {
    let sizes = 1..=SMALL.len();
    (0..=SMALL.len()).flat_map(move |offset| {
        sizes.clone().flat_map(move |size| (1..=SMALL.len()).map(move |room| (offset, size, room)))
    })
}
