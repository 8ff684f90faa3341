//! A service that answers late: each answer at its time and none before, whatever comes when.

use super::scene::{Frames, SECOND, Scene, act, pattern};
use super::script::{Script, SocketInput, SocketOutput};
use crate::connection::{CloseReason, Limits};
use crate::service::{Delayed, Echo, Service, Wait};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(5);

fn delayed<S: Service>(service: S, limits: Limits) -> Scene<Delayed<S>> {
    Scene::new(Delayed::new(service, DELAY), Script::default(), limits)
}

/// Lets time pass until so long after the start.
fn pass_to<S: Service>(scene: &mut Scene<S>, instant: Duration) -> Option<CloseReason> {
    scene.pass(instant.saturating_sub(scene.witness.now - scene.start))
}

/// Lets time pass as a loop does, from alarm to alarm, until nothing waits any more.
fn pass_all<S: Service>(scene: &mut Scene<S>) -> Option<CloseReason> {
    for _ in 0..10_000 {
        let precise_deadline = scene.precise_deadline()?;
        if let Some(reason) = pass_to(scene, precise_deadline) {
            return Some(reason);
        }
    }
    panic!("there is always one more alarm");
}

proptest! {
    /// What has been sent at any instant is exactly what had come one delay earlier.
    #[test]
    fn each_byte_comes_back_at_its_time(parts in vec((0u64..9_000, 1usize..200), 1..40)) {
        let mut scene = delayed(Echo, Limits::default());
        prop_assert_eq!(scene.run(), None);
        let stream = pattern(parts.iter().map(|(_, count)| count).sum());
        let mut came = vec![(Duration::ZERO, 0)];
        let check = |scene: &Scene<_>, came: &[(Duration, usize)]| {
            let now = scene.witness.now - scene.start;
            let due = came.iter().rev().find(|(at, _)| *at + DELAY <= now).map_or(0, |(_, total)| *total);
            assert!(scene.socket.written == stream[..due], "{} of {due} bytes at {now:?}", scene.socket.written.len());
        };
        let mut total = 0;
        for (pause, count) in parts {
            let arrival = scene.witness.now - scene.start + Duration::from_micros(pause);
            while let Some(precise_deadline) = scene.precise_deadline().filter(|&precise_deadline| precise_deadline < arrival) {
                prop_assert_eq!(pass_to(&mut scene, precise_deadline), None);
                check(&scene, &came);
            }
            scene.socket.arrive_bytes(&stream[total..total + count]);
            total += count;
            came.push((arrival, total));
            prop_assert_eq!(pass_to(&mut scene, arrival), None);
            check(&scene, &came);
        }
        prop_assert_eq!(pass_all(&mut scene), None);
        prop_assert_eq!(&scene.socket.written, &stream);
        scene.assert_owns_no_heap();
        scene.socket.arrive(SocketInput::End);
        prop_assert_eq!(scene.run(), None, "the end is late as well");
        prop_assert_eq!(pass_all(&mut scene), Some(CloseReason::PeerClosed));
    }

    /// However narrow the buffers and however slow the peer: every frame is answered, in order, and then comes the end.
    #[test]
    fn nothing_is_lost_under_pressure(
        count in 0usize..2000, part in 1usize..300, size in 1usize..40, buffer_bytes in 40usize..200, room in 1usize..90,
    ) {
        let stream = pattern(count);
        let mut arrivals: Vec<_> = stream.chunks(part).map(|part| SocketInput::Bytes(part.to_vec())).collect();
        arrivals.push(SocketInput::End);
        let departures = [SocketOutput::Full, SocketOutput::Takes(room)].into_iter().cycle().take(400);
        let limits = Limits { buffer_bytes, turn_bytes: 100, ..Limits::without_timeouts() };
        let socket = Script::new(arrivals).taking(departures);
        let mut scene = Scene::new(Delayed::new(Frames(size), DELAY), socket, limits);
        let closed = scene.run().or_else(|| pass_all(&mut scene));
        prop_assert_eq!(closed, Some(CloseReason::PeerClosed));
        let answers: Vec<u8> = stream.chunks_exact(size).flat_map(|frame| frame.iter().rev().copied()).collect();
        prop_assert_eq!(&scene.socket.written, &answers);
    }
}

