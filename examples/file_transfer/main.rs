//! File transfer that resumes after an interruption and verifies what was received.
//!
//! ```sh
//! cargo run --example file_transfer -- serve DIR [PORT]
//! cargo run --example file_transfer -- get 127.0.0.1:65435 NAME [DIR]
//! cargo run --example file_transfer -- put 127.0.0.1:65435 FILE
//! ```
//!
//! Each connection transfers one file. The receiver announces the size of its partial file and the SHA-256 of that. The
//! sender continues after this part if its own file begins with the same bytes, otherwise it starts over. At the end it
//! sends the SHA-256 of the whole file:
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
//! Received bytes are kept in `.NAME.part`. If the checksums agree, the file is renamed to `NAME` atomically; otherwise
//! it is deleted. Files of any size are streamed through bounded buffers.
//!
//! Files are read and written on the thread of the event loop, because no system reports when a regular file is ready.
//! The amount per turn is therefore limited. Nothing is synced: a power failure can lose a file that was already
//! received.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod files;
mod protocol;
mod serve;

use std::path::Path;
use std::process::ExitCode;

/// Default port of the server.
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
