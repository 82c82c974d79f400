use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::net::tls::config::TlsConfig;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Our end of a connection, past its handshake, and the peer's: its `rustls`, and its socket.
fn pair(version: &'static SupportedProtocolVersion) -> (TlsStream, ClientConnection, TcpStream) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = TlsConfig::from_pem(certificate.pem(), key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(default_provider().into());
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let peer = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let mut ours = ServerConnection::new(config.rustls).unwrap();
    let mut peer = ClientConnection::new(peer, "localhost".try_into().unwrap()).unwrap();
    while ours.is_handshaking() || peer.is_handshaking() || ours.wants_write() {
        let (mut to_us, mut to_peer) = (Vec::new(), Vec::new());
        while peer.wants_write() {
            peer.write_tls(&mut to_us).unwrap();
        }
        let mut received = &to_us[..];
        while !received.is_empty() {
            ours.read_tls(&mut received).unwrap();
            ours.process_new_packets().unwrap();
        }
        while ours.wants_write() {
            ours.write_tls(&mut to_peer).unwrap();
        }
        let mut received = &to_peer[..];
        while !received.is_empty() {
            peer.read_tls(&mut received).unwrap();
            peer.process_new_packets().unwrap();
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nodelay(true).unwrap();
    let stream = TlsStream::new(Tcp::new(listener.accept().unwrap().0, false));
    stream.begin(Box::new(ours.into()));
    (stream, peer, socket)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

/// Returns the peer's encryption of a plaintext.
fn sealed(peer: &mut ClientConnection, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    for part in plain.chunks(PART) {
        peer.writer().write_all(part).unwrap();
        while peer.wants_write() {
            peer.write_tls(&mut sealed).unwrap();
        }
    }
    sealed
}

/// Returns the peer's plaintext, up to an error.
fn opened(peer: &mut ClientConnection, mut sealed: &[u8]) -> Result<Vec<u8>, rustls::Error> {
    let (mut plain, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while !sealed.is_empty() {
        peer.read_tls(&mut sealed).unwrap();
        peer.process_new_packets()?;
        while let Ok(length @ 1..) = peer.reader().read(&mut buffer) {
            plain.extend_from_slice(&buffer[..length]);
        }
    }
    Ok(plain)
}

#[test]
fn records_in_any_pieces_are_read_into_any_buffer() {
    let plain = bytes(200_000);
    // Pieces and buffer sizes of heads and frames, some odd sizes, and a large frame's.
    for (piece, size) in
        [(1_000, 1), (1, 1024), (7, 2048), (16_500, 1024), (64 << 10, 1024), (64 << 10, 64 << 10)]
            .into_iter()
            .chain([(16_405, 64 << 10), (4096, 64 << 10), (20_480, 40_961), (200_500, 50_000)])
    {
        for version in VERSIONS {
            let (stream, mut peer, mut socket) = pair(version);
            // Byte by byte takes long.
            let plain = &plain[..if piece.min(size) < 10 { 20_000 } else { plain.len() }];
            let mut sealed = sealed(&mut peer, plain);
            peer.send_close_notify();
            peer.write_tls(&mut sealed).unwrap();
            let sending = thread::spawn(move || {
                sealed.chunks(piece).for_each(|piece| socket.write_all(piece).unwrap());
                socket
            });
            let (mut received, mut into) = (Vec::new(), vec![0; size]);
            loop {
                match stream.recv(&mut into) {
                    Ok(0) => break,
                    Ok(length) => received.extend_from_slice(&into[..length]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}"),
                }
            }
            assert!(received == plain, "in pieces of {piece} into {size}: {} bytes", received.len());
            drop(sending.join().unwrap());
        }
    }
}

#[test]
fn a_frame_is_sealed_in_parts_of_the_size_that_is_reserved_and_close_notify_comes_behind() {
    for (version, overhead) in VERSIONS.into_iter().zip([OVERHEAD_1_2, OVERHEAD]) {
        let (stream, mut peer, mut socket) = pair(version);
        let plain = bytes(40_000);
        let mut left = Bytes::from(plain.clone());
        for (part, rest) in [(PART, 40_000 - PART), (PART, 40_000 - 2 * PART), (40_000 - 2 * PART, 0)] {
            let sealed = stream.try_seal(&mut left).unwrap();
            assert_eq!(left.len(), rest);
            assert_eq!(sealed.len(), part + overhead);
            let at = plain.len() - rest - part;
            assert!(opened(&mut peer, &sealed).unwrap() == plain[at..at + part]);
        }
        assert!(stream.seal(&mut left).unwrap().is_empty(), "it has nothing to say");
        assert!(opened(&mut peer, &stream.seal_all(&plain).unwrap()).unwrap() == plain);
        stream.finish();
        let mut last = vec![0; 1024];
        let length = socket.read(&mut last).unwrap();
        assert!(opened(&mut peer, &last[..length]).unwrap().is_empty());
        assert_eq!(peer.reader().read(&mut last).unwrap(), 0, "close_notify");
    }
}

#[test]
fn a_pushing_thread_does_not_wait_for_the_lock() {
    let (stream, ..) = pair(VERSIONS[1]);
    let mut plain = Bytes::from_static(b"whole");
    let reading = stream.session();
    assert_eq!(stream.try_seal(&mut plain).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(plain, "whole");
    drop(reading);
    assert!(!stream.try_seal(&mut plain).unwrap().is_empty() && plain.is_empty());
}

#[test]
fn an_unreadable_record_is_answered_with_an_alert_and_nothing_is_sealed_after_it() {
    for version in VERSIONS {
        let (stream, mut peer, mut socket) = pair(version);
        let before = sealed(&mut peer, b"before");
        socket.write_all(&before).unwrap();
        socket.write_all(b"\x17\x03\x03\x00\x20 which is not a record of theirs ...").unwrap();
        let mut into = [0; 1024];
        let length = loop {
            match stream.recv(&mut into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.unwrap(),
            }
        };
        assert_eq!(&into[..length], b"before");
        let error = loop {
            let error = stream.recv(&mut into).unwrap_err();
            if error.kind() != ErrorKind::Interrupted {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut plain = Bytes::from_static(b"late");
        let alert = stream.seal(&mut plain).unwrap();
        let error = opened(&mut peer, &alert).unwrap_err();
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{error}");
        assert_eq!(plain, "late");
        assert_eq!(stream.seal(&mut plain).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}

#[test]
fn before_its_handshake_it_receives_bytes_as_they_are_and_seals_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = TlsStream::new(Tcp::new(listener.accept().unwrap().0, false));
    socket.write_all(b"hello").unwrap();
    let mut into = [0; 16];
    assert_eq!(stream.recv(&mut into).unwrap(), 5);
    for seal in [TlsStream::seal, TlsStream::try_seal] {
        let error = seal(&stream, &mut Bytes::from_static(b"early")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    }
}
