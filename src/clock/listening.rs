//! The listening sockets, and the first lines that the program prints.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;

use rustix::io::Errno;

use crate::clock::console;
use crate::clock::options::Options;
use crate::clock::sockets::Sockets;
use crate::clock::succession::Predecessor;
use crate::clock::tls::Tls;
use threadcast::{Application, Capacity, Error, Result, Server};

/// Adds advice to the error of an unavailable port. `option` is the one that names it.
fn with_another_port(error: Error, options: &Options, option: &str, port: u16) -> Error {
    let Error::Io { source, .. } = &error else { return error };
    let another = match source.kind() {
        ErrorKind::AddrInUse => port.checked_add(1).unwrap_or(8888),
        ErrorKind::PermissionDenied => 8888,
        _ => return error,
    };
    let (name, example) = (options.values.name(option), options.values.example(option, another));
    Error::invalid(format!("{error}; choose another with {name}, such as {example}"))
}

/// Returns where to listen: on IPv6 with IPv4 in it, or on IPv4 alone on a machine without IPv6.
fn addresses(options: &Options, port: u16) -> Vec<SocketAddr> {
    let all = || {
        if options.lab.lab {
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]
        } else {
            vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
        }
    };
    let addresses = options.address.map_or_else(all, |address| vec![address]);
    addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

/// Prints the server's address and capacity.
pub fn announce(server: &Server, lab: bool, tls: Option<&Tls>, redirect: Option<&Server>) {
    let address = server.local_addr();
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let here = format!("{scheme}://{host}:{}", address.port());
    let Capacity { clients, limit, next, .. } = server.capacity();
    let next = next.map_or(String::new(), |(clients, limit)| format!("; then {} at {clients}", limit.name()));
    let mut lines = vec![format!("threadcast is at {here}/ for up to {clients} clients ({limit}{next})")];
    if let Some(tls) = tls {
        lines.push(format!("its WebSocket is at wss://{host}:{}/websocket?Id=NAME", address.port()));
        lines.extend(tls.note.clone());
    }
    if let Some(redirect) = redirect {
        lines.push(format!("http://{host}:{}/ redirects to it", redirect.local_addr().port()));
    }
    if lab {
        lines.push(format!("the lab is open: {here}/lab shows the threads, and lets you break them"));
    }
    if !Path::new("/bin/sh").exists() {
        lines.push("/bin/sh is missing, so each client takes 4 memory mappings instead of 2".to_owned());
    }
    lines.push("Ctrl-C ends it".to_owned());
    lines.iter().for_each(|line| console::say(line));
}

/// Takes the port that [`bind`] would, and keeps it until the socket is dropped. Nothing is accepted.
///
/// # Errors
/// As [`bind`].
pub fn try_port(options: &Options, option: &str, port: u16) -> Result<TcpListener> {
    let mut found = Err(Error::invalid("cannot listen: the list of addresses is empty"));
    for address in addresses(options, port) {
        found = TcpListener::bind(address).map_err(Error::io(format!("cannot listen on {address}")));
        // On any other error the server does not try the next address either.
        let is_elsewhere = |source: &io::Error| {
            source.kind() == ErrorKind::AddrNotAvailable
                || Errno::from_io_error(source) == Some(Errno::AFNOSUPPORT)
        };
        if !matches!(&found, Err(Error::Io { source, .. }) if is_elsewhere(source)) {
            break;
        }
    }
    found.map_err(|error| with_another_port(error, options, option, port))
}

/// Returns the sockets to listen on that a supervisor or predecessor has handed over.
///
/// # Errors
/// As of [`Sockets::take`].
pub fn handed_over(options: &Options, predecessor: Option<&Predecessor>) -> Result<Sockets> {
    let sockets = Sockets::take(predecessor, options.tls.http_port.is_some())?;
    let given = ["port", "address"].into_iter().filter(|option| options.values.source(option).is_some());
    let given: Vec<_> = given.map(|option| options.values.name(option)).collect();
    if sockets.supervised && !given.is_empty() {
        let (names, does) = (given.join(" and "), if given.len() == 1 { "does" } else { "do" });
        console::warn(format!("{names} {does} nothing: the supervisor passes the socket (LISTEN_FDS)"));
    }
    Ok(sockets)
}

/// Listens on the socket that was handed over, or where the options say. `option` is the one that names the port.
///
/// # Errors
/// As of [`Server::bind_with`], with what to do about it.
pub fn bind(
    options: &Options,
    option: &str,
    port: u16,
    application: Application,
    capacity: Capacity,
    socket: Option<TcpListener>,
) -> Result<Server> {
    if let Some(socket) = socket {
        let server = Server::serve_with(socket, application, capacity);
        return server.map_err(|error| match error {
            Error::Invalid(what) => Error::invalid(format!("LISTEN_FDS: {what}")),
            other => other,
        });
    }
    let server = Server::bind_with(&addresses(options, port)[..], application, capacity);
    server.map_err(|error| with_another_port(error, options, option, port))
}
