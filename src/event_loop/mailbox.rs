//! Messages from other threads; sending one wakes the loop.

#[cfg(schedules)]
#[path = "../../tests/schedules/mod.rs"]
mod schedules;

#[cfg(not(schedules))]
use super::system::Waker;
use crate::sync::{AtomicBool, Ordering, mpsc};
use mio::{Registry, Token};
#[cfg(schedules)]
use schedules::Waker;
use std::io;
use std::sync::Arc;

/// Receiving end, owned by a loop.
#[derive(Debug)]
pub(super) struct Mailbox<M> {
    queue: mpsc::Receiver<M>,
    sender: Sender<M>,
    /// Messages taken from the queue in one call of `receive`; empty between two rounds.
    batch: Vec<M>,
}

/// Sending end; any number of threads may hold one.
#[derive(Debug)]
pub struct Sender<M> {
    queue: mpsc::Sender<M>,
    wakeup: Arc<Wakeup>,
}

/// Wakes the loop, once until it receives.
#[derive(Debug)]
struct Wakeup {
    waker: Waker,
    /// The loop was woken and has not received since. Saves a system call per message of a burst.
    is_pending: AtomicBool,
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), wakeup: Arc::clone(&self.wakeup) }
    }
}

impl<M> Sender<M> {
    /// Sends `message` and wakes the loop. A message to a loop that has ended is dropped.
    pub fn send(&self, message: M) {
        if self.queue.send(message).is_err() || self.wakeup.is_pending.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.wakeup.waker.wake() {
            self.wakeup.is_pending.store(false, Ordering::Release);
            log::error!("cannot wake the event loop: {error}");
        }
    }
}

impl<M> Mailbox<M> {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self::woken_by(Waker::new(registry, token)?))
    }

    fn woken_by(waker: Waker) -> Self {
        let wakeup = Arc::new(Wakeup { waker, is_pending: AtomicBool::new(false) });
        let (sender, queue) = mpsc::channel();
        Self { queue, sender: Sender { queue: sender, wakeup }, batch: Vec::new() }
    }

    pub(super) fn sender(&self) -> Sender<M> {
        self.sender.clone()
    }

    /// Returns the messages that are queued now. Messages that arrive while these are handled wake the loop again: two
    /// loops that keep answering each other must not starve the other events.
    pub(super) fn receive(&mut self) -> impl Iterator<Item = M> {
        // Before the messages are taken: one that is sent after that wakes the loop.
        self.sender.wakeup.is_pending.swap(false, Ordering::AcqRel);
        self.batch.extend(std::iter::from_fn(|| self.queue.try_recv().ok()));
        self.batch.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use crate::event_loop::{EventLoop, Expired, Handler, Key, LoopContext, Readiness};
    use std::sync::mpsc;
    use std::time::Duration;

    const THREADS: usize = 4;
    const MESSAGES: u64 = 20_000;

    /// Expects all messages, each thread's in order.
    #[derive(Default)]
    struct Receiver {
        next: [u64; THREADS],
    }

    impl Handler for Receiver {
        type Message = (usize, u64);

        fn handle_message(&mut self, _context: &mut LoopContext, (thread, number): Self::Message) {
            assert_eq!(number, self.next[thread]);
            self.next[thread] += 1;
        }

        fn is_done(&self) -> bool {
            self.next == [MESSAGES; THREADS]
        }

        fn handle_event(&mut self, _context: &mut LoopContext, _key: Key, _readiness: Readiness) {}
        fn handle_expired(&mut self, _context: &mut LoopContext, _due: Expired) {}
        fn handle_ready(&mut self, _context: &mut LoopContext, _key: Key) {}
        fn handle_signal(&mut self, _context: &mut LoopContext, _signal: i32) {}
    }

    /// A burst takes one system call.
    #[test]
    fn a_loop_is_woken_once_until_it_receives() {
        let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("descriptors are free");
        let sender = event_loop.sender();
        for burst in [[1, 2], [3, 4]] {
            sender.send(burst[0]);
            event_loop.poll(Some(Duration::from_secs(60))).expect("the poll works");
            assert!(!event_loop.context.events.is_empty());
            sender.send(burst[1]);
            event_loop.poll(Some(Duration::ZERO)).expect("the poll works");
            assert!(event_loop.context.events.is_empty());
            assert_eq!(event_loop.mailbox.receive().collect::<Vec<_>>(), burst);
        }
    }

    /// No timer and no event wakes the loop: a message that does not would end the test by its time limit.
    #[test]
    fn each_message_of_many_threads_wakes_the_loop() {
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut event_loop = EventLoop::spinning(Duration::ZERO).expect("descriptors are free");
            for thread in 0..THREADS {
                let sender = event_loop.sender();
                std::thread::spawn(move || {
                    for number in 0..MESSAGES {
                        sender.send((thread, number));
                        // The loop falls asleep between two bursts.
                        if number % 100 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            event_loop.run(&mut Receiver::default()).expect("the loop runs");
            end.send(()).expect("the test waits");
        });
        ended.recv_timeout(Duration::from_secs(60)).expect("no message is lost");
    }
}
