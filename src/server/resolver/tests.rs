//! Tests of name resolution, with lookups that the test answers.

use super::{KEEP_ADDRESSES, KEEP_FAILURE, Lookup, MAX_CACHED, MAX_QUEUED, MAX_THREADS, Names, Resolved, Resolver};
use crate::socket::{Address, Endpoint};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any lookup of these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn address(text: &str) -> Address {
    Address::Ip(text.parse().expect("an address"))
}

/// A resolver whose lookups report the host, then wait for an answer.
struct Rig {
    resolver: Resolver,
    started: Receiver<String>,
    answers: Sender<Resolved>,
    now: Instant,
    sender: Sender<(usize, Resolved)>,
    replies: Receiver<(usize, Resolved)>,
}

impl Rig {
    fn new() -> Self {
        let (started, started_hosts) = channel();
        let (answers, taken) = channel::<Resolved>();
        let taken = Arc::new(Mutex::new(taken));
        let resolver = Resolver::with(move |host| {
            started.send(host.to_owned()).expect("the test runs");
            assert!(host != "panics", "a lookup that panics");
            taken.lock().expect("no panic").recv_timeout(PATIENCE).expect("the test answers")
        });
        let (sender, replies) = channel();
        Self { resolver, started: started_hosts, answers, now: Instant::now(), sender, replies }
    }

    fn look_up(&self, number: usize, host: &str) -> Lookup {
        let sender = self.sender.clone();
        let reply = move |resolved| drop(sender.send((number, resolved)));
        self.resolver.look_up(&Endpoint::tcp(host, 80), self.now, reply)
    }

    fn started(&self) -> String {
        self.started.recv_timeout(PATIENCE).expect("a lookup starts")
    }

    fn answer(&self, resolved: Resolved) {
        self.answers.send(resolved).expect("the resolver runs");
    }

    fn reply(&self) -> (usize, Resolved) {
        self.replies.recv_timeout(PATIENCE).expect("a reply")
    }

