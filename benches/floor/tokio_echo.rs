//! The peer: an echo server as one writes it with tokio, a task per connection.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;

use crate::{Outcome, child};

const BUFFER_BYTES: usize = 8 << 10;
const BACKLOG: u32 = 4096;

pub(crate) fn serve() -> Outcome<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let listener = open_listener().map_err(|error| format!("cannot listen: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot tell the port: {error}"))?;
        child::announce(address.port());
        loop {
            let (stream, _) = listener.accept().await.map_err(|error| format!("cannot accept: {error}"))?;
            tokio::spawn(echo(stream));
        }
    })
}

fn open_listener() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(BACKLOG)
}

/// Ends with the connection, whichever way that ended.
async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; BUFFER_BYTES];
    if stream.set_nodelay(true).is_err() {
        return;
    }
    while let Ok(received @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..received]).await.is_err() {
            return;
        }
    }
}
