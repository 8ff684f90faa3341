//! TCP proxy: forwards each connection to another server, and prints how many bytes each client sent.
//!
//! Run `cargo run --example proxy 127.0.0.1:80`, then `curl http://127.0.0.1:65439/`.

#![allow(clippy::print_stdout)]

use multiconn::service::{ConnectOptions, Tunnel};
use multiconn::{CloseReason, Context, Endpoint, Error, Input, Output, Server, ServerConfig, Service, Wait};
use std::time::Duration;

/// The service of a client: a tunnel, with a line in the log at its end.
struct Client {
    tunnel: Tunnel,
    name: String,
    /// Bytes that the client has sent.
    sent: usize,
}

impl Service for Client {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        let before = input.len();
        let wait = self.tunnel.serve(input, output, context);
        self.sent += before - input.len();
        wait
    }

    fn closed(&mut self, reason: CloseReason) {
        self.tunnel.closed(reason);
        println!("{} sent {} bytes: {reason}", self.name, self.sent);
    }

    fn is_busy(&self) -> bool {
        self.tunnel.is_busy()
    }

    fn held_bytes(&self) -> usize {
        self.tunnel.held_bytes()
    }
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let upstream: Endpoint = arguments.next().as_deref().unwrap_or("127.0.0.1:80").parse()?;
    let listen: Endpoint = arguments.next().as_deref().unwrap_or("127.0.0.1:65439").parse()?;
    let server = Server::bind(ServerConfig::at(listen), |context| {
        let mut options = ConnectOptions::to(upstream.clone());
        options.connect_timeout = Duration::from_secs(5);
        Client { tunnel: Tunnel::connect(context, options), name: context.peer().to_string(), sent: 0 }
    })?;
    println!("Listening on {}", server.addresses()[0]);
    server.run().map(drop)
}
