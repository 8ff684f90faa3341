//! State that few connections need. It is on the heap, so that the others do not hold space for it.

use crate::moment::Moment;
use crate::service::{Handle, HandleSlot};

/// Place of the [`RareState`] of a connection. It takes one word.
#[derive(Debug, Default)]
pub(super) struct Rare(Option<Box<RareState>>);

/// State of a connection whose service has a handle or waits for an instant, or whose output waits, now or earlier.
#[derive(Debug)]
pub(super) struct RareState {
    /// None until the service asks for it.
    pub(super) handle: Option<Handle>,
    /// The handle holds bytes to send, or the request to close after them.
    pub(super) sends_due: bool,
    /// The instant that the service named last.
    pub(super) service: Moment,
    /// Since when none of the waiting output was delivered; `NEVER` if none waits. Output waits here or, while the
    /// connection lingers, in the kernel.
    pub(super) blocked: Moment,
    /// Number of checks without progress since output was last delivered.
    pub(super) checks: u8,
    /// Lower half of the byte count that the peer's system had acknowledged at the last check. Only changes matter, and
    /// those show in it.
    pub(super) acknowledged: u32,
}

/// State of a connection that needs none.
static NONE: RareState = RareState::new();

impl Rare {
    /// The state, or its defaults.
    #[inline]
    pub(super) fn get(&self) -> &RareState {
        self.0.as_deref().unwrap_or(&NONE)
    }

    /// The state, if it was needed before.
    #[inline]
    pub(super) fn existing(&mut self) -> Option<&mut RareState> {
        self.0.as_deref_mut()
    }

    /// The state, from now on on the heap.
    pub(super) fn needed(&mut self) -> &mut RareState {
        self.0.get_or_insert_with(|| Box::new(RareState::new()))
    }
}

impl RareState {
    const fn new() -> Self {
        let (service, blocked) = (Moment::NEVER, Moment::NEVER);
        Self { handle: None, sends_due: false, service, blocked, checks: 0, acknowledged: 0 }
    }

    /// Whether output waits.
    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked != Moment::NEVER
    }
}

impl HandleSlot for Rare {
    fn handle(&mut self) -> &mut Option<Handle> {
        &mut self.needed().handle
    }
}
