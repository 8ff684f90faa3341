//! Schedules of split reads, short writes and interrupted calls: in each, all bytes come out exactly once and in order.

use super::harness::Harness;
use super::services::{ReverseFrames, pattern};
use crate::connection::{CloseReason, Limits};
use crate::service::{Echo, Service};
use crate::testing::{ScriptedSocket, SocketInput, SocketOutput};
use proptest::collection::vec;
use proptest::prelude::*;

/// Maximum length of a stream in bytes; several times the largest buffer below.
const STREAM_BYTES: usize = 3000;

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) stream: Vec<u8>,
    pub(super) inputs: Vec<SocketInput>,
    pub(super) outputs: Vec<SocketOutput>,
    pub(super) limits: Limits,
}

/// Events before a part of the stream: none, a spurious event, or a signal.
pub(super) fn noise() -> impl Strategy<Value = Option<SocketInput>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(SocketInput::Nothing)), 1 => Just(Some(SocketInput::Signal))]
}

pub(super) fn output_event() -> impl Strategy<Value = SocketOutput> {
    prop_oneof![4 => (1usize..400).prop_map(SocketOutput::Takes), 2 => Just(SocketOutput::Full), 1 => Just(SocketOutput::Signal)]
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let parts = vec((1usize..700, noise()), 1..30);
    (0..STREAM_BYTES, parts, any::<bool>(), vec(output_event(), 0..60), 1usize..600, 1usize..900).prop_map(
        |(count, parts, ends_with_data, outputs, buffer_bytes, turn_bytes)| {
            let stream = pattern(count);
            let inputs = split(&stream, &parts, ends_with_data);
            Schedule { stream, inputs, outputs, limits: Limits { buffer_bytes, turn_bytes, ..Limits::default() } }
        },
    )
}

/// Splits the stream into `parts`, repeated until the stream ends.
pub(super) fn split(stream: &[u8], parts: &[(usize, Option<SocketInput>)], ends_with_data: bool) -> Vec<SocketInput> {
    let mut inputs = Vec::new();
    let mut remaining = stream;
    for (size, noise) in parts.iter().cycle() {
        inputs.extend(noise.clone());
        let (part, following) = remaining.split_at(remaining.len().min(*size));
        if following.is_empty() && ends_with_data && !part.is_empty() {
            inputs.push(SocketInput::Last(part.to_vec()));
            return inputs;
        }
        if part.is_empty() {
            break;
        }
        inputs.push(SocketInput::Bytes(part.to_vec()));
        remaining = following;
    }
    inputs.push(SocketInput::End);
    inputs
}

/// Runs the schedule to its end and returns the bytes sent.
pub(super) fn play<S: Service>(service: S, schedule: Schedule) -> Vec<u8> {
    let socket = ScriptedSocket::new(schedule.inputs).with_outputs(schedule.outputs);
    let mut sim = Harness::new(service, socket, schedule.limits);
    assert_eq!(sim.run(), Some(CloseReason::PeerClosed));
    assert_eq!(sim.observer.received, schedule.stream);
    assert_eq!(sim.socket.shuts, 0, "closing the socket sends our end");
    sim.assert_owns_no_heap();
    sim.socket.written.clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn echo_sends_everything_back(schedule in schedule()) {
        let stream = schedule.stream.clone();
        prop_assert_eq!(play(Echo, schedule), stream);
    }

    /// `ReverseFrames` copies, leaves partial frames in its input, and waits for output space.
    #[test]
    fn every_whole_frame_is_answered(schedule in schedule(), size in 1usize..300) {
        let size = size.min(schedule.limits.buffer_bytes);
        let answers: Vec<u8> = schedule.stream.chunks_exact(size).flat_map(|frame| frame.iter().rev().copied()).collect();
        prop_assert_eq!(play(ReverseFrames(size), schedule), answers);
    }
}

const SMALL: &[u8] = b"abcdefgh";

