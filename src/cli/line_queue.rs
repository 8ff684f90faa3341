//! A bounded queue of lines between the threads that log and the one thread that writes them.
//!
//! A pipe or a terminal that nobody reads blocks its writer. An event loop that wrote to it would keep all its connections
//! waiting. Adding to the queue never waits for the output: what finds no room is dropped and counted.

use crate::units::format_counted;
use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many bytes of lines may wait; as many again are being written. At `-vv` a server of 100,000 messages per second logs
/// about 20 MB/s: this outlasts an output that stands still for 0.4 seconds.
const CAPACITY_BYTES: usize = 8 * 1024 * 1024;

/// A batch larger than this gives its memory back.
const KEPT_BYTES: usize = 64 * 1024;

/// How long to wait before another try when the output is a non-blocking descriptor without room.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct LineQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since the last batch was taken.
    dropped: u64,
    /// Lines dropped since the start.
    dropped_in_all: u64,
    /// There is a thread that writes.
    has_writer: bool,
    is_writing: bool,
    /// The last write failed.
    has_failed: bool,
}

impl LineQueue {
    pub(super) const fn new() -> Self {
        let state = State {
            waiting: Vec::new(),
            dropped: 0,
            dropped_in_all: 0,
            has_writer: false,
            is_writing: false,
            has_failed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds whole lines, or drops them when there is no room. False without a writer: then the caller writes them.
    pub(super) fn push(&self, lines: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.has_writer {
            return false;
        }
        // After a line was dropped, no shorter one may take its place.
        if state.dropped > 0 || state.waiting.len() + lines.len() > CAPACITY_BYTES {
            let count = memchr::memchr_iter(b'\n', lines).count() as u64;
            state.dropped += count;
            state.dropped_in_all += count;
        } else {
            state.waiting.extend_from_slice(lines);
        }
        self.changed.notify_all();
        true
    }

    /// Adds lines that must not be dropped, and waits until all lines were written. None without a writer; else whether
    /// the last write went well.
    pub(super) fn push_and_wait(&self, lines: &[u8]) -> Option<bool> {
        let mut state = self.lock();
        if !state.has_writer {
            return None;
        }
        state.waiting.extend_from_slice(lines);
        self.changed.notify_all();
        let state = self.changed.wait_while(state, |state| !state.is_settled());
        Some(!state.unwrap_or_else(PoisonError::into_inner).has_failed)
    }

    /// Waits until all lines were written, but no longer than `timeout`.
    pub(super) fn flush(&self, timeout: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), timeout, |state| !state.is_settled()));
    }

    /// How many lines were dropped.
    pub(super) fn dropped_in_all(&self) -> u64 {
        self.lock().dropped_in_all
    }

    /// From now on [`write_all`](Self::write_all) runs.
    pub(super) fn set_writer(&self, has_writer: bool) {
        self.lock().has_writer = has_writer;
    }

    /// Writes what comes to `out`, for ever. Lines that cannot be written are lost.
    pub(super) fn write_all(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            self.take(&mut batch);
            let written = write_whole(&mut out, &batch);
            let mut state = self.lock();
            state.is_writing = false;
            state.has_failed = written.is_err();
            drop(state);
            self.changed.notify_all();
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
        }
    }

    /// Waits for lines, and takes all there are; behind them, how many were dropped.
    fn take(&self, batch: &mut Vec<u8>) {
        let waited = self.changed.wait_while(self.lock(), |state| state.waiting.is_empty() && state.dropped == 0);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        state.is_writing = true;
        let dropped = std::mem::take(&mut state.dropped);
        drop(state);
        if dropped > 0 {
            let lines = format_counted(dropped, "log line");
            let _ = writeln!(batch, "warning: {lines} dropped: the log was not read fast enough");
        }
    }

    /// A panic elsewhere leaves a queue of bytes as good as it was.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_settled(&self) -> bool {
        !self.has_writer || (self.waiting.is_empty() && self.dropped == 0 && !self.is_writing)
    }
}

/// Writes all of `bytes`, to a non-blocking descriptor, too: another process may have made it so.
fn write_whole(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_DELAY),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::{CAPACITY_BYTES, LineQueue, write_whole};
    use std::io::{self, ErrorKind, Write};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// What was written, and how to let the write return.
    type Pending = (Vec<u8>, Sender<()>);

    /// Each write waits until the test takes it.
    struct Blocking(Sender<Pending>);

    impl Write for Blocking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (taken, is_taken) = channel();
            self.0.send((bytes.to_vec(), taken)).map_err(|_| ErrorKind::BrokenPipe)?;
            is_taken.recv().map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (&'static LineQueue, Receiver<Pending>) {
        let (sender, written) = channel();
        let queue: &'static LineQueue = Box::leak(Box::new(LineQueue::new()));
        queue.set_writer(true);
        std::thread::spawn(|| queue.write_all(Blocking(sender)));
        (queue, written)
    }

    #[test]
    fn lines_without_room_are_dropped_and_counted() {
        let (queue, written) = queue();
        assert!(queue.push(b"first\n"));
        let (first, taken) = written.recv().expect("a write");
        assert_eq!(first, b"first\n");
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let room = CAPACITY_BYTES / line.len();
        for _ in 0..room + 1234 {
            assert!(queue.push(&line), "nobody waits");
        }
        assert!(queue.push(b"short\n"));
        assert_eq!(queue.dropped_in_all(), 1235);
        queue.flush(Duration::from_millis(1));
        drop(taken);
        // The first write failed: the next batch is written all the same.
        let (second, taken) = written.recv().expect("a write");
        let note = "warning: 1,235 log lines dropped: the log was not read fast enough\n";
        assert_eq!(second.len(), room * line.len() + note.len());
        assert!(second.ends_with(note.as_bytes()));
        queue.push(b"last\n");
        taken.send(()).expect("the writer waits");
        let (third, taken) = written.recv().expect("a write");
        assert_eq!(third, b"last\n", "there is room again");
        taken.send(()).expect("the writer waits");
        queue.flush(Duration::from_secs(60));
        assert!(queue.lock().is_settled());
    }

    #[test]
    fn a_result_is_waited_for() {
        let (queue, written) = queue();
        let reader = std::thread::spawn(move || {
            let (text, taken) = written.recv().expect("a write");
            taken.send(()).map(|()| text)
        });
        assert_eq!(queue.push_and_wait(b"result\n"), Some(true));
        assert_eq!(reader.join().expect("no panic").ok(), Some(b"result\n".to_vec()));
        assert_eq!(queue.push_and_wait(b"for nobody\n"), Some(false));
        assert!(!LineQueue::new().push(b"no writer\n"));
        assert_eq!(LineQueue::new().push_and_wait(b"no writer\n"), None);
    }

    /// Takes a byte every other time.
    struct Slow(Vec<u8>, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.0.push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_tried_again() {
        let mut slow = Slow(Vec::new(), false);
        assert!(write_whole(&mut slow, b"all of it").is_ok());
        assert_eq!(slow.0, b"all of it");
    }
}
