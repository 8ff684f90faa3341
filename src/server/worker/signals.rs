//! What the worker that hears the signals does on each of them.

use super::Worker;
use crate::event_loop::LoopContext;
use crate::server::handover::{self, SignalMeaning};
use crate::server::lifecycle::Lifecycle;
use crate::server::{ConnectionInfo, counters, tls_reload};
use crate::service::Service;
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};

impl<F, S> Worker<'_, F, S>
where
    F: Fn(&ConnectionInfo<'_>) -> S,
    S: Service,
{
    pub(super) fn on_signal(&mut self, context: &mut LoopContext, signal: i32) {
        match signal {
            SIGUSR1 => counters::log(&self.shared.counters),
            SIGHUP if self.shared.tls.is_none() => log::info!("SIGHUP ignored: there are no TLS files to read again"),
            SIGHUP => tls_reload::start(self.shared),
            SIGUSR2 if self.stage == Lifecycle::Serving => handover::begin(self.shared),
            SIGUSR2 => log::warn!("not handing over: the server is ending"),
            _ => self.end(context),
        }
    }

    fn end(&mut self, context: &mut LoopContext) {
        let ending = self.shared.handover.end();
        if self.stage >= Lifecycle::Draining || ending == SignalMeaning::AtOnce {
            return self.shared.handle.stop();
        }
        log::info!("Ending: serving what is in flight; once more ends at once");
        if ending == SignalMeaning::AsAlways {
            self.shared.handle.drain();
            // Not by the message alone: a second signal can come before it does.
            self.drain(context);
        }
    }
}