fn in_parts(stream: &[u8], size: usize) -> Vec<SocketInput> {
    stream.chunks(size).map(|part| SocketInput::Bytes(part.to_vec())).collect()
}

/// Limits so small that one turn does not see the whole stream.
fn small_limits() -> Limits {
    Limits { buffer_bytes: 3, turn_bytes: 4, ..Limits::default() }
}

#[test]
fn blocked_and_interrupted_at_every_step() {
    for (limit, size, room) in offsets_and_sizes().filter(|&(limit, ..)| limit > 0) {
        let interrupted = |input_event| [SocketInput::Signal, SocketInput::Nothing, SocketInput::Signal, input_event];
        let mut inputs: Vec<SocketInput> = in_parts(SMALL, size).into_iter().flat_map(interrupted).collect();
        inputs.extend(interrupted(SocketInput::End));
        let step = [SocketOutput::Signal, SocketOutput::Full, SocketOutput::Signal, SocketOutput::Takes(room)];
        let outputs = step.into_iter().cycle().take(8 * SMALL.len()).collect();
        let limits = Limits { buffer_bytes: limit, ..small_limits() };
        let written = play(Echo, Schedule { stream: SMALL.to_vec(), inputs, outputs, limits });
        assert_eq!(written, SMALL, "buffers of {limit}, reads of {size}, writes of {room}");
    }
}

#[test]
fn an_end_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let stream = &SMALL[..offset];
        let mut end_event = in_parts(stream, size);
        let mut end_with_data = end_event.clone();
        end_event.push(SocketInput::End);
        if let Some(SocketInput::Bytes(last)) = end_with_data.pop() {
            end_with_data.push(SocketInput::Last(last));
        } else {
            end_with_data.push(SocketInput::End);
        }
        for inputs in [end_event, end_with_data] {
            let outputs = vec![SocketOutput::Takes(room); SMALL.len()];
            let written = play(Echo, Schedule { stream: stream.to_vec(), inputs, outputs, limits: small_limits() });
            assert_eq!(written, stream, "an end at {offset}, reads of {size}, writes of {room}");
        }
    }
}

#[test]
fn a_read_reset_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let mut inputs = in_parts(&SMALL[..offset], size);
        inputs.push(SocketInput::Reset);
        let socket = ScriptedSocket::new(inputs).with_outputs(vec![SocketOutput::Takes(room); SMALL.len()]);
        let mut sim = Harness::new(Echo, socket, small_limits());
        assert_eq!(sim.run(), Some(CloseReason::Reset), "a reset at {offset}, reads of {size}, writes of {room}");
        assert!(SMALL[..offset].starts_with(&sim.socket.written));
        sim.assert_owns_no_heap();
    }
}

#[test]
fn a_broken_write_at_every_offset() {
    for (offset, size, room) in offsets_and_sizes() {
        let mut outputs = vec![SocketOutput::Takes(1); offset];
        outputs.push(SocketOutput::Broken);
        let mut inputs = in_parts(SMALL, size);
        inputs.push(SocketInput::End);
        let limits = Limits { buffer_bytes: room, ..small_limits() };
        let mut sim = Harness::new(Echo, ScriptedSocket::new(inputs).with_outputs(outputs), limits);
        // After everything is written, no write is left to fail.
        let expected = if offset < SMALL.len() { CloseReason::Reset } else { CloseReason::PeerClosed };
        assert_eq!(sim.run(), Some(expected), "broken at {offset}, reads of {size}, buffers of {room}");
        assert_eq!(sim.socket.written, &SMALL[..offset]);
        sim.assert_owns_no_heap();
    }
}

fn offsets_and_sizes() -> impl Iterator<Item = (usize, usize, usize)> {
    let sizes = 1..=SMALL.len();
    (0..=SMALL.len()).flat_map(move |offset| {
        sizes.clone().flat_map(move |size| (1..=SMALL.len()).map(move |room| (offset, size, room)))
    })
}
