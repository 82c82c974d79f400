//! Clients that a browser cannot be, each with its own thread: `lab-stalled` asks for echoes and never reads one,
//! `lab-flood` sends small messages as fast as its socket takes them, for a few seconds.
//!
//! A stalled one blocks in `write`, once everything between it and its echoes is full: the server's socket, then the
//! backlog, then its own socket. It ends when the server disconnects it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::lab::visitor::{Host, Visitor, client_bytes};

/// Bytes in each message of a stalled client: large enough that a few of them fill everything, and small enough
/// that the page can still show the server's steps one by one.
const MESSAGE: usize = 256 << 10;
/// Bytes of its kernel's receive buffer: few, so that it is full soon.
const RECEIVES: usize = 16 << 10;
/// How long a flood lasts.
const FLOOD: Duration = Duration::from_secs(3);
/// Messages that a flood sends with one `write`.
const WAVE: usize = 100;

/// Such a client.
pub struct Nuisance {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Nuisance {
    /// Connects one that never reads, as `stalled-NUMBER`.
    ///
    /// # Errors
    /// If it cannot connect, or the system has no thread for it.
    pub fn stalled(host: &Host, number: usize) -> io::Result<Nuisance> {
        let visitor = Visitor::connect(host, "/echo", &format!("stalled-{number}"))?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&visitor.stream, RECEIVES)?;
        Nuisance::start("lab-stalled", visitor, never_read)
    }

    /// Connects one that does not stop talking, as `flood-NUMBER`.
    ///
    /// # Errors
    /// If it cannot connect, or the system has no thread for it.
    pub fn flood(host: &Host, number: usize) -> io::Result<Nuisance> {
        let visitor = Visitor::connect(host, "/websocket", &format!("flood-{number}"))?;
        Nuisance::start("lab-flood", visitor, flood)
    }

    fn start(name: &str, visitor: Visitor, run: fn(Visitor)) -> io::Result<Nuisance> {
        let stream = visitor.stream.try_clone()?;
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(visitor))?;
        Ok(Nuisance { stream, thread })
    }

    /// Returns whether it has ended, or been disconnected.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Disconnects it, and joins its thread.
    pub fn end(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        // If it panicked, that has been reported.
        let _ = self.thread.join();
    }
}

fn never_read(mut visitor: Visitor) {
    let message = client_bytes(Frame::message(vec![0; MESSAGE], OpCode::Data(Data::Binary), true));
    while visitor.write_all(&message).is_ok() {}
}

fn flood(mut visitor: Visitor) {
    let message = client_bytes(Frame::message("hello again", OpCode::Data(Data::Text), true));
    let (wave, end) = (message.repeat(WAVE), Instant::now() + FLOOD);
    while Instant::now() < end && visitor.write_all(&wave).is_ok() {}
    let _ = visitor.stream.shutdown(Shutdown::Both);
}
