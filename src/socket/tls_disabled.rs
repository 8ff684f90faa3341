//! Stand-in for TLS in a build without the feature `tls`: its types have no values, so no configuration can ask for TLS.

use super::byte_stream::ByteStream;
use super::stream::Stream;
use super::tls_fault::TlsFault;
use crate::error::Error;
use std::convert::Infallible;
use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::sync::Arc;

/// The maximum memory that TLS holds for one connection, in bytes.
pub const MAX_TLS_BYTES: usize = 0;

/// The source of a certificate and its key. Without the feature `tls` it cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {}

/// TLS configuration of a server. Without the feature `tls` it cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsServerOptions {}

/// TLS configuration of a client. Without the feature `tls` it cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsClientOptions {}

/// TLS of accepted streams.
#[derive(Debug)]
pub enum TlsAcceptor {}

impl TlsAcceptor {
    pub(crate) fn new(options: &TlsServerOptions) -> Result<Self, Error> {
        match *options {}
    }

    pub(crate) fn reload(&self) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn fingerprint(&self) -> Arc<str> {
        match *self {}
    }

    pub(crate) fn accept(&self, _socket: Stream) -> Result<Stream, Infallible> {
        match *self {}
    }
}

/// TLS of outgoing connections. Without the feature `tls` it cannot be made.
#[derive(Debug, Clone)]
pub enum TlsConnector {}

impl TlsConnector {
    pub(crate) fn new(options: &TlsClientOptions) -> Result<Self, Error> {
        match *options {}
    }

    pub(crate) fn connect(&self, _socket: Stream) -> Result<Stream, Infallible> {
        match *self {}
    }
}

/// TLS over a transport.
#[derive(Debug)]
pub struct TlsLayer<T> {
    never: Infallible,
    over: PhantomData<T>,
}

impl<T> TlsLayer<T> {
    pub(crate) fn socket(&self) -> &T {
        match self.never {}
    }

    pub(crate) fn socket_mut(&mut self) -> &mut T {
        match self.never {}
    }

    pub(crate) fn fault(&self) -> Option<TlsFault> {
        match self.never {}
    }
}

impl<T> ByteStream for TlsLayer<T> {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        match self.never {}
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.never {}
    }

    fn write_vectored(&mut self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.never {}
    }

    fn shut_sending(&mut self) -> io::Result<()> {
        match self.never {}
    }
}

impl<T> fmt::Display for TlsLayer<T> {
    fn fmt(&self, _out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.never {}
    }
}
