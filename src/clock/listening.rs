//! Where the program listens, and the first lines that it prints.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::clock::console;
use crate::clock::options::Options;
use crate::clock::tls::Tls;
use threadcast::{Application, Capacity, Error, Result, Server};

/// Says what to do about a port that cannot be had.
fn with_another_port(error: Error, option: &str, port: u16) -> Error {
    let Error::Io { source, .. } = &error else { return error };
    let another = match source.kind() {
        ErrorKind::AddrInUse => port.checked_add(1).unwrap_or(8888),
        ErrorKind::PermissionDenied => 8888,
        _ => return error,
    };
    Error::invalid(format!("{error}; choose another with {option}, such as {option} {another}"))
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

/// Prints where it is, and how many it can serve.
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
        lines.push(format!("http://{host}:{}/ leads there", redirect.local_addr().port()));
    }
    if lab {
        lines.push(format!("the lab is open: {here}/lab shows the threads, and lets you break them"));
    }
    lines.push("Ctrl-C ends it".to_owned());
    console::print(&(lines.join("\n") + "\n"));
}

/// Listens where the options say. `option` is the one that names the port.
///
/// # Errors
/// As of [`Server::bind_with`], with what to do about it.
pub fn bind(
    options: &Options,
    option: &str,
    port: u16,
    application: Application,
    capacity: Capacity,
) -> Result<Server> {
    let server = Server::bind_with(&addresses(options, port)[..], application, capacity);
    server.map_err(|error| with_another_port(error, option, port))
}
