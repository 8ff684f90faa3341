//! Threads: every schedule of small programs over the mailbox, its wakes, handles and counters (loom).
//!
//! `scripts/schedules` runs them. A lost wake-up is a deadlock: the loop waits, and no thread is left that wakes it.
//! Orderings of atomics are part of a schedule.

#![allow(clippy::print_stdout, reason = "the numbers of schedules are printed")]

use super::{Mailbox, Sender};
use crate::counter::Counter;
use crate::service::{CloseReason, Handle, NextSend, Notify, SendError};
use loom::thread;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Threads that are interrupted more often than this find few further errors (Musuvathi and Qadeer, PLDI 2007).
const PREEMPTIONS: usize = 3;

/// How long one test may take, in seconds, unless `SCHEDULES_SECONDS` says otherwise.
const SECONDS: u64 = 3;

/// Stands for the waker of the loop: like an event of an eventfd, a wake is kept until the loop waits.
#[derive(Debug, Clone)]
pub(super) struct Waker(Arc<loom::sync::Notify>);

impl Waker {
    /// The waker of a real loop, which the tests do not use.
    pub(super) fn new(_registry: &mio::Registry, _token: mio::Token) -> io::Result<Self> {
        Ok(Self::in_model())
    }

    fn in_model() -> Self {
        Self(Arc::new(loom::sync::Notify::new()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the signature of the real one")]
    pub(super) fn wake(&self) -> io::Result<()> {
        self.0.notify();
        Ok(())
    }

    fn wait(&self) {
        self.0.wait();
    }
}

/// Tries all schedules of `program`, and prints their number.
fn explore(name: &str, program: impl Fn() + Sync + Send + 'static) {
    let seconds = std::env::var("SCHEDULES_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, start) = (Arc::clone(&count), Instant::now());
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS sets another bound.
    let preemptions = *builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_duration = Some(Duration::from_secs(seconds));
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        program();
    });
    let is_complete = start.elapsed() < Duration::from_secs(seconds);
    let (count, extent) = (count.load(Relaxed), if is_complete { "all" } else { "not all" });
    println!("schedules {name}: {count}, {extent} with up to {preemptions} preemptions");
    assert!(count > 1, "only one schedule was tried");
}

/// A mailbox and its waker.
fn mailbox<M>() -> (Mailbox<M>, Waker) {
    let waker = Waker::in_model();
    (Mailbox::woken_by(waker.clone()), waker)
}

/// The rounds of a loop, until `is_done`. Each waits for a wake, as poll(2) does.
fn run<M>(mailbox: &mut Mailbox<M>, waker: &Waker, mut handle: impl FnMut(M), mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        waker.wait();
        mailbox.receive().for_each(&mut handle);
    }
}

#[test]
fn each_message_is_received_in_order() {
    explore("mailbox", || {
        let (mut mailbox, waker) = mailbox();
        for thread in 0..2 {
            let sender = mailbox.sender();
            thread::spawn(move || (0..2).for_each(|number| sender.send((thread, number))));
        }
        let mut next = [0; 2];
        let received = std::cell::Cell::new(0);
        let handle = |(thread, number): (usize, i32)| {
            assert_eq!(number, next[thread]);
            next[thread] += 1;
            received.set(received.get() + 1);
        };
        run(&mut mailbox, &waker, handle, || received.get() == 4);
    });
}

/// A handler that answers itself: its message is received in a later round.
#[test]
fn a_message_sent_while_others_are_handled_wakes_the_loop() {
    explore("mailbox while handling", || {
        let (mut mailbox, waker) = mailbox();
        let (own, other) = (mailbox.sender(), mailbox.sender());
        thread::spawn(move || other.send(2));
        let received = std::cell::Cell::new(0);
        own.send(1);
        let handle = |number: i32| {
            received.set(received.get() + number);
            if number == 1 {
                own.send(4);
            }
        };
        run(&mut mailbox, &waker, handle, || received.get() == 7);
    });
}

/// Informs a loop, as `WorkerNotify` does from other threads.
struct Mail(Sender<u64>);

impl Notify for Mail {
    fn notify(&self, key: u64) {
        self.0.send(key);
    }
}

fn handle_of(mailbox: &Mailbox<u64>) -> Handle {
    Handle::new(1, 7, 1000, Arc::new(Mail(mailbox.sender())))
}

/// What a connection does with the requests of its handle. Returns the bytes, and why it closes.
fn serve(handle: &Handle, sent: &mut Vec<u8>) -> Option<CloseReason> {
    let requests = handle.take_requests();
    while requests.send {
        match handle.next_send(1000) {
            NextSend::Message(bytes) => sent.extend_from_slice(&bytes),
            NextSend::Close(reason) => return Some(reason),
            NextSend::Blocked | NextSend::Nothing => break,
        }
    }
    requests.reset
}

#[test]
fn what_handles_accept_is_sent_before_the_close() {
    explore("handle", || {
        let (mut mailbox, waker) = mailbox();
        let handle = handle_of(&mailbox);
        let (first, second) = (handle.clone(), handle.clone());
        let sender = thread::spawn(move || [b"a", b"b"].map(|bytes| first.send(*bytes)));
        let closer = thread::spawn(move || {
            let sent = second.send(*b"x");
            second.close(CloseReason::Idle);
            sent
        });
        let (mut sent, closed) = (Vec::new(), std::cell::Cell::new(None));
        let on_wake = |key| {
            assert_eq!(key, 7);
            closed.set(closed.get().or(serve(&handle, &mut sent)));
        };
        run(&mut mailbox, &waker, on_wake, || closed.get().is_some());
        assert_eq!(closed.get(), Some(CloseReason::Idle));
        let accepted = [sender.join().expect("it ends"), [closer.join().expect("it ends"), Ok(())]];
        assert_eq!(handle.send(*b"c"), Err(SendError::Closed));
        let of_sender: Vec<u8> = sent.iter().copied().filter(|byte| *byte != b'x').collect();
        let expected = accepted[0].iter().zip(b"ab").filter(|(result, _)| result.is_ok()).map(|(_, byte)| *byte);
        assert_eq!(of_sender, expected.collect::<Vec<_>>(), "the bytes that were accepted, in order");
        assert_eq!(sent.len() - of_sender.len(), 1, "before the close");
    });
}

/// Wakes may be merged, and none is lost: the last one is seen.
#[test]
fn the_last_wake_of_a_handle_is_seen() {
    explore("wake", || {
        let (mut mailbox, waker) = mailbox();
        let handle = handle_of(&mailbox);
        let work = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let threads = [0, 1].map(|_| {
            let (handle, work) = (handle.clone(), Arc::clone(&work));
            thread::spawn(move || {
                work.fetch_add(1, Relaxed);
                handle.wake();
            })
        });
        let seen = std::cell::Cell::new(0);
        let on_wake = |_| {
            if handle.take_requests().wake {
                seen.set(work.load(Relaxed));
            }
        };
        run(&mut mailbox, &waker, on_wake, || seen.get() == 2);
        // A wake that was merged may leave its message.
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    });
}

/// A connection that ends while its handle is used: nothing is held for it, and later sends are refused.
#[test]
fn a_handle_of_an_ended_connection_holds_nothing() {
    explore("end", || {
        let (mailbox, _waker) = mailbox();
        let handle = handle_of(&mailbox);
        let other = handle.clone();
        let sender = thread::spawn(move || {
            let _ = other.send(*b"abc");
            other.wake();
        });
        handle.end();
        sender.join().expect("it ends");
        assert_eq!((handle.held_bytes(), handle.send(*b"x")), (0, Err(SendError::Closed)));
        assert!(!handle.take_requests().send);
    });
}

/// A handle that is used before the loop knows the connection: its requests are taken once it does.
#[test]
fn requests_before_the_connection_is_known_are_kept() {
    explore("attach", || {
        let (mut mailbox, waker) = mailbox();
        let handle = Handle::detached(1, 1000, Arc::new(Mail(mailbox.sender())));
        let other = handle.clone();
        thread::spawn(move || other.send(*b"a").expect("it is open"));
        handle.attach(7);
        let mut sent = Vec::new();
        // The loop takes the requests once after it has learned of the connection, and later when it is woken.
        serve(&handle, &mut sent);
        let sent = std::cell::RefCell::new(sent);
        let on_wake = |key| {
            assert_eq!(key, 7);
            serve(&handle, &mut sent.borrow_mut());
        };
        run(&mut mailbox, &waker, on_wake, || !sent.borrow().is_empty());
        assert_eq!(sent.into_inner(), b"a");
    });
}

#[test]
fn a_counter_never_decreases_and_ends_exact() {
    explore("counter", || {
        let counter = Arc::new(Counter::default());
        let read = Arc::clone(&counter);
        let reader = thread::spawn(move || {
            let (first, second) = (read.get(), read.get());
            assert!(first <= second && second <= 6 && second.is_multiple_of(2), "{first}, then {second}");
        });
        (0..3).for_each(|_| counter.add(2));
        assert_eq!(counter.get(), 6);
        reader.join().expect("it ends");
    });
}
