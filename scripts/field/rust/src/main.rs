//! Echo servers for `scripts/bench-field`: with a thread per connection, and with monoio (io_uring).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::{env, process, thread};

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use socket2::{Domain, Socket, Type};

const BACKLOG: i32 = 4096;
const THREAD_BUFFER_BYTES: usize = 64 << 10;
const STACK_BYTES: usize = 64 << 10;
const MONOIO_BUFFER_BYTES: usize = 32 << 10;

fn main() -> io::Result<()> {
    let listener = listen()?;
    println!("Listening on {}", listener.local_addr()?);
    match env::args().nth(1).as_deref() {
        Some("threads") => serve_with_threads(&listener),
        Some("monoio") => serve_with_monoio(listener),
        _ => process::exit(2),
    }
}

fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    // The standard library's backlog is 128.
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve_with_threads(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        // Without a thread the connection is closed.
        if let Err(error) = thread.spawn(move || echo(stream)) {
            eprintln!("cannot start a thread: {error}");
        }
    }
}

/// Echoes until the connection ends, in any way.
fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // It does not fill its buffer with zeros, which would take memory.
    let mut input = BufReader::with_capacity(THREAD_BUFFER_BYTES, &stream);
    loop {
        let data = input.fill_buf()?;
        if data.is_empty() {
            return Ok(());
        }
        (&stream).write_all(data)?;
        let received = data.len();
        input.consume(received);
    }
}

fn serve_with_monoio(listener: TcpListener) -> io::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(async {
        let listener = monoio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(echo_with_monoio(stream));
        }
    })
}

async fn echo_with_monoio(mut stream: monoio::net::TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(MONOIO_BUFFER_BYTES);
    loop {
        let read;
        (read, buffer) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let written;
        (written, buffer) = stream.write_all(buffer).await;
        written?;
        buffer.clear();
    }
}
