//! Fake servers in threads of the test. Each connection is passed to a function that may misbehave.

use super::support::{PATIENCE, reset, uninterrupted};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A server that ends when it is dropped.
pub(crate) struct Fake {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Passes each connection, counted from 0, to `serve` on a thread of its own. A stream that `serve` returns stays
    /// open until the server is dropped.
    pub(crate) fn new(serve: impl Fn(usize, TcpStream) -> Option<TcpStream> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), serve)
    }

    /// The same on the caller's listener.
    pub(crate) fn on(
        listener: TcpListener,
        serve: impl Fn(usize, TcpStream) -> Option<TcpStream> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (ending, serve) = (Arc::<AtomicBool>::default(), Arc::new(serve));
        let is_ending = Arc::clone(&ending);
        let accept = move || {
            let mut conversations = Vec::new();
            for index in 0.. {
                let (stream, _) = listener.accept().unwrap();
                if is_ending.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                let serve = Arc::clone(&serve);
                conversations.push(std::thread::spawn(move || serve(index, stream)));
            }
            let kept: Vec<_> = conversations.into_iter().map(JoinHandle::join).collect();
            drop(kept);
        };
        Self { address, ending, thread: Some(std::thread::spawn(accept)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads exactly `count` bytes.
pub(crate) fn take(stream: &mut TcpStream, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.take(count).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, count, "the client ended too soon");
    bytes
}

/// Writes everything at once, and waits until the client has closed.
pub(crate) fn answer(mut stream: TcpStream, reply: &[u8]) {
    // The client may have closed already, which is correct.
    let _ = stream.write_all(reply);
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Echoes everything.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
        if stream.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

/// Sends `reply`, then closes in order. The client's bytes must have been read, or closing causes a reset.
pub(crate) fn answer_and_end(mut stream: TcpStream, reply: &[u8]) {
    stream.write_all(reply).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Sends `reply`, then resets the connection.
pub(crate) fn answer_and_reset(mut stream: TcpStream, reply: &[u8]) {
    stream.write_all(reply).unwrap();
    reset(stream);
}

/// Loopback address for servers that stop listening. No other test takes the port meanwhile, as it might on the usual address.
pub(crate) const RARE_ADDRESS: Ipv4Addr =
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 99) } else { Ipv4Addr::LOCALHOST };

/// An address where nothing listens; the port stays reserved as long as the socket lives.
pub(crate) fn deaf(host: Ipv4Addr) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::from(SocketAddr::from((host, 0)))).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}
