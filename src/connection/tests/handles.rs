//! Handles of a connection: bytes sent and closes requested by them, in each phase.

use super::{CloseReason, Harness, Nothing, Phase, SECOND};
use crate::service::{Context, Handle, Host, Input, Notify, Output, SendError, Service, Wait};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the notifications of a handle, which accepts 8 bytes.
#[derive(Default)]
struct Owner(Arc<Notified>);

#[derive(Default)]
struct Notified(AtomicUsize);

impl Notify for Notified {
    fn notify(&self, key: u64) {
        assert_eq!(key, 7);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Host for Owner {
    fn new_handle(&self) -> Handle {
        Handle::new(1, 7, 8, Arc::<Notified>::clone(&self.0) as Arc<dyn Notify>)
    }
}

/// Takes its handle, and returns a wait.
struct Handled {
    wait: Wait,
    ends_output: bool,
    /// Takes the handle in this call.
    takes_handle: bool,
    handle: Option<Handle>,
}

impl Handled {
    fn new(wait: Wait) -> Self {
        Self { wait, ends_output: false, takes_handle: true, handle: None }
    }
}

impl Service for Handled {
    fn serve(&mut self, _input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        if self.takes_handle {
            self.handle = Some(context.handle());
        }
        if self.ends_output {
            output.end();
        }
        self.wait
    }
}

/// A connection that was served once, with its handle and the owner that is notified.
fn handled() -> (Harness<Handled>, Handle, Owner) {
    let owner = Owner::default();
    let mut harness = Harness::new(Handled { takes_handle: false, ..Handled::new(Wait::Wake) });
    harness.connection.service_mut().expect("a service").takes_handle = true;
    serve(&mut harness, &owner);
    let handle = harness.connection.service().and_then(|service| service.handle.clone()).expect("a handle");
    (harness, handle, owner)
}

fn serve(harness: &mut Harness<Handled>, owner: &Owner) {
    let mut owner = Owner(Arc::clone(&owner.0));
    harness.connection.serve(&mut harness.pool, &harness.limits, harness.now, &mut owner, &Nothing);
}

/// Takes the requests of the handle as a turn does.
fn take(harness: &mut Harness<Handled>) {
    harness.connection.handle_requests();
    while harness.connection.wants_sends() {
        harness.connection.queue_sends(&mut harness.pool, &harness.limits);
        if !harness.connection.wants_sends_now() {
            break;
        }
    }
}

fn reason(harness: &Harness<Handled>) -> Option<CloseReason> {
    (!harness.connection.phase.is_open()).then_some(harness.connection.reason)
}

#[test]
fn the_owner_is_notified_once_until_it_takes_the_requests() {
    let (mut harness, handle, owner) = handled();
    let notified = || owner.0.0.load(Ordering::Relaxed);
    handle.wake();
    handle.wake();
    assert_eq!(handle.send(*b"12"), Ok(()));
    assert_eq!(notified(), 1);
    take(&mut harness);
    assert!(harness.connection.wants_service());
    assert_eq!(harness.connection.writing(), b"12");
    handle.wake();
    assert_eq!(notified(), 2);
    harness.connection.end(CloseReason::Stopped);
    handle.wake();
    handle.close(CloseReason::Completed);
    assert_eq!((notified(), handle.send(*b"1")), (2, Err(SendError::Closed)));
}

#[test]
fn messages_are_sent_whole_and_in_order() {
    let (mut harness, handle, _owner) = handled();
    assert_eq!(handle.send(*b"123456789"), Err(SendError::TooLarge));
    assert_eq!(handle.send(*b"12345678"), Ok(()), "one message may be as large as the buffer");
    assert_eq!(handle.send(*b"9"), Err(SendError::Full));
    take(&mut harness);
    assert_eq!(handle.send(*b"abcdef"), Ok(()), "the first one is in the output");
    take(&mut harness);
    harness.send(5);
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"678", "no part of a message is taken");
    assert!(harness.connection.held_bytes() >= 6);
    harness.send(3);
    assert!(harness.connection.wants_sends_now());
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"abcdef");
    assert_eq!(handle.send([]), Ok(()));
}

#[test]
fn a_close_follows_the_messages() {
    let (mut harness, handle, _owner) = handled();
    handle.send(*b"12345678").expect("room");
    handle.close(CloseReason::TunnelFailed);
    handle.close(CloseReason::Idle);
    assert_eq!(handle.send(*b"9"), Err(SendError::Closed));
    take(&mut harness);
    assert_eq!((reason(&harness), harness.connection.writing()), (Some(CloseReason::TunnelFailed), &b"12345678"[..]));
    assert!(!harness.connection.wants_shut(), "the message is sent first");
    harness.send(8);
    assert!(harness.connection.wants_shut());
}

#[test]
fn a_reset_discards_the_messages() {
    let (mut harness, handle, _owner) = handled();
    handle.send(*b"12345678").expect("room");
    handle.reset(CloseReason::TunnelFailed);
    assert_eq!(handle.send(*b"9"), Err(SendError::Closed));
    harness.connection.handle_requests();
    assert_eq!(harness.connection.closed(), Some(CloseReason::TunnelFailed));
    assert!(harness.connection.is_cut() && !harness.connection.wants_sends());
}

