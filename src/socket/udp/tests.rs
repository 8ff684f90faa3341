//! Multicast options as read back from the kernel, and batches over the loopback interface.

use super::{
    DatagramSocket, Interface, MAX_DATAGRAM_BYTES, Multicast, Peer, RecvBatch, SendBatch, bind_datagrams, open_towards,
};
use crate::socket::{Address, Endpoint, SocketOptions};
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;

fn bound(host: &str) -> (DatagramSocket, SocketAddr) {
    let (multicast, options) = (Multicast::default(), SocketOptions::default());
    let mut all = bind_datagrams(&Endpoint::tcp(host, 0), &[], &multicast, &options, 1).expect("a free port");
    let mut first = all.remove(0);
    let Address::Ip(address) = first.endpoint.address else { panic!("datagrams have no path") };
    (first.sockets.remove(0), address)
}

fn towards(peer: Peer, multicast: &Multicast) -> DatagramSocket {
    open_towards(peer, None, multicast, &SocketOptions::default()).expect("a descriptor is free")
}

#[test]
fn multicast_options_are_set() {
    let multicast =
        Multicast { interface: Some(Interface::Address(Ipv4Addr::LOCALHOST)), ttl: Some(7), loopback: Some(false) };
    let group = Peer::Many((Ipv4Addr::new(239, 1, 2, 3), 9).into());
    let socket = towards(group, &multicast);
    let options = SockRef::from(&socket);
    assert_eq!(options.multicast_ttl_v4().ok(), Some(7));
    assert_eq!(options.multicast_loop_v4().ok(), Some(false));
    assert_eq!(options.multicast_if_v4().ok(), Some(Ipv4Addr::LOCALHOST));
    let broadcast = towards(Peer::Many((Ipv4Addr::BROADCAST, 9).into()), &Multicast::default());
    assert_eq!(SockRef::from(&broadcast).broadcast().ok(), Some(true));
}

#[test]
fn an_interface_is_parsed_by_name_or_address() {
    assert_eq!("127.0.0.1".parse::<Interface>().ok(), Some(Interface::Address(Ipv4Addr::LOCALHOST)));
    assert!(matches!("lo".parse::<Interface>(), Ok(Interface::Index(1..)) | Err(_)));
    assert!("no such interface".parse::<Interface>().is_err_and(|error| error.to_string().contains("eth0")));
    let wrong = Multicast { interface: Some(Interface::Address(Ipv4Addr::LOCALHOST)), ..Multicast::default() };
    let group = Peer::Many((Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x1234), 9).into());
    assert!(open_towards(group, None, &wrong, &SocketOptions::default()).is_err());
}

/// IPv4 and IPv6 addresses alternate: none is truncated to the length of the one before.
#[test]
fn batches_are_sent_and_received_whole() {
    let (server, address) = bound("");
    let peers: Vec<_> = if address.is_ipv6() {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
    } else {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
    };
    let (mut recv_batch, mut send_batch) = (RecvBatch::new(), SendBatch::default());
    assert!(recv_batch.receive(&server).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    let clients: Vec<_> = (0..30)
        .map(|n| towards(Peer::One((peers[n % peers.len()], address.port()).into()), &Multicast::default()))
        .collect();
    for (number, client) in (0u8..).zip(&clients) {
        send_batch.clear();
        send_batch.add(None, None, None, |bytes| {
            bytes.push(number);
            true
        });
        assert!(!send_batch.add(None, None, None, |_| false), "what is not wanted leaves no trace");
        assert_eq!(send_batch.send(client, |_, result| result.expect("there is room")), 1);
    }
    send_batch.clear();
    let mut count = 0;
    while let Ok(_may_be_more) = recv_batch.receive(&server) {
        for arrival in recv_batch.arrivals() {
            assert_eq!(arrival.bytes, [count]);
            assert!(!arrival.to_many && arrival.local.is_some(), "{arrival:?}");
            let local = clients[usize::from(count)].local_address().expect("it is bound");
            assert_eq!((arrival.peer.port(), arrival.peer.ip().to_canonical()), (local.port(), local.ip()));
            send_batch.add(Some(arrival.peer), arrival.local, None, |bytes| {
                bytes.extend_from_slice(arrival.bytes);
                true
            });
            count += 1;
        }
    }
    assert_eq!((count, send_batch.send(&server, |_, result| result.expect("there is room"))), (30, 30));
    for (number, client) in (0u8..).zip(&clients) {
        recv_batch.receive(client).expect("a reply");
        assert_eq!(recv_batch.arrivals().map(|arrival| arrival.bytes.to_vec()).collect::<Vec<_>>(), [[number]]);
    }
}

/// A datagram too long for any network fails alone.
#[test]
fn a_datagram_that_cannot_be_sent_does_not_stop_the_others() {
    let (server, address) = bound("127.0.0.1");
    let client = towards(Peer::One(address), &Multicast::default());
    let mut send_batch = SendBatch::default();
    for size in [1, MAX_DATAGRAM_BYTES + 1, 2] {
        send_batch.add(None, None, None, |bytes| {
            bytes.resize(bytes.len() + size, 0);
            true
        });
    }
    let mut went = Vec::new();
    assert_eq!(send_batch.send(&client, |datagram, result| went.push((datagram.len(), result.is_ok()))), 3);
    assert_eq!(went, [(1, true), (MAX_DATAGRAM_BYTES + 1, false), (2, true)]);
    let mut recv_batch = RecvBatch::new();
    recv_batch.receive(&server).expect("two came");
    assert_eq!(recv_batch.arrivals().map(|arrival| arrival.bytes.len()).collect::<Vec<_>>(), [1, 2]);
}

/// Merged datagrams keep their lengths, contents and order, also towards a receiver that cannot split them.
#[cfg(target_os = "linux")]
#[test]
fn merged_datagrams_stay_datagrams() {
    let (server, address) = bound("127.0.0.1");
    let client = towards(Peer::One(address), &Multicast::default());
    let (mut recv_batch, mut send_batch) = (RecvBatch::new(), SendBatch::default());
    let lengths = [100, 100, 100, 7, 0, 0, 9, 9, 100, 100, 1];
    let payload = |number: usize| vec![u8::try_from(number).expect("a few"); lengths[number]];
    for (number, _) in lengths.iter().enumerate() {
        send_batch.add(None, None, None, |bytes| {
            bytes.extend(payload(number));
            true
        });
    }
    let expected: Vec<_> = (0..lengths.len()).map(payload).collect();
    assert_eq!(send_batch.send(&client, |_, result| result.expect("there is room")), lengths.len());
    send_batch.clear();
    let mut received = Vec::new();
    while received.len() < lengths.len() {
        recv_batch.receive(&server).expect("all have arrived");
        for arrival in recv_batch.arrivals() {
            received.push(arrival.bytes.to_vec());
            send_batch.add(Some(arrival.peer), arrival.local, None, |bytes| {
                bytes.extend_from_slice(arrival.bytes);
                true
            });
        }
    }
    assert_eq!(received, expected);
    setsockopt(&client, sockopt::UdpGroSegment, &false).expect("it can be set");
    assert_eq!(send_batch.send(&server, |_, result| result.expect("there is room")), lengths.len());
    let plain = std::net::UdpSocket::from(client.as_fd().try_clone_to_owned().expect("a descriptor is free"));
    let mut room = [0; 200];
    for payload in expected {
        let count = plain.recv(&mut room).expect("a reply");
        assert_eq!(room[..count], payload);
    }
}