#[test]
fn who_speaks_first_speaks_late() {
    let service = act(|_, output, _| {
        output.write(b"Welcome");
        Wait::Close
    });
    let mut scene = delayed(service, Limits::default());
    assert_eq!(scene.run(), None);
    scene.socket.arrive_bytes(b"Is anybody there?");
    assert_eq!(scene.pass(DELAY.saturating_sub(Duration::from_nanos(1))), None);
    assert_eq!(scene.socket.written, b"");
    assert_eq!(scene.pass(Duration::from_nanos(1)), None);
    assert_eq!(scene.socket.written, b"Welcome");
    assert_eq!(scene.socket.shuts, 1);
}

#[test]
fn a_full_buffer_makes_the_peer_wait() {
    let mut scene = delayed(Echo, Limits { buffer_bytes: 100, ..Limits::default() });
    for part in pattern(1000).chunks(30) {
        scene.socket.arrive_bytes(part);
    }
    assert_eq!(scene.run(), None);
    assert_eq!(scene.witness.received, &pattern(100)[..], "no more than the buffer holds is read");
    assert_eq!(pass_all(&mut scene), None);
    assert_eq!(scene.socket.written, pattern(1000));
    assert_eq!(scene.witness.now - scene.start, DELAY * 10, "ten buffers full, one per delay");
    scene.assert_owns_no_heap();
}

/// Each byte would be an arrival of its own; the memory for them is bounded, and none of them is early.
#[test]
fn a_trickle_is_lumped_together() {
    let mut scene = delayed(Echo, Limits::default());
    assert_eq!(scene.run(), None);
    for byte in pattern(2000) {
        scene.socket.arrive_bytes(&[byte]);
        assert_eq!(scene.pass(Duration::from_micros(1)), None);
    }
    assert_eq!(scene.pass(DELAY.saturating_sub(Duration::from_millis(2))), None);
    assert_eq!(scene.socket.written, b"", "the first byte came one microsecond later");
    assert_eq!(scene.pass(Duration::from_micros(1)), None);
    assert_eq!(scene.socket.written, pattern(1));
    assert!(scene.precise_timers() < 600, "{} alarms", scene.precise_timers());
    assert_eq!(pass_all(&mut scene), None);
    assert_eq!(scene.socket.written, pattern(2000));
    assert!(scene.witness.now - scene.start <= DELAY * 2 + Duration::from_millis(2));
}

#[test]
fn of_two_instants_the_sooner_counts() {
    let mut next = None;
    let service = act(|input, output, now| {
        output.take(input);
        let due = *next.get_or_insert(now + SECOND);
        if due <= now {
            output.write(b"tick");
            next = Some(now + SECOND);
        }
        Wait::Deadline(due)
    });
    let mut scene = delayed(service, Limits { idle: None, first_byte: None, ..Limits::default() });
    assert_eq!(scene.run(), None);
    assert_eq!(scene.pass(DELAY), None);
    assert_eq!(scene.deadline(), Some(SECOND + DELAY), "an instant that need not be precise is not");
    scene.socket.arrive_bytes(b"now");
    assert_eq!(scene.pass(DELAY), None);
    assert_eq!((scene.precise_deadline(), scene.deadline()), (Some(DELAY * 3), None));
    assert_eq!(scene.pass(DELAY), None);
    assert_eq!(scene.socket.written, b"now");
    assert_eq!(scene.deadline(), Some(SECOND + DELAY));
    assert_eq!(scene.pass(SECOND), None);
    assert_eq!(scene.socket.written, b"nowtick");
}