#[test]
fn the_end_of_the_output_follows_the_messages() {
    let (mut harness, handle, owner) = handled();
    handle.send(*b"1234").expect("room");
    harness.connection.service_mut().expect("a service").ends_output = true;
    serve(&mut harness, &owner);
    assert_eq!(handle.send(*b"5"), Err(SendError::Closed));
    assert!(!harness.connection.wants_shut(), "a message is queued");
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"1234");
    harness.send(4);
    harness.shut();
    assert_eq!(harness.connection.phase, Phase::OutputShut);
}

/// The peer has read the end of the output: a message after that could not be sent.
#[test]
fn a_handle_that_is_made_after_the_end_of_the_output_sends_nothing() {
    let owner = Owner::default();
    let service = Handled { takes_handle: false, ends_output: true, ..Handled::new(Wait::Wake) };
    let mut harness = Harness::new(service);
    harness.shut();
    harness.connection.service_mut().expect("a service").takes_handle = true;
    serve(&mut harness, &owner);
    let handle = harness.connection.service().and_then(|service| service.handle.clone()).expect("a handle");
    assert_eq!(handle.send(*b"1"), Err(SendError::Closed));
}

#[test]
fn a_close_ends_a_connection_in_every_open_phase() {
    for shuts in [false, true] {
        let (mut harness, handle, owner) = handled();
        harness.connection.service_mut().expect("a service").ends_output = true;
        serve(&mut harness, &owner);
        if shuts {
            harness.shut();
        }
        handle.close(CloseReason::TunnelFailed);
        take(&mut harness);
        assert_eq!(reason(&harness), Some(CloseReason::TunnelFailed), "after the end was sent: {shuts}");
        assert_eq!(harness.connection.wants_shut(), !shuts);
    }
}

/// Otherwise the peer would take the messages that it got for all of them.
#[test]
fn a_connection_that_is_closed_with_queued_messages_is_cut() {
    let (mut harness, handle, _owner) = handled();
    handle.send(*b"1234").expect("room");
    harness.connection.close(CloseReason::Stopped);
    assert!(harness.connection.is_cut());
}

#[test]
fn a_drain_sends_what_is_queued() {
    let (mut harness, handle, owner) = handled();
    handle.send(*b"1234").expect("room");
    harness.drain();
    serve(&mut harness, &owner);
    harness.connection.handle_read_blocked();
    harness.connection.finish_if_drained(&harness.limits);
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"1234");
    harness.send(4);
    harness.connection.finish_if_drained(&harness.limits);
    assert_eq!(reason(&harness), Some(CloseReason::Drained));
    assert!(harness.connection.wants_shut());
    assert_eq!(harness.deadline(), Some(SECOND * 10));
}

#[test]
fn messages_of_a_handle_count_as_held() {
    let (mut harness, handle, _owner) = handled();
    assert_eq!(harness.connection.held_bytes(), 0);
    handle.send(*b"12345678").expect("room");
    harness.connection.handle_requests();
    assert!(harness.connection.held_bytes() >= 8);
}

/// A service that waits for output space may have the rest of a message, except when its connection is closed.
#[test]
fn a_close_does_not_wait_for_the_rest_of_a_message() {
    let (mut harness, handle, owner) = handled();
    handle.send(*b"1234").expect("room");
    take(&mut harness);
    handle.send(*b"5").expect("room");
    harness.connection.service_mut().expect("a service").wait = Wait::Writable;
    serve(&mut harness, &owner);
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"1234", "not between two parts of a message");
    handle.close(CloseReason::Completed);
    take(&mut harness);
    assert_eq!((harness.connection.writing(), reason(&harness)), (&b"12345"[..], Some(CloseReason::Completed)));
}

/// Such as one that is taken while the service is made.
#[test]
fn a_handle_that_is_older_than_the_service_sends() {
    let mut owner = Owner::default();
    let mut harness = Harness::new(Handled { takes_handle: false, ..Handled::new(Wait::Wake) });
    let handle = harness.connection.context(&harness.limits, harness.now, &mut owner, &Nothing).handle();
    assert_eq!(handle.send(*b"12"), Ok(()));
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"12");
}

#[test]
fn a_handle_that_was_used_before_the_connection_existed_is_noticed() {
    let handle = Owner::default().new_handle();
    handle.send(*b"12").expect("room");
    let mut harness = Harness::new(Handled { takes_handle: false, ..Handled::new(Wait::Wake) });
    harness.connection.set_handle(handle);
    take(&mut harness);
    assert_eq!(harness.connection.writing(), b"12");
}

/// A layer below answers with an alert, which is the last that is sent. With messages behind it the connection would be cut,
/// and the reset could destroy the alert.
#[test]
fn nothing_is_sent_after_undecodable_input() {
    let (mut harness, handle, _owner) = handled();
    handle.send(*b"1234").expect("room");
    harness.connection.handle_requests();
    harness.connection.handle_error(&ErrorKind::InvalidData.into());
    assert_eq!(handle.send(*b"5"), Err(SendError::Closed));
    assert!(!harness.connection.wants_sends() && harness.connection.wants_shut());
    harness.shut();
    assert!(!harness.connection.is_cut());
}
