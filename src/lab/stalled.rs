//! The thread `lab-stalled`: a client that asks for echoes and never reads one. A browser cannot do that.
//!
//! Blocks in `write`, once everything between it and its echoes is full: the server's socket, then the
//! backlog, then its own socket. It ends when the server has had enough of it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};

use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::lab::crowd;
use crate::lab::visitor::{Host, Visitor};

/// Bytes in each of its messages: enough that a few of them fill everything, and that what the server does
/// meanwhile can still be told one by one.
const MESSAGE: usize = 256 << 10;
/// Bytes that its kernel may hold for it, so that it is not long until they are full.
const RECEIVES: usize = 16 << 10;

/// Such a client.
pub struct Stalled {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Stalled {
    /// Connects it, as `stalled-NUMBER`.
    ///
    /// # Errors
    /// If it cannot connect, or the system has no thread for it.
    pub fn start(host: &Host, number: usize) -> io::Result<Stalled> {
        let visitor = Visitor::connect(host, "/echo", &format!("stalled-{number}"))?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&visitor.stream, RECEIVES)?;
        let stream = visitor.stream.try_clone()?;
        let thread = thread::Builder::new().name("lab-stalled".to_owned()).spawn(move || run(visitor))?;
        Ok(Stalled { stream, thread })
    }

    /// Returns whether it has been disconnected.
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

fn run(mut visitor: Visitor) {
    let message = crowd::masked(Frame::message(vec![0; MESSAGE], OpCode::Data(Data::Binary), true));
    while visitor.write_all(&message).is_ok() {}
}
