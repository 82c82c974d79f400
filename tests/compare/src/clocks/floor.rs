//! The floor: the kernel's own cost of a round of pushes, and of an echo on a blocking thread.
//!
//! One thread accepts and answers handshakes, one thread sends the same bytes to one socket after
//! the other. Nothing is read, queued or retried, so nothing that serves WebSocket clients over
//! this system's sockets can be much cheaper. An echo's client has a thread that only receives and sends: any
//! server that has a thread for each client has this cost.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::clocks::options::ClockOptions;
use crate::failure::{Failure, While};
use crate::frame;

/// Longest request head that is read, in bytes.
const HEAD_LIMIT: usize = 4096;
/// Bytes of a frame's header and its mask, of the short frames that are echoed.
const HEADER: usize = 6;
/// Connections that may wait to be accepted; std's own listener has room for 128, and the rest would wait for 1 s.
const BACKLOG: i32 = 4096;
/// Time that a client has for its request head.
const HEAD_DEADLINE: Duration = Duration::from_secs(5);

/// Written by the accepting thread, read and thinned out by the sending one.
type Sockets = Arc<Mutex<Vec<TcpStream>>>;

/// Serves until the process is ended.
pub fn serve(options: &ClockOptions) -> Result<(), Failure> {
    let listener = listen(options.address()).doing(format!("listen on port {}", options.port))?;
    let sockets = Sockets::default();
    let pushed = Arc::clone(&sockets);
    let pushing = options.clone();
    thread::Builder::new()
        .name("send".into())
        .spawn(move || push_for_ever(&pushed, &pushing))
        .doing("start the sending thread")?;
    for client in listener.incoming().flatten() {
        match shake_hands(client) {
            Ok((client, true)) => {
                thread::Builder::new().spawn(move || echo(client)).doing("start an echo's thread")?;
            }
            Ok((client, false)) => lock(&sockets).push(client),
            Err(_) => {}
        }
    }
    Ok(())
}

/// A listener with room for a storm of connections.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sends every short message back, unmasked, until the client leaves.
fn echo(mut client: TcpStream) {
    let mut frame = [0; HEADER + 125];
    loop {
        let length = match client.read(&mut frame) {
            Ok(read) if read >= HEADER && read == HEADER + usize::from(frame[1] & 127) => read - HEADER,
            _ => return,
        };
        for at in (0..length).rev() {
            frame[HEADER + at] ^= frame[2 + at % 4];
        }
        frame[HEADER - 2] = frame[0];
        frame[HEADER - 1] = length as u8;
        if client.write_all(&frame[HEADER - 2..HEADER + length]).is_err() {
            return;
        }
    }
}

/// Pushes at multiples of the interval, however long a push takes.
fn push_for_ever(sockets: &Sockets, options: &ClockOptions) {
    let mut next = Instant::now() + options.interval;
    loop {
        thread::park_timeout(next.saturating_duration_since(Instant::now()));
        if Instant::now() < next {
            continue;
        }
        next += options.interval;
        let frame = frame::text(&options.payload(), None);
        lock(sockets).retain(|mut socket| socket.write(&frame).is_ok_and(|written| written == frame.len()));
    }
}

/// Answers the request of a client, and returns its socket, and whether it wants echoes: a blocking one then.
fn shake_hands(mut client: TcpStream) -> std::io::Result<(TcpStream, bool)> {
    client.set_read_timeout(Some(HEAD_DEADLINE))?;
    client.set_nodelay(true)?;
    let mut head = [0; HEAD_LIMIT];
    let mut length = 0;
    while !head[..length].ends_with(b"\r\n\r\n") {
        match client.read(&mut head[length..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    let head = String::from_utf8_lossy(&head[..length]);
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, key)| key.trim())
        .ok_or(ErrorKind::InvalidData)?;
    let accept = derive_accept_key(key.as_bytes());
    client.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let echoes = head.starts_with("GET /echo?");
    client.set_read_timeout(None)?;
    client.set_nonblocking(!echoes)?;
    Ok((client, echoes))
}

/// The sockets, even if the last thread that held them has panicked.
fn lock(sockets: &Sockets) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}
