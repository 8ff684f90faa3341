//! The output of a child, line by line, readable while it is written.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// The lines of one stream. A thread collects them, so that the child never blocks on a full pipe.
#[derive(Debug)]
pub(super) struct Transcript {
    shared: Arc<(Mutex<Lines>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Transcript {
    pub(super) fn of(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Lines>, Condvar)>::default();
        let theirs = Arc::clone(&shared);
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                theirs.0.lock().expect("no reader panics").lines.push(text);
                theirs.1.notify_all();
                line.clear();
            }
            theirs.0.lock().expect("no reader panics").ended = true;
            theirs.1.notify_all();
        });
        Self { shared, reader: Some(reader) }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.shared.0.lock().expect("no reader panics")
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits up to `limit` for a line for which `wanted` returns true, past or future.
    pub(super) fn await_line(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut guard = self.lock();
        loop {
            if let Some(line) = guard.lines[seen..].iter().find(|line| wanted(line)) {
                return Ok(line.clone());
            }
            seen = guard.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if guard.ended || left.is_zero() {
                let why = if guard.ended { "the stream ended" } else { "the time was up" };
                return Err(format!("{why} after {:#?}", guard.lines));
            }
            guard = self.shared.1.wait_timeout(guard, left).expect("no reader panics").0;
        }
    }

    /// All lines of a child that has exited: its stream ends as well.
    pub(super) fn finish(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no reader panics");
        }
        self.lines()
    }
}
