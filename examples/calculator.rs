//! Calculator server: answers `2 + 3` with `5`. Run `cargo run --example calculator`, then `nc 127.0.0.1 65437`.
#![allow(clippy::print_stdout)]
use multiconn::codec::Framing;
use multiconn::service::{Framed, Replies};
use multiconn::{Endpoint, Error, Server, ServerConfig};

fn calculate(line: &[u8], replies: &mut Replies<'_>) {
    let number = |text: &str| text.parse().unwrap_or(f64::NAN);
    let result = match String::from_utf8_lossy(line).split_whitespace().collect::<Vec<_>>()[..] {
        [a, "+", b] => number(a) + number(b),
        [a, "-", b] => number(a) - number(b),
        [a, "*", b] => number(a) * number(b),
        [a, "/", b] => number(a) / number(b),
        _ => f64::NAN,
    };
    let error = "error: give a calculation such as 2 + 3";
    replies.send(if result.is_finite() { result.to_string() } else { error.to_owned() }.as_bytes());
}
fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(65437, |text| text.parse().expect("a port number"));
    let config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    let server = Server::bind(config, |_| Framed::new(Framing::LINES, 1024, calculate))?;
    println!("Listening on {}", server.addresses()[0]);
    server.run().map(drop)
}
