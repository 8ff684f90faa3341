//! Handovers: new processes on the same listeners, of which some fail, and the end of the server.
//!
//! Played here is what a simulation has no descriptors and processes for: the start of the new process, the passing of
//! the listeners, and the thread that waits. The channel, the states of both processes and the decisions are real.

use super::plan::{Ending, Plan};
use super::record::{ProcessRecord, Records};
use super::{Nanos, Running, new_loops, new_shared, start_worker};
use crate::event_loop::EventLoop;
use crate::server::handover::{self, Handover};
use crate::server::lifecycle::Lifecycle;
use crate::server::message::{Message, ServerHandle};
use crate::server::shared::Shared;
use crate::simulated_kernel::{Poll, SimulatedListener, instant, with};
use crate::socket::{ChildAnswer, FdSender, ParentProcess};
use signal_hook::consts::SIGTERM;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Limit for reading what has been written to the channel, in real time. It expires only if nothing was written.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the operator of the server, or the thread of a handover, does at an instant.
#[derive(Debug, Clone, Copy)]
enum Act {
    Begin(usize),
    /// The thread starts the new process.
    Launch(usize),
    /// The thread reads the answer of the new process.
    ReadAnswer(usize),
    TimeOut(usize),
    /// The new process fails.
    Fail(usize),
    /// The new process is told to end.
    EndNew(usize),
    /// The thread kills a new process that was aborted, unless it has exited.
    Kill(usize),
    /// The thread of a handover drains its process.
    Drain(usize),
    /// The old process of a handover dies.
    Die(usize),
    /// The server is told to end.
    End,
}

/// A handover in progress.
struct Attempt {
    number: usize,
    old: usize,
    fd_sender: Arc<FdSender>,
    /// The end of the channel for the new process, until that starts.
    child_end: Option<OwnedFd>,
    /// The new process will be killed.
    is_aborted: bool,
}

/// A worker of a new process that is not ready.
struct Starting {
    process: usize,
    number: usize,
    event_loop: EventLoop<Message>,
    listener: SimulatedListener,
}

/// Workers by the number of their loop.
pub(super) type Workers<'a> = Vec<Option<Running<'a>>>;

/// The operator of a server with handovers. It has a loop of its own in the kernel, which only sleeps.
pub(super) struct Operator<'a> {
    plan: Rc<Plan>,
    records: Records,
    /// What the workers of each process share. Attempt `n` starts process `n + 1`.
    processes: &'a [OnceCell<Arc<Shared>>],
    number: usize,
    _poll: Poll,
    acts: Vec<(Nanos, Act)>,
    attempt: Option<Attempt>,
    /// A process that starts, and will serve in the place of its old one, which has died.
    orphan: Option<usize>,
    starting: BTreeMap<usize, Starting>,
    /// The newest process that has reported that it accepts.
    ready: Option<usize>,
    /// A signal to end was sent to this process.
    signalled: Option<usize>,
    has_ended: bool,
}

impl<'a> Operator<'a> {
    /// Adds its loop behind those of the first process. None if there is no handover.
    pub(super) fn new(plan: &Rc<Plan>, records: &Records, processes: &'a [OnceCell<Arc<Shared>>]) -> Option<Self> {
        let begins = plan.handovers.iter().enumerate().map(|(number, one)| (one.begins, Act::Begin(number)));
        let acts: Vec<_> = begins.chain([(plan.end_at, Act::End)]).collect();
        (!plan.handovers.is_empty()).then(|| Self {
            plan: Rc::clone(plan),
            records: Rc::clone(records),
            processes,
            _poll: Poll::new().expect("it is simulated"),
            number: with(|kernel| kernel.last_loop()),
            acts,
            attempt: None,
            orphan: None,
            starting: BTreeMap::new(),
            ready: None,
            signalled: None,
            has_ended: false,
        })
    }

    /// Whether a worker is to start.
    pub(super) fn is_starting(&self) -> bool {
        !self.starting.is_empty()
    }

    /// Takes the turn of the loop `number` if it is its own, or that of a worker that starts.
    pub(super) fn take_turn(&mut self, workers: &mut Workers<'a>, number: usize) -> bool {
        let starting = self.starting.remove(&number);
        let is_own = number == self.number || starting.is_some();
        if let Some(starting) = starting {
            self.start(workers, number, starting);
        } else if is_own {
            let now = with(|kernel| kernel.now);
            while let Some(place) = self.acts.iter().position(|(time, _)| *time <= now) {
                let (_, act) = self.acts.remove(place);
                self.act(workers, act, now);
            }
        }
        if is_own {
            self.sleep();
        }
        is_own
    }

    fn sleep(&self) {
        let next = self.acts.iter().map(|(time, _)| *time).min();
        with(|kernel| kernel.sleep(self.number, next));
    }