    fn threads(&self) -> usize {
        self.resolver.shared.names().threads
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn done(lookup: Lookup) -> Resolved {
    match lookup {
        Lookup::Done(resolved) => resolved,
        Lookup::Pending(pending) => panic!("{pending:?} has no result yet"),
    }
}

#[test]
fn addresses_and_paths_need_no_thread() {
    let rig = Rig::new();
    assert_eq!(done(rig.look_up(1, "127.0.0.1")), Ok(vec![address("127.0.0.1:80")]));
    assert_eq!(done(rig.look_up(2, "[::1]")), Ok(vec![address("[::1]:80")]));
    assert!(done(rig.look_up(3, "fe80::1")).is_err_and(|error| error.contains("link-local")));
    let path = rig.resolver.look_up(&Endpoint::unix("/run/a.sock"), rig.now, |_| ());
    assert_eq!(done(path), Ok(vec![Address::Unix("/run/a.sock".into())]));
    assert!(done(rig.look_up(4, &"a".repeat(255))).is_err_and(|error| error.contains("255 bytes")));
    assert_eq!(rig.threads(), 0);
}

#[test]
fn equal_names_are_looked_up_once_and_kept() {
    let mut rig = Rig::new();
    let waiting: Vec<_> = (0..3).map(|number| rig.look_up(number, "name")).collect();
    assert_eq!(rig.started(), "name");
    rig.answer(Ok(vec![address("[::1]:0"), address("127.0.0.1:0")]));
    let expected = Ok(vec![address("[::1]:80"), address("127.0.0.1:80")]);
    for number in 0..3 {
        assert_eq!(rig.reply(), (number, expected.clone()));
    }
    drop(waiting);
    assert_eq!(done(rig.look_up(3, "name")), expected, "kept");
    rig.now = Instant::now() + KEEP_ADDRESSES;
    let _waiting = rig.look_up(4, "name");
    assert_eq!(rig.started(), "name", "looked up again");
    rig.now = Instant::now();
    rig.answer(Err("gone".to_owned()));
    assert_eq!(rig.reply(), (4, Err("gone".to_owned())));
    assert_eq!(done(rig.look_up(5, "name")), Err("gone".to_owned()), "a failure is kept, too");
    rig.now = Instant::now() + KEEP_FAILURE;
    let _waiting = rig.look_up(6, "name");
    assert_eq!(rig.started(), "name", "for a shorter time");
    rig.answer(expected);
}

#[test]
fn slow_names_delay_others_only_when_all_threads_are_busy() {
    let rig = Rig::new();
    let mut waiting = Vec::new();
    for number in 0..MAX_THREADS {
        waiting.push(rig.look_up(number, &format!("slow {number}")));
        assert_eq!(rig.started(), format!("slow {number}"));
    }
    waiting.push(rig.look_up(MAX_THREADS, "queued"));
    assert_eq!(rig.threads(), MAX_THREADS);
    assert!(rig.started.try_recv().is_err(), "no thread is free");
    rig.answer(Ok(vec![address("127.0.0.1:0")]));
    assert_eq!(rig.started(), "queued");
    (0..MAX_THREADS).for_each(|_| rig.answer(Ok(vec![address("127.0.0.1:0")])));
    let mut replied: Vec<_> = (0..=MAX_THREADS).map(|_| rig.reply().0).collect();
    replied.sort_unstable();
    assert_eq!(replied, [0, 1, 2, 3, 4]);
}

#[test]
fn the_queue_is_bounded_and_a_cancelled_name_leaves_it() {
    let rig = Rig::new();
    let busy: Vec<_> = (0..MAX_THREADS).map(|number| rig.look_up(number, &format!("slow {number}"))).collect();
    for _ in &busy {
        rig.started();
    }
    let mut queued: Vec<_> = (0..MAX_QUEUED).map(|number| rig.look_up(number, &format!("name {number}"))).collect();
    assert!(done(rig.look_up(0, "one more")).is_err_and(|error| error.contains("1024 other names wait")));
    queued.remove(0);
    queued.push(rig.look_up(0, "one more"));
    drop((queued, busy));
    busy_names_are_all_that_remain(&rig.resolver.shared.names());
    (0..MAX_THREADS).for_each(|_| rig.answer(Err("slow".to_owned())));
    until("every thread is idle", || rig.resolver.shared.names().idle_threads == MAX_THREADS);
    let _last = rig.look_up(7, "last");
    assert_eq!(rig.started(), "last", "cancelled names are not looked up");
    rig.answer(Err("no such name".to_owned()));
    assert_eq!(rig.reply(), (7, Err("no such name".to_owned())), "cancelled lookups get no reply");
}

fn busy_names_are_all_that_remain(names: &Names) {
    assert_eq!((names.queue.len(), names.by_host.len()), (0, MAX_THREADS));
}

#[test]
fn a_panic_of_a_lookup_is_its_result() {
    let rig = Rig::new();
    let _waiting = rig.look_up(1, "panics");
    assert_eq!(rig.reply(), (1, Err("panicked: a lookup that panics".to_owned())));
    let _waiting = rig.look_up(2, "next");
    assert_eq!((rig.started(), rig.started()), ("panics".to_owned(), "next".to_owned()));
    rig.answer(Ok(vec![address("127.0.0.1:0")]));
    assert_eq!(rig.reply().0, 2);
    until("every thread goes on", || {
        let names = rig.resolver.shared.names();
        names.idle_threads == names.threads
    });
}

#[test]
fn the_number_of_kept_results_is_bounded() {
    let (mut names, now) = (Names::default(), Instant::now());
    for number in 0..MAX_CACHED + 10 {
        names.finish(format!("name {number}"), Err("unknown".to_owned()), now + Duration::from_micros(number as u64));
    }
    assert_eq!(names.by_host.len(), MAX_CACHED);
    assert!(!names.by_host.contains_key("name 9") && names.by_host.contains_key("name 10"), "the oldest go first");
    names.finish("later".to_owned(), Err("unknown".to_owned()), now + 2 * KEEP_FAILURE);
    assert_eq!(names.by_host.len(), 1, "expired results are removed");
}

#[test]
fn threads_end_with_the_resolver() {
    let rig = Rig::new();
    let waiting = rig.look_up(1, "name");
    rig.answer(Err("unknown".to_owned()));
    assert_eq!(rig.reply().0, 1);
    let shared = Arc::downgrade(&rig.resolver.shared);
    drop((waiting, rig));
    until("every thread has ended", || shared.strong_count() == 0);
}
