//! Server that answers messages: sends each back reversed and numbered, however it was split.
//!
//! Run it with `cargo run --example reverse`, then `nc 127.0.0.1 65434`. Arguments set another port and another
//! framing: `reverse 0 u32be` takes a free port and length-prefixed messages.

#![allow(clippy::print_stdout)]

use multiconn::codec::Framing;
use multiconn::error::Error;
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Framed, Replies, Respond, reverse};
use multiconn::socket::Endpoint;

/// State of one connection.
#[derive(Default)]
struct Numbered {
    count: u64,
}

impl Respond for Numbered {
    fn respond(&mut self, message: &[u8], replies: &mut Replies<'_>) {
        self.count += 1;
        replies.send_with(|reply| {
            reply.extend_from_slice(format!("{}: ", self.count).as_bytes());
            reverse(message, reply);
        });
    }
}

fn main() -> Result<(), Error> {
    let usage = |text: &str| Error::Usage(text.to_owned());
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(Ok(65434), |text| text.parse());
    let port = port.map_err(|_| usage("a port is a number from 0 to 65535"))?;
    let framing = arguments.next().map_or(Ok(Framing::LINES), |text| text.parse());
    let framing = framing.map_err(|error| usage(&error.to_string()))?;

    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    let max_bytes = config.limits.buffer_bytes;
    framing.check(max_bytes).map_err(|error| usage(&error.to_string()))?;
    let server = Server::bind(config, move |_| Framed::new(framing, max_bytes, Numbered::default()))?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    println!("{}", server.run()?);
    Ok(())
}
