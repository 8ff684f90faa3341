//! Echo server with tokio, one task per connection, for comparison.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio_rustls::TlsAcceptor;

use crate::common::tls_configs::server_config;
use crate::common::{Outcome, child};

const BUFFER_BYTES: usize = 8 << 10;
const BACKLOG: u32 = 4096;

pub(crate) fn serve(tls: bool) -> Outcome<()> {
    let acceptor = if tls { Some(TlsAcceptor::from(server_config()?)) } else { None };
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let listener = open_listener().map_err(|error| format!("cannot listen: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("cannot get the port: {error}"))?;
        child::announce(address.port());
        loop {
            let (stream, _) = listener.accept().await.map_err(|error| format!("cannot accept: {error}"))?;
            match acceptor.clone() {
                Some(acceptor) => tokio::spawn(secure_echo(acceptor, stream)),
                None => tokio::spawn(plain_echo(stream)),
            };
        }
    })
}

fn open_listener() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket.listen(BACKLOG)
}

/// Echoes until the connection ends, in any way.
async fn plain_echo(stream: TcpStream) {
    if stream.set_nodelay(true).is_ok() {
        echo(stream).await;
    }
}

async fn secure_echo(acceptor: TlsAcceptor, stream: TcpStream) {
    if stream.set_nodelay(true).is_ok()
        && let Ok(stream) = acceptor.accept(stream).await
    {
        echo(stream).await;
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = [0; BUFFER_BYTES];
    while let Ok(received @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..received]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
