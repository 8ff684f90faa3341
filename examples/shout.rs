//! Server with a custom service: sends every line back in upper case, however the line was split.
//!
//! Run it with `cargo run --example shout`, then `nc 127.0.0.1 65433`. An argument sets another port: `shout 0` takes a
//! free one.

#![allow(clippy::print_stdout)]

use multiconn::error::Error;
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, Input, Output, Service, Wait};
use multiconn::socket::Endpoint;

struct Shout;

impl Service for Shout {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, _context: &mut Context<'_>) -> Wait {
        while let Some(end) = input.bytes().iter().position(|&byte| byte == b'\n') {
            let line = input.bytes()[..=end].to_ascii_uppercase();
            // Without room for the whole line it stays in the input, which finally slows the peer down.
            if !output.write_whole(&line) {
                return Wait::Writable;
            }
            input.consume(line.len());
        }
        Wait::Input
    }
}

fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(65433), |text| text.parse());
    let port = port.map_err(|_| Error::Usage("a port is a number from 0 to 65535".to_owned()))?;
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    let server = Server::bind(config, |_| Shout)?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    println!("{}", server.run()?);
    Ok(())
}
