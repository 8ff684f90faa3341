//! A file transfer that goes on where it was broken off, and checks what has arrived.
//!
//! ```sh
//! cargo run --example file_transfer -- serve DIR [PORT]
//! cargo run --example file_transfer -- get 127.0.0.1:65435 NAME [DIR]
//! cargo run --example file_transfer -- put 127.0.0.1:65435 FILE
//! ```
//!
//! One file per connection. Whoever receives says what it has of the file already, and the SHA-256 of that; whoever sends
//! begins behind it if its own file begins in the same way, else at the start, and says the SHA-256 of the whole file at
//! the end:
//!
//! ```text
//! client                server          client                 server
//! GET notes.txt                         PUT notes.txt
//! HAVE 4096 9f86...                                HAVE 4096 9f86...
//!         FROM 4096 10000               FROM 4096 10000
//!            (5,904 bytes)              (5,904 bytes)
//!             SUM 60303...              SUM 60303...
//!                                                               DONE
//! ```
//!
//! What has come so far stays in `.NAME.part`. It becomes `NAME`, in one step, when the sums agree; when they do not, it is
//! thrown away. Files stream through buffers of bounded size, however large they are.
//!
//! Files are read and written on the thread of the event loop, since no system can be asked to say when a file is ready.
//! So there is a limit to how much of a file is touched before the others get their turn. Nothing is synced: a machine
//! that loses power can lose a file that had arrived.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod files;
mod serve;
mod words;

use std::path::Path;
use std::process::ExitCode;

/// Where the server listens unless it is told.
const PORT: u16 = 65435;

const USAGE: &str = "give one of: serve DIR [PORT], get HOST:PORT NAME [DIR], put HOST:PORT FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve", folder] => serve::run(folder.into(), PORT),
        ["serve", folder, port] => match port.parse() {
            Ok(port) => serve::run(folder.into(), port),
            Err(_) => Err("a port is a number from 0 to 65535".to_owned()),
        },
        ["get", address, name] => client::get(address, name, Path::new(".")).map_err(|error| error.to_string()),
        ["get", address, name, folder] => {
            client::get(address, name, Path::new(folder)).map_err(|error| error.to_string())
        }
        ["put", address, file] => client::put(address, Path::new(file)).map_err(|error| error.to_string()),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
