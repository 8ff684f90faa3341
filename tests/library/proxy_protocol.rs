//! PROXY protocol: a service is made after the header, and its peer is the client that the header names.

use super::Running;
use super::support::{connect, expect_end};
use multiconn::connection::CloseReason;
use multiconn::service::{Context, OneShot};
use multiconn::socket::{Address, ProxyVersion};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn the_peer_of_a_service_is_the_client() {
    let made = Arc::<AtomicU32>::default();
    let count = Arc::clone(&made);
    let server = Running::start_with(
        |config| {
            config.proxy_protocol = true;
            config.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
        },
        move |context: &mut Context<'_>| {
            count.fetch_add(1, Ordering::Relaxed);
            let peer = context.peer().to_string();
            OneShot::new(move || peer.clone())
        },
    );
    let mut without = connect(server.address);
    without.write_all(b"GET").unwrap();
    drop(without);
    let client = "192.0.2.1:56324";
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let source = Address::Ip(client.parse().unwrap());
        let mut peer = connect(server.address);
        peer.write_all(&version.header(&source, &source)).unwrap();
        let mut named = vec![0; client.len()];
        peer.read_exact(&mut named).unwrap();
        assert_eq!(named, client.as_bytes());
        expect_end(&mut peer);
    }
    let summary = server.drain();
    assert_eq!(made.load(Ordering::Relaxed), 2);
    assert_eq!(summary.closed, [(CloseReason::Completed, 2), (CloseReason::ProxyHeaderInvalid, 1)].into());
}
