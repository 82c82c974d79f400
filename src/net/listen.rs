//! Binds the socket on which the `listener` accepts. Runs on the thread that starts the server.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::{Error, Result};

/// The most connections that the kernel completes before the listener accepts them; it may allow fewer
/// (`net.core.somaxconn`). The standard library asks for 128, too few for a storm of clients.
const LISTEN_BACKLOG: i32 = 4096;

/// Listens on the first of the addresses that this machine has. If that one is in use or forbidden, it fails: on the
/// next address some clients would reach this server, and the rest another program.
pub(crate) fn on_first_of(addresses: &[SocketAddr]) -> Result<TcpListener> {
    let mut last = Error::invalid("cannot listen: the list of addresses is empty");
    for address in addresses {
        match on(*address) {
            Ok(listener) => return Ok(listener),
            Err(errno) => {
                last = Error::io(format!("cannot listen on {address}"))(errno.into());
                if errno != Errno::AFNOSUPPORT && errno != Errno::ADDRNOTAVAIL {
                    break;
                }
            }
        }
    }
    Err(last)
}

fn on(address: SocketAddr) -> Result<TcpListener, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // As the standard library: the port of a server that has just ended is free at once.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // `[::]` includes IPv4, whatever this machine's default (`net.ipv6.bindv6only`).
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, LISTEN_BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Enlarges the accept queue of a listening socket, turns off Nagle's algorithm for all connections that it will accept,
/// and sets their send buffer if asked: Linux copies the options, which saves a system call per client.
pub(crate) fn again(listener: &TcpListener, send_buffer: Option<usize>) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    if let Some(bytes) = send_buffer {
        sockopt::set_socket_send_buffer_size(listener, bytes)?;
    }
    Ok(listen(listener, LISTEN_BACKLOG)?)
}
