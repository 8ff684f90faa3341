//! Web server: HTTP/1.1 with keep-alive and pipelining, a page, the time, and an echo of what is posted.
//!
//! Run it with `cargo run --example web`, then open <http://127.0.0.1:65433/> or `curl -d hello 127.0.0.1:65433/echo`.
//! An argument sets another port: `web 0` takes a free one.

#![allow(clippy::print_stdout)]

use multiconn::error::Error;
use multiconn::server::{Server, ServerConfig};
use multiconn::service::{Context, HttpRequest, HttpResponse, HttpService};
use multiconn::socket::Endpoint;
use multiconn::units::format_http_date;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Maximum size of a posted body in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

const PAGE: &str = "<!DOCTYPE html>
<title>multiconn</title>
<h1>It works</h1>
<p>The <a href=\"/time\">time</a>, or send a text:</p>
<form method=\"post\" action=\"/echo\" enctype=\"text/plain\"><input name=\"text\"><button>Send</button></form>
";

fn respond(request: &HttpRequest<'_>, _context: &mut Context<'_>) -> HttpResponse {
    let head = &request.head;
    match (head.method, head.path()) {
        ("GET" | "HEAD", "/") => HttpResponse::new(200, "text/html; charset=utf-8", PAGE),
        ("GET" | "HEAD", "/time") => HttpResponse::text(200, &format_http_date(clock().as_secs())),
        ("POST", "/echo") => HttpResponse::new(200, "text/plain; charset=utf-8", request.body),
        (_, "/" | "/time") => HttpResponse::text(405, "this page is read only").with_field("Allow", "GET, HEAD"),
        (_, "/echo") => HttpResponse::text(405, "send a body with POST").with_field("Allow", "POST"),
        (_, path) => HttpResponse::text(404, &format!("there is no page {path}")),
    }
}

/// Time since 1970 (UTC).
fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn main() -> Result<(), Error> {
    let port = std::env::args().nth(1).map_or(Ok(65433), |text| text.parse());
    let port = port.map_err(|_| Error::Usage("a port is a number from 0 to 65535".to_owned()))?;
    let mut config = ServerConfig::at(Endpoint::tcp("127.0.0.1", port));
    config.handle_signals = true;
    let server = Server::bind(config, |_| HttpService::new(clock, respond).with_bodies(MAX_BODY_BYTES))?;
    for address in server.addresses() {
        println!("Listening on {address}");
    }
    println!("{}", server.run()?);
    Ok(())
}
