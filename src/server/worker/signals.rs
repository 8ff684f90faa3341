//! What the worker that hears the signals does on each of them.

use super::Worker;
use crate::event_loop::Agenda;
use crate::server::handover::{self, Ending};
use crate::server::stage::Stage;
use crate::server::{Opened, counters, tls_reload};
use crate::service::Service;
use signal_hook::consts::{SIGHUP, SIGUSR1, SIGUSR2};

impl<F, S> Worker<'_, F, S>
where
    F: Fn(&Opened<'_>) -> S,
    S: Service,
{
    pub(super) fn obey(&mut self, agenda: &mut Agenda, signal: i32) {
        match signal {
            SIGUSR1 => counters::log(&self.shared.counters),
            SIGHUP if self.shared.tls.is_none() => log::info!("SIGHUP ignored: there are no TLS files to read again"),
            SIGHUP => tls_reload::start(self.shared),
            SIGUSR2 if self.stage == Stage::Serving => handover::begin(self.shared),
            SIGUSR2 => log::warn!("not handing over: the server is ending"),
            _ => self.end(agenda),
        }
    }

    fn end(&mut self, agenda: &mut Agenda) {
        let ending = self.shared.hand_over.end();
        if self.stage >= Stage::Draining || ending == Ending::AtOnce {
            return self.shared.handle.stop();
        }
        log::info!("Ending: serving what is in flight; once more ends at once");
        if ending == Ending::AsAlways {
            self.shared.handle.drain();
            // Not by the message alone: a second signal can come before it does.
            self.drain(agenda);
        }
    }
}
