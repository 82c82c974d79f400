//! Binds the socket that the `listener` accepts from. On the thread that starts the server.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::error::{Error, Result};

/// Connections that the kernel completes before they are accepted; it may allow fewer
/// (`net.core.somaxconn`). The standard library asks for 128, too few for a storm of clients.
const LISTEN_BACKLOG: i32 = 4096;

/// Listens on the first of the addresses that this machine has. One that is in use, or may not be used, is an error:
/// on the next one the server would be there for some, and another program for the rest.
pub(crate) fn on_first_of(addresses: &[SocketAddr]) -> Result<TcpListener> {
    let mut last = Error::invalid("cannot listen: there is no address");
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
    // As the standard library: a port whose last server has just ended can be had at once.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // `[::]` has IPv4 in it, whatever this machine's default is (`net.ipv6.bindv6only`).
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, LISTEN_BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Makes room for a storm of clients on a socket that listens already, and turns Nagle's algorithm off for all that it
/// will accept, whose send buffer it sets if that is asked for: Linux copies the options, which saves a system call a
/// client.
pub(crate) fn again(listener: &TcpListener, send_buffer: Option<usize>) -> io::Result<()> {
    sockopt::set_tcp_nodelay(listener, true)?;
    if let Some(bytes) = send_buffer {
        sockopt::set_socket_send_buffer_size(listener, bytes)?;
    }
    Ok(listen(listener, LISTEN_BACKLOG)?)
}
