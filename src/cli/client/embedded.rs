//! Servers in the client's process, for `--embedded` and `--metrics`.

use crate::error::Error;
use crate::server::{Server, ServerConfig, ServerHandle, Summary};
use crate::service::{Context, Service};
use crate::socket::{Endpoint, Identity, TlsServerOptions};
use std::thread::JoinHandle;

/// A server on a thread of this process. Its services are boxed, as in `multiconn-server`, so that the client contains the
/// server's code once.
pub(super) struct ServerThread {
    handle: ServerHandle,
    thread: JoinHandle<Result<Summary, Error>>,
}

impl ServerThread {
    pub(super) fn start(server: Server<'static, Box<dyn Service>>) -> Result<Self, Error> {
        let handle = server.handle();
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || server.run());
        Ok(Self { handle, thread: thread.map_err(Error::system("start the server's thread"))? })
    }

    pub(super) fn end(self) -> Result<(), Error> {
        self.handle.stop();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|_| ())
    }
}

/// The server of `--embedded`.
pub(super) struct EmbeddedServer {
    pub(super) port: u16,
    thread: ServerThread,
}

impl EmbeddedServer {
    /// Starts the server on a free loopback port.
    pub(super) fn start(
        with_tls: bool,
        sending: &'static str,
        buffer_bytes: usize,
        make_service: impl Fn(&mut Context<'_>) -> Box<dyn Service> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", 0));
        config.workers = 1;
        config.sending = sending;
        config.limits.buffer_bytes = buffer_bytes;
        config.tls = with_tls.then(|| TlsServerOptions::new(Identity::SelfSigned { names: Vec::new() }));
        let server = Server::bind(config, make_service)?;
        let port = server.addresses().iter().find_map(|address| address.port()).unwrap_or_default();
        Ok(Self { port, thread: ServerThread::start(server)? })
    }

    pub(super) fn end(self) -> Result<(), Error> {
        self.thread.end()
    }
}
