//! A bounded queue of lines between the threads that log and the one thread that writes them.
//!
//! A blocked pipe or terminal blocks its writer. An event loop that wrote to it directly would stall all its
//! connections. Adding to the queue never waits for the output: lines that do not fit are dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum bytes of queued lines; as many again may be in the batch being written. At `-vv` a server with 100,000
/// messages per second logs about 20 MB/s: this outlasts an output that is blocked for 0.4 seconds.
const CAPACITY_BYTES: usize = 8 * 1024 * 1024;

/// A batch buffer larger than this is shrunk after it is written.
const KEPT_BYTES: usize = 64 * 1024;

/// Delay before a retry when the output is a non-blocking descriptor that is full.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// A bounded queue of log lines.
#[derive(Debug)]
pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug)]
struct QueueState {
    queued: Vec<u8>,
    /// Lines dropped since the last batch was taken.
    dropped: u64,
    /// Lines dropped since the start.
    total_dropped: u64,
    /// Whether a writer thread runs.
    has_writer: bool,
    is_writing: bool,
    /// Whether the last write failed.
    has_failed: bool,
}

impl LineQueue {
    pub(super) const fn new() -> Self {
        let state = QueueState {
            queued: Vec::new(),
            dropped: 0,
            total_dropped: 0,
            has_writer: false,
            is_writing: false,
            has_failed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds whole lines, or drops them when the queue is full. Returns false without a writer; the caller then writes
    /// them itself.
    pub(super) fn push(&self, lines: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.has_writer {
            return false;
        }
        // After a dropped line, shorter lines are dropped, too: the note about dropped lines follows the queued lines.
        if state.dropped > 0 || state.queued.len() + lines.len() > CAPACITY_BYTES {
            let count = memchr::memchr_iter(b'\n', lines).count() as u64;
            state.dropped += count;
            state.total_dropped += count;
        } else {
            state.queued.extend_from_slice(lines);
        }
        self.changed.notify_all();
        true
    }

    /// Adds lines that must not be dropped, and waits until the queue is empty. Returns none without a writer,
    /// otherwise whether the last write succeeded.
    pub(super) fn push_and_wait(&self, lines: &[u8]) -> Option<bool> {
        let mut state = self.lock();
        if !state.has_writer {
            return None;
        }
        state.queued.extend_from_slice(lines);
        self.changed.notify_all();
        let state = self.changed.wait_while(state, |state| !state.is_drained());
        Some(!state.unwrap_or_else(PoisonError::into_inner).has_failed)
    }

    /// Waits until all lines are written, at most `timeout`.
    pub(super) fn flush(&self, timeout: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), timeout, |state| !state.is_drained()));
    }

    /// Number of lines dropped since the start.
    pub(super) fn total_dropped(&self) -> u64 {
        self.lock().total_dropped
    }

    /// Declares whether [`write_all`](Self::write_all) runs on a thread.
    pub(super) fn set_writer(&self, has_writer: bool) {
        self.lock().has_writer = has_writer;
    }

    /// Writes queued lines to `out`, forever. Lines that cannot be written are lost. After dropped lines the line that
    /// `note` returns for their number is written.
    pub(super) fn write_all(&self, mut out: impl Write, note: impl Fn(u64) -> String) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.take(&mut batch);
            if dropped > 0 {
                batch.extend_from_slice(note(dropped).as_bytes());
            }
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

    /// Waits for lines and takes all of them. Returns the number of lines that were dropped after them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let waited = self.changed.wait_while(self.lock(), |state| state.queued.is_empty() && state.dropped == 0);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.queued, batch);
        state.is_writing = true;
        std::mem::take(&mut state.dropped)
    }

    /// Ignores poisoning: a panic elsewhere cannot leave the queue inconsistent.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn is_drained(&self) -> bool {
        !self.has_writer || (self.queued.is_empty() && self.dropped == 0 && !self.is_writing)
    }
}

/// Writes all of `bytes`, even if another process has made the descriptor non-blocking.
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

    /// The written bytes, and a channel that lets the write return.
    type Pending = (Vec<u8>, Sender<()>);

    /// A writer whose writes block until the test takes them.
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
        std::thread::spawn(|| queue.write_all(Blocking(sender), |dropped| format!("{dropped} dropped\n")));
        (queue, written)
    }

    #[test]
    fn full_queue_drops_and_counts_lines() {
        let (queue, written) = queue();
        assert!(queue.push(b"first\n"));
        let (first, taken) = written.recv().expect("a write");
        assert_eq!(first, b"first\n");
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let room = CAPACITY_BYTES / line.len();
        for _ in 0..room + 1234 {
            assert!(queue.push(&line), "push does not block");
        }
        assert!(queue.push(b"short\n"));
        assert_eq!(queue.total_dropped(), 1235);
        queue.flush(Duration::from_millis(1));
        drop(taken);
        // The first write failed; the next batch is written nevertheless.
        let (second, taken) = written.recv().expect("a write");
        let note = "1235 dropped\n";
        assert_eq!(second.len(), room * line.len() + note.len());
        assert!(second.ends_with(note.as_bytes()));
        queue.push(b"last\n");
        taken.send(()).expect("writer blocked in write");
        let (third, taken) = written.recv().expect("a write");
        assert_eq!(third, b"last\n", "there is room again");
        taken.send(()).expect("writer blocked in write");
        queue.flush(Duration::from_secs(60));
        assert!(queue.lock().is_drained());
    }

    #[test]
    fn push_and_wait_returns_after_the_write() {
        let (queue, written) = queue();
        let reader = std::thread::spawn(move || {
            let (text, taken) = written.recv().expect("a write");
            taken.send(()).map(|()| text)
        });
        assert_eq!(queue.push_and_wait(b"result\n"), Some(true));
        assert_eq!(reader.join().expect("no panic").ok(), Some(b"result\n".to_vec()));
        assert_eq!(queue.push_and_wait(b"unread\n"), Some(false));
        assert!(!LineQueue::new().push(b"no writer\n"));
        assert_eq!(LineQueue::new().push_and_wait(b"no writer\n"), None);
    }

    /// A writer that accepts one byte on every second call.
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
    fn non_blocking_descriptor_is_retried() {
        let mut slow = Slow(Vec::new(), false);
        assert!(write_whole(&mut slow, b"all of it").is_ok());
        assert_eq!(slow.0, b"all of it");
    }
}