    fn shared(&self, process: usize) -> &'a Arc<Shared> {
        self.processes[process].get().expect("it was started")
    }

    fn act(&mut self, workers: &mut Workers<'a>, act: Act, now: Nanos) {
        let current = self.attempt.as_ref().map(|attempt| attempt.number);
        let is_starting = |number: usize| current == Some(number) || self.orphan == Some(number + 1);
        match act {
            Act::Begin(number) => self.begin(workers, number, now),
            Act::Launch(number) if current == Some(number) => self.launch(workers, now),
            Act::ReadAnswer(number) if current == Some(number) => self.read_answer(READ_TIMEOUT, now),
            Act::TimeOut(number) if current == Some(number) => self.read_answer(Duration::ZERO, now),
            Act::Fail(number) if is_starting(number) => self.fail(workers, number, now),
            Act::EndNew(number) if is_starting(number) => self.signal_new(workers, number + 1, now),
            Act::Kill(number) if current == Some(number) => self.kill(workers, number, now),
            // The handover has ended.
            Act::Launch(_) | Act::ReadAnswer(_) | Act::TimeOut(_) | Act::Fail(_) | Act::EndNew(_) | Act::Kill(_) => {}
            Act::Drain(process) => {
                self.shared(process).handle.drain();
                self.records.borrow_mut().processes[process].ended_at.get_or_insert(now);
            }
            Act::Die(process) => self.die(workers, process, now),
            Act::End => self.end(workers, now),
        }
    }

    /// SIGUSR2 arrives.
    fn begin(&mut self, workers: &Workers<'_>, number: usize, now: Nanos) {
        let old = self.records.borrow().serving;
        let serves = |running: &Running<'_>| running.process == old && running.worker.stage == Lifecycle::Serving;
        if self.attempt.is_some() || !workers.iter().flatten().any(serves) {
            return;
        }
        let (fd_sender, child_end) = FdSender::new().expect("a descriptor is free");
        let fd_sender = Arc::new(fd_sender);
        self.shared(old).handover.start(Arc::clone(&fd_sender));
        self.attempt = Some(Attempt { number, old, fd_sender, child_end: Some(child_end), is_aborted: false });
        let timeout = u64::try_from(self.plan.config.handover_timeout.as_nanos()).unwrap_or_default();
        self.acts.push((now + self.plan.handovers[number].latency, Act::Launch(number)));
        self.acts.push((now + timeout, Act::TimeOut(number)));
        self.acts.extend(self.plan.handovers[number].dies_after.map(|after| (now + after, Act::Die(old))));
    }

    /// Passes the listeners to a new process.
    fn launch(&mut self, workers: &mut Workers<'a>, now: Nanos) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| !attempt.is_aborted) else { return };
        let (number, Some(child_end)) = (attempt.number, attempt.child_end.take()) else { return };
        let listeners: Option<Vec<_>> = (0..self.plan.config.workers).map(SimulatedListener::of_queue).collect();
        let Some(listeners) = listeners else { return self.conclude(Err("a listener is closed".to_owned()), now) };
        let (process, plan) = (number + 1, &self.plan.handovers[number]);
        let first = with(|kernel| kernel.last_loop()) + 1;
        let loops = new_loops(self.plan.config.workers);
        let handle = ServerHandle { workers: loops.iter().map(EventLoop::sender).collect() };
        let parent = ParentProcess::at(child_end.into());
        let shared = new_shared(&self.plan, handle, Handover::new(None, Vec::new(), Some(parent)));
        assert!(self.processes[process].set(Arc::new(shared)).is_ok(), "it starts once");
        for (number, (event_loop, listener)) in loops.into_iter().zip(listeners).enumerate() {
            with(|kernel| kernel.sleep(first + number, Some(now + plan.ready_after[number])));
            self.starting.insert(first + number, Starting { process, number, event_loop, listener });
            workers.push(None);
            self.records.borrow_mut().loops.push(process);
        }
        self.acts.extend(plan.fails_after.map(|after| (now + after, Act::Fail(number))));
        self.acts.extend(plan.signalled_after.map(|after| (now + after, Act::EndNew(number))));
    }

    /// Starts a worker of a new process, as its thread does.
    fn start(&mut self, workers: &mut Workers<'a>, number: usize, starting: Starting) {
        let Starting { process, number: worker, event_loop, listener } = starting;
        let shared = self.shared(process);
        let is_draining = shared.process.is_draining.load(Ordering::Relaxed);
        let started = start_worker(shared, (process, worker), (event_loop, listener), &self.plan, &self.records);
        let now = with(|kernel| kernel.now);
        // It ends after its start, however late that is.
        self.records.borrow_mut().processes[process].ended_at.iter_mut().for_each(|ended_at| *ended_at = now);
        match started {
            Ok(running) => workers[number] = Some(running),
            Err(running) => {
                with(|kernel| kernel.deregister_all(number));
                drop(running);
                shared.handle.drain();
                self.records.borrow_mut().processes[process].ended_at.get_or_insert(now);
            }
        }
        let is_complete = self.starting.values().all(|other| other.process != process);
        let is_orphan = self.orphan == Some(process);
        if self.ready != Some(process) && shared.handover.owns_paths() {
            self.ready = Some(process);
            let latency = self.plan.handovers[process - 1].latency;
            self.acts.push((now + latency, Act::ReadAnswer(process - 1)));
            let mut world = self.records.borrow_mut();
            if !is_complete {
                world.violations.push(format!("process {process} takes over before all of its workers accept"));
            }
            if is_draining {
                world.violations.push(format!("process {process} takes over although it was told to end"));
            }
            let is_aborted = |attempt: &Attempt| attempt.is_aborted || self.signalled == Some(attempt.old);
            if !is_orphan && self.attempt.as_ref().is_none_or(is_aborted) {
                world.violations.push(format!("process {process} takes over although the handover was aborted"));
            }
            drop(world);
            if is_orphan {
                self.take_over_from_dead(process, now);
            }
        } else if is_orphan && is_complete {
            let text = format!("process {process} does not take over from the process that died");
            self.records.borrow_mut().violations.push(text);
        }
    }

    /// The old process of a handover dies, unless it has ended.
    fn die(&mut self, workers: &mut Workers<'a>, old: usize, now: Nanos) {
        if workers.iter().flatten().all(|running| running.process != old) {
            return;
        }
        let attempt = self.attempt.take_if(|attempt| attempt.old == old);
        let mut world = self.records.borrow_mut();
        world.processes[old].has_died = true;
        let is_last = world.serving == old;
        drop(world);
        let new = attempt.as_ref().map(|attempt| attempt.number + 1);
        let is_aborted = self.signalled == Some(old) || attempt.is_some_and(|attempt| attempt.is_aborted);
        match new {
            // It has reported that it accepts.
            Some(new) if self.ready == Some(new) => self.take_over_from_dead(new, now),
            Some(new) if !is_aborted && self.will_serve(new) => {
                self.orphan = Some(new);
                self.records.borrow_mut().accepts_from = Nanos::MAX;
            }
            _ if is_last => self.mark_no_server(),
            _ => {}
        }
        self.end_process(workers, old);
    }

    /// Whether a process will serve without its old one: it starts, and was not told to end.
    fn will_serve(&self, process: usize) -> bool {
        let is_starting = self.starting.values().any(|starting| starting.process == process);
        is_starting && self.records.borrow().processes[process].ended_at.is_none()
    }

    /// No process serves any more.
    fn mark_no_server(&mut self) {
        self.orphan = None;
        self.records.borrow_mut().is_ending = true;
    }

    /// A process serves in the place of its old one, which has died.
    fn take_over_from_dead(&mut self, process: usize, now: Nanos) {
        self.orphan = None;
        let mut world = self.records.borrow_mut();
        world.hand_over(process, now);
        world.accepts_from = now;
        world.replacements += 1;
        if self.has_ended {
            self.acts.push((now, Act::End));
        }
    }

    /// The thread of the handover reads the answer of the new process.
    fn read_answer(&mut self, timeout: Duration, now: Nanos) {
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| !attempt.is_aborted) else { return };
        match attempt.fd_sender.await_child(timeout).expect("the channel works") {
            ChildAnswer::Ready => self.conclude(Ok(4711), now),
            ChildAnswer::Late if !timeout.is_zero() => {
                self.records.borrow_mut().violations.push("the handover is not aborted".to_owned());
            }
            ChildAnswer::Closed | ChildAnswer::Late => {
                let may_exit_itself = attempt.fd_sender.abort() && self.signalled != Some(attempt.old);
                let exits_after = self.plan.handovers[attempt.number].exits_after;
                self.acts.push((now + if may_exit_itself { exits_after } else { 0 }, Act::Kill(attempt.number)));
                self.attempt.iter_mut().for_each(|attempt| attempt.is_aborted = true);
            }
        }
    }

    /// The handover ends.
    fn conclude(&mut self, new_process: Result<u32, String>, now: Nanos) {
        let Some(Attempt { old, number, .. }) = self.attempt.take() else { return };
        let mut world = self.records.borrow_mut();
        if new_process.is_ok() {
            world.hand_over(number + 1, now);
            world.completed_handovers += 1;
        } else {
            world.failed_handovers += 1;
            let counters = self.processes[number + 1].get().map_or(&[][..], |shared| &shared.counters);
            if counters.iter().any(|counters| counters.accepted.get() + counters.refused.total() > 0) {
                world.violations.push(format!("process {} has accepted, and does not take over", number + 1));
            }
        }
        if let Some(pause) = handover::conclude(self.shared(old), new_process) {
            let pause = u64::try_from(pause.as_nanos()).unwrap_or_default();
            self.acts.push((now + pause, Act::Drain(old)));
        }
        if self.has_ended {
            self.acts.push((now, Act::End));
        }
    }

    /// The process that is being started fails.
    fn fail(&mut self, workers: &mut Workers<'a>, number: usize, now: Nanos) {
        if self.ready != Some(number + 1) {
            if self.orphan.is_some() {
                self.mark_no_server();
            }
            self.end_process(workers, number + 1);
            self.acts.push((now + self.plan.handovers[number].latency, Act::ReadAnswer(number)));
        }
    }

    /// A signal to end arrives at the process that is being started, if its first worker runs already.
    fn signal_new(&mut self, workers: &mut Workers<'a>, process: usize, now: Nanos) {
        let runs = workers.iter().flatten().any(|running| running.process == process);
        if runs && self.ready != Some(process) {
            self.records.borrow_mut().processes[process].ended_at.get_or_insert(now);
            if self.orphan.is_some() {
                self.mark_no_server();
            }
            self.signal(workers, process, 1);
        }
    }

    fn kill(&mut self, workers: &mut Workers<'a>, number: usize, now: Nanos) {
        if self.processes[number + 1].get().is_some() {
            self.end_process(workers, number + 1);
        }
        self.conclude(Err("it was aborted".to_owned()), now);
    }

    /// A process that is being started ends.
    fn end_process(&mut self, workers: &mut Workers<'a>, process: usize) {
        for (number, place) in workers.iter_mut().enumerate() {
            let running = place.take_if(|running| running.process == process);
            if let Some(running) = running {
                with(|kernel| kernel.deregister_all(number));
                drop(running);
            }
        }
        self.starting.retain(|_, starting| starting.process != process);
        self.shared(process).handover.close_channel();
    }

    /// A worker of a process has ended.
    pub(super) fn on_ended(&mut self, workers: &Workers<'_>, process: usize) {
        let is_starting = self.starting.values().any(|starting| starting.process == process);
        if is_starting || workers.iter().flatten().any(|running| running.process == process) {
            return;
        }
        let handover = &self.shared(process).handover;
        if handover.is_taking_over() {
            handover.close_channel();
            let number = process - 1;
            let now = with(|kernel| kernel.now);
            self.acts.push((now + self.plan.handovers[number].latency, Act::ReadAnswer(number)));
            return self.sleep();
        }
        handover.abort();
        // With it its thread.
        let Some(Attempt { number, .. }) = self.attempt.take_if(|attempt| attempt.old == process) else { return };
        if self.ready == Some(number + 1) {
            let now = with(|kernel| kernel.now);
            self.records.borrow_mut().hand_over(number + 1, now);
            self.acts.push((now, Act::End));
            self.sleep();
        }
    }

    /// Tells the process that serves to end.
    fn end(&mut self, workers: &mut Workers<'a>, now: Nanos) {
        self.has_ended = true;
        let process = self.records.borrow().serving;
        let is_stop = self.plan.ending == Ending::Stop;
        let has_ended = |process: &ProcessRecord| process.ended_at.is_some() || process.has_died;
        if self.signalled == Some(process) || has_ended(&self.records.borrow().processes[process]) {
            return;
        }
        let mut world = self.records.borrow_mut();
        world.is_ending = true;
        // A signal aborts a handover, and the thread of that drains the process.
        if is_stop || !self.plan.ends_by_signal || self.attempt.is_none() {
            world.processes[process].ended_at = Some(now);
            world.processes[process].is_stopped = is_stop;
        }
        drop(world);
        let handle = &self.shared(process).handle;
        if self.plan.ends_by_signal {
            self.signalled = Some(process);
            self.signal(workers, process, if is_stop { 2 } else { 1 });
            // The thread sees the end of the channel.
            self.acts.extend(self.attempt.as_ref().map(|attempt| (now + 1000, Act::ReadAnswer(attempt.number))));
        } else if is_stop {
            handle.stop();
        } else {
            handle.drain();
        }
    }

    /// Signals to end arrive at a process.
    fn signal(&mut self, workers: &mut Workers<'a>, process: usize, count: usize) {
        let first = workers.iter().position(|one| one.as_ref().is_some_and(|running| running.process == process));
        let number = first.expect("one of its workers runs");
        let Some(Running { worker, event_loop, .. }) = &mut workers[number] else { return };
        with(|kernel| kernel.enter(number));
        worker.woken.enter();
        for _ in 0..count {
            event_loop.context().now = instant(with(|kernel| kernel.now));
            worker.on_signal(event_loop.context(), SIGTERM);
        }
    }
}
