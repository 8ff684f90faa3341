//! Signal actions of the worker that handles signals.

use super::Worker;
use crate::event_loop::LoopContext;
use crate::server::counters;
use crate::server::handover::{self, ShutdownAction};
use crate::server::lifecycle::Lifecycle;
use crate::service::Service;
use crate::units::format_counted;
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};

impl<S: Service> Worker<'_, S> {
    pub(super) fn on_signal(&mut self, context: &mut LoopContext, signal: i32) {
        match signal {
            SIGUSR1 => counters::log(&self.shared.counters),
            SIGHUP => match &self.shared.tls {
                Some(tls) => tls.start_reload(),
                None => log::info!("SIGHUP ignored: there are no TLS files to read again"),
            },
            SIGUSR2 if self.stage <= Lifecycle::Serving => handover::begin(self.shared),
            SIGUSR2 => log::warn!("not handing over: the server is shutting down"),
            _ => self.shut_down(context),
        }
    }

    fn shut_down(&mut self, context: &mut LoopContext) {
        let action = self.shared.handover.on_shutdown_signal();
        if self.stage >= Lifecycle::Draining || action == ShutdownAction::Stop {
            return self.shared.handle.stop();
        }
        let open = format_counted(counters::open(&self.shared.counters), "connection");
        log::info!("shutting down: draining {open} (repeat the signal to exit now)");
        if action == ShutdownAction::Drain {
            self.shared.handle.drain();
            // Directly as well: a second signal can arrive before the message.
            self.drain(context);
        }
    }
}
