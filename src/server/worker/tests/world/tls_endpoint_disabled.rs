//! Stand-in for the TLS side of a peer or an upstream in a build without the feature `tls`: there is none.

use super::plan::TlsPlan;
use crate::server::tls_reload::ReloadableTls;
use crate::simulated_kernel::Kernel;
use crate::socket::TlsConnector;
use std::io;
use std::sync::Arc;

pub(super) fn server() -> Arc<ReloadableTls> {
    unreachable!("no world has TLS")
}

pub(super) fn connector(_is_wrong: bool) -> TlsConnector {
    unreachable!("no world has TLS")
}

/// It cannot be made.
pub(super) struct TlsEndpoint {
    pub(super) has_damaged: bool,
}

#[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with TLS")]
impl TlsEndpoint {
    pub(super) fn client(_plan: TlsPlan, _part: usize) -> Self {
        unreachable!("no world has TLS")
    }

    pub(super) fn server(_plan: TlsPlan, _part: usize) -> Self {
        unreachable!("no world has TLS")
    }

    pub(super) fn is_handshaking(&self) -> bool {
        false
    }

    pub(super) fn read(&mut self, _kernel: &mut Kernel, _endpoint: usize, _room: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    pub(super) fn write(&mut self, _kernel: &mut Kernel, _bytes: &[u8]) -> io::Result<usize> {
        Ok(0)
    }

    pub(super) fn finish(&mut self) -> bool {
        false
    }

    pub(super) fn flush(&mut self, _kernel: &mut Kernel, _endpoint: usize) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn is_flushed(&self) -> bool {
        true
    }

    pub(super) fn is_cut(&self) -> bool {
        false
    }
}
