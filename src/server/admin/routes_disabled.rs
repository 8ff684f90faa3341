//! Stand-in for the admin pages in a build without the feature `metrics`: no listener is opened for them.

use crate::server::shared::Shared;
use crate::service::{Input, Output, Service, Wait};
use std::sync::Arc;
use std::time::Instant;

/// The service of an admin connection, of which there is none.
#[derive(Debug)]
pub(in crate::server) enum PageService {}

impl PageService {
    pub(super) fn is_answering(&self) -> bool {
        match *self {}
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match *self {}
    }
}

impl Service for PageService {
    fn serve(&mut self, _input: &mut Input<'_>, _output: &mut Output<'_>, _now: Instant) -> Wait {
        match *self {}
    }
}

pub(super) fn page_service(_shared: &Arc<Shared>) -> PageService {
    unreachable!("a configuration with admin pages is refused")
}
