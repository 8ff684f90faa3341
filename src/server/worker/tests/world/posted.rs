//! A service that another thread answers: each part of the input waits there, and comes back through the handle of the
//! connection.

use super::{MILLISECOND, SECOND};
use crate::server::worker::local_wakes::on_another_thread;
use crate::service::{Context, Handle, Input, Output, SendError, Service, Wait};
use crate::simulated_kernel::{Kernel, Script, with};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Messages on their way through the other thread.
struct Post {
    handle: Handle,
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The messages were refused because the connection has ended.
    is_refused: bool,
}

/// The service.
pub(super) struct Posted {
    post: Rc<RefCell<Post>>,
    /// Most bytes that wait for the thread.
    limit: usize,
    /// Number of the thread's script, once there is one.
    thread: Option<usize>,
}

impl Posted {
    pub(super) fn new(limit: usize, context: &mut Context<'_>) -> Self {
        let post = Post { handle: context.handle(), messages: VecDeque::new(), bytes: 0, is_refused: false };
        Self { post: Rc::new(RefCell::new(post)), limit, thread: None }
    }
}

impl Service for Posted {
    fn serve(&mut self, input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        let mut post = self.post.borrow_mut();
        let count = input.len().min(self.limit - post.bytes);
        if count > 0 {
            post.messages.push_back(input.bytes()[..count].to_vec());
            post.bytes += count;
            input.consume(count);
            with(|kernel| {
                let time = kernel.now + kernel.rng.pick(&[0, 1000, MILLISECOND, 50 * MILLISECOND]);
                match self.thread {
                    Some(thread) => kernel.run_at(time, thread),
                    None => self.thread = Some(kernel.add_script(Box::new(Thread(Rc::clone(&self.post))), time)),
                }
            });
        }
        let is_over = input.has_ended() && input.is_empty() && post.messages.is_empty();
        if is_over || post.is_refused { Wait::Input } else { Wait::Wake }
    }

    fn is_busy(&self) -> bool {
        !self.post.borrow().messages.is_empty()
    }

    fn held_bytes(&self) -> usize {
        self.post.borrow().bytes
    }
}

/// The connection has ended, or its process has died: messages that are unsent are discarded.
impl Drop for Posted {
    fn drop(&mut self) {
        self.post.borrow_mut().messages.clear();
    }
}

/// The other thread.
struct Thread(Rc<RefCell<Post>>);

impl Script for Thread {
    fn run(&mut self, kernel: &mut Kernel, number: usize) {
        let mut post = self.0.borrow_mut();
        on_another_thread(|| {
            while let Some(message) = post.messages.front() {
                match post.handle.send(message.as_slice()) {
                    Ok(()) => {}
                    Err(SendError::Full) => return kernel.run_at(kernel.now + SECOND / 5, number),
                    Err(SendError::TooLarge) => panic!("{} bytes are refused as too large", message.len()),
                    Err(SendError::Closed) => post.is_refused = true,
                }
                let message = post.messages.pop_front();
                post.bytes -= message.map_or(0, |message| message.len());
            }
            post.handle.wake();
        });
    }
}
