//! Stand-in for the admin pages in a build without the feature `metrics`. A configuration with such pages is refused.

#![expect(clippy::unused_self, reason = "the signatures of what it replaces")]

use crate::server::shared::Shared;
use crate::service::{Context, Input, Output, Service, Wait};
use std::sync::Arc;
use std::time::Instant;

/// The service of an admin connection, of which there is none.
#[derive(Debug)]
pub(in crate::server) struct PageService;

impl PageService {
    pub(super) fn is_answering(&self) -> bool {
        false
    }

    pub(super) fn waiting_since(&self) -> Option<Instant> {
        None
    }
}

impl Service for PageService {
    fn serve(&mut self, _input: &mut Input<'_>, _output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        Wait::Close
    }
}

pub(super) fn page_service(_shared: &Arc<Shared>) -> PageService {
    PageService
}
